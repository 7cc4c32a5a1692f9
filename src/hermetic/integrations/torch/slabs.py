"""Shared memory that workers fill batch after batch.

Fresh shared memory costs more than decrypting what goes into it: the kernel clears each page when it is first touched. So a loader
has a few slabs, each as large as a batch. The main process names a free one with each batch that it asks for; the worker fills it and
sends back its number. A slab is free again when nothing in the main process refers to its batch any more, views included. When none
is free, because a loop keeps its batches, the worker takes fresh memory as torch would.
"""

from __future__ import annotations

import weakref
from collections import deque
from dataclasses import dataclass
from typing import Any

import torch


class Wanted(list[int]):
    """The numbers of a batch's records, and the slab to read them into; None for fresh memory."""

    slab: int | None = None


@dataclass(frozen=True, slots=True)
class InSlab:
    """What a worker sends instead of a batch: where it is."""

    slab: int
    rows: int


class Slabs:
    """The slabs of one loader: `memory` is what workers see."""

    def __init__(self, count: int, size: int) -> None:
        self.memory = [
            torch.empty(0, dtype=torch.uint8).set_(torch.UntypedStorage._new_shared(size))  # noqa: SLF001 - as torch's own collation
            for _ in range(count)
        ]
        self._free: deque[int] = deque(range(count))
        self._asked: set[int] = set()

    def begin(self) -> None:
        """Begin an epoch: no worker is filling anything, and what it filled for an epoch that was left is not wanted."""
        self._free.extend(self._asked)
        self._asked.clear()

    def ask(self, indices: list[int]) -> Wanted:
        """Return `indices` with a free slab."""
        wanted = Wanted(indices)
        if self._free:
            wanted.slab = self._free.popleft()
            self._asked.add(wanted.slab)
        return wanted

    def rows(self, place: InSlab, size: int) -> torch.Tensor:
        """Return a filled slab's rows; it is free again when nothing refers to them."""
        self._asked.discard(place.slab)
        view = memoryview(self.memory[place.slab].numpy())[: place.rows * size]
        weakref.finalize(view, self._free.append, place.slab).atexit = False
        return torch.frombuffer(view, dtype=torch.uint8).view(place.rows, size)


def rows_in(memory: list[torch.Tensor] | None, wanted: Any, size: int) -> torch.Tensor | None:
    """Return the memory that a batch is wanted in, None for fresh memory."""
    slab = getattr(wanted, "slab", None)
    return None if slab is None or memory is None else memory[slab][: len(wanted) * size].view(len(wanted), size)
