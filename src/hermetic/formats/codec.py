"""Port messages to bytes and back (spec/port.md): RFC 8785 JSON, binary as base64url without padding, at most 4 MiB.

A message is a frozen dataclass registered under a wire name. Its fields may be `str`, `int`, `bool`, `bytes`, a `StrEnum`,
another message part (frozen dataclass), `X | None`, and `tuple[X, ...]`. Fields that have their default are left out, and filled in
when they are missing (`parts`): so peers of different releases understand each other as long as neither uses what the other lacks.
A wrong type, a missing field without a default or a non-canonical byte is a FormatError; nothing is coerced. What a request says and
this release does not know is Unsupported. In answers it is passed over, unless the answer names it in `crit`:

    encode(Hello())            ->  b'{"body":{},"hermetic":1,"type":"hello"}'
    encode(Hello(size=7))      ->  b'{"body":{"size":7},"hermetic":1,"type":"hello"}'
    {"body":{…},"crit":["released.lease.uses"],"hermetic":1,"type":"opened"}     who does not know that field refuses the answer

Whoever changes messages: a new field has a default, which means what was done before there was the field. The contract test that
compares with the fields of the last release says what else there is to it.
"""

from __future__ import annotations

import importlib
import pkgutil
import typing
from typing import Any, Final, TypeVar

from hermetic.errors import FormatError, Unsupported
from hermetic.formats import canonical, parts
from hermetic.formats.parts import CLIENT, CUSTODY, KEEPER, OUTDATED, Hearing
from hermetic.formats.release import RELEASE, shown

MESSAGE_LIMIT = 4 * 1024 * 1024
WIRE_VERSION = 1

_T = TypeVar("_T")
_MEMBERS: Final = frozenset(("hermetic", "type", "body"))
_WITH_CRITICAL: Final = _MEMBERS | {"crit"}
_BY_NAME: dict[str, type] = {}
_NAME_OF: dict[type, str] = {}


def message(name: str) -> typing.Callable[[type[_T]], type[_T]]:
    """Class decorator: register a frozen dataclass as the message `name`."""

    def register(cls: type[_T]) -> type[_T]:
        _BY_NAME[name] = cls
        _NAME_OF[cls] = name
        return cls

    return register


def name_of(cls: type) -> str:
    """Return the wire name of a registered message class. Raises FormatError for any other class."""
    if cls not in _NAME_OF:
        raise FormatError(f"{cls.__name__} is not a port message")
    return _NAME_OF[cls]


def registered() -> dict[str, type]:
    """Return every message class by wire name."""
    _load_all()
    return dict(_BY_NAME)


def asks(cls: type) -> bool:
    """Return whether a message class is a request."""
    return getattr(cls, "IS_REQUEST", False) is True


def encode(value: object) -> bytes:
    """Return the canonical bytes of a message. Raises FormatError over 4 MiB or for an unregistered class."""
    cls: type = type(value)
    name = name_of(cls)
    outer = {"hermetic": WIRE_VERSION, "type": name, "body": parts.dump(value)}
    bound = parts.binding_paths(cls)
    if bound and not asks(cls) and (critical := [path for path in bound if parts.holds(outer["body"], path)]):
        outer["crit"] = critical
    raw = canonical.encode(outer)
    if len(raw) > MESSAGE_LIMIT:
        raise FormatError(f"a {name} message would be over {MESSAGE_LIMIT} bytes")
    return raw


def size_of(value: object) -> int:
    """Return how many bytes a part of a message takes in it."""
    return len(canonical.encode(parts.dump(value)))


def decode(raw: bytes) -> Any:
    """Return the message that `raw` encodes. Raises Unsupported for one of a newer release, FormatError for anything else."""
    cls, outer = _opened(raw, CUSTODY)
    if asks(cls):
        if "crit" in outer:
            raise FormatError("in a request everything is critical")
        if _NAME_OF[cls] == "hello":
            _check_greeting(outer["body"])
        return parts.load(cls, outer["body"], CUSTODY)
    if "crit" in outer:
        _check_critical(cls, outer["crit"], outer["body"])
    return parts.load(cls, outer["body"], CLIENT)


def _check_greeting(body: object) -> None:
    """Raise Unsupported for a client from before defaults were left out: what it sends is well-formed, and of another release."""
    if not isinstance(body, dict):
        return
    protocol, said = body.get("protocol"), body.get("release")
    if (type(protocol), protocol) != (int, 1) and said != "":
        return
    client = shown(said) if isinstance(said, str) else "unknown"
    raise Unsupported(f"the client, of release {client}, greets otherwise than custody of release {RELEASE} takes", hint=OUTDATED)


def decode_kept(raw: bytes) -> Any:
    """Return the request that was kept as `raw`, by this release or another: fields may have their default. Raises as `decode`."""
    cls, outer = _opened(raw, KEEPER)
    if not asks(cls) or "crit" in outer:
        raise FormatError("what was kept is no request")
    return parts.load(cls, outer["body"], KEEPER)


def _opened(raw: bytes, hearing: Hearing) -> tuple[type, dict[str, Any]]:
    outer: Any = canonical.decode(raw, limit=MESSAGE_LIMIT)
    if not isinstance(outer, dict) or (outer.keys() != _MEMBERS and outer.keys() != _WITH_CRITICAL):
        raise FormatError("not a port message")
    if outer["hermetic"] != WIRE_VERSION or isinstance(outer["hermetic"], bool):
        raise FormatError("port message of another version")
    name = outer["type"]
    if not isinstance(name, str):
        raise FormatError("port message without a type")
    cls = _class_of(name)
    if cls is None:
        raise Unsupported(f"this release has no message {name[:64]!r}", hint=hearing.hint)
    return cls, outer


def _check_critical(cls: type, named: object, body: object) -> None:
    """Raise Unsupported where an answer names what this release does not know, FormatError where it is no such list.

    Of what is not known only the first is looked for in the body: somebody may have named a hundred thousand.
    """
    if not isinstance(named, list) or not named or not all(isinstance(path, str) for path in named):
        raise FormatError("crit: expected a list of names")
    unknown = [path for path in named if path not in parts.paths(cls)]
    known = [path for path in named if path in parts.paths(cls)]
    if sorted(set(named)) != named or not all(parts.holds(body, path) for path in (*unknown[:1], *known)):
        raise FormatError("crit: names are in order, once each, and in the body")
    if unknown:
        raise Unsupported(f"custody's answer has {unknown[0][:64]!r}, which this release would have to understand", hint=CLIENT.hint)


def _class_of(name: str) -> type | None:
    """Return the class of a wire name. Message modules register when they are imported, so an unknown name loads all of them."""
    if name not in _BY_NAME:
        _load_all()
    return _BY_NAME.get(name)


def _load_all() -> None:
    package = importlib.import_module("hermetic.formats.messages")
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)
