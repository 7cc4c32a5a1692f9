"""How many data keys one batch of a campaign writes: as many as leave others their turn.

While a batch is written nobody else writes, so that a release waits. How long it takes depends on the disk and on what else the
machine does, which nobody knows beforehand: writing that took longer than SLOW_S halves what the next batches hold, and after a run
of quick ones they grow by one step again. Sizes are multiples of STEP, so that few statements are compiled.

What counts is writing up to the commit. The sync at its end takes as long for a small batch as for a large one, so that smaller ones
would only mean more of them; and where every release of others waits for one too, a campaign gets one turn in so many.

LONGEST_S is what no write transaction should last, sync included. SLOW_S is well below, since a batch can take twice as long as the
one before; a process that gets no processor for longer than that cannot be helped by any size.
"""

from __future__ import annotations

from typing import Final

LONGEST_S: Final = 0.050
SLOW_S: Final = 0.020
STEP: Final = 100
LEAST: Final = 200  # below it most of a write is what every write takes, and smaller ones only make it more often
MOST: Final = 1500
START: Final = 500
QUICK_RUN: Final = 2  # quick writes in a row before a batch grows
MERGED: Final = 4000  # data keys between two merges of the write-ahead log, about as often as SQLite would by itself


class Pace:
    """How large batches are on this machine, kept between requests. One thread tells how long writes took, others look meanwhile."""

    def __init__(self) -> None:
        self._size: int | None = None
        self._quick = self._unmerged = 0

    @property
    def size(self) -> int:
        """How many the next batch may hold."""
        return self._size or START

    def took(self, seconds: float) -> None:
        """Take note of how long one batch took to write, up to its commit."""
        if seconds > SLOW_S:
            self._quick = 0
            self._size = max(LEAST, self.size // 2 // STEP * STEP)
            return
        self._quick += 1
        if self._quick >= QUICK_RUN and self.size < MOST:
            self._quick = 0
            self._size = self.size + STEP

    def merge_due(self, count: int) -> bool:
        """Take note that so many data keys were written; return whether it is time to merge the write-ahead log."""
        self._unmerged += count
        due = self._unmerged >= MERGED
        if due:
            self._unmerged = 0
        return due
