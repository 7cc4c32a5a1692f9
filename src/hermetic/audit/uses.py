"""Uses of a root as our own log names them: the leaves `root.used`, indexed for a comparison. Pure.

Memory: about 300 bytes for each use. Whoever has millions compares a shorter time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from hermetic.errors import FormatError

if TYPE_CHECKING:
    from hermetic.audit.leaf import Leaf

KIND: Final = "root.used"


class OwnUse(NamedTuple):
    """A use on our log: what was asked, when (the time of our clock is between the two), and in which leaf it stands."""

    operation: str
    first_ms: int
    last_ms: int
    generation: int
    leaf: int


@dataclass(slots=True)
class OwnUses:
    """What our log says of one root. `unnamed` counts answers without an id, which nothing can be compared with."""

    root: str
    by_id: dict[str, OwnUse] = field(default_factory=dict)
    unnamed: int = 0
    began_ms: int | None = None
    """When the log first names a use of the root; what a service recorded before then is not compared."""

    def add(self, leaf: Leaf) -> None:
        """Take in a leaf of the kind. Raises FormatError for one that says something else."""
        facts = leaf.facts
        roots, first, last = facts.get("roots"), facts.get("first_ms"), facts.get("last_ms")
        if not isinstance(roots, dict) or not isinstance(first, int) or not isinstance(last, int):
            raise FormatError(f"log entry {leaf.index} names uses of roots in an unknown form")
        named = roots.get(self.root)
        if not isinstance(named, dict):
            return
        self.began_ms = first if self.began_ms is None else min(first, self.began_ms)
        unnamed = facts.get("unnamed", 0)
        self.unnamed += unnamed if isinstance(unnamed, int) else 0
        for operation, ids in named.items():
            for request in ids if isinstance(ids, list) else ():
                if isinstance(request, str):
                    self.by_id.setdefault(request, OwnUse(operation, first, last, leaf.generation, leaf.index))
