"""Every message comes back as it went, and nothing but FormatError or Unsupported comes out of bytes that are none."""

from __future__ import annotations

import dataclasses
import enum
import types
import typing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermetic.errors import FormatError, Unsupported
from hermetic.formats import canonical, codec

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
NUMBER = st.integers(-(2**53) + 1, 2**53 - 1)
MESSAGES = sorted(codec.registered().values(), key=lambda cls: cls.__name__)


def values(hint):
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in {typing.Union, types.UnionType}:
        return st.one_of(values(item) for item in arguments)
    if origin is tuple:
        return st.lists(values(arguments[0]), max_size=3).map(tuple)
    if dataclasses.is_dataclass(hint):
        return st.builds(hint, **{name: values(kind) for name, kind in typing.get_type_hints(hint).items()})
    hint = getattr(hint, "__supertype__", hint)
    if isinstance(hint, type) and issubclass(hint, enum.StrEnum):
        return st.sampled_from(hint)
    return {str: TEXT, int: NUMBER, bool: st.booleans(), bytes: st.binary(max_size=40), types.NoneType: st.none()}[hint]


@pytest.mark.parametrize("cls", MESSAGES)
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_a_message_comes_back_as_it_went(cls, data):
    message = data.draw(values(cls))
    raw = codec.encode(message)
    again = codec.decode(raw)
    assert again == message
    assert type(again) is cls
    assert codec.encode(again) == raw


@given(st.binary(max_size=200))
def test_garbage_is_a_format_error(raw):
    with pytest.raises(FormatError):
        codec.decode(raw)


def check(message, raw):
    """A request is its bytes. An answer may say more than this release reads; what was read has one form."""
    again = codec.encode(message)
    assert again == raw or not codec.asks(type(message))
    assert codec.decode(again) == message


JSON = st.recursive(
    st.none() | st.booleans() | NUMBER | TEXT, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3)
)


@given(cls=st.sampled_from(MESSAGES), data=st.data())
@settings(max_examples=300, deadline=None)
def test_a_field_of_any_json_is_taken_exactly_or_refused(cls, data):
    outer = canonical.decode(codec.encode(data.draw(values(cls))), limit=codec.MESSAGE_LIMIT)
    names = sorted(outer["body"])
    if names:
        outer["body"][data.draw(st.sampled_from(names))] = data.draw(JSON)
    raw = canonical.encode(outer)
    try:
        message = codec.decode(raw)
    except (FormatError, Unsupported):
        return
    check(message, raw)


@given(cls=st.sampled_from(MESSAGES), data=st.data())
@settings(max_examples=300, deadline=None)
def test_a_flipped_byte_is_taken_exactly_or_refused(cls, data):
    raw = bytearray(codec.encode(data.draw(values(cls))))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        message = codec.decode(bytes(raw))
    except (FormatError, Unsupported):
        return
    check(message, bytes(raw))
