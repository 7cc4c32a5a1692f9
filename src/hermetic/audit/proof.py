"""Receipts: what proves offline that a leaf is in the log (c2sp.org/tlog-proof). Pure.

    c2sp.org/tlog-proof@v1
    extra <base64 of the leaf>                 left out where the leaf travels beside the proof
    index <decimal>
    <base64 of one 32-byte hash a line: the audit path, sibling of the leaf first>
                                               blank line
    <the checkpoint, a signed note, verbatim>

The format leaves `extra` to the application; a Hermetic receipt puts the whole leaf there, so that one file is enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermetic.audit.note import Checkpoint, Note, VerifierKey, decode_size, open_checkpoint
from hermetic.audit.tree import HASH, leaf_hash, verify_inclusion
from hermetic.errors import FormatError
from hermetic.formats.binary_text import from_base64, to_base64

if TYPE_CHECKING:
    from collections.abc import Iterable

MARKER = "c2sp.org/tlog-proof@v1"
LEAF_LIMIT = 65_535  # bytes: a tlog-tiles entry bundle counts with 16 bits
RECEIPT_LIMIT = 262_144  # bytes
PATH_LIMIT = 64  # hashes


@dataclass(frozen=True, slots=True)
class Receipt:
    """A leaf, where it stands, its audit path, and the checkpoint that the path leads to."""

    leaf: bytes
    index: int
    path: tuple[bytes, ...]
    checkpoint: Note

    def __bytes__(self) -> bytes:
        return self._text(f"extra {to_base64(self.leaf)}").encode("utf-8")

    @property
    def proof(self) -> str:
        """The tlog-proof text without the leaf, for messages that carry the leaf beside it."""
        return self._text()

    def _text(self, *extra: str) -> str:
        lines = [MARKER, *extra, f"index {self.index}", *map(to_base64, self.path), "", ""]
        return "\n".join(lines) + str(self.checkpoint)

    @classmethod
    def parse(cls, raw: bytes, *, leaf: bytes | None = None) -> Receipt:
        """Read a receipt of at most 262,144 bytes; `leaf` is given where the text does not hold it. Raises FormatError only."""
        if len(raw) > RECEIPT_LIMIT:
            raise FormatError(f"a receipt has at most {RECEIPT_LIMIT} bytes")
        head, blank, note = bytes(raw).partition(b"\n\n")
        if not blank or not head.isascii():
            raise FormatError("a receipt is a proof, a blank line and a checkpoint")
        lines = head.decode("ascii").split("\n")
        if lines[0] != MARKER:
            raise FormatError(f"a receipt starts with {MARKER!r}")
        if leaf is None:
            leaf = from_base64(_value(lines, "extra"))
        index = decode_size(_value(lines, "index"), "index")
        path = tuple(map(from_base64, lines[1:]))
        if len(leaf) > LEAF_LIMIT or len(path) > PATH_LIMIT or any(len(item) != HASH for item in path):
            raise FormatError("a receipt holds a leaf of at most 65,535 bytes and at most 64 hashes of 32")
        return cls(leaf, index, path, Note.parse(note))


def _value(lines: list[str], label: str) -> str:
    """Take the second line, which must be `label value`, out of the list and return its value."""
    if len(lines) < 2 or not lines[1].startswith(label + " "):
        raise FormatError(f"a receipt lacks its {label!r} line")
    return lines.pop(1)[len(label) + 1 :]


def verify_receipt_tree(receipt: Receipt, known: Iterable[VerifierKey]) -> Checkpoint:
    """Return the checkpoint after checking who signed it and that the leaf is under it (tlog-proof, `Verifying`).

    What the leaf says is not looked at here: `audit.log.verify_receipt` does. Raises SignatureError, LogTampered, FormatError.
    """
    hashed = leaf_hash(receipt.leaf)  # 1
    checkpoint = open_checkpoint(receipt.checkpoint, known)  # 2, 3
    verify_inclusion(hashed, receipt.index, checkpoint.size, receipt.path, root=checkpoint.root)  # 4
    return checkpoint
