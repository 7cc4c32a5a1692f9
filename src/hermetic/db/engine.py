"""The custody database on SQLite: opened only where it is safe, written by one at a time, read by all.

    database = Database.create(path)                     # folder 0700, file 0600, schema of this release
    database = Database.open(path)
    with database.write(keys, step="custody.release.intent") as session:
        session.insert(tables.lease, …)                  # committed and durable at the end of the block, or not at all
    with database.read(keys) as session:
        session.require(tables.asset, asset_id)          # one snapshot, taken on entry

Invariants:
1. A commit that returned is on disk: write-ahead log, `synchronous=FULL`, local file system, all asserted (`link`, `filesystems`).
2. Only the effective user can have written the files (`files`); what they say is still believed only by row MAC (`rows`).
3. Writers queue at a lock file across threads and processes; readers never wait for writers, nor writers for readers.
4. A thread has at most one session of a database: a nested one would wait for itself.
5. A fork takes no connection along: connections are closed before, and a child born in the middle of a transaction is refused.
6. The schema revision is compared in every transaction, so that a process that outlives a migration stops instead of guessing.
"""

from __future__ import annotations

import contextlib
from collections import deque
from typing import TYPE_CHECKING, Self

from hermetic import steps
from hermetic.db import files, filesystems, forks, upkeep
from hermetic.db.faults import driver_errors
from hermetic.db.link import Link
from hermetic.db.rows import ReadSession, Session
from hermetic.db.schema import check_revision, dialect_statements
from hermetic.db.writerlock import WriterLock
from hermetic.errors import HermeticError, IntegrityError, StorageError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from hermetic.db.columns import RowKeys

TIMEOUT_S = 10.0  # to wait for a turn to write


class Database:
    """One custody database. Threads may share it; after a fork the child's copy opens connections of its own."""

    def __init__(self, path: Path, *, timeout_s: float, unsafe: Mapping[int, str]) -> None:
        """Use `open` or `create`."""
        self.path = path
        self._timeout_s = timeout_s
        self._lock = WriterLock(path.with_name(path.name + ".lock"), timeout_s)
        self._idle: dict[bool, deque[Link]] = {True: deque(), False: deque()}  # by "may write"
        self._gate = forks.Gate(self._close_idle, self._lock.forget)
        self._file = _identity(files.check_owned(path))
        filesystems.check(path.parent, unsafe)

    @classmethod
    def open(cls, path: Path, *, timeout_s: float = TIMEOUT_S, unsafe: Mapping[int, str] = filesystems.UNSAFE) -> Self:
        """Open an existing database.

        Raises NotFound; Denied when others own or can write it; StorageError on an unsafe file system, a full or read-only disk;
        Unsupported when a newer release wrote it, or an older one and it needs `hermetic migrate`; IntegrityError when it is damaged.
        """
        database = cls(path.absolute(), timeout_s=timeout_s, unsafe=unsafe)
        with database.read(None):
            return database

    @classmethod
    def create(cls, path: Path, *, timeout_s: float = TIMEOUT_S, unsafe: Mapping[int, str] = filesystems.UNSAFE) -> Self:
        """Create the folder (0700) and an empty database (0600) with the schema of this release, all at once or not at all.

        Raises Conflict when the file exists; otherwise as `open`.
        """
        from hermetic.db import migrate  # noqa: PLC0415 - Alembic is for init and migrate only

        path = path.absolute()
        with _making(path, timeout_s, unsafe) as temporary:
            migrate.build(temporary)
        steps.reached("db.create.renamed")
        return cls.open(path, timeout_s=timeout_s, unsafe=unsafe)

    @classmethod
    def from_snapshot(
        cls, path: Path, data: bytes, *, timeout_s: float = TIMEOUT_S, unsafe: Mapping[int, str] = filesystems.UNSAFE
    ) -> Self:
        """Write what `snapshot_bytes` gave to a new file, durable and checked, and open it; an older schema is migrated on the way.

        Raises Conflict when the file exists; IntegrityError when the bytes are no whole database; otherwise as `open`.
        """
        path = path.absolute()
        with _making(path, timeout_s, unsafe) as temporary:
            upkeep.install(temporary, data)
        steps.reached("db.restore.renamed")
        return cls.open(path, timeout_s=timeout_s, unsafe=unsafe)

    @contextlib.contextmanager
    def write(self, keys: RowKeys | None, *, step: str = "db.commit", merge: bool = True) -> Iterator[Session]:
        """One write transaction. Leaving the block commits durably; an error rolls everything back and passes on.

        Without `merge` the commit never brings the write-ahead log into the database file, which takes long after large changes while
        others wait for their turn: whoever writes much calls `checkpoint` in between.

        `steps.reached(step + ".before")` is called right before the commit, `steps.reached(step)` right after it is durable. An
        error from the commit itself means: not known to be committed; treat it as if it were.
        Raises Conflict when no turn came in time; StorageError when disk is full, read-only or failing; UsageError when nested.
        """
        with self._gate.entered():
            self._lock.acquire()
            try:
                with self._transaction(write=True, step=step, merge=merge) as link:
                    session = Session(link, keys)
                    try:
                        yield session
                    finally:
                        session.end()
            finally:
                if not self._gate.foreign():
                    self._lock.release()
            steps.reached(step)

    @contextlib.contextmanager
    def read(self, keys: RowKeys | None) -> Iterator[ReadSession]:
        """One read-only transaction over the state at entry. Raises as `write`, never for want of a turn."""
        with self._gate.entered(), self._transaction(write=False, step="") as link:
            session = ReadSession(link, keys)
            try:
                yield session
            finally:
                session.end()

    def snapshot_bytes(self) -> bytes:
        """Return a consistent copy of the whole database. Protected columns and rows are in it as stored."""
        with self.read(None) as session:
            return session.whole_database()

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

    def close(self) -> None:
        """Close all connections; the object may be used again, and opens new ones."""
        self._close_idle()

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

    @contextlib.contextmanager
    def _transaction(self, *, write: bool, step: str, merge: bool = True) -> Iterator[Link]:
        with self._borrowed(write=write) as link, driver_errors():
            if write:
                link.merge_at_commit(wanted=merge)
            link.begin(write=write)
            try:
                check_revision(link)
                yield link
                self._gate.refuse_foreign()
                if write:
                    steps.reached(step + ".before")
                    link.commit()
            finally:
                if not self._gate.foreign():
                    link.rollback()

    @contextlib.contextmanager
    def _borrowed(self, *, write: bool) -> Iterator[Link]:
        """Lend an idle connection, or a new one; it is kept for the next one unless something about it failed."""
        self._check_in_place()
        link = self._take(write=write)
        keep = False
        try:
            yield link
            keep = True
        except (StorageError, IntegrityError):
            raise
        except HermeticError:
            keep = True
            raise
        finally:
            if self._gate.foreign():
                forks.abandon(link)
            elif keep:
                self._idle[write].append(link)
            else:
                link.close()

    def _take(self, *, write: bool) -> Link:
        try:
            return self._idle[write].pop()
        except IndexError:
            return Link(self.path, timeout_s=self._timeout_s, read_only=not write, statements=dialect_statements())

    def _check_in_place(self) -> None:
        """Refuse to go on with a file that was replaced: connections would still write to the one that is gone."""
        try:
            found = _identity(self.path.stat(follow_symlinks=False))
        except OSError:
            found = (0, 0)
        if found != self._file:
            raise StorageError("the database file was replaced or removed while it was open", hint="start this process again")

    def _close_idle(self) -> None:
        for links in self._idle.values():
            while links:
                links.pop().close()
        self._lock.close()


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
