"""Canonical JSON: one value, one encoding; everything else is refused with FormatError."""

from __future__ import annotations

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from hermetic.errors import FormatError, UsageError
from hermetic.formats import canonical

_INTEGERS = st.integers(-canonical.MAX_INTEGER, canonical.MAX_INTEGER)
_TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none() | st.booleans() | _INTEGERS | _TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_encoding_is_that_of_the_reference_library_and_comes_back(value):
    raw = canonical.encode(value)
    assert raw == rfc8785.dumps(value)
    assert canonical.decode(raw, limit=len(raw)) == value


def test_keys_are_sorted_by_utf16_code_units():
    # RFC 8785 section 3.2.3: U+1F600 is two surrogates (D83D ...) and sorts before U+FB33
    assert canonical.encode({"\ufb33": 1, "\U0001f600": 2, "\u20ac": 3}) == '{"\u20ac":3,"\U0001f600":2,"\ufb33":1}'.encode()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b" {}",
        b"{} ",
        b'{"a": 1}',
        b'{"b":1,"a":2}',
        b'{"a":1,"a":1}',
        b"1.0",
        b"1e3",
        b"-0",
        b"01",
        b"NaN",
        b"Infinity",
        b"9007199254740992",
        b"-9007199254740992",
        b"1" * 5000,
        b'"\\u0041"',
        b'"\\/"',
        b'"\\ud800"',
        b'"\xff"',
        b"\xef\xbb\xbf{}",
        b"[" * 33 + b"]" * 33,
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"{}{}",
        b"nul",
    ],
)
def test_other_spellings_are_refused(raw):
    with pytest.raises(FormatError):
        canonical.decode(raw, limit=1_000_000)


def test_thirty_two_containers_are_allowed_and_size_is_limited():
    raw = b"[" * 32 + b"]" * 32
    assert canonical.encode(canonical.decode(raw, limit=64)) == raw
    with pytest.raises(FormatError, match="limit of 63"):
        canonical.decode(raw, limit=63)


@given(st.binary(max_size=200))
def test_foreign_bytes_give_format_error_or_round_trip(raw):
    try:
        value = canonical.decode(raw, limit=200)
    except FormatError:
        return
    assert canonical.encode(value) == raw


@pytest.mark.parametrize("value", [1.5, b"bytes", {1: 2}, {"a": {1, 2}}, 2**53, "\ud800", [[object()]]])
def test_values_without_an_encoding_are_refused(value):
    with pytest.raises(UsageError):
        canonical.encode(value)
