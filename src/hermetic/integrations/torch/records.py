"""SealedRecords: raw fixed-size records in the members of a version, as a map-style dataset.

Every member (shard) holds whole records one after the other; the records of a version are numbered through its members in order of
name. Whole batches are decrypted straight into one tensor, in a worker into the shared memory in which torch hands it over.

Nothing is read before its lease was confirmed (`domain.leases`), cached blocks included. A lease that has ended is asked for once
more: custody either releases anew, on record, or refuses, and that refusal is what the training loop sees.
"""

from __future__ import annotations

import bisect
import itertools
import multiprocessing
import os
from collections import OrderedDict
from contextlib import suppress
from fnmatch import fnmatchcase
from multiprocessing import util
from multiprocessing.context import get_spawning_popen
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import Dataset, get_worker_info

from hermetic.errors import HermeticError, IntegrityError, LeaseEnded, NotFound, UsageError
from hermetic.ids import Ref
from hermetic.integrations.attached import PENDING
from hermetic.integrations.process import attached
from hermetic.integrations.torch.layout import RecordLayout
from hermetic.integrations.torch.slabs import InSlab, Slabs, Wanted, rows_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hermetic.assets.opening import MemberFile
    from hermetic.integrations.attached import Attached, View

MIB = 1024 * 1024
_registered: set[tuple[int, int]] = set()
_SMALL = 4096  # bytes of a record below which rows are gathered by torch, above by one copy each


class Batch(list[Any]):
    """Records that were read together; `whole` is all of them with a first dimension more."""

    def __init__(self, whole: Any) -> None:
        super().__init__(_rows(whole))
        self.whole = whole


def take_whole(batch: Any) -> Any:
    """Collate: a batch that was read as one is handed on as it is."""
    if isinstance(batch, Batch):
        return batch.whole
    return batch if isinstance(batch, InSlab) else torch.utils.data.default_collate(batch)


