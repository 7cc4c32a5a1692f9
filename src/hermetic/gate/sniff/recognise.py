"""Ask the others in order: sealed first, then marks, structure, archives, pickles, and text last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermetic.gate.sniff.archives import archived
from hermetic.gate.sniff.magic import by_mark
from hermetic.gate.sniff.pickles import pickled
from hermetic.gate.sniff.sample import Guess, Sample, TooMuch
from hermetic.gate.sniff.sealed import sealed_by_hermetic, sealed_elsewhere
from hermetic.gate.sniff.tensors import by_structure
from hermetic.gate.sniff.text import text

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_DEPTH = 2  # archives inside archives

_PLAIN: tuple[Callable[[Sample], Guess | None], ...] = (sealed_by_hermetic, sealed_elsewhere, by_mark, by_structure, pickled)


def recognise(sample: Sample) -> Guess:
    """Return what the sample is; `unknown` for what nobody knows. Raises OSError if reading fails."""
    if sample.size == 0:
        return Guess("other", "empty", "unknown", "empty")
    try:
        found = _recognise(sample, 0)
    except TooMuch:
        return Guess("other", "unknown", "unknown", "not looked into: its directory is larger than a scan reads")
    return found or Guess("other", "unknown", "unknown", "no format that holds data, weights or sealed content")


def _recognise(sample: Sample, depth: int) -> Guess | None:
    for one in _PLAIN:
        if found := one(sample):
            return found
    if depth < MAX_DEPTH and (found := archived(sample, depth, _recognise)):
        return found
    return text(sample)
