"""One epoch over shards: every record once, in order, through fsspec; with torch there, through a DataLoader of so many workers.

A block of records is what one worker hands over at once. Without torch the workers are threads. A loader keeps its workers between
epochs, as training does: what is measured is reading, not the start of processes.
"""

from __future__ import annotations

import bisect
import importlib
import importlib.util
import itertools
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hermetic.bench.shape import MIB
from hermetic.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

BLOCK = MIB  # 16 records of 64 KiB


@dataclass(frozen=True, slots=True)
class Shard:
    """A file of records: fsspec protocol, path, length in bytes."""

    protocol: str
    path: str
    length: int


class Blocks:
    """The blocks of all shards, by number: what torch calls a map-style dataset. Each process and thread opens files of its own."""

    def __init__(self, shards: Sequence[Shard]) -> None:
        self._shards = tuple(shard for shard in shards if shard.length)
        counts = (-(-shard.length // BLOCK) for shard in self._shards)
        self._starts = tuple(itertools.accumulate(counts, initial=0))
        self._open = threading.local()

    def __getstate__(self) -> tuple[Shard, ...]:
        """Give another process the shards; it opens them itself."""
        return self._shards

    def __setstate__(self, shards: tuple[Shard, ...]) -> None:
        self.__init__(shards)  # type: ignore[misc]

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, number: int) -> bytearray:
        at = bisect.bisect_right(self._starts, number) - 1
        offset = (number - self._starts[at]) * BLOCK
        block = bytearray(min(BLOCK, self._shards[at].length - offset))
        file = self._file(at)
        file.seek(offset)
        with memoryview(block) as view:
            done = 0
            while done < len(block):
                count = file.readinto(view[done:])
                if not count:
                    raise IntegrityError("a shard became shorter while it was measured")
                done += count
        return block

    def _file(self, at: int) -> Any:
        import fsspec  # noqa: PLC0415 - heavy, and only an epoch needs it

        mine = (os.getpid(), at)
        if getattr(self._open, "mine", None) != mine:  # one shard at a time
            shard = self._shards[at]
            self._open.file = fsspec.filesystem(shard.protocol).open(shard.path, "rb")
            self._open.mine = mine
        return self._open.file


def has_torch() -> bool:
    """Whether an epoch goes through a DataLoader."""
    return importlib.util.find_spec("torch") is not None


def epoch(shards: Sequence[Shard], workers: int) -> Callable[[], int]:
    """Return what reads all records once whenever it is called, and says how many bytes they were."""
    blocks = Blocks(shards)
    return _loader(blocks, workers) if has_torch() else lambda: _by_threads(blocks, workers)


def _by_threads(blocks: Blocks, workers: int) -> int:
    bounds = [len(blocks) * worker // workers for worker in range(workers + 1)]

    def work(part: tuple[int, int]) -> int:
        return sum(len(blocks[number]) for number in range(*part))

    with ThreadPoolExecutor(workers) as pool:
        return sum(pool.map(work, itertools.pairwise(bounds)))


def _loader(blocks: Blocks, workers: int) -> Callable[[], int]:
    torch: Any = importlib.import_module("torch")
    data: Any = importlib.import_module("torch.utils.data")
    loader = data.DataLoader(
        blocks, batch_size=None, collate_fn=_Tensor(torch.frombuffer, torch.uint8), num_workers=workers, persistent_workers=True
    )
    return lambda: sum(tensor.numel() for tensor in loader)


@dataclass(frozen=True, slots=True)
class _Tensor:
    """Makes a block a tensor, without a copy."""

    frombuffer: Callable[..., Any]
    dtype: Any

    def __call__(self, block: bytearray) -> Any:
        return self.frombuffer(block, dtype=self.dtype)
