"""What is known about the log from outside, and how restored generations hang together. Pure.

A pin is a checkpoint that somebody kept: this user's configuration, a receipt, a witness, an export, another machine. Size and root
are compared as a pair. A pin that the domain's own user could not have written is `external`; only those anchor anything.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

from hermetic.audit.note import Checkpoint, Note
from hermetic.errors import FormatError, LogTampered
from hermetic.formats.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hermetic.audit.leaf import Leaf
    from hermetic.ids import DomainId

FORK_HINT = "the log was forked or rewritten: keep both states as evidence, and do not trust releases since the last common one"
CUT_HINT = "the end of the log was cut off: keep both states as evidence, and look who could write the database"


@dataclass(frozen=True, slots=True)
class Pin:
    """A checkpoint seen earlier, and where it was kept."""

    checkpoint: Checkpoint
    where: str
    external: bool = False

    @classmethod
    def from_note(cls, note: str, where: str, *, external: bool = False) -> Pin:
        """Read the checkpoint of a signed note; its signature is not needed, since the pair is compared. Raises FormatError."""
        return cls(Checkpoint.parse(Note.parse(note.encode("utf-8", "surrogatepass")).text), where, external)


@dataclass(frozen=True, slots=True)
class Restored:
    """What the first leaf of a restored generation says: the state that was restored, and the highest that was known."""

    restored: Checkpoint
    highest: Checkpoint

    @classmethod
    def of(cls, leaf: Leaf, domain: DomainId) -> Restored:
        """Read it from a `domain.restored` leaf. Raises LogTampered."""
        try:
            found = cls(Checkpoint.parse(str(leaf.facts.get("restored"))), Checkpoint.parse(str(leaf.facts.get("highest"))))
        except FormatError:
            raise LogTampered(f"generation {leaf.generation} does not say what was restored") from None
        for item in (found.restored, found.highest):
            if item.origin.domain != domain or item.origin.generation >= leaf.generation:
                raise LogTampered(f"generation {leaf.generation} restores another log")
        return found

    def names_lost(self, state: tuple[int, int]) -> bool:
        """Say whether this restore names (generation, size) as known and lost. What earlier restores gave up it says nothing of."""
        old, new = self.restored, self.highest
        return (old.origin.generation, old.size) < state <= (new.origin.generation, new.size)

    def loss(self) -> Finding | None:
        """Return the finding that says that entries were lost, if some were."""
        if self.highest == self.restored:
            return None
        old, new = self.restored, self.highest
        message = f"restored at {old.origin.generation}/{old.size}, while {new.origin.generation}/{new.size} was known"
        return Finding("log-lost-entries", "medium", "log", message, "treat what happened in between as unknown")


@dataclass(slots=True)
class History:
    """The generations that the store holds, with their sizes, the roots that were asked for, and what was restored."""

    sizes: dict[int, int] = field(default_factory=dict)
    roots: dict[int, dict[int, bytes]] = field(default_factory=dict)
    restores: dict[int, Restored] = field(default_factory=dict)

    def lost_at(self, generation: int, size: int) -> bool:
        """Say whether a later restore, logged as such, gave up the state (generation, size)."""
        for later, restore in self.restores.items():
            state = (generation, size)
            kept = (restore.restored.origin.generation, restore.restored.size)
            if later > generation and state > kept:
                return True
        return False

    def check_pin(self, pin: Pin) -> Finding | None:
        """Compare one pin. Raises LogTampered for a cut or forked log; returns a finding where a restore explains it."""
        origin, size = pin.checkpoint.origin, pin.checkpoint.size
        if origin.generation in self.sizes and size <= self.sizes[origin.generation]:
            if self.roots[origin.generation][size] != pin.checkpoint.root:
                raise LogTampered(
                    f"at size {size} of generation {origin.generation} the log is not what {pin.where} saw", hint=FORK_HINT
                )
            return None
        if self.lost_at(origin.generation, size):
            message = f"{pin.where} saw size {size} of generation {origin.generation}, which a restore gave up"
            return Finding(
                "pin-in-lost-entries", "medium" if self._known_lost(pin) else "high", "log", message, "ask who restored, and why"
            )
        held = self.sizes.get(origin.generation, 0)
        raise LogTampered(f"{pin.where} saw {size} entries of generation {origin.generation}, the log has {held}", hint=CUT_HINT)

    def _known_lost(self, pin: Pin) -> bool:
        state = (pin.checkpoint.origin.generation, pin.checkpoint.size)
        return any(item.names_lost(state) for item in self.restores.values())

    def check_restores(self) -> list[Finding]:
        """Check that each generation continues the stored one before it. Raises LogTampered."""
        generations = sorted(self.sizes)
        for before, after in pairwise(generations):
            restored = self.restores[after].restored
            size = restored.size
            if restored.origin.generation != before or size != self.sizes[before] or self.roots[before][size] != restored.root:
                raise LogTampered(f"generation {after} does not continue the generation {before} that is stored", hint=FORK_HINT)
        return [loss for item in self.restores.values() if (loss := item.loss())]


def starts_late(generation: int, *, partial: bool) -> Finding:
    """Return the finding for a log whose first stored generation is not 1. Raises LogTampered unless a part was asked for."""
    message = f"the log starts with generation {generation}; what was before is not here"
    if not partial:
        raise LogTampered(message, hint=CUT_HINT)
    return Finding("log-starts-late", "medium", "log", message, "verify the earlier generations where they are kept")


def sizes_wanted(pins: Sequence[Pin], generation: int) -> set[int]:
    """Return the sizes at which the root of a generation has to be computed for the pins."""
    return {pin.checkpoint.size for pin in pins if pin.checkpoint.origin.generation == generation}
