"""The custody database on SQLite, as `engine.Database` describes it.

Invariants besides those of `engine`:
1. A commit that returned is on disk: write-ahead log, `synchronous=FULL`, local file system, all asserted (`link`, `filesystems`).
2. Only the effective user can have written the files (`files`).
3. Writers queue at a lock file across threads and processes (`writerlock`).
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from hermetic import steps
from hermetic.db import files, filesystems, upkeep
from hermetic.db.engine import Database
from hermetic.db.faults import driver_errors
from hermetic.db.link import SqliteLink
from hermetic.db.schema import dialect_statements
from hermetic.db.writerlock import WriterLock
from hermetic.errors import StorageError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from hermetic.db.links import Link


class SqliteDatabase(Database):
    """A custody database in a file of this machine."""

    def __init__(self, path: Path, *, timeout_s: float, unsafe: Mapping[int, str]) -> None:
        """Use `Database.open` or `Database.create`."""
        self.path, self._unsafe = path, unsafe
        super().__init__(WriterLock(path.with_name(path.name + ".lock"), timeout_s), timeout_s=timeout_s)
        self._file = _identity(files.check_owned(path))
        filesystems.check(path.parent, unsafe)

    @classmethod
    def opened(cls, path: Path, *, timeout_s: float, unsafe: Mapping[int, str]) -> SqliteDatabase:
        """See `Database.open`."""
        database = cls(path.absolute(), timeout_s=timeout_s, unsafe=unsafe)
        with database.read(None):
            return database

    @classmethod
    def created(cls, path: Path, *, timeout_s: float, unsafe: Mapping[int, str], data: bytes | None = None) -> SqliteDatabase:
        """See `Database.create` and, with the bytes of a copy, `Database.from_snapshot`."""
        path = path.absolute()
        with _making(path, timeout_s, unsafe) as temporary:
            if data is None:
                from hermetic.db import migrate  # noqa: PLC0415 - Alembic is for init and migrate only

                migrate.build(temporary)
            else:
                upkeep.install(temporary, data)
        steps.reached("db.create.renamed" if data is None else "db.restore.renamed")
        return cls.opened(path, timeout_s=timeout_s, unsafe=unsafe)

    def again(self) -> Database:
        """See `Database.again`."""
        return self.opened(self.path, timeout_s=self._timeout_s, unsafe=self._unsafe)

    def checkpoint(self) -> None:
        """Bring the write-ahead log into the database file as far as no reader needs it, beside readers and writers; takes no turn."""
        with self._gate.entered(), self._borrowed(write=True) as link, driver_errors():
            link.raw.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()

    def checkpoint_truncate(self) -> None:
        """Bring the write-ahead log into the database file, sync, and cut it to nothing, so that deleted bytes are gone from it too.

        Raises Conflict when a reader holds on to an old snapshot for longer than the timeout; StorageError when the log is not empty.
        """
        with self._exclusive() as link:
            upkeep.truncate_log(link, self.path)
        steps.reached("db.checkpoint.truncated")

    def scrub(self, gone: Iterable[bytes]) -> None:
        """Make sure that these bytes (of deleted or overwritten rows) are nowhere in the database file nor in its log.

        SQLite's secure_delete is not enough: moving rows between pages can leave a copy behind. The files are searched, rebuilt
        (VACUUM) if anything is found, and searched again. Takes memory for one copy of the database.
        Raises UsageError for fewer than 16 bytes to look for; otherwise as `checkpoint_truncate`.
        """
        with self._exclusive() as link:
            upkeep.scrub(link, self.path, gone)
        steps.reached("db.scrub.done")

    def rebuild(self) -> None:
        """Write the database anew without free pages, and empty its log: for deleted bytes that nobody knows any more.

        Raises as `checkpoint_truncate`.
        """
        with self._exclusive() as link:
            upkeep.rebuild(link, self.path)
        steps.reached("db.rebuild.done")

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[Link]:
        """Lend a connection outside of any transaction while no other writer is at work."""
        with self._gate.entered():
            self._lock.acquire()
            try:
                with self._borrowed(write=True) as link, driver_errors():
                    yield link
            finally:
                if not self._gate.foreign():
                    self._lock.release()

    def _take(self, *, write: bool) -> Link:
        self._check_in_place()
        try:
            return self._idle[write].pop()
        except IndexError:
            return SqliteLink(self.path, timeout_s=self._timeout_s, read_only=not write, statements=dialect_statements())

    def _check_in_place(self) -> None:
        """Refuse to go on with a file that was replaced: connections would still write to the one that is gone."""
        try:
            found = _identity(self.path.stat(follow_symlinks=False))
        except OSError:
            found = (0, 0)
        if found != self._file:
            raise StorageError("the database file was replaced or removed while it was open", hint="start this process again")


@contextlib.contextmanager
def _making(path: Path, timeout_s: float, unsafe: Mapping[int, str]) -> Iterator[Path]:
    """Lend a temporary file that becomes `path`, one maker at a time."""
    files.make_folder(path.parent)
    files.check_folder(path.parent)
    filesystems.check(path.parent, unsafe)
    lock = WriterLock(path.with_name(path.name + ".lock"), timeout_s)
    lock.acquire()
    try:
        with files.appearing(path) as temporary:
            yield temporary
    finally:
        lock.release()
        lock.close()


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino
