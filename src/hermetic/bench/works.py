"""The works, each sealed and plain: what `Bench` does in the process that is measured.

    seal     a new version, digests, manifest and record included, durable    plain: copy, then sync of the copies and their folder
    expose   to files, every digest checked, release on record; not synced    plain: copy, not synced
    load     all of it into fresh memory, release included                    plain: read into the same kind of memory
    lazy     RANGE bytes from its middle, opened for that                     plain: the same
    epoch    every record once, in order, by so many workers                  plain: the same
    tensors, tensor  see `tensors`
    release  one key, decided and recorded, twice durable                     plain: one synced commit of one row in SQLite

Threads are those of the sealed side; the plain side of an epoch has as many workers, and that of the others one thread.
"""

from __future__ import annotations

import mmap
import os
import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hermetic.assets import exposing, sealing
from hermetic.assets.inputs import collect
from hermetic.assets.session import fresh_id
from hermetic.bench import epochs, tensors
from hermetic.bench.domains import DATA_CLASS
from hermetic.bench.measuring import Work
from hermetic.bench.shape import MIB
from hermetic.errors import IntegrityError, UsageError
from hermetic.formats.messages.versions import EndLeases, OpenVersions
from hermetic.ids import Purpose
from hermetic.stores.durable import sync_folder
from hermetic.stores.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hermetic.assets.drafts import DraftVersion
    from hermetic.assets.inputs import InputFile
    from hermetic.assets.workspace import Workspace

NAME = "dataset/bench"
REF = f"{NAME}@1"
RANGE = 16 * MIB
RELEASES = 20  # in one measurement; the figure is of one
SEALED, PLAIN = "sealed", "plain"
_HOUR_S = 3600
_OUT = "out"


