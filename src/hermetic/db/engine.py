"""The custody database: opened only where it is safe, written by one at a time, read by all.

    database = Database.create(place)                    # a path: folder 0700, file 0600, schema of this release
    database = Database.open(place)                      # or a PostgresPlace: a database on a server
    with database.write(keys, step="custody.release.intent") as session:
        session.insert(tables.lease, …)                  # committed and durable at the end of the block, or not at all
    with database.read(keys) as session:
        session.require(tables.asset, asset_id)          # one snapshot, taken on entry

Invariants of both kinds; what each does for them stands in `sqlite` and `postgres.database`:
1. A commit that returned is on disk. What that depends on is asserted, and a place where it does not hold is refused.
2. What the rows say is believed only by row MAC (`rows`), whoever could write them.
3. Writers queue across threads and processes (and hosts, on a server), so that there is one order of commits; readers never wait for
   writers, nor writers for readers.
4. A thread has at most one session of a database: a nested one would wait for itself.
5. A fork takes no connection along: connections are closed before, and a child born in the middle of a transaction is refused.
6. The schema revision is compared in every transaction, so that a process that outlives a migration stops instead of guessing.
"""

from __future__ import annotations

import contextlib
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeAlias

from hermetic import steps
from hermetic.db import filesystems, forks
from hermetic.db.faults import driver_errors
from hermetic.db.postgres.place import PostgresPlace
from hermetic.db.relied import Plans
from hermetic.db.rows import ReadSession, Session
from hermetic.db.schema import check_revision
from hermetic.errors import HermeticError, IntegrityError, StorageError, Unsupported

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Mapping

    from hermetic.db.columns import RowKeys
    from hermetic.db.links import Link
    from hermetic.db.postgres.database import PostgresDatabase

TIMEOUT_S = 10.0  # to wait for a turn to write

DatabasePlace: TypeAlias = Path | PostgresPlace


class Queue(Protocol):
    """Where writers wait for their turn."""

    def acquire(self) -> None:
        """Wait for our turn. Raises Conflict after the timeout."""

    def release(self) -> None:
        """Let the next one in."""

    def close(self) -> None:
        """Close what nobody of this process uses."""

    def forget(self) -> None:
        """Let go in a forked child, without a word to whoever holds the turn."""


