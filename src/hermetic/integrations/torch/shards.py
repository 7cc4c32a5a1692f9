"""SealedShards: records of any length in the members of a version, one shard after the other.

    "lines"    each line of a member, without its end, as bytes (JSON Lines, CSV)
    "tar"      each sample of a tar, as WebDataset groups them: {"__key__": "a/0001", "jpg": bytes, "cls": bytes}
    "files"    each member as bytes

The shards of an epoch are shared among the workers of a loader, and among ranks; `shuffle` mixes the order of shards, and records
within a buffer of `buffer`. A shard is read from its beginning to its end and never held whole, so a loader that goes on in mid-epoch
(`ShardLoader`) reads again what came before.

`register_webdataset()` lets webdataset's own pipelines open hermetic:// URLs.
"""

from __future__ import annotations

import random
import sys
import tarfile
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

from torch.utils.data import IterableDataset, get_worker_info

from hermetic.errors import FormatError, UsageError
from hermetic.integrations.process import attached
from hermetic.integrations.torch.records import chosen_members, give_back_at_exit, view_of
from hermetic.integrations.torch.resuming import ResumingLoader

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermetic.assets.opening import MemberFile

Shape = Literal["lines", "tar", "files"]


class SealedShards(IterableDataset):  # type: ignore[misc]  # torch is not there when types are checked
    """See the module's text. Raises NotFound, UsageError, and at the first reading PolicyDenied."""

    def __init__(  # noqa: PLR0913 - what shards can be told, all by keyword
        self,
        ref: str,
        *,
        records: Shape = "lines",
        members: str = "*",
        shuffle: bool = False,
        buffer: int = 1000,
        seed: int = 0,
        rank: int = 0,
        ranks: int = 1,
        purpose: str | None = None,
        project: str | None = None,
    ) -> None:
        if records not in _READERS:
            raise UsageError(f"records cannot be {records!r}", hint="write one of: " + ", ".join(_READERS))
        files = attached(project)
        self._root = str(files.session.connection.project.root)
        view = view_of(files, ref)
        self.ref = f"{view.name}@{view.number}"
        self.epoch = 0
        self._members = tuple(chosen_members(view, members))
        self._records, self._shuffle, self._buffer, self._seed = records, shuffle, buffer, seed
        self._rank, self._ranks, self._purpose, self._project = rank, ranks, purpose, project

    @property
    def identity(self) -> dict[str, Any]:
        """What the order of an epoch depends on."""
        return {
            "ref": self.ref,
            "shards": len(self._members),
            "records": self._records,
            "shuffle": self._shuffle,
            "buffer": self._buffer,
            "seed": self._seed,
            "rank": self._rank,
            "ranks": self._ranks,
        }

    def __iter__(self) -> Iterator[Any]:
        worker = get_worker_info()
        number, count = (0, 1) if worker is None else (worker.id, worker.num_workers)
        mine = self._in_order()[self._rank :: self._ranks][number::count]
        found = self._read(mine)
        if self._shuffle:
            return _mixed(found, self._buffer, random.Random(f"{self._seed},{self.epoch},{self._rank},{number}"))  # noqa: S311 - an order, no secret
        return found

    def _in_order(self) -> list[str]:
        members = list(self._members)
        if self._shuffle:
            random.Random(f"{self._seed},{self.epoch}").shuffle(members)  # noqa: S311 - an order, no secret
        return members

    def _read(self, members: list[str]) -> Iterator[Any]:
        files = attached(self._project)
        give_back_at_exit(files)
        view = view_of(files, self.ref)
        for member in members:
            with files.open(view, member, self._purpose) as file:
                yield from _READERS[self._records](file)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_project": self._root}


class ShardLoader(ResumingLoader):
    """A DataLoader over SealedShards whose loop can go on in mid-epoch, with as many workers and the same batch size as before."""

    def __init__(self, shards: SealedShards, **options: Any) -> None:
        if options.get("persistent_workers"):
            raise UsageError("persistent workers would not hear which epoch it is", hint="leave out persistent_workers")
        super().__init__(shards, **options)

    def rest(self) -> Iterator[Any]:
        """Return the batches of this epoch after the first `got`, which are read again and dropped."""
        self.dataset.epoch = self.epoch
        batches = self.from_workers()
        for _ in range(self.got):
            next(batches, None)
        return batches

    def identity(self) -> dict[str, Any]:
        """Return everything that the order depends on."""
        own = {"batch_size": self.batch_size, "workers": self.num_workers, "drop_last": self.drop_last}
        return {**self.dataset.identity, **own}


def register_webdataset() -> None:
    """Let webdataset open hermetic:// URLs, for example `hermetic://dataset/images@3/0001.tar`, in this process and forked workers.

    Reading only. Without webdataset it does nothing.
    """
    with suppress(ModuleNotFoundError):
        import webdataset.gopen  # noqa: F401, PLC0415 - optional

        sys.modules["webdataset.gopen"].gopen_schemes["hermetic"] = _open_url


def _open_url(url: str, mode: str = "rb", bufsize: int = 8192, **_: Any) -> Any:  # noqa: ARG001 - webdataset's signature
    import fsspec  # noqa: PLC0415 - heavy

    if mode != "rb":
        raise UsageError("webdataset reads hermetic:// URLs and does not write them", hint="write shards with fsspec.open in a run")
    give_back_at_exit(attached(None))
    return fsspec.filesystem("hermetic").open(url, "rb")


def _lines(file: MemberFile) -> Iterator[bytes]:
    for line in file:
        yield line.rstrip(b"\r\n")


def _whole(file: MemberFile) -> Iterator[bytes]:
    yield file.read()


def _samples(file: MemberFile) -> Iterator[dict[str, Any]]:
    """Yield what a tar holds under each key; neighbours with one key are one sample."""
    sample: dict[str, Any] = {}
    for path, content in _tar_members(file):
        folder, slash, name = path.rpartition("/")
        stem, _, extension = name.partition(".")
        key = f"{folder}{slash}{stem}"
        if sample and sample["__key__"] != key:
            yield sample
            sample = {}
        sample.setdefault("__key__", key)
        sample[extension.lower()] = content
    if sample:
        yield sample


def _tar_members(file: MemberFile) -> Iterator[tuple[str, bytes]]:
    try:
        with tarfile.open(fileobj=file, mode="r|") as archive:
            for info in archive:
                content = archive.extractfile(info) if info.isfile() else None
                if content is not None:
                    yield info.name, content.read()
    except tarfile.TarError as error:
        raise FormatError(f"{file.ref} is no tar: {error}", hint='say what it holds with records="lines" or "files"') from error


def _mixed(found: Iterator[Any], size: int, chance: random.Random) -> Iterator[Any]:
    buffer: list[Any] = []
    for item in found:
        if len(buffer) < max(1, size):
            buffer.append(item)
            continue
        at = chance.randrange(len(buffer))
        buffer[at], item = item, buffer[at]  # noqa: PLW2901 - swapped
        yield item
    chance.shuffle(buffer)
    yield from buffer


_READERS = {"lines": _lines, "tar": _samples, "files": _whole}