class SealedRecords(Dataset):  # type: ignore[misc]  # torch is not there when types are checked
    """Records of `dtype` and `shape` in the members of a version that match the glob `members`.

    `dtype` may be one of torch or numpy; a structured one of numpy makes each record a dict. Without a number in `ref` the latest
    version is taken once, here, and kept: every worker and every epoch reads the same. `ref` says which afterwards.

    Raises NotFound, UsageError for a member whose length is no multiple of the record's, PolicyDenied at the first reading.
    """

    def __init__(
        self,
        ref: str,
        *,
        dtype: Any,
        shape: Sequence[int] = (),
        members: str = "*",
        purpose: str | None = None,
        project: str | None = None,
    ) -> None:
        self._layout = RecordLayout.of(dtype, shape)
        self._project, self._purpose = project, purpose
        files = attached(project)
        self._root = str(files.session.connection.project.root)
        view = view_of(files, ref)
        self.ref = f"{view.name}@{view.number}"
        self._shards = tuple((path, self._rows_in(path, view.members[path])) for path in chosen_members(view, members))
        self._starts = list(itertools.accumulate((rows for _, rows in self._shards), initial=0))
        self._block_rows, self._kept_blocks = 0, 0
        self._reading: _Reading | None = None
        self._memory: list[torch.Tensor] | None = None

    def _rows_in(self, path: str, length: int) -> int:
        rows, rest = divmod(length, self._layout.size)
        if rest:
            raise UsageError(
                f"{self.ref}/{path} has {length} bytes, which is no multiple of a record's {self._layout.size}",
                hint="check dtype and shape, or choose other members with members=",
            )
        return rows

    def __len__(self) -> int:
        return self._starts[-1]

    @property
    def record_bytes(self) -> int:
        """Bytes of one record."""
        return self._layout.size

    def blocks(self, rows: int) -> list[range]:
        """Return runs of at most `rows` neighbouring records, each within one shard."""
        return [
            range(at, min(at + rows, end)) for start, end in itertools.pairwise(self._starts) for at in range(start, end, max(1, rows))
        ]

    def keep_blocks(self, rows: int, count: int) -> None:
        """Read whole blocks (see `blocks`) and keep the last `count` of them, decrypted, in each process; 0 reads records singly."""
        if (rows, count) != (self._block_rows, self._kept_blocks):
            self._block_rows, self._kept_blocks = rows, count
            self.close()

    def __getitem__(self, index: int) -> Any:
        position = index + len(self) if index < 0 else index
        return _rows(self._read([position]))[0]

    def __getitems__(self, indices: Sequence[int]) -> Batch | InSlab:
        place = rows_in(self._memory, indices, self._layout.size)
        if place is None or not isinstance(indices, Wanted) or indices.slab is None:
            return Batch(self._read(list(indices)))
        self._fill(indices, place)
        return InSlab(indices.slab, len(indices))

    def share(self, slabs: Slabs | None) -> None:
        """Let workers that start from now on fill these slabs."""
        self._memory = None if slabs is None else slabs.memory

    def from_slab(self, slabs: Slabs, place: InSlab) -> Any:
        """Return a batch that a worker has left in a slab."""
        return self._layout.tensors(slabs.rows(place, self._layout.size))

    def _read(self, indices: list[int]) -> Any:
        raw = _empty(len(indices), self._layout.size)
        self._fill(indices, raw)
        return self._layout.tensors(raw)

    def _fill(self, indices: list[int], raw: torch.Tensor) -> None:
        if indices and not (min(indices) >= 0 and max(indices) < len(self)):
            raise IndexError("record out of range")  # what a sequence raises
        try:
            self._open().read(indices, raw)
        except LeaseEnded:
            self.close()
            self._open().read(indices, raw)

    def _open(self) -> _Reading:
        reading = self._reading
        if reading is None or reading.pid != os.getpid():  # a forked child holds nothing of its parent's
            files = attached(self._project)
            reading = self._reading = _Reading(self, files, view_of(files, self.ref))
            give_back_at_exit(files)
        return reading

    def close(self) -> None:
        """Close the shards and forget what was decrypted; the next reading opens them again."""
        reading, self._reading = self._reading, None
        if reading is not None and reading.pid == os.getpid():
            reading.close()

    def __getstate__(self) -> dict[str, Any]:
        memory = self._memory if get_spawning_popen() is not None else None  # shared with a worker that starts, else not at all
        return {**self.__dict__, "_reading": None, "_project": self._root, "_memory": memory}


