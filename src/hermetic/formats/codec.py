"""Port messages to bytes and back (spec/port.md): RFC 8785 JSON, binary as base64url without padding, at most 4 MiB.

A message is a frozen dataclass registered under a wire name. Its fields may be `str`, `int`, `bool`, `bytes`, a `StrEnum`,
another message part (frozen dataclass), `X | None`, and `tuple[X, ...]`. Decoding is strict: a missing or unknown field, a wrong
type or a non-canonical byte is a FormatError; nothing is coerced.

    encode(Hello())  ->  b'{"body":{"generation":0,"protocol":1,"size":0},"hermetic":1,"type":"hello"}'
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import enum
import functools
import importlib
import pkgutil
import types
import typing
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from hermetic.errors import FormatError
from hermetic.formats import canonical

MESSAGE_LIMIT = 4 * 1024 * 1024
WIRE_VERSION = 1

_T = TypeVar("_T")
Reader: typing.TypeAlias = typing.Callable[[Any, str], Any]
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


def encode(value: object) -> bytes:
    """Return the canonical bytes of a message. Raises FormatError over 4 MiB or for an unregistered class."""
    name = name_of(type(value))
    raw = canonical.encode({"hermetic": WIRE_VERSION, "type": name, "body": _dump(value)})
    if len(raw) > MESSAGE_LIMIT:
        raise FormatError(f"a {name} message would be over {MESSAGE_LIMIT} bytes")
    return raw


def size_of(value: object) -> int:
    """Return how many bytes a part of a message takes in it."""
    return len(canonical.encode(_dump(value)))


def decode(raw: bytes) -> Any:
    """Return the message that `raw` encodes. Raises FormatError for anything else."""
    outer = canonical.decode(raw, limit=MESSAGE_LIMIT)
    if not isinstance(outer, dict) or set(outer) != {"hermetic", "type", "body"}:
        raise FormatError("not a port message")
    if outer["hermetic"] != WIRE_VERSION or isinstance(outer["hermetic"], bool):
        raise FormatError("port message of another version")
    cls = _class_of(outer["type"]) if isinstance(outer["type"], str) else None
    if cls is None:
        raise FormatError("port message of an unknown type")
    return _load(cls, outer["body"], cls.__name__)


def _class_of(name: str) -> type | None:
    """Return the class of a wire name. Message modules register when they are imported, so an unknown name loads all of them."""
    if name not in _BY_NAME:
        _load_all()
    return _BY_NAME.get(name)


def _load_all() -> None:
    package = importlib.import_module("hermetic.formats.messages")
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)


_AS_THEY_ARE = frozenset((str, bool, int, type(None)))


def _dump(value: Any) -> Any:
    kind: type = type(value)
    if kind in _AS_THEY_ARE:
        return value
    if isinstance(value, enum.StrEnum):
        return value.value
    if isinstance(value, bytes):
        return base64.urlsafe_b64encode(value).rstrip(b"=").decode("ascii")
    if isinstance(value, tuple):
        return [_dump(item) for item in value]
    names = _names(kind)
    if names is not None:
        return {name: _dump(getattr(value, name)) for name in names}
    if isinstance(value, str | int):
        return value
    raise FormatError(f"a port message cannot carry a {kind.__name__}")


@functools.cache
def _names(cls: type) -> tuple[str, ...] | None:
    """Return the names of the fields of a part of a message, None for a class that is none."""
    return tuple(field.name for field in dataclasses.fields(cls)) if dataclasses.is_dataclass(cls) else None


def _load(kind: Any, value: Any, where: str) -> Any:
    return _reader(kind)(value, where)


@functools.cache
def _reader(kind: Any) -> Reader:
    """Return what reads a value of one type hint, worked out once."""
    origin = get_origin(kind)
    if origin in {Union, types.UnionType}:
        return functools.partial(_load_optional, _reader(next(arg for arg in get_args(kind) if arg is not types.NoneType)))
    if origin is tuple:
        return functools.partial(_load_tuple, _reader(get_args(kind)[0]))
    if dataclasses.is_dataclass(kind):
        return functools.partial(_load_dataclass, typing.cast("type", kind))
    return functools.partial(_load_plain, getattr(kind, "__supertype__", kind))


@functools.cache
def _readers(cls: type) -> dict[str, Reader]:
    return {name: _reader(hint) for name, hint in get_type_hints(cls).items()}


def _load_optional(reader: Reader, value: Any, where: str) -> Any:
    return None if value is None else reader(value, where)


def _load_tuple(reader: Reader, value: object, where: str) -> object:
    if not isinstance(value, list):
        raise FormatError(f"{where}: expected a list")
    return tuple([reader(item, where) for item in value])


def _load_dataclass(cls: type, value: object, where: str) -> object:
    readers = _readers(cls)
    if not isinstance(value, dict) or value.keys() != readers.keys():
        raise FormatError(f"{where}: expected exactly the fields {', '.join(sorted(readers)) or '(none)'}")
    return cls(**{name: reader(value[name], f"{where}.{name}") for name, reader in readers.items()})


def _load_plain(kind: Any, value: object, where: str) -> object:
    if kind is bytes:
        return _load_bytes(value, where)
    if isinstance(kind, type) and issubclass(kind, enum.StrEnum):
        if not isinstance(value, str) or value not in kind._value2member_map_:
            raise FormatError(f"{where}: not one of {', '.join(str(item.value) for item in kind)}")
        return kind(value)
    if type(value) is not kind:
        raise FormatError(f"{where}: expected {getattr(kind, '__name__', kind)}")
    return value


def _load_bytes(value: object, where: str) -> bytes:
    if not isinstance(value, str):
        raise FormatError(f"{where}: expected base64url")
    try:
        raw = base64.b64decode(value.encode("ascii") + b"=" * (-len(value) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise FormatError(f"{where}: expected base64url without padding") from None
    if base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii") != value:
        raise FormatError(f"{where}: base64url is not canonical")
    return raw
