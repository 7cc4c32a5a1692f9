"""Fuzz targets: notes, checkpoints, receipts, leaves, tiles and what a witness answers."""

from __future__ import annotations

import json

from hermetic.audit import chain, tiles, witness
from hermetic.audit.leaf import Leaf
from hermetic.audit.note import Checkpoint, Note, NoteSignature, Origin, VerifierKey, cosignature_time, open_note
from hermetic.audit.openings import _parts, _read_part, check_opening
from hermetic.audit.pins import Pin
from hermetic.audit.proof import Receipt
from hermetic.audit.receipts import verify_receipt
from hermetic.audit.scan import Scanner
from hermetic.audit.tree import leaf_hash, verify_consistency
from hermetic.audit.verify import verify as verify_log
from hermetic.errors import FormatError
from hermetic.formats.binary_text import to_base64url
from tests.fuzz._target import DOMAIN, KEY, NAMED, NOTE, ORIGIN, Target, may_refuse, same, vector_strings

WITNESS = VerifierKey("witness.example", KEY.public, 4)
HIDDEN = "A" * 43
SIGNED = to_base64url(KEY.sign(chain.change_statement(ORIGIN, 9, NAMED)))
LEAVES: list[dict[str, object]] = [
    {"at_ms": 5, "facts": {"request": "r"}, "format": "hermetic/v1/log-leaf", "generation": 1, "index": 0, "kind": "domain.created"},
    {
        "at_ms": 5,
        "facts": {"n": [1, "a", None, True], "request": "r"},
        "format": "hermetic/v1/log-leaf",
        "generation": 1,
        "hidden": {"principal": HIDDEN},
        "index": 7,
        "kind": "release.intent",
        "rows": [["kek", "x", 1, None], ["asset", "y", None, HIDDEN]],
    },
    {"at_ms": 5, "facts": {"request": "r"}, "format": "hermetic/v1/log-leaf", "generation": 1, "index": 7, "kind": "release.intent"},
    {
        "at_ms": 6,
        "facts": {"key": str(NAMED), "new": str(NAMED), "old": str(NAMED), "signature": SIGNED},
        "format": "hermetic/v1/log-leaf",
        "generation": 1,
        "index": 9,
        "kind": "log.key-changed",
    },
]
RAW = [json.dumps(leaf, separators=(",", ":"), sort_keys=True).encode() for leaf in LEAVES]
LEARNED = Scanner()
for _raw in RAW:
    LEARNED.read(_raw)
    LEARNED.read(_raw.replace(b'"request":"r"', b'"request":"r","size":7'))
    LEARNED.read(_raw.replace(b'"request":"r"', b'"request":"r","who":["x","y"]'))
RECEIPT = Receipt(RAW[0], 0, (), Checkpoint(ORIGIN, 1, leaf_hash(RAW[0])).sign(KEY))
PART = {"seed": HIDDEN, "values": {"principal": "ana"}}


def _note(raw: bytes) -> None:
    note = Note.parse(raw)
    same(raw, bytes(note))
    for line in note.signatures:
        with may_refuse():
            cosignature_time(line)
    known = [VerifierKey(line.name, KEY.public, kind) for line in note.signatures[:4] for kind in (1, 4)]
    with may_refuse():
        open_note(note, [NAMED, WITNESS, *known])
    same(note.text.encode(), Checkpoint.parse(note.text).text.encode())


def _checkpoint(raw: bytes) -> None:
    text = raw.decode("utf-8", "surrogateescape")
    with may_refuse():
        Pin.from_note(text, "x")
    same(raw, Checkpoint.parse(text).text.encode("utf-8", "surrogateescape"))


def _verifier_key(raw: bytes) -> None:
    text = raw.decode("utf-8", "surrogateescape")
    for parse in (NoteSignature.parse, Origin.parse):
        with may_refuse():
            same(raw, str(parse(text)).rstrip("\n").encode("utf-8", "surrogateescape"))
    key = VerifierKey.parse(text)
    same(raw, str(key).encode("utf-8", "surrogateescape"))
    with may_refuse():
        open_note(Note.parse(NOTE), [key])


def _receipt(raw: bytes) -> None:
    for leaf in (None, b"leaf"):
        with may_refuse():
            receipt = Receipt.parse(raw, leaf=leaf)
            same(raw, bytes(receipt) if leaf is None else receipt.proof.encode())
            verify_receipt(receipt, [NAMED])


def _leaf(raw: bytes) -> None:
    """The quick scan of a leaf says what the parser says, and refuses what the parser refuses."""
    try:
        leaf = Leaf.parse(raw)
    except FormatError:
        for scanner, kind in ((Scanner(), ""), (LEARNED, "release.intent"), (LEARNED, "a.b")):
            try:
                scanner.read(raw, kind)
            except FormatError:
                continue
            raise AssertionError(f"scanned what does not parse: {raw[:300]!r}") from None
        raise
    wanted = (leaf.generation, leaf.index, leaf.at_ms, leaf.kind, leaf.facts.get("request"), tuple(leaf.rows))
    for scanner in (Scanner(), LEARNED):
        found = scanner.read(raw, leaf.kind)
        if (*found[:5], tuple(found[5])) != wanted:
            raise AssertionError(f"scanned {found}, parsed {wanted}")
    _key_chain(leaf)


