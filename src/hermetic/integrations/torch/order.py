"""In which order an epoch visits its records, as lists of record numbers, one a batch.

    sequential   as they are stored
    full         one permutation of all: best mixed; each record costs the decryption of the segment of 1 MiB around it
    blocks       blocks of neighbouring records in random order; `window` blocks at a time are mixed record by record

With blocks, everything is decrypted once and in large pieces. Windows belong to lanes, and lanes take turns: batch i comes from lane
i modulo their number. torch gives batch i to worker i modulo the number of workers, so with as many lanes as workers each worker
decrypts its own windows only. The records that do not fill a lane's last batch are put together at the end.

The order depends on seed, epoch and these parameters only, and is made as it is used. No record comes twice in an epoch, and none is
left out, except by `drop_last`.
"""

from __future__ import annotations

import hashlib
from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Literal, TypeVar

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

Item = TypeVar("Item")
_AT_ONCE = 65536  # numbers turned into objects of Python at a time
Shuffle = Literal["sequential", "blocks", "full"]


@dataclass(frozen=True, slots=True)
class Order:
    """The order of every epoch. `blocks` are ranges of neighbouring records, all records together."""

    shuffle: Shuffle
    blocks: tuple[range, ...]
    batch_size: int
    seed: int
    window: int = 1
    lanes: int = 1
    drop_last: bool = False

    def batches(self, epoch: int) -> Iterator[list[int]]:
        """Yield the batches of an epoch."""
        streams = [_chunks(stream, self.batch_size) for stream in self._streams(epoch)]
        left: list[int] = []
        for batch in _in_turn(streams):
            if len(batch) == self.batch_size:
                yield batch
            else:
                left += batch
        for at in range(0, len(left), self.batch_size):
            batch = left[at : at + self.batch_size]
            if len(batch) == self.batch_size or not self.drop_last:
                yield batch

    def count(self) -> int:
        """Return the number of batches of an epoch."""
        records = sum(len(block) for block in self.blocks)
        return records // self.batch_size if self.drop_last else -(-records // self.batch_size)

    def _streams(self, epoch: int) -> list[Iterator[int]]:
        if self.shuffle == "sequential":
            return [(index for block in self.blocks for index in block)]
        if self.shuffle == "full":
            return [_permuted(sum(len(block) for block in self.blocks), (self.seed, epoch))]
        blocks = _mixed(list(self.blocks), (self.seed, epoch))
        windows = [blocks[at : at + self.window] for at in range(0, len(blocks), self.window)]
        return [self._lane(epoch, lane, windows) for lane in range(self.lanes)]

    def _lane(self, epoch: int, lane: int, windows: list[list[range]]) -> Iterator[int]:
        for number in range(lane, len(windows), self.lanes):
            yield from _mixed([index for block in windows[number] for index in block], (self.seed, epoch, number))


def _mixed(items: list[Item], seed: tuple[int, ...]) -> list[Item]:
    """Return `items` in an order that `seed` decides."""
    return [items[at] for at in _permuted(len(items), seed)]


def _permuted(count: int, seed: tuple[int, ...]) -> Iterator[int]:
    """Yield 0, 1, ... below `count` in an order that `seed` decides; 8 bytes each are held."""
    digest = hashlib.sha256(",".join(str(part) for part in seed).encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
    for part in torch.randperm(count, generator=generator).split(_AT_ONCE):
        yield from part.tolist()


def _chunks(stream: Iterator[int], size: int) -> Iterator[list[int]]:
    while chunk := list(islice(stream, size)):
        yield chunk


def _in_turn(streams: list[Iterator[list[int]]]) -> Iterator[list[int]]:
    """Yield one of each stream in turn, until all are used up."""
    waiting = deque(streams)
    while waiting:
        stream = waiting.popleft()
        batch = next(stream, None)
        if batch is not None:
            yield batch
            waiting.append(stream)