@dataclass(frozen=True, slots=True)
class Bench:
    """A workspace on a throw-away domain in which `source` is sealed as REF, and a folder for what the works write."""

    workspace: Workspace
    source: Path
    scratch: Path
    threads: int

    def works(self, name: str) -> dict[str, Work]:
        """Return the two sides of a work."""
        makers: dict[str, Callable[[], tuple[Work, Work]]] = {
            "seal": self._seal,
            "expose": self._expose,
            "load": self._load,
            "lazy": self._lazy,
            "epoch": self._epoch,
            "release": self._release,
            "tensors": lambda: tensors.load(self.workspace, REF, self._tensor_files()),
            "tensor": lambda: tensors.load_one(self.workspace, REF, self._tensor_files()),
        }
        if name not in makers:
            raise UsageError(f"{name!r} is no work of a benchmark", hint=f"write one of: {', '.join(makers)}")
        sealed, plain = makers[name]()
        return {SEALED: sealed, PLAIN: plain}

    def files(self) -> tuple[InputFile, ...]:
        """Return what is measured, in order. Members are numbered: a file may have a name that no URL can hold."""
        found = enumerate(collect(self.source).files)
        return tuple(replace(file, member=f"{number:06d}{_suffix(file.path)}") for number, file in found)

    def seal_all(self, *, expect: str | None = None) -> str:
        """Seal everything as a new version; return its id. Raises IntegrityError if its suite is not the one to `expect`."""
        terms = sealing.Terms(name=NAME, data_class=DATA_CLASS)
        with sealing.begin(self.workspace.session, terms, path=self.source) as draft:
            if expect is not None and draft.draft.suite != expect:
                raise IntegrityError(f"the throw-away domain seals under {draft.draft.suite}, not {expect}")
            _add(draft, self.files(), self.threads)
            return draft.publish().published.version

    def _seal(self) -> tuple[Work, Work]:
        made: list[str] = []

        def forget() -> None:
            for version in made:
                shutil.rmtree(self._store() / version)  # of the throw-away domain: the disk must not fill up
            made.clear()

        sealed = Work(lambda: made.append(self.seal_all()), os.sync, forget)
        return sealed, Work(lambda: self._copy(sync=True), self._begin_out, self._end_out)

    def _expose(self) -> tuple[Work, Work]:
        session, files = self.workspace.session, self.files()
        targets = {file.member: self.scratch / _OUT / f"{number:06d}" for number, file in enumerate(files)}

        def expose() -> None:
            for member, target in targets.items():
                given = {"member": member, "purpose": Purpose.PREPARE, "threads": self.threads}
                exposing.expose(session, REF, target, seconds=_HOUR_S, **given)  # type: ignore[arg-type]

        def end() -> None:
            for target in targets.values():
                exposing.end(session, target)
            self._end_out()

        return Work(expose, self._begin_out, end), Work(lambda: self._copy(sync=False), self._begin_out, self._end_out)

    def _load(self) -> tuple[Work, Work]:
        def sealed() -> None:
            with self.workspace.version(REF, purpose=Purpose.TRAIN) as version:
                for member in version.members:
                    with fresh_memory(member.length) as memory, version.reader(member, threads=self.threads) as reader:
                        reader.readinto_at(0, memory)

        files = self.files()

        def plain() -> None:
            for file in files:
                with fresh_memory(file.length) as memory, file.path.open("rb", buffering=0) as opened:
                    _fill(opened.fileno(), memory, 0)

        return Work(sealed), Work(plain)

    def _lazy(self) -> tuple[Work, Work]:
        file = max(self.files(), key=lambda file: file.length)
        count = min(RANGE, file.length)
        offset = (file.length - count) // 2

        def sealed() -> None:
            with self.workspace.version(REF, purpose=Purpose.SERVE) as version:
                member = version.member(file.member)
                with fresh_memory(count) as memory, version.reader(member, threads=self.threads) as reader:
                    reader.readinto_at(offset, memory)

        def plain() -> None:
            with fresh_memory(count) as memory, file.path.open("rb", buffering=0) as opened:
                _fill(opened.fileno(), memory, offset)

        return Work(sealed), Work(plain)

    def _epoch(self) -> tuple[Work, Work]:
        files = self.files()
        sealed = [epochs.Shard("hermetic", f"{REF}/{file.member}", file.length) for file in files]
        plain = [epochs.Shard("file", str(file.path), file.length) for file in files]
        return Work(epochs.epoch(sealed, self.threads)), Work(epochs.epoch(plain, self.threads))

    def _release(self) -> tuple[Work, Work]:
        connection = self.workspace.connection
        database = sqlite3.connect(self.scratch / "plain.db", isolation_level=None)
        for statement in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", "CREATE TABLE IF NOT EXISTS t (a BLOB)"):
            database.execute(statement)
        leases: list[str] = []

        def release() -> None:
            for _ in range(RELEASES):
                answer = connection.ask(OpenVersions(fresh_id(), (REF,), purpose=Purpose.PREPARE))
                connection.port.redeem(answer.released[0].lease.key).wipe()
                leases.append(answer.released[0].lease.id)

        def end() -> None:
            connection.ask(EndLeases(tuple(leases)))
            leases.clear()

        def commit() -> None:
            for _ in range(RELEASES):
                database.execute("INSERT INTO t VALUES (?)", (bytes(500),))

        return Work(release, after=end), Work(commit)

    def _tensor_files(self) -> tuple[Path, ...]:
        return tuple(file.path for file in self.files() if file.path.suffix == tensors.SUFFIX)

    def _store(self) -> Path:
        (store,) = self.workspace.connection.stores.values()
        if not isinstance(store, LocalStore):
            raise IntegrityError("the store of a throw-away domain is a folder")
        return store.root

    def _begin_out(self) -> None:
        (self.scratch / _OUT).mkdir(mode=0o700)
        os.sync()

    def _end_out(self) -> None:
        shutil.rmtree(self.scratch / _OUT)

    def _copy(self, *, sync: bool) -> None:
        folder = self.scratch / _OUT
        for number, file in enumerate(self.files()):
            target = folder / f"{number:06d}"
            shutil.copyfile(file.path, target)
            if sync:
                with target.open("rb") as copy:
                    os.fsync(copy.fileno())
        if sync:
            sync_folder(folder)


def _suffix(path: Path) -> str:
    return path.suffix if path.suffix in {".parquet", tensors.SUFFIX} else ""


def _add(draft: DraftVersion, files: tuple[InputFile, ...], threads: int) -> None:
    """Seal files with so many threads: in each of a few large ones, over many."""
    if len(files) < sealing.WORKERS or threads == 1:
        for file in files:
            draft.add_file(file, threads=threads)
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda file: draft.add_file(file, threads=1), files))


@contextmanager
def fresh_memory(size: int) -> Iterator[memoryview]:
    """Lend memory that nobody has used, huge pages advised where the system has them: what a loader would read into."""
    with mmap.mmap(-1, max(size, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        if hasattr(mmap, "MADV_HUGEPAGE"):
            memory.madvise(mmap.MADV_HUGEPAGE)
        with memoryview(memory) as view, view[:size] as part:
            yield part


def _fill(descriptor: int, memory: memoryview, offset: int) -> None:
    done = 0
    while done < memory.nbytes:
        with memory[done:] as rest:
            count = os.preadv(descriptor, [rest], offset + done)
        if not count:
            raise IntegrityError("a file became shorter while it was measured")
        done += count
