"""How a later generation of the log goes back to what somebody saw of an earlier one, in as many proofs as there were restores. Pure.

The first leaf of a generation names the end of the generation that was restored. It is proven under the checkpoint that is shown,
the end that it names vouches for the first leaf of that generation, and so on down to the one that was seen. There, either the log
that was seen is proven a prefix of what was restored, or it reaches further: then some restore has to name it as known and lost.

    steps, continues = prove(store, (domain, generation, size), seen=(1, 20))     # custody
    check((checkpoint, seen), steps, continues)                                    # who saw it; raises LogTampered
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hermetic.audit.leaf import Leaf
from hermetic.audit.pins import FORK_HINT, Restored
from hermetic.audit.tree import NodeReader, consistency_proof, inclusion_proof, leaf_hash, verify_consistency, verify_inclusion
from hermetic.errors import FormatError, LogTampered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hermetic.audit.note import Checkpoint
    from hermetic.audit.store import LogReader
    from hermetic.ids import DomainId

UNTOLD = "ask who restored custody, and from what; `hermetic log verify` where custody runs"


class Step(NamedTuple):
    """The first leaf of a generation, and its inclusion under the end of that generation that is known."""

    leaf: bytes
    path: tuple[bytes, ...]


def prove(store: LogReader, newest: tuple[DomainId, int, int], seen: tuple[int, int]) -> tuple[tuple[Step, ...], tuple[bytes, ...]]:
    """Return the steps from the newest generation and its size down to what was seen, and the proof that this is a prefix there.

    Raises LogTampered.
    """
    domain, generation, size = newest
    steps: list[Step] = []
    while generation > seen[0]:
        raw = _first(store, generation)
        steps.append(Step(raw, tuple(inclusion_proof(NodeReader(size, _reader(store, generation)), size, 0))))
        restored = Restored.of(Leaf.parse(raw), domain).restored
        generation, size = restored.origin.generation, restored.size
    if generation < seen[0] or size < seen[1] or not seen[1]:
        return tuple(steps), ()
    return tuple(steps), tuple(consistency_proof(NodeReader(size, _reader(store, generation)), seen[1], size))


def check(ends: tuple[Checkpoint, Checkpoint], steps: Iterable[Step], continues: Iterable[bytes]) -> None:
    """Compare a later generation with what was seen of an earlier one: `ends` are the checkpoint that is shown, and the one seen.

    Raises LogTampered where the restores do not lead there, and where they do not say that what was seen is lost.
    """
    end, seen = ends
    known: list[tuple[int, int]] = []
    try:
        for step in steps:
            leaf = Leaf.parse(step.leaf)
            if (leaf.generation, leaf.index, leaf.kind) != (end.origin.generation, 0, "domain.restored"):
                raise LogTampered("an entry is shown as a restore that is none", hint=UNTOLD)
            verify_inclusion(leaf_hash(step.leaf), 0, end.size, step.path, root=end.root)
            restore = Restored.of(leaf, end.origin.domain)
            known.append((restore.highest.origin.generation, restore.highest.size))
            end = restore.restored
            if end.origin.generation <= seen.origin.generation:
                break
        if end.origin.generation > seen.origin.generation:
            raise LogTampered("custody was restored, and does not show how its log continues what you saw", hint=UNTOLD)
        if (end.origin.generation, end.size) >= (seen.origin.generation, seen.size):
            _check_prefix(seen, end, list(continues))
        elif max(known) < (seen.origin.generation, seen.size):
            raise _unadmitted(seen)
    except FormatError as error:
        raise LogTampered(f"custody was restored, and what it shows of that cannot be read: {error.message}", hint=UNTOLD) from error


def _check_prefix(seen: Checkpoint, end: Checkpoint, continues: list[bytes]) -> None:
    try:
        verify_consistency((seen.size, seen.root), (end.size, end.root), continues)
    except (FormatError, LogTampered) as error:
        raise LogTampered(
            f"custody was restored, and its log does not continue what you saw at size {seen.size} of generation "
            f"{seen.origin.generation}",
            hint=FORK_HINT,
        ) from error


def _unadmitted(seen: Checkpoint) -> LogTampered:
    return LogTampered(
        f"custody was restored from a copy that lacks what you have seen ({seen.size} entries of generation "
        f"{seen.origin.generation}), and the restore does not say so",
        hint="ask who restored it; the entries in between, and what was released then, are lost",
    )


def _first(store: LogReader, generation: int) -> bytes:
    for rows in store.leaves(generation, 0, 1):
        for row in rows:
            return bytes(row[3])
    raise LogTampered(f"generation {generation} of the log has no first entry")


def _reader(store: LogReader, generation: int) -> Callable[[int, int, int], list[bytes]]:
    return lambda level, start, stop: store.hashes(generation, level, start, stop)
