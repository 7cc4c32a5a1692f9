"""What an append gives back, and what a receipt proves to somebody who has nothing but a trusted log key. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermetic.audit.leaf import Leaf
from hermetic.audit.proof import Receipt, verify_receipt_tree
from hermetic.audit.tree import inclusion_proof
from hermetic.errors import FormatError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hermetic.audit.note import Checkpoint, Note, VerifierKey
    from hermetic.audit.tree import Growth


@dataclass(frozen=True, slots=True)
class Appended:
    """What one append did. `indexes` are those of the caller's entries, in order; `size` and `root` are the log's state after it.

    `coalesced` says that a denial was only counted: then `indexes` names the leaf of the first one like it.
    """

    indexes: Sequence[int]
    checkpoint: Checkpoint
    note: Note
    coalesced: bool = False
    growth: Growth | None = None
    leaves: Sequence[bytes] = ()

    @property
    def index(self) -> int:
        """Index of the first entry."""
        return self.indexes[0]

    @property
    def size(self) -> int:
        """Leaves in the log."""
        return self.checkpoint.size

    @property
    def root(self) -> bytes:
        """Root over them."""
        return self.checkpoint.root

    def receipt(self, which: int = 0) -> Receipt:
        """Return the receipt of the entry at position `which` of the call, without touching the store.

        Raises UsageError for a coalesced denial, which has no leaf of its own.
        """
        if self.growth is None:
            raise UsageError("a counted denial has no receipt of its own", hint="ask for the receipt of the first one")
        index = self.indexes[which]
        path = inclusion_proof(self.growth, self.size, index)
        return Receipt(self.leaves[index - self.growth.before.size], index, tuple(path), self.note)


@dataclass(frozen=True, slots=True)
class Logged:
    """What a verified receipt proves."""

    leaf: Leaf
    checkpoint: Checkpoint


def verify_receipt(receipt: Receipt, known: Iterable[VerifierKey]) -> Logged:
    """Return leaf and checkpoint, offline, given the log keys one trusts (spec, section 7).

    Raises SignatureError, LogTampered, or FormatError when the leaf is not what stands at that place of that log.
    """
    checkpoint = verify_receipt_tree(receipt, known)
    leaf = Leaf.parse(receipt.leaf)  # 5
    if (leaf.generation, leaf.index) != (checkpoint.origin.generation, receipt.index):
        raise FormatError("the leaf of a receipt names another place in the log")
    return Logged(leaf, checkpoint)
