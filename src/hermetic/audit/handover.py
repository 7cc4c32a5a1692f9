"""How a later generation of the log goes back to what somebody saw of an earlier one, in as many proofs as there were restores. Pure.

The first leaf of a generation names the end of the generation that was restored. It is proven under the checkpoint that is shown,
the end that it names vouches for the first leaf of that generation, and so on down to the one that was seen. There, either the log
that was seen is proven a prefix of what was restored, or it reaches further: then some restore has to name it as known and lost.

    steps, continues = prove(store, (domain, generation, size), seen=(1, 20))     # custody
    check((checkpoint, seen), steps, continues)                                    # who saw it; raises LogTampered

Keys may have changed in the generations in between. The entries that say so are proven under the ends that the steps name: whoever saw
neither the change nor the restore goes from the key that they know to the one that signs now (`key_changes`, `changed`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hermetic.audit.leaf import Leaf
from hermetic.audit.note import Checkpoint, Note
from hermetic.audit.pins import FORK_HINT, Restored
from hermetic.audit.proof import Receipt as Proof
from hermetic.audit.tree import NodeReader, consistency_proof, inclusion_proof, leaf_hash, verify_consistency, verify_inclusion
from hermetic.audit.tree import root_at as tree_root_at
from hermetic.errors import FormatError, LogTampered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from hermetic.audit.store import LogReader
    from hermetic.ids import DomainId

UNTOLD = "ask who restored custody, and from what; `hermetic log verify` where custody runs"
WAY_OUT = "ask who restored custody what was lost; `hermetic log restored` shows what custody says, and takes it once you compared"


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
        raw = first(store, generation)
        steps.append(Step(raw, tuple(inclusion_proof(NodeReader(size, _reader(store, generation)), size, 0))))
        restored = Restored.of(Leaf.parse(raw), domain).restored
        generation, size = restored.origin.generation, restored.size
    if generation < seen[0] or size < seen[1] or not seen[1]:
        return tuple(steps), ()
    return tuple(steps), tuple(consistency_proof(NodeReader(size, _reader(store, generation)), seen[1], size))


def key_changes(
    store: LogReader, steps: Iterable[Step], domain: DomainId, places: Callable[[int], Iterable[int]]
) -> tuple[Proof, ...]:
    """Return the entries by which keys changed in the generations that steps lead to, oldest first, each proven under its end.

    `places` says at which indexes of a generation they are. Raises LogTampered.
    """
    found: list[Proof] = []
    for end in _ends(steps, domain):
        generation, size = end.origin.generation, end.size
        head = store.head(generation)
        if head is None or (head.size, head.root) != (size, end.root):
            raise LogTampered(f"generation {generation} of the log does not end where the next one says")
        reader, note = NodeReader(size, _reader(store, generation)), Note.parse(head.note.encode("utf-8"))
        shown = [(index, tuple(inclusion_proof(reader, size, index))) for index in places(generation)]
        found = [*(Proof(_leaf(store, generation, index), index, path, note) for index, path in shown), *found]
    return tuple(found)


def changed(end: Checkpoint, steps: Iterable[Step], proof: Proof) -> Leaf:
    """Return the entry that a proof of an earlier generation shows, under the end that one of `steps` names; `end` is what is shown.

    Raises LogTampered, FormatError, also where the steps do not lead there.
    """
    leaf = Leaf.parse(proof.leaf)
    for step in steps:
        end = restore_of(end, step).restored
        if end.origin.generation <= leaf.generation:
            break
    if end.origin.generation != leaf.generation or leaf.index != proof.index or Checkpoint.parse(proof.checkpoint.text) != end:
        raise LogTampered("custody tells of a change of keys that is not in what was restored", hint=UNTOLD)
    verify_inclusion(leaf_hash(proof.leaf), proof.index, end.size, proof.path, root=end.root)
    return leaf


def _ends(steps: Iterable[Step], domain: DomainId) -> list[Checkpoint]:
    """Return what the steps say was restored, the newest first. Raises LogTampered."""
    return [Restored.of(Leaf.parse(step.leaf), domain).restored for step in steps]


def check(ends: tuple[Checkpoint, Checkpoint], steps: Iterable[Step], continues: Iterable[bytes]) -> bool:
    """Compare a later generation with what was seen of an earlier one: `ends` are the checkpoint that is shown, and the one seen.

    Return whether some of that was lost, and is said to be. Raises LogTampered where the restores do not lead there, and where they
    do not say that what was seen is lost.
    """
    end, seen = ends
    state = (seen.origin.generation, seen.size)
    try:
        restores = _down_to(end, steps, seen)
        end = restores[-1].restored if restores else end
        if end.origin.generation > seen.origin.generation:
            raise LogTampered("custody was restored, and does not show how its log continues what you saw", hint=UNTOLD)
        if (end.origin.generation, end.size) >= state:
            _check_prefix(seen, end, list(continues))
            return False
        if not any(restore.names_lost(state) for restore in restores):
            raise _unadmitted(seen)
    except FormatError as error:
        raise LogTampered(f"custody was restored, and what it shows of that cannot be read: {error.message}", hint=UNTOLD) from error
    return True


def owns_up(end: Checkpoint, steps: Iterable[Step], seen: Checkpoint) -> bool:
    """Say whether the restores keep what was seen, or name it as lost. For people to read: `check` is what decides."""
    state, restores = (seen.origin.generation, seen.size), _down_to(end, steps, seen)
    kept = restores[-1].restored if restores else end
    return state <= (kept.origin.generation, kept.size) or any(restore.names_lost(state) for restore in restores)


def _down_to(end: Checkpoint, steps: Iterable[Step], seen: Checkpoint) -> list[Restored]:
    """Return the restores from what is shown to the generation of what was seen, the newest first. Raises LogTampered, FormatError."""
    found: list[Restored] = []
    for step in steps:
        if end.origin.generation <= seen.origin.generation:
            break
        found.append(restore_of(end, step))
        end = found[-1].restored
    return found


def restore_of(end: Checkpoint, step: Step) -> Restored:
    """Return what the first entry of the generation that ends so says. Raises LogTampered, FormatError."""
    leaf = Leaf.parse(step.leaf)
    if (leaf.generation, leaf.index, leaf.kind) != (end.origin.generation, 0, "domain.restored"):
        raise LogTampered("an entry is shown as a restore that is none", hint=UNTOLD)
    verify_inclusion(leaf_hash(step.leaf), 0, end.size, step.path, root=end.root)
    return Restored.of(leaf, end.origin.domain)


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
        hint=WAY_OUT,
    )


def ends(store: LogReader, domain: DomainId, newest: Checkpoint) -> Iterator[tuple[int, Checkpoint]]:
    """Yield the earlier generations and where each ended, as the restores say, the newest first. Raises LogTampered."""
    generation = newest.origin.generation
    while generation > 1:
        end = Restored.of(Leaf.parse(first(store, generation)), domain).restored
        generation = end.origin.generation
        yield generation, end


def root_at(store: LogReader, end: Checkpoint, size: int) -> bytes:
    """Return the root over the first `size` leaves of a generation that ended so. Raises LogTampered."""
    reader = NodeReader(end.size, _reader(store, end.origin.generation))
    if tree_root_at(reader, end.size) != end.root:
        raise LogTampered(f"generation {end.origin.generation} of the log does not end where the next one says")
    return tree_root_at(reader, size)


def first(store: LogReader, generation: int) -> bytes:
    """Return the leaf that a generation begins with. Raises LogTampered."""
    return _leaf(store, generation, 0)


def _leaf(store: LogReader, generation: int, index: int) -> bytes:
    for rows in store.leaves(generation, index, index + 1):
        for row in rows:
            return bytes(row[3])
    raise LogTampered(f"generation {generation} of the log has no entry {index}")


def _reader(store: LogReader, generation: int) -> Callable[[int, int, int], list[bytes]]:
    return lambda level, start, stop: store.hashes(generation, level, start, stop)