def _openings(raw: bytes) -> None:
    with may_refuse():
        for opening in _read_part(raw).values():
            check_opening(Leaf.parse(RAW[1]), opening)
    _parts(raw)


def _witness(raw: bytes) -> None:
    with may_refuse():
        witness.conflict_size(raw)
    witness.with_cosignatures(Note.parse(NOTE), raw, [WITNESS])


def _consistency(raw: bytes) -> None:
    hashes = [raw[at : at + 32] for at in range(2, len(raw), 32)]
    verify_consistency((raw[0] if raw else 0, bytes(32)), (raw[1] if len(raw) > 1 else 0, bytes(32)), hashes)


class _Export:
    """An export in which one file is the fuzzer's; the checkpoint is signed over whatever stands there."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.files = {"checkpoint": bytes(Checkpoint(ORIGIN, 1, leaf_hash(RAW[0])).sign(KEY))}

    def read_bytes(self, key: str, *, limit: int) -> bytes:
        return self.files.get(key, self.raw)[:limit]

    def put_bytes(self, key: str, data: bytes, *, replace: bool = False) -> None:
        raise AssertionError

    def exists(self, key: str) -> bool:
        return True


def _tiles(raw: bytes) -> None:
    reader = tiles.TileReader(_Export(raw), keys=[NAMED])
    with may_refuse():
        reader.hashes(1, 0, 0, 1)
    with may_refuse():
        verify_log(reader, DOMAIN, keys=[NAMED])
    list(reader.leaves(1))


def _key_chain(leaf: Leaf) -> None:
    """Whatever a leaf that parses says of keys, following the chain gives keys or refuses."""
    for step in ("begin", "change"):
        keys = chain.KeyChain(ORIGIN, [NAMED], [1])
        with may_refuse():
            getattr(keys, step)(leaf)
            keys.signers_at(leaf.index + 1)


def _notes() -> list[bytes]:
    return [NOTE, *(raw for raw in vector_strings("audit-log") if b"\n\n\xe2\x80\x94 " in raw and raw.startswith(b"hermetic.log"))][
        :60
    ]


def _checkpoints() -> list[bytes]:
    return [note.partition(b"\n\n")[0] + b"\n" for note in _notes()[:8]]


def _receipts() -> list[bytes]:
    known = [raw for raw in vector_strings("audit-log") if b"c2sp.org/tlog-proof" in raw]
    return [bytes(RECEIPT), RECEIPT.proof.encode(), *known[:40]]


def _leaves() -> list[bytes]:
    return [*RAW, *(raw for raw in vector_strings("audit-log") if raw[:8] == b'{"at_ms"')][:80]


def _keys() -> list[bytes]:
    return [str(NAMED).encode(), str(WITNESS).encode(), NOTE.splitlines()[-1], NAMED.name.encode()]


def _answers() -> list[bytes]:
    signed = KEY.sign(b"cosignature/v1\ntime 7\n" + Note.parse(NOTE).text.encode())
    line = NoteSignature(WITNESS.name, WITNESS.key_id, (7).to_bytes(8, "big") + signed)
    return [str(line).encode(), b"5\n", NOTE.rpartition(b"\n\n")[2], b"409"]


TARGETS = {
    "signed-note": Target(_note, 50_000, _notes, words=("\u2014".encode(), b"\n\n", b"hermetic.log/")),
    "checkpoint": Target(_checkpoint, 60_000, lambda: [*_checkpoints(), NOTE], words=(b"hermetic.log/",)),
    "verifier-key": Target(_verifier_key, 50_000, _keys),
    "tlog-proof": Target(_receipt, 60_000, _receipts, words=(b"c2sp.org/tlog-proof@v1", b"index ", b"extra ")),
    "log-leaf": Target(_leaf, 24_000, _leaves, list(LEAVES)),
    "log-openings": Target(
        _openings, 35_000, lambda: [bytes(32) + b"\0\0\0\x04abcd", json.dumps(PART, separators=(",", ":")).encode()], [PART]
    ),
    "log-witness": Target(_witness, 40_000, _answers, words=("\u2014 witness.example ".encode(),)),
    "log-consistency": Target(_consistency, 60_000, lambda: [b"\3\7" + bytes(96), b"\0\0", b"\4\7" + bytes(32)]),
    "log-tiles": Target(_tiles, 7_000, lambda: [len(RAW[0]).to_bytes(2, "big") + RAW[0], leaf_hash(RAW[0]), b""]),
}

PARSERS = (
    *("audit/leaf", "audit/note", "audit/proof", "audit/receipts", "audit/scan", "audit/tiles", "audit/witness", "audit/pins"),
    "audit/chain",
)
