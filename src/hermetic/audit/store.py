"""What the log needs of a place that keeps rows, and one that keeps them in memory.

Rows are plain tuples, because a million of them pass through `verify`. `TablesStore` (tables_store.py) keeps them in the custody
database; `MemoryStore` is for tests and for reading an export back. Nothing here checks anything: the log and `verify` do.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

from hermetic.audit.tree import STRIDE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LeafRow: TypeAlias = "tuple[int, int, str, bytes, bytes]"  # index, at_ms, kind, leaf, leaf hash
NodeRow: TypeAlias = "tuple[int, int, bytes]"  # level (8, 16 ...), index, hash
OpeningRow: TypeAlias = "tuple[int, bytes, bytes]"  # leaf index, HMAC of the first subject, sealed openings

BATCH = 4096  # rows read at a time


class CheckpointRow(NamedTuple):
    """A signed state of the log."""

    size: int
    root: bytes
    note: str
    at_ms: int


class SubjectRow(NamedTuple):
    """A subject's key wrapped under the log's key; `wrapped` None once the subject is erased."""

    wrapped: bytes | None


@dataclass(frozen=True, slots=True)
class Batch:
    """Everything that one append adds. `superseded` is the size of a checkpoint row to drop, None to keep it."""

    leaves: Sequence[LeafRow]
    nodes: Sequence[NodeRow]
    openings: Sequence[OpeningRow]
    checkpoint: CheckpointRow
    superseded: int | None


class LogReader(Protocol):
    """Reading: enough for proofs, export and verification."""

    def generations(self) -> list[int]:
        """Every generation with a leaf, a node or a checkpoint, rising."""

    def head(self, generation: int) -> CheckpointRow | None:
        """The checkpoint with the largest size."""

    def checkpoints(self, generation: int) -> list[CheckpointRow]:
        """The checkpoints kept, by rising size."""

    def leaves(self, generation: int, start: int = 0, stop: int | None = None) -> Iterator[Sequence[LeafRow]]:
        """The leaf rows with start <= index < stop, by rising index, in batches of at most 4,096."""

    def hashes(self, generation: int, level: int, start: int, stop: int) -> list[bytes]:
        """The stored hashes of a level with start <= index < stop, by rising index; level 0 gives leaf hashes."""

    def node_count(self, generation: int, level: int) -> int:
        """How many rows a level above 0 has."""


class LogStore(LogReader, Protocol):
    """Writing, inside the caller's transaction."""

    def lock(self) -> None:
        """Keep other writers out until the transaction ends, where the database does not do so by itself."""

    def append(self, generation: int, batch: Batch) -> None:
        """Add rows. Raises Conflict when one of them is there already."""

    def put_note(self, generation: int, size: int, note: str) -> None:
        """Replace the note of a kept checkpoint, to add cosignatures."""

    def opening(self, generation: int, index: int) -> OpeningRow | None:
        """The sealed openings of a leaf."""

    def subject(self, handle: bytes) -> SubjectRow | None:
        """The row of a subject, None when it never had one."""

    def put_subject(self, handle: bytes, wrapped: bytes | None) -> None:
        """Add the row of a subject, or overwrite its key (None erases it)."""

    def openings_of(self, handle: bytes) -> int:
        """How many openings name this subject first."""

    def state(self) -> bytes | None:
        """The log's own sealed state: denials counted and not yet written."""

    def put_state(self, value: bytes | None) -> None:
        """Replace it; None removes it."""


@dataclass(slots=True)
class _Generation:
    leaves: list[LeafRow] = field(default_factory=list)
    nodes: dict[int, list[bytes]] = field(default_factory=dict)
    openings: dict[int, OpeningRow] = field(default_factory=dict)
    checkpoints: dict[int, CheckpointRow] = field(default_factory=dict)


class MemoryStore:
    """A LogStore in memory, without transactions. Its fields are open, so that tests can do what an attacker would."""

    def __init__(self) -> None:
        self.data: dict[int, _Generation] = {}
        self.subjects: dict[bytes, bytes | None] = {}
        self.own_state: bytes | None = None

    def lock(self) -> None:
        """Nothing to do."""

    def generations(self) -> list[int]:
        """See LogReader."""
        return sorted(self.data)

    def _of(self, generation: int) -> _Generation:
        return self.data.get(generation) or _Generation()

    def head(self, generation: int) -> CheckpointRow | None:
        """See LogReader."""
        rows = self._of(generation).checkpoints
        return rows[max(rows)] if rows else None

    def checkpoints(self, generation: int) -> list[CheckpointRow]:
        """See LogReader."""
        return [row for _, row in sorted(self._of(generation).checkpoints.items())]

    def leaves(self, generation: int, start: int = 0, stop: int | None = None) -> Iterator[Sequence[LeafRow]]:
        """See LogReader."""
        rows = self._of(generation).leaves[start:stop]
        yield from (rows[at : at + BATCH] for at in range(0, len(rows), BATCH))

    def hashes(self, generation: int, level: int, start: int, stop: int) -> list[bytes]:
        """See LogReader."""
        held = self._of(generation)
        if level == 0:
            return [row[4] for row in held.leaves[start:stop]]
        return held.nodes.get(level, [])[start:stop]

    def node_count(self, generation: int, level: int) -> int:
        """See LogReader."""
        return len(self._of(generation).nodes.get(level, []))

    def append(self, generation: int, batch: Batch) -> None:
        """See LogStore."""
        held = self.data.setdefault(generation, _Generation())
        held.leaves.extend(batch.leaves)
        held.openings.update({row[0]: row for row in batch.openings})
        for level, _, hashed in batch.nodes:
            held.nodes.setdefault(level, []).append(hashed)
        held.checkpoints[batch.checkpoint.size] = batch.checkpoint
        if batch.superseded is not None:
            held.checkpoints.pop(batch.superseded, None)

    def put_note(self, generation: int, size: int, note: str) -> None:
        """See LogStore."""
        rows = self.data[generation].checkpoints
        rows[size] = rows[size]._replace(note=note)

    def opening(self, generation: int, index: int) -> OpeningRow | None:
        """See LogStore."""
        return self._of(generation).openings.get(index)

    def subject(self, handle: bytes) -> SubjectRow | None:
        """See LogStore."""
        return SubjectRow(self.subjects[handle]) if handle in self.subjects else None

    def put_subject(self, handle: bytes, wrapped: bytes | None) -> None:
        """See LogStore."""
        self.subjects[handle] = wrapped

    def openings_of(self, handle: bytes) -> int:
        """See LogStore."""
        return sum(row[1] == handle for held in self.data.values() for row in held.openings.values())

    def state(self) -> bytes | None:
        """See LogStore."""
        return self.own_state

    def put_state(self, value: bytes | None) -> None:
        """See LogStore."""
        self.own_state = value


def stored_levels(size: int) -> list[tuple[int, int]]:
    """Return (level, number of nodes) for every level above 0 that a store keeps for a tree of `size` leaves."""
    return [(level, size >> level) for level in range(STRIDE, max(size.bit_length(), 1), STRIDE)]


def superseded(head: CheckpointRow | None, size: int, every: int) -> int | None:
    """Return the size of the old newest checkpoint if nothing needs it any longer: one is kept of `every` so many sizes."""
    if head is None or head.size == 1 or head.note.count("\n— ") > 1:
        return None
    return head.size if (head.size - 1) // every == (size - 1) // every else None
