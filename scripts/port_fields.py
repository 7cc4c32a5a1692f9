"""Keep the wire fields of every port message in tests/contract/port_fields.json, which tests/contract/test_port_fields.py compares.

.venv/bin/python scripts/port_fields.py             write what was added, where peers of the release before can live with it
.venv/bin/python scripts/port_fields.py --anyway    write whatever changed: for fields that no release has had yet

Peers of different releases understand each other (spec/port.md section 1.1) as long as what a release had stays: a field keeps name,
type and default, and one that is added has a default that means what was done before there was it.
"""

from __future__ import annotations

import enum
import json
import sys
import types
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from hermetic.formats import codec, parts

if TYPE_CHECKING:
    from collections.abc import Iterator

TARGET: Final = Path(__file__).resolve().parent.parent / "tests" / "contract" / "port_fields.json"
Fields = dict[str, dict[str, Any]]
FROZEN: Final = frozenset({"hello"})  # custody of any release has to answer it
WRITE: Final = "run `.venv/bin/python scripts/port_fields.py`"
ANYWAY: Final = f"if no release has had it, {WRITE[:-1]} --anyway`"


def found() -> dict[str, Fields]:
    """Return what this code has: by message, by path of the field."""
    return {name: dict(_fields(cls, "", asked=codec.asks(cls))) for name, cls in sorted(codec.registered().items())}


def _fields(cls: type, prefix: str, *, asked: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    hints, defaults = typing.get_type_hints(cls), parts.defaults_of(cls)
    for name, hint in hints.items():
        said = _kind(hint)
        if name in defaults:
            said["default"] = parts.dump(defaults[name])
            if not asked and cls in parts.BINDING:
                said["critical"] = True
        yield prefix + name, said
        inner = parts.part_in(hint)
        if inner is not None:
            yield from _fields(inner, f"{prefix}{name}.", asked=asked)


def _kind(hint: Any) -> dict[str, Any]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in {typing.Union, types.UnionType}:
        said = _kind(next(arg for arg in arguments if arg is not types.NoneType))
        return said | {"type": f"{said['type']} or null"}
    if origin is tuple:
        said = _kind(arguments[0])
        return said | {"type": f"list of {said['type']}"}
    kind = getattr(hint, "__supertype__", hint)
    if isinstance(kind, type) and issubclass(kind, enum.StrEnum):
        return {"type": "word", "words": sorted(item.value for item in kind)}
    return {"type": {str: "text", int: "integer", bool: "boolean", bytes: "binary"}.get(kind, "part")}


class Found(NamedTuple):
    """What peers of the release before cannot live with, each with what to do instead, and what else changed."""

    breaking: list[str]
    harmless: list[str]


def differences(before: dict[str, Fields], now: dict[str, Fields]) -> Found:
    """Compare what releases before had with what this code has."""
    seen = Found([], [f"{name}: a new message" for name in now.keys() - before.keys()])
    for name, fields in sorted(before.items()):
        if name not in now:
            seen.breaking.append(f"{name}: the message is gone. Keep it as long as a release that sends it may be in use; {ANYWAY}")
            continue
        for path, said in fields.items():
            _changed(seen, f"{name}: {path}", said, now[name].get(path))
        for path in now[name].keys() - fields.keys():
            _added(seen, (name, path), now[name][path], fields)
    return Found(sorted(seen.breaking), sorted(seen.harmless))


def _changed(seen: Found, what: str, before: dict[str, Any], now: dict[str, Any] | None) -> None:
    if now is None:
        seen.breaking.append(f"{what} is gone. Keep it, and do without what it says: older peers send it, or demand it; {ANYWAY}")
    elif now["type"] != before["type"]:
        seen.breaking.append(f"{what} has another type. Keep it, and add a field with another name and a default; {ANYWAY}")
    elif ("default" in now) != ("default" in before):
        seen.breaking.append(f"{what} got a default or lost it: what one side leaves out, the other demands. Put it back; {ANYWAY}")
    elif now.get("default") != before.get("default"):
        seen.breaking.append(f"{what} has another default: what is left out would mean two things. Put it back; {ANYWAY}")
    elif gone := set(before.get("words", ())) - set(now.get("words", ())):
        seen.breaking.append(f"{what} lacks {', '.join(sorted(gone))}. Keep the word as long as a peer may say it; {ANYWAY}")
    elif now != before:
        seen.harmless.append(f"{what} has new words, or another say in what is critical")


def _added(seen: Found, where: tuple[str, str], now: dict[str, Any], before: Fields) -> None:
    name, path = where
    above = path.rpartition(".")[0]
    if name in FROZEN:
        seen.breaking.append(f"{name}: {path} is new. Custody of any release answers this message: say it in another one; {ANYWAY}")
    elif above and above not in before:
        return  # inside a part that is new itself
    elif "default" not in now:
        seen.breaking.append(
            f"{name}: {path} is new. Give it a default that means what was done before there was this field; {ANYWAY}"
        )
    else:
        seen.harmless.append(f"{name}: {path} is new; in an answer, `binding` on its class says that a client has to understand it")


def text(fields: dict[str, Fields]) -> str:
    """Return the file's content: one field a line."""
    messages = []
    for name, of in fields.items():
        lines = [f"  {json.dumps(path)}: {json.dumps(said, sort_keys=True)}" for path, said in of.items()]
        messages.append(f" {json.dumps(name)}: {{\n" + ",\n".join(lines) + "\n }" if lines else f" {json.dumps(name)}: {{}}")
    return "{\n" + ",\n".join(messages) + "\n}\n"


def main() -> None:
    """Write the file. Stops where older peers could not live with what changed."""
    now = found()
    before: dict[str, Fields] = json.loads(TARGET.read_text(encoding="utf-8")) if TARGET.exists() else {}
    breaking, harmless = differences(before, now)
    for line in (*breaking, *harmless):
        print(line)
    if breaking and "--anyway" not in sys.argv[1:]:
        sys.exit("nothing was written")
    TARGET.write_text(text(now), encoding="utf-8")


if __name__ == "__main__":
    main()
