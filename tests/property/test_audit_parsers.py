"""Garbage in, FormatError out and nothing else; and what is read is written back to the same bytes."""

from __future__ import annotations

import contextlib
import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hermetic.audit.leaf import Entry, Leaf, RowState, encode_leaf
from hermetic.audit.note import Checkpoint, Note, NoteSignature, Origin, VerifierKey
from hermetic.audit.openings import _parts, _read_part
from hermetic.audit.proof import Receipt
from hermetic.audit.scan import Scanner
from hermetic.crypto.secret import Secret
from hermetic.crypto.sign import SigningKey
from hermetic.errors import FormatError
from hermetic.formats import canonical
from hermetic.ids import DomainId, id_from_bytes

DOMAIN = DomainId(id_from_bytes(bytes(16)))
KEY = SigningKey(Secret(bytes(32)))
NOTE = bytes(Checkpoint(Origin(DOMAIN, 1), 5, bytes(32)).sign(KEY))
RECEIPT = bytes(Receipt(b"leaf", 3, (bytes(32), bytes(32)), Note.parse(NOTE)))
LEAF = b'{"at_ms":5,"facts":{"request":"r"},"format":"hermetic/v1/log-leaf","generation":1,"index":7,"kind":"release.intent"}'

HIDING = LEAF.replace(b',"index"', b',"hidden":{"a":"' + b"A" * 43 + b'"},"index"')
LISTED = LEAF.replace(b'{"r', b'{"a":["x","y"],"b":null,"r')
LEARNED = Scanner()  # knows patterns of the shapes that are changed below
for good in (LEAF, HIDING, LEAF.replace(b'"r"', b"7"), LEAF.replace(b'"r"', b"true"), LEAF.replace(b"request", b"other"), LISTED):
    LEARNED.read(good)

noise = st.one_of(st.binary(max_size=400), st.text(alphabet="—+ \n=/019Aa", max_size=200).map(lambda text: text.encode()))


@st.composite
def changed(draw: st.DrawFn, good: bytes) -> bytes:
    """A good document with a few bytes replaced, removed, repeated or put in."""
    raw = bytearray(good)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(raw)))
        stop = draw(st.integers(at, min(len(raw), at + 8)))
        raw[at:stop] = draw(
            st.one_of(st.binary(max_size=4), st.sampled_from([b"\n", b"\n\n", b"0", b"=", b'"', b",", b"{}", bytes(raw[at:stop]) * 2]))
        )
    return bytes(raw)


@given(st.one_of(noise, changed(NOTE)))
def test_notes(raw: bytes) -> None:
    with contextlib.suppress(FormatError):
        note = Note.parse(raw)
        assert bytes(note) == raw
        checkpoint = Checkpoint.parse(note.text)
        assert checkpoint.text == note.text


@given(st.one_of(noise, changed(RECEIPT)))
def test_receipts(raw: bytes) -> None:
    with contextlib.suppress(FormatError):
        assert bytes(Receipt.parse(raw)) == raw
    with contextlib.suppress(FormatError):
        assert Receipt.parse(raw, leaf=b"leaf").proof.encode() == raw


@given(st.one_of(noise, changed(LEAF), changed(HIDING), changed(LISTED)))
@example(b'{"a":' * 40_000)
@example(b"[" * 60_000)
def test_leaves(raw: bytes) -> None:
    try:
        leaf = Leaf.parse(raw)
    except FormatError:
        for scanner, kind in ((Scanner(), ""), (LEARNED, "release.intent"), (LEARNED, "a.b")):
            with pytest.raises(FormatError):
                scanner.read(raw, kind)
        return
    scanned = Scanner().read(raw)
    assert (
        scanned
        == LEARNED.read(raw, leaf.kind)
        == (leaf.generation, leaf.index, leaf.at_ms, leaf.kind, leaf.facts.get("request"), leaf.rows)
    )
    assert canonical.encode(canonical.decode(raw, limit=65_535)) == raw


@given(st.text(max_size=120))
def test_lines(text: str) -> None:
    for parse in (VerifierKey.parse, NoteSignature.parse, Checkpoint.parse, Origin.parse):
        with contextlib.suppress(FormatError):
            parse(text)


@given(st.binary(max_size=200))
def test_opening_rows(raw: bytes) -> None:
    with contextlib.suppress(FormatError):
        _parts(raw)
    with contextlib.suppress(FormatError):
        _read_part(raw)


names = st.text(alphabet=string.ascii_lowercase, min_size=1, max_size=8)
flat = st.one_of(st.text(max_size=20), st.integers(-(2**53) + 1, 2**53 - 1), st.booleans(), st.none())
deep = st.recursive(
    flat, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3))
)


digests = st.binary(min_size=32, max_size=32)
states = st.builds(RowState, st.text(max_size=5), st.text(max_size=5), st.none() | st.integers(0, 2**53 - 1), st.none() | digests)


@given(st.dictionaries(names, flat | deep, max_size=6), st.dictionaries(names, digests, max_size=3), st.lists(states, max_size=3))
def test_what_is_written_is_canonical_and_read_alike(facts: dict[str, object], hidden: dict[str, bytes], kept: list[RowState]) -> None:
    rows = tuple(kept)
    entry = Entry("release.intent", {"request": "r", **facts}, rows=rows)  # type: ignore[dict-item]
    raw = encode_leaf(entry, (3, 9), 77, hidden)
    leaf = Leaf.parse(raw)
    assert (dict(leaf.facts), dict(leaf.hidden)) == (dict(entry.facts), hidden)
    scanner = Scanner()
    expected = (3, 9, 77, "release.intent", entry.facts["request"], rows)
    assert scanner.read(raw, "release.intent") == expected
    assert scanner.read(raw, "release.intent") == expected  # now by a pattern, where one can be made
    if not any(isinstance(value, (list, dict)) for value in facts.values()):
        assert Scanner()._usual(canonical.decode(raw, limit=65_535)) is not None  # the quick way takes it


def test_every_character_is_written_alike_by_both_writers() -> None:
    """The quick reader relies on two JSON writers agreeing about every character."""
    from pydantic_core import to_json

    for start in range(0, 0x110000, 0x1000):
        text = "".join(chr(code) for code in range(start, start + 0x1000) if not 0xD800 <= code < 0xE000)
        assert to_json(text) == canonical.encode(text)
