"""The bytes that a row MAC covers: a known answer, and that no two rows share them."""

from __future__ import annotations

import hmac
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermetic.crypto.secret import Secret
from hermetic.db import columns, layout, protect, tables
from hermetic.db.authentic import Encoder, encode_key
from hermetic.db.columns import RowKeys

KEYS = RowKeys(Secret(b"m" * 32), Secret(b"c" * 32), Secret(b"l" * 32))
VALUES = st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.text(max_size=5), st.binary(max_size=5))
NAMES = ["a", "ab", "b", "key"]
ROWS = st.tuples(*[VALUES] * len(NAMES))
SHAPE = Encoder("t", [(name, place) for place, name in enumerate(NAMES)])


def test_known_answer():
    row = {"child_version": "child", "parent_version": "p\u00e4rent", "how": "run"}
    stored = protect.store(layout.of(tables.edge), KEYS, row)
    covered = b"hermetic/v1/row\n4:edge13:child_versionT5:child3:howT3:run14:parent_versionT7:p\xc3\xa4rent8:revisionI1:"
    assert stored == ["child", "p\u00e4rent", "run", 1, hmac.digest(b"m" * 32, covered, "sha256")]


def test_known_places_and_lookups():
    shape = layout.of(tables.fingerprint)
    assert encode_key(("id", b"\1\2", 7)) == b"T2:idB2:\1\2I7:"
    assert layout.of(tables.asset).place("owner", ("x",)) == b"hermetic/v1/column\n5:asset5:ownerT1:x"
    looked_up = columns.lookup(KEYS, layout.of(tables.asset).lookup_heads["name"], b"dataset/a")
    assert looked_up == hmac.digest(b"l" * 32, b"hermetic/v1/lookup\n5:asset6:name_hdataset/a", "sha256")
    assert shape.keys == ("version_id", "member_h")


def parse(raw):
    """Read an encoding back, without knowing the columns."""

    def taken(data, count):
        assert len(data) >= count
        return data[:count], data[count:]

    def prefixed(data):
        length, _, rest = data.partition(b":")
        return taken(rest, int(length))

    label, rest = taken(raw, 16)
    table, rest = prefixed(rest)
    fields = {}
    while rest:
        name, rest = prefixed(rest)
        kind, rest = taken(rest, 1)
        if kind == b"I":
            number, _, rest = rest.partition(b":")
            fields[name.decode()] = int(number)
        else:
            data, rest = prefixed(rest)
            fields[name.decode()] = data.decode() if kind == b"T" else data
    assert label == b"hermetic/v1/row\n"
    return table.decode(), fields


@given(ROWS)
def test_an_encoding_can_be_read_in_one_way_only(row):
    expected = {name: value for name, value in zip(NAMES, row, strict=True) if value is not None}
    assert parse(SHAPE.encode(row)) == ("t", expected)


@given(ROWS, ROWS)
def test_different_rows_have_different_encodings(one, other):
    assert (SHAPE.encode(one) == SHAPE.encode(other)) == (one == other)


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(["1", 1, b"1", None, "", b""], 2)))
def test_types_are_told_apart(one, other):
    assert SHAPE.encode([one, None, None, None]) != SHAPE.encode([other, None, None, None])


@pytest.mark.parametrize("value", [1.0, True, [], bytearray(b"x")], ids=repr)
def test_types_that_no_column_stores_have_no_encoding(value):
    with pytest.raises(TypeError):
        SHAPE.encode([value, None, None, None])


@given(
    st.lists(VALUES.filter(lambda value: value is not None), min_size=1, max_size=3),
    st.lists(VALUES.filter(lambda value: value is not None), min_size=1, max_size=3),
)
def test_keys_are_told_apart(one, other):
    assert (encode_key(one) == encode_key(other)) == (one == other)
