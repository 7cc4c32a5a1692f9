"""Values of every port message: with every field said, or with nothing said that may be left out."""

from __future__ import annotations

import dataclasses
import enum
import types
import typing

from hermetic.formats import parts


def filled(kind, default=None):
    """A value of a type that is not `default`, with one item in each list and nothing left out inside."""
    origin = typing.get_origin(kind)
    if origin in {typing.Union, types.UnionType}:
        return filled(next(arg for arg in typing.get_args(kind) if arg is not types.NoneType), default)
    if origin is tuple:
        return (filled(typing.get_args(kind)[0]),)
    kind = getattr(kind, "__supertype__", kind)
    if dataclasses.is_dataclass(kind):
        hints, defaults = typing.get_type_hints(kind), parts.defaults_of(kind)
        return kind(**{name: filled(hint, defaults.get(name)) for name, hint in hints.items()})
    if issubclass(kind, enum.Enum):
        return next(item for item in kind if item != default)
    return {str: "text", int: 7, bool: default is not True, bytes: b"\xff\xfe\xfd"}[kind]


def places(cls, body):
    """Every (part class, its JSON object) in the body of a message, the message itself included."""
    yield cls, body
    for name, hint in typing.get_type_hints(cls).items():
        inner = parts.part_in(hint)
        if inner is not None and name in body:
            for item in body[name] if isinstance(body[name], list) else [body[name]]:
                yield from places(inner, item)
