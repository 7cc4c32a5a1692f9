"""SealedLoader: a DataLoader over SealedRecords that shuffles by blocks, shares an epoch among ranks, and goes on in mid-epoch.

    loader = SealedLoader(records, batch_size=256, shuffle=True, seed=1, num_workers=2)
    for batch in loader: ...                 # epoch 0; the next loop is epoch 1
    state = loader.state_dict()              # JSON: how many batches the loop has got, and of what order
    loader.load_state_dict(state)            # the next loop begins with the first batch that was not got before

A state is of one version, order and batch size; with others it is refused.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from hermetic.errors import UsageError
from hermetic.integrations.torch.order import Order, Shuffle
from hermetic.integrations.torch.records import MIB, take_whole
from hermetic.integrations.torch.resuming import ResumingLoader
from hermetic.integrations.torch.slabs import InSlab, Slabs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermetic.integrations.torch.records import SealedRecords

_IN_USE = 2  # batches that a loop holds at a time: the one it works on, and the one before


class SealedLoader(ResumingLoader):
    """See the module's text. Further `options` are those of DataLoader.

    `shuffle` True means "blocks" (see `order`): blocks of about `block_bytes`, `window` of them mixed at a time, which is also what a
    worker holds decrypted. "full" is one permutation of all records and decrypts 1 MiB for each. `rank` of `ranks` processes gets
    every `ranks`-th batch; what does not make a whole round is left out, so that no rank waits for another.
    """

    def __init__(  # noqa: PLR0913 - what an order can be told, all by keyword
        self,
        records: SealedRecords,
        *,
        batch_size: int = 1,
        shuffle: bool | Shuffle = False,
        seed: int = 0,
        drop_last: bool = False,
        block_bytes: int = 4 * MIB,
        window: int = 8,
        rank: int = 0,
        ranks: int = 1,
        **options: Any,
    ) -> None:
        if not 0 <= rank < ranks or batch_size < 1 or window < 1:
            raise UsageError("rank counts from 0 below ranks; batch_size and window from 1")
        kind: Shuffle = "blocks" if shuffle is True else shuffle or "sequential"
        rows = max(1, block_bytes // records.record_bytes)
        self._order = Order(
            kind,
            tuple(records.blocks(rows)),
            batch_size,
            seed,
            window=window,
            lanes=ranks * max(1, int(options.get("num_workers", 0))) if kind == "blocks" else 1,
            drop_last=drop_last,
        )
        self._blocks = (rows if kind == "blocks" else 0, window)
        self._records, self._rank, self._ranks = records, rank, ranks
        self._slabs: Slabs | None = None
        super().__init__(records, batch_sampler=_Remaining(self), **{"collate_fn": take_whole, **options})

    def __len__(self) -> int:
        return self._order.count() // self._ranks

    def rest(self) -> Iterator[Any]:
        """Return the batches of this epoch after the first `got`, read as they are asked for."""
        if self._slabs is None or not self.persistent_workers:
            self._slabs = self._new_slabs()
        self._records.keep_blocks(*self._blocks)
        self._records.share(self._slabs)
        batches = self.from_workers()
        self._records.share(None)
        return self._resolved(batches, self._slabs)

    def _new_slabs(self) -> Slabs | None:
        if not self.num_workers or self.collate_fn is not take_whole or self.pin_memory:
            return None  # nobody to share with, or others hand the memory on
        ahead = self.num_workers * (self.prefetch_factor or 2)
        return Slabs(ahead + _IN_USE, self._order.batch_size * self._records.record_bytes)

    def _resolved(self, batches: Iterator[Any], slabs: Slabs | None) -> Iterator[Any]:
        for batch in batches:
            yield self._records.from_slab(slabs, batch) if slabs is not None and isinstance(batch, InSlab) else batch

    def asked(self) -> Iterator[list[int]]:
        """Yield the batches of this epoch as workers are asked for them."""
        slabs = self._slabs
        if slabs is not None:
            slabs.begin()
        for batch in self.remaining():
            yield batch if slabs is None else slabs.ask(batch)

    def remaining(self) -> Iterator[list[int]]:
        """Yield the numbers of their records."""
        mine = islice(self._order.batches(self.epoch), self._rank, None, self._ranks)
        return islice(mine, self.got, len(self))

    def identity(self) -> dict[str, Any]:
        """Return everything that the order depends on."""
        order = self._order
        return {
            "ref": self._records.ref,
            "records": len(self._records),
            "shuffle": order.shuffle,
            "seed": order.seed,
            "batch_size": order.batch_size,
            "blocks": len(order.blocks),
            "window": order.window,
            "lanes": order.lanes,
            "drop_last": order.drop_last,
            "rank": self._rank,
            "ranks": self._ranks,
        }


class _Remaining:
    """What torch asks for the batches of an epoch."""

    def __init__(self, loader: SealedLoader) -> None:
        self._loader = loader

    def __iter__(self) -> Iterator[list[int]]:
        return self._loader.asked()

    def __len__(self) -> int:
        return len(self._loader)
