"""Write docs/reference from the program itself: commands, port messages, errors.
`python scripts/reference.py [PAGE …]` writes the pages named, by default all; tests/contract/test_reference.py compares them.
"""

from __future__ import annotations

import dataclasses
import enum
import importlib
import inspect
import json
import pkgutil
import sys
import types
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hermetic import errors
from hermetic.cli.main import root
from hermetic.errors import HermeticError
from hermetic.formats import codec, messages, parts
from hermetic.providers import records
from hermetic.server import openapi

if TYPE_CHECKING:
    from collections.abc import Iterator

TARGET = Path(__file__).resolve().parent.parent / "docs" / "reference"
NOTE = "<!-- Written by `make docs`; edit the code instead. -->"


def commands() -> str:
    """Return the page on the command line: the help of every command."""
    parts = ["# Commands", NOTE, "Results go to stdout, everything else to stderr; `--json` gives one JSON document."]
    for path, command, context in _walk(root, click.Context(root, info_name="hermetic")):
        parts += [f"{'#' * min(len(path) + 1, 4)} {' '.join(path)}", "```\n" + command.get_help(context).rstrip() + "\n```"]
    return "\n\n".join(parts) + "\n"


def _walk(command: click.Command, context: click.Context) -> Iterator[tuple[tuple[str, ...], click.Command, click.Context]]:
    context.terminal_width = context.max_content_width = 100
    yield tuple(context.command_path.split()), command, context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None and not below.hidden:
                yield from _walk(below, click.Context(below, info_name=name, parent=context))


def port() -> str:
    """Return the page on port messages: every type, its fields, its answer."""
    for module in pkgutil.iter_modules(messages.__path__, f"{messages.__name__}."):
        importlib.import_module(module.name)
    page = ["# Port messages", NOTE, "Encoding and rules are in `spec/port.md`. Types marked *part* travel inside messages only."]
    registered = codec.registered()
    inner: dict[str, type] = {}
    for name, cls in sorted(registered.items()):
        page += [f"## `{name}`", _message(cls), _fields(cls, inner)]
    for name in sorted(name for name, cls in inner.items() if cls not in registered.values()):
        page += [f"## {name} (*part*)", _message(inner[name]), _fields(inner[name], {})]
    return "\n\n".join(part for part in page if part) + "\n"


def _message(cls: type) -> str:
    answers = [
        str(typing.get_args(base)[0])
        for base in getattr(cls, "__orig_bases__", ())
        if typing.get_args(base) and "Request" in str(base)
    ]
    names = [answer.split("'")[1].split(".")[-1] if "'" in answer else answer for answer in answers]
    return inspect.cleandoc(cls.__doc__ or "") + (f"\n\nAnswer: {names[0]}." if names else "")


def _fields(cls: type, inner: dict[str, type]) -> str:
    hints = typing.get_type_hints(cls)
    if not hints:
        return ""
    _collect(hints.values(), inner)
    rows = [f"| `{field.name}` | {_type(hints[field.name])} | {_default(field)} |" for field in dataclasses.fields(cls)]
    return "\n".join(["| field | type | left out for |", "|---|---|---|", *rows])


def _default(field: dataclasses.Field[Any]) -> str:
    """Return what a field is when it is left out; nothing for one that never is."""
    return "" if field.default is dataclasses.MISSING else f"`{json.dumps(parts.dump(field.default), ensure_ascii=False)}`"


def _collect(kinds: Any, inner: dict[str, type]) -> None:
    for kind in kinds:
        _collect(typing.get_args(kind), inner)
        if dataclasses.is_dataclass(kind) and isinstance(kind, type) and kind.__name__ not in inner:
            inner[kind.__name__] = kind
            _collect(typing.get_type_hints(kind).values(), inner)


def _type(kind: Any) -> str:
    if typing.get_origin(kind) is tuple:
        return f"list of {_type(typing.get_args(kind)[0])}"
    if isinstance(kind, types.UnionType):
        return " or ".join("null" if part is types.NoneType else _type(part) for part in typing.get_args(kind))
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return " / ".join(f"`{item.value}`" for item in kind)
    return {"str": "text", "int": "integer", "bytes": "base64url"}.get(
        getattr(kind, "__name__", ""), getattr(kind, "__name__", str(kind))
    )