class Database:
    """One custody database. Threads may share it; after a fork the child's copy opens connections of its own."""

    searched: ClassVar[bool] = True
    """Whether `scrub` searches all that there is for bytes that were deleted, or the rows only: certificates say which."""

    def __init__(self, queue: Queue, *, timeout_s: float) -> None:
        """Use `open` or `create`."""
        self._timeout_s = timeout_s
        self._lock = queue
        self._idle: dict[bool, deque[Link]] = {True: deque(), False: deque()}  # by "may write"
        self._gate = forks.Gate(self._close_idle, self._lock.forget)
        self._plans = Plans()

    @staticmethod
    def open(place: DatabasePlace, *, timeout_s: float = TIMEOUT_S, unsafe: Mapping[int, str] = filesystems.UNSAFE) -> Database:
        """Open an existing database.

        Raises NotFound; Denied when others own or can write it, or the server does not let us in; StorageError on an unsafe file
        system, a full or read-only disk, a server that is away or loses commits; Unsupported when a newer release wrote it, or an
        older one and it needs `hermetic migrate`; IntegrityError when it is damaged.
        """
        if isinstance(place, PostgresPlace):
            return _server().opened(place, timeout_s=timeout_s)
        from hermetic.db.sqlite import SqliteDatabase  # noqa: PLC0415 - it is built on this module

        return SqliteDatabase.opened(place, timeout_s=timeout_s, unsafe=unsafe)

    @staticmethod
    def check_free(place: DatabasePlace, *, timeout_s: float = TIMEOUT_S) -> None:
        """Return if `create` could begin at a server, so that nothing else is made where it cannot. Raises as `create`."""
        if isinstance(place, PostgresPlace):
            from hermetic.db.postgres import build  # noqa: PLC0415 - Alembic is for init and migrate only

            build.check_free(place, timeout_s=timeout_s)

    @staticmethod
    def create(place: DatabasePlace, *, timeout_s: float = TIMEOUT_S, unsafe: Mapping[int, str] = filesystems.UNSAFE) -> Database:
        """Create an empty database with the schema of this release, all at once or not at all.

        A file comes with its folder (0700) and has mode 0600; on a server, the database has to be there, and empty.
        Raises Conflict when there is one; otherwise as `open`.
        """
        if isinstance(place, PostgresPlace):
            return _server().created(place, timeout_s=timeout_s)
        from hermetic.db.sqlite import SqliteDatabase  # noqa: PLC0415 - as above

        return SqliteDatabase.created(place, timeout_s=timeout_s, unsafe=unsafe)

    @staticmethod
    def from_snapshot(
        place: DatabasePlace, data: bytes, *, timeout_s: float = TIMEOUT_S, unsafe: Mapping[int, str] = filesystems.UNSAFE
    ) -> Database:
        """Write what `snapshot_bytes` gave, of either kind, to a new database, durable and checked, and open it.

        An older schema is migrated on the way. Raises Conflict when there is one; IntegrityError when the bytes are no whole database;
        otherwise as `open`.
        """
        if isinstance(place, PostgresPlace):
            return _server().created(place, timeout_s=timeout_s, data=data)
        from hermetic.db.sqlite import SqliteDatabase  # noqa: PLC0415 - as above

        return SqliteDatabase.created(place, timeout_s=timeout_s, unsafe=unsafe, data=data)

    def again(self) -> Database:
        """Open the same database once more, for whoever needs a session of its own. Raises as `open`."""
        raise NotImplementedError

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
    def read(self, keys: RowKeys | None, *, plan: Hashable = None) -> Iterator[ReadSession]:
        """One read-only transaction over the state at entry. Raises as `write`, never for want of a turn.

        Sessions with the same `plan` ask mostly the same: the questions of the last one are put together (`relied`).
        """
        with self._gate.entered(), self._transaction(write=False, step="") as link:
            session = ReadSession(link, keys, () if plan is None else self._plans.find(plan))
            try:
                yield session
            finally:
                session.end()
            if plan is not None:
                self._plans.keep(plan, session.relied() or ())

    def snapshot_bytes(self) -> bytes:
        """Return a consistent copy of the whole database. Protected columns and rows are in it as stored."""
        with self.read(None) as session:
            return session.whole_database()

    def checkpoint(self) -> None:
        """Tidy up after large changes, beside readers and writers; takes no turn."""
        raise NotImplementedError

    def checkpoint_truncate(self) -> None:
        """Take deleted bytes out of the database's own log, as far as that can be done. Raises Conflict, StorageError."""
        raise NotImplementedError

    def scrub(self, gone: Iterable[bytes]) -> None:
        """Make sure that these bytes (of deleted or overwritten rows) are nowhere that can be searched (`searched`).

        Raises UsageError for fewer than 16 bytes to look for; otherwise as `checkpoint_truncate`.
        """
        raise NotImplementedError

    def rebuild(self) -> None:
        """Write the database anew without what was deleted: for deleted bytes that nobody knows any more.

        Raises as `checkpoint_truncate`.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Close all connections; the object may be used again, and opens new ones."""
        self._close_idle()

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
        """Return an idle connection or a new one."""
        raise NotImplementedError

    def _close_idle(self) -> None:
        for links in self._idle.values():
            while links:
                links.pop().close()
        self._lock.close()


def _server() -> type[PostgresDatabase]:
    """Return the kind that is on a server. Raises Unsupported where its driver is missing."""
    try:
        from hermetic.db.postgres.database import PostgresDatabase as Kind  # noqa: PLC0415 - optional
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in {"psycopg", "psycopg_binary", "psycopg_c"}:
            raise
        raise Unsupported("PostgreSQL needs psycopg", hint="pip install 'hermetic[postgresql]'") from None
    return Kind
