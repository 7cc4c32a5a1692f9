"""Header, trailer, metadata, leaf table, suites: foreign bytes give FormatError, and limits come before allocation."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermetic.errors import FormatError, IntegrityError
from hermetic.formats.binary_text import from_base64, from_base64url, to_base64, to_base64url
from hermetic.formats.dsse import pae, parse_envelope
from hermetic.formats.fields import Fields
from hermetic.formats.leaf_table import LeafTable
from hermetic.formats.manifest import parse_manifest
from hermetic.formats.object_header import FIXED, HEADER_LIMIT, ObjectHeader, parse_fixed, parse_prefix
from hermetic.formats.object_metadata import METADATA_LIMIT, ObjectMetadata, parse_metadata
from hermetic.formats.padding import Padding, padded_length
from hermetic.formats.suites import APPROVED_SUITE, DEFAULT_SUITE, MAX_SEGMENTS, SUITES
from hermetic.formats.trailer import TRAILER, Layout, length_prefixed, parse_trailer

HEADER = ObjectHeader(*["a" * 26] * 5, index=7, suite_name=DEFAULT_SUITE.name, padding=Padding.PADME)
LAYOUT = Layout.of(DEFAULT_SUITE, prefix=300, plain_length=3_000_000, metadata_length=120)


@given(st.binary(max_size=300))
@pytest.mark.parametrize(
    "parse",
    [
        parse_fixed,
        parse_prefix,
        parse_metadata,
        parse_manifest,
        lambda raw: parse_trailer(raw, len(raw)),
        lambda raw: parse_trailer(LAYOUT.encode(bytes(32))[: -len(raw) or None] + raw, 5000),
        lambda raw: parse_envelope(raw, limit=1000),
        lambda raw: parse_prefix(HEADER.encode()[: FIXED.size] + raw),
        lambda raw: from_base64(raw.decode("latin-1")),
        lambda raw: from_base64url(raw.decode("latin-1")),
    ],
)
def test_foreign_bytes_give_format_error_only(parse, raw):
    try:
        parse(raw)
    except FormatError as error:
        assert error.exit_code == 4  # noqa: PT017 - most bytes are refused, a few may parse


def test_header_comes_back():
    raw = HEADER.encode()
    assert parse_prefix(raw) == HEADER
    assert parse_fixed(raw) == len(raw) - FIXED.size
    assert HEADER.suite is DEFAULT_SUITE


@pytest.mark.parametrize("cut", [0, 5, 13, 14, -1])
def test_cut_header_is_refused(cut):
    with pytest.raises(FormatError):
        parse_prefix(HEADER.encode()[:cut])


def test_header_limit_is_checked_before_the_header_is_looked_at():
    with pytest.raises(FormatError, match="over the limit"):
        parse_fixed(FIXED.pack(b"HERMETIC", 1, HEADER_LIMIT + 1))
    assert parse_fixed(FIXED.pack(b"HERMETIC", 1, HEADER_LIMIT)) == HEADER_LIMIT


def test_trailer_comes_back_and_lengths_sum():
    raw = LAYOUT.encode(b"r" * 32)
    assert len(raw) == TRAILER
    assert parse_trailer(raw, LAYOUT.file_length) == (LAYOUT, b"r" * 32)
    assert (LAYOUT.segments, LAYOUT.plain_length) == (3, 3_000_000)
    for wrong in (LAYOUT.file_length - 1, LAYOUT.file_length + 1, 0):
        with pytest.raises(FormatError, match="add up"):
            parse_trailer(raw, wrong)


def test_over_long_parts_have_no_layout():
    with pytest.raises(FormatError, match="segments"):
        Layout.of(DEFAULT_SUITE, prefix=300, plain_length=MAX_SEGMENTS * 2**20 + 1, metadata_length=0)
    with pytest.raises(FormatError, match="metadata"):
        Layout.of(DEFAULT_SUITE, prefix=300, plain_length=0, metadata_length=METADATA_LIMIT + 1)
    with pytest.raises(FormatError, match="header"):
        Layout.of(DEFAULT_SUITE, prefix=FIXED.size + HEADER_LIMIT + 1, plain_length=0, metadata_length=0)


def test_length_prefix_tells_lists_apart():
    assert length_prefixed([b"ab", b"c"]) != length_prefixed([b"a", b"bc"])
    assert length_prefixed([b"ab"]) == b"\0\0\0\0\0\0\0\2ab"


def test_metadata_comes_back():
    metadata = ObjectMetadata("a/ä.csv", "text/csv", {"k": "v"}, {"schema": [1, None, {"x": True}]}, 99)
    assert parse_metadata(metadata.encode()) == metadata


def test_leaf_table_compares_and_grows():
    table = LeafTable()
    table.set(2, b"c" * 32)
    assert len(table) == 3
    table.check(2, b"c" * 32)
    for position, leaf in ((0, b"c" * 32), (2, b"d" * 32), (3, b"c" * 32), (2, b"")):
        with pytest.raises(IntegrityError):
            table.check(position, leaf)
    assert LeafTable(table.encode()).encode() == table.encode()
    with pytest.raises(FormatError):
        LeafTable(bytes(33))


def test_suites_are_the_ones_of_the_specification():
    assert set(SUITES) == {f"FLOE-AES256-GCM-{size}-{hash_}" for size in ("1M", "64K") for hash_ in ("BLAKE3", "SHA256")}
    assert (DEFAULT_SUITE.stored_segment, DEFAULT_SUITE.digest) == (1_048_608, "blake3")
    assert (APPROVED_SUITE.stored_segment, APPROVED_SUITE.digest) == (1_048_608, "sha256")


@pytest.mark.parametrize(
    ("length", "padded"), [(0, 0), (1, 1), (2, 2), (9, 10), (1000, 1024), (1025, 1088), (2**30 + 1, 2**30 + 2**25)]
)
def test_padme_values(length, padded):
    assert padded_length(Padding.PADME, length, 65_536) == padded


@pytest.mark.parametrize(("length", "segments"), [(0, 1), (1, 1), (65_536, 1), (65_537, 2)])
def test_segment_padding_has_at_least_one_segment(length, segments):
    assert padded_length(Padding.SEGMENT, length, 65_536) == segments * 65_536


def test_base64_has_one_spelling():
    for data in (b"", b"\xff", b"\xff\xfe", bytes(range(256))):
        assert from_base64url(to_base64url(data)) == data
        assert from_base64(to_base64(data)) == data
    for text in ("_x", "AB", "AA==", "A", "AA\n", "AA+A"[:3] + "+", "ä"):
        with pytest.raises(FormatError):
            from_base64url(text)
    for text in ("AA", "AB==", "AA==\n", "A-A=", "ä"):
        with pytest.raises(FormatError):
            from_base64(text)
    with pytest.raises(FormatError, match="expected 3 bytes"):
        from_base64url("AA", length=3)


def test_pae_is_that_of_the_dsse_specification():
    # the example of the DSSE protocol page
    assert pae("http://example.com/HelloWorld", b"hello world") == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"


def test_fields_refuse_booleans_as_integers_and_foreign_members():
    fields = Fields({"n": True, "t": 5}, "thing", {"n", "t"})
    with pytest.raises(FormatError, match="thing: n"):
        fields.integer("n", minimum=0, maximum=1)
    with pytest.raises(FormatError, match="thing: t"):
        fields.text("t", limit=5)
    for wrong in ({"n": 1}, {"n": 1, "t": 1, "u": 1}, [], None, "n"):
        with pytest.raises(FormatError, match="exactly the fields"):
            Fields(wrong, "thing", {"n", "t"})


@pytest.mark.parametrize("value", [7, None, ["AAAA"], "AAA=", "AAAAAAAA"])
def test_a_binary_field_is_text_of_its_length(value):
    with pytest.raises(FormatError):
        Fields({"root": value}, "thing", {"root"}).binary("root", length=3)
    assert Fields({"root": "AAAA"}, "thing", {"root"}).binary("root", length=3) == bytes(3)