def error_page() -> str:
    """Return the page on errors and exit codes."""
    tree = inspect.cleandoc(errors.__doc__ or "")
    found = [cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, HermeticError)]
    rows = [f"| `{cls.__name__}` | {cls.exit_code} | {(cls.__doc__ or '').splitlines()[0]} |" for cls in found]
    table = "\n".join(["| error | exit code | meaning |", "|---|---|---|", *rows])
    return "\n\n".join(["# Errors and exit codes", NOTE, table, "```\n" + tree + "\n```"]) + "\n"


def providers() -> str:
    """Return the page on what each provider enforces, from the runs that scripts/providers_table.py has kept."""
    rows: dict[str, Any] = json.loads((TARGET / "providers.json").read_text(encoding="utf-8"))
    names = sorted(rows)
    probes = list(dict.fromkeys(probe["name"] for name in names for probe in rows[name]["report"]["probes"]))
    intro = (
        "Measured by `hermetic key providers --check`, one run of each; your own run says what yours does. `?` is not checkable from "
        "where it ran. A wrap or path is *exposed* when who records it today can open it with a quantum computer later. "
        "*Protocol-tested* means that the vendor's own service was not asked: rates are those of what answered instead."
    )
    compared = [*_facts(rows, names), *([f"**{one}**", *_outcomes(rows, names, one)] for one in probes)]
    parts = ["# Providers: what each enforces", NOTE, intro, _table(["", *(f"`{name}`" for name in names)], compared)]
    for name in names:
        report = rows[name]["report"]
        found = [[one["name"], one["outcome"], one["how"]] for one in report["probes"]]
        lasts = {True: "stands", False: "exposed", None: "unknown"}
        kept = [[one["part"], one["algorithm"], lasts[one["lasts"]], one["how"]] for one in report["protections"]]
        parts += [f"## `{name}`", f"Against {rows[name]['against']}.", _table(["probe", "outcome", "how it was found out"], found)]
        parts += [_table(["recorded today", "algorithm", "later", "where from"], kept)]
    return "\n\n".join([*parts, "## Records of their own", *_kept()]) + "\n"


def _kept() -> list[str]:
    """Return which record each kind of provider keeps, and whether it can be compared with our log."""
    intro = "What a service itself records of a root's use; [`hermetic log reconcile`](../how-to/reconcile-the-log.md) compares it."
    rows = [[f"`{name}`", "yes" if name in records.READ else "no", records.KEPT[name]] for name in sorted(records.KEPT)]
    return [intro, _table(["provider", "compared", "record"], rows)]


def _facts(rows: dict[str, Any], names: list[str]) -> list[list[str]]:
    reports = [rows[name]["report"] for name in names]
    return [
        ["against", *(rows[name]["against"] for name in names)],
        ["root in this process", *("yes" if one["root_in_process"] else "no" for one in reports)],
        ["wraps, unwraps per second", *(f"{one['wraps_per_s']:,}, {one['unwraps_per_s']:,}" for one in reports)],
        ["p50 of a wrap, an unwrap", *(f"{one['wrap_p50_us']:,} µs, {one['unwrap_p50_us']:,} µs" for one in reports)],
        ["wrap, recorded today", *(_later(one, "wrap") for one in reports)],
        ["path, recorded today", *(_later(one, "path") for one in reports)],
    ]


def _later(report: dict[str, Any], part: str) -> str:
    found = [one["lasts"] for one in report["protections"] if one["part"] == part]
    if not found or None in found:
        return "?"
    return "stands" if all(found) else "exposed"


def _outcomes(rows: dict[str, Any], names: list[str], probe: str) -> list[str]:
    said = {"enforced": "yes", "not enforced": "no", "not checkable here": "?"}
    by_name = [{one["name"]: one["outcome"] for one in rows[name]["report"]["probes"]} for name in names]
    return [said[one[probe]] if probe in one else "" for one in by_name]


def _table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join(
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in [head, ["---"] * len(head), *rows]
    )


PAGES = {"cli.md": commands, "port.md": port, "errors.md": error_page, "providers.md": providers, "openapi.json": openapi.document}


def main() -> None:
    """Write the pages named on the command line, or all."""
    TARGET.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[1:] or PAGES:
        (TARGET / name).write_text(PAGES[name]())


if __name__ == "__main__":
    main()
