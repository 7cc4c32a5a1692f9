"""Parts of port messages as JSON values and back (spec/port.md section 1.1); `codec` puts the envelope around them.

A part is a frozen dataclass. A field that has a default is left out when it has it, and nothing else is: one value has one form, in
every release that knows the part, so that a request has one hash. What a reader does with the rest depends on whom it hears:

    CUSTODY   a request: a field or word that is not known is Unsupported, since it may be what restricts the request
    CLIENT    an answer: fields that are not known are passed over; `codec` refuses those that the answer calls critical
    KEEPER    what was kept: as a request, but defaults may be written out, as they were before there was this rule

`binding` marks classes whose fields say what a caller may do with a key: what is added to them is critical wherever it is sent.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import enum
import functools
import types
import typing
from typing import Any, Final, TypeVar, Union, get_args, get_origin, get_type_hints

from hermetic.errors import FormatError, Unsupported

Reader: typing.TypeAlias = typing.Callable[[Any, str], Any]
_T = TypeVar("_T")
BINDING: set[type] = set()
_AS_THEY_ARE: Final = frozenset((str, bool, int, type(None)))
_SHOWN: Final = 64  # characters of a name that somebody else chose


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Hearing:
    """Who reads, and what to do about something that is not known."""

    hint: str


CUSTODY: Final = Hearing("the client is of a newer release than custody: upgrade custody first, or do without what it does not know")
CLIENT: Final = Hearing("custody is of a newer release than this client: upgrade the client")
OUTDATED: Final = "the client is of an older release than custody takes: upgrade the client"
KEEPER: Final = Hearing("a newer release wrote it: use that one")


def binding(cls: type[_T]) -> type[_T]:
    """Class decorator: whoever passes over a field of this part would do more with a key than custody allowed."""
    BINDING.add(cls)
    return cls


def dump(value: Any) -> Any:
    """Return the JSON value of a part, or of what is in one. Raises FormatError for what no message can carry."""
    kind: type = type(value)
    if kind in _AS_THEY_ARE:
        return value
    if kind is bytes:
        return base64.urlsafe_b64encode(value).rstrip(b"=").decode("ascii")
    if kind is tuple:
        return [item if type(item) in _AS_THEY_ARE else dump(item) for item in value]
    fields = _fields(kind)
    if fields is not None:
        found = {name: item if type(item := getattr(value, name)) in _AS_THEY_ARE else dump(item) for name in fields[0]}
        for name, default in fields[1].items():
            item = getattr(value, name)
            if item is not default and (item != default or type(item) is not type(default)):
                found[name] = dump(item)
        return found
    return value.value if isinstance(value, enum.StrEnum) else _dump_subclass(value)


def _dump_subclass(value: Any) -> Any:
    for plain in (str, int):
        if isinstance(value, plain):
            return value
    for made in (bytes, tuple):
        if isinstance(value, made):
            return dump(made(value))
    raise FormatError(f"a port message cannot carry a {type(value).__name__}")


@functools.cache
def _fields(cls: type) -> tuple[tuple[str, ...], dict[str, Any]] | None:
    """Return the fields of a part without a default, and those with theirs; None for a class that is no part."""
    if not dataclasses.is_dataclass(cls):
        return None
    required = tuple(field.name for field in dataclasses.fields(cls) if field.default is dataclasses.MISSING)
    return required, {field.name: field.default for field in dataclasses.fields(cls) if field.default is not dataclasses.MISSING}


def defaults_of(cls: type) -> dict[str, Any]:
    """Return the fields of a part that may be left out, with what they mean then. Raises FormatError for what is no part."""
    found = _fields(cls)
    if found is None:
        raise FormatError(f"{cls.__name__} is no part of a message")
    return found[1]


def load(cls: type, value: object, hearing: Hearing) -> Any:
    """Return the part whose JSON value this is. Raises FormatError, Unsupported."""
    return reader(cls, hearing)(value, cls.__name__)


@functools.cache
def reader(kind: Any, hearing: Hearing) -> Reader:
    """Return what reads a value of one type hint, worked out once."""
    origin = get_origin(kind)
    if origin in {Union, types.UnionType}:
        inner = next(arg for arg in get_args(kind) if arg is not types.NoneType)
        return functools.partial(_load_optional, reader(inner, hearing))
    if origin is tuple:
        return functools.partial(_load_tuple, reader(get_args(kind)[0], hearing))
    if dataclasses.is_dataclass(kind):
        return functools.partial(_load_part, _Form(typing.cast("type", kind), hearing))
    kind = getattr(kind, "__supertype__", kind)
    if kind is bytes:
        return _load_bytes
    if isinstance(kind, type) and issubclass(kind, enum.StrEnum):
        return functools.partial(_load_word, {item.value: item for item in kind}, hearing)
    return functools.partial(_load_plain, kind)


class _Form:
    """How a part is read. Its readers are worked out when they are first needed: parts may hold each other."""

    __slots__ = ("cls", "defaulted", "hearing", "names", "required")

    def __init__(self, cls: type, hearing: Hearing) -> None:
        required, _ = _fields(cls) or ((), {})
        self.cls, self.hearing, self.names = cls, hearing, frozenset(required)
        self.required: tuple[tuple[str, Reader], ...] | None = None
        self.defaulted: tuple[tuple[str, Reader, Any], ...] = ()

    def ready(self) -> tuple[tuple[str, Reader], ...]:
        """Work out the readers; return those of the fields without a default."""
        required, defaults = _fields(self.cls) or ((), {})
        hints = get_type_hints(self.cls)
        self.defaulted = tuple((name, reader(hints[name], self.hearing), default) for name, default in defaults.items())
        self.required = tuple((name, reader(hints[name], self.hearing)) for name in required)
        return self.required


def _load_part(form: _Form, value: object, where: str) -> object:
    if not isinstance(value, dict) or not form.names <= value.keys():
        raise FormatError(f"{where}: expected at least the fields {', '.join(sorted(form.names)) or '(none)'}")
    required = form.ready() if form.required is None else form.required
    found = {name: read(value[name], f"{where}.{name}") for name, read in required}
    if len(value) > len(found):
        _load_more(form, value, found, where)
    return form.cls(**found)


def _load_more(form: _Form, value: dict[str, Any], found: dict[str, Any], where: str) -> None:
    """Read the fields that may be left out. Raises Unsupported for one that is not known, where that matters."""
    for name, read, default in form.defaulted:
        if name in value:
            found[name] = said = read(value[name], f"{where}.{name}")
            if said == default and form.hearing is not KEEPER:
                raise FormatError(f"{where}.{name}: what it is by default is left out")
    if len(value) > len(found) and form.hearing is not CLIENT:
        unknown = min(value.keys() - found.keys())
        raise Unsupported(f"{where} has no field {unknown[:_SHOWN]!r} in this release", hint=form.hearing.hint)


def _load_optional(inner: Reader, value: Any, where: str) -> Any:
    return None if value is None else inner(value, where)


def _load_tuple(inner: Reader, value: object, where: str) -> object:
    if not isinstance(value, list):
        raise FormatError(f"{where}: expected a list")
    return tuple([inner(item, where) for item in value])


def _load_plain(kind: Any, value: object, where: str) -> object:
    if type(value) is not kind:
        raise FormatError(f"{where}: expected {getattr(kind, '__name__', kind)}")
    return value


def _load_word(words: dict[str, enum.StrEnum], hearing: Hearing, value: object, where: str) -> object:
    if not isinstance(value, str):
        raise FormatError(f"{where}: not one of {', '.join(words)}")
    found = words.get(value)
    if found is None:
        raise Unsupported(f"{where}: {value[:_SHOWN]!r} is not one of {', '.join(words)}", hint=hearing.hint)
    return found


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


# -- paths: fields of a message and of the parts inside, without the places in lists


@functools.cache
def paths(cls: type) -> frozenset[str]:
    """Return every path that this release knows in a message: `released`, `released.lease`, `released.lease.id`."""
    return frozenset(path for path, _ in _walk(cls, (), ""))


@functools.cache
def binding_paths(cls: type) -> tuple[str, ...]:
    """Return those of fields that may be left out, in parts that bind, in order."""
    bound = ((path, owner) for path, owner in _walk(cls, (), "") if owner in BINDING)
    return tuple(sorted(path for path, owner in bound if path.rpartition(".")[2] in defaults_of(owner)))


def _walk(cls: type, above: tuple[type, ...], prefix: str) -> typing.Iterator[tuple[str, type]]:
    if cls in above:
        return
    for name, hint in get_type_hints(cls).items():
        yield prefix + name, cls
        inner = part_in(hint)
        if inner is not None:
            yield from _walk(inner, (*above, cls), f"{prefix}{name}.")


def part_in(hint: Any) -> type | None:
    """Return the part that a field with this type hint holds, one or several of them, or None."""
    arguments = [arg for arg in get_args(hint) if arg is not types.NoneType and arg is not Ellipsis]
    if arguments:
        return part_in(arguments[0])
    return typing.cast("type", hint) if dataclasses.is_dataclass(hint) else None


def holds(value: Any, path: str) -> bool:
    """Return whether something stands at a path in a JSON value; in a list, in any of its items. It permits nothing."""
    if isinstance(value, list):
        return any([holds(item, path) for item in value])  # noqa: C419 - a list is faster, and there are few
    name, _, rest = path.partition(".")
    if not isinstance(value, dict) or name not in value:
        return False
    return not rest or holds(value[name], rest)