class _Reading:
    """The shards as one process has them open."""

    def __init__(self, records: SealedRecords, files: Attached, view: View) -> None:
        self.pid = os.getpid()
        self._files, self._view, self._purpose = files, view, records._purpose  # noqa: SLF001 - the other half of one thing
        self._shards, self._starts = records._shards, records._starts  # noqa: SLF001
        self._size, self._rows, self._kept = records.record_bytes, records._block_rows, records._kept_blocks  # noqa: SLF001
        self._open: dict[int, MemberFile] = {}
        self._blocks: OrderedDict[int, torch.Tensor] = OrderedDict()

    def read(self, indices: list[int], out: torch.Tensor) -> None:
        """Fill `out`, one row a record, in the order of `indices`."""
        view = memoryview(out.numpy()).cast("B") if indices else memoryview(b"")
        if self._rows:
            self._gather(indices, out, view)
            return
        done = 0
        while done < len(indices):
            shard = self._shard(indices[done])
            last = min(self._starts[shard + 1], indices[done] + len(indices) - done)
            count = _run(indices, done, last)
            self._fetch(shard, indices[done], view[done * self._size : (done + count) * self._size])
            done += count

    def _gather(self, indices: list[int], out: torch.Tensor, view: memoryview) -> None:
        places: dict[int, list[int]] = {}
        for place, index in enumerate(indices):
            shard = self._shard(index)
            start = self._starts[shard]
            places.setdefault(start + (index - start) // self._rows * self._rows, []).append(place)
        size = self._size
        for first, wanted in places.items():
            block = self._block(first)
            if size >= _SMALL:
                source = memoryview(block.numpy()).cast("B")
                for place in wanted:
                    at = (indices[place] - first) * size
                    view[place * size : (place + 1) * size] = source[at : at + size]
            else:
                rows = block[torch.tensor([indices[place] - first for place in wanted])]
                out.index_copy_(0, torch.tensor(wanted), rows)

    def _block(self, first: int) -> torch.Tensor:
        shard = self._shard(first)
        rows = min(self._rows, self._starts[shard + 1] - first)
        block = self._blocks.get(first)
        if block is not None:
            self._file(shard).read_at(0, memoryview(bytearray()))  # what was decrypted before is handed out under a lease only
            self._blocks.move_to_end(first)
            return block[:rows]
        if len(self._blocks) >= max(1, self._kept):
            _, block = self._blocks.popitem(last=False)  # its pages are there already
        else:
            block = torch.empty((self._rows, self._size), dtype=torch.uint8)
        self._fetch(shard, first, memoryview(block.numpy()).cast("B")[: rows * self._size])
        self._blocks[first] = block
        return block[:rows]

    def _fetch(self, shard: int, index: int, view: memoryview) -> None:
        offset = (index - self._starts[shard]) * self._size
        if self._file(shard).read_at(offset, view) != view.nbytes:
            raise IntegrityError(f"{self._shards[shard][0]!r} ended before its last record")

    def _shard(self, index: int) -> int:
        return bisect.bisect_right(self._starts, index) - 1

    def _file(self, shard: int) -> MemberFile:
        file = self._open.get(shard)
        if file is None:
            file = self._open[shard] = self._files.open(self._view, self._shards[shard][0], self._purpose)
        return file

    def close(self) -> None:
        """Close the shards and wipe the blocks."""
        for block in self._blocks.values():
            block.zero_()
        self._blocks.clear()
        for file in self._open.values():
            file.close()
        self._open.clear()


def _run(indices: list[int], start: int, last: int) -> int:
    """Return how many of `indices` from `start` on are neighbours, up to the record before `last`."""
    count, first = 1, indices[start]
    while first + count < last and indices[start + count] == first + count:
        count += 1
    return count


def _empty(rows: int, size: int) -> torch.Tensor:
    """Return a matrix of bytes; in a worker in shared memory, so that torch hands it to the main process without a copy."""
    if get_worker_info() is None or not rows:
        return torch.empty((rows, size), dtype=torch.uint8)
    storage = torch.UntypedStorage._new_shared(rows * size)  # noqa: SLF001 - what torch's own collation calls
    return torch.empty(0, dtype=torch.uint8).set_(storage).view(rows, size)


def _rows(whole: Any) -> list[Any]:
    if isinstance(whole, torch.Tensor):
        return list(whole.unbind(0))
    names = list(whole)
    return [dict(zip(names, parts, strict=True)) for parts in zip(*(whole[name].unbind(0) for name in names), strict=True)]


def view_of(files: Attached, ref: str) -> View:
    """Return the version that `ref` names. Raises NotFound, UsageError for a member."""
    parsed = Ref.parse(ref)
    if parsed.member:
        raise UsageError(f"{ref!r} names one member", hint="name the version, and choose members with members=")
    view = files.view(parsed.name, parsed.number)
    if view is None:
        raise NotFound(f"there is no {ref}", hint="`hermetic ls` lists assets")
    if view.number == PENDING:
        raise UsageError(f"this run is still writing {parsed.name}", hint="name an earlier version, or train in a run of its own")
    return view


def chosen_members(view: View, pattern: str) -> list[str]:
    """Return the members that match a glob, in order of name. Raises NotFound if there are none."""
    chosen = [path for path in sorted(view.members) if fnmatchcase(path, pattern)]
    if not chosen:
        raise NotFound(f"no member of {view.name} matches {pattern!r}")
    return chosen


def give_back_at_exit(files: Attached) -> None:
    """Give leases back when this process ends, if it is a worker: its exit runs no atexit."""
    key = (os.getpid(), id(files))
    if multiprocessing.parent_process() is not None and key not in _registered:
        _registered.add(key)
        util.Finalize(None, _give_back, (files,), exitpriority=1)


def _give_back(files: Attached) -> None:
    with suppress(HermeticError):  # leases end by themselves when custody cannot be told
        files.close()
