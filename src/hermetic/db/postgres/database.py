"""The custody database on a server, as `engine.Database` describes it; processes of any number of hosts may have it open.

Invariants besides those of `engine`:
1. A commit that returned is on the server's disk, and on its synchronous standbys if it has any: `synchronous_commit` is at least
   `on`, and `fsync` and `full_page_writes` are, asserted with every connection and in every transaction.
2. Writers queue at an advisory lock of the server, one for all; in front of it, threads of a process queue among themselves, so that
   a process waits over one connection.
3. When the server was away, the next call connects anew. A commit whose answer was lost raises, and counts as done.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from hermetic import steps
from hermetic.db.engine import TIMEOUT_S, Database
from hermetic.db.faults import BUSY_HINT
from hermetic.db.postgres import upkeep
from hermetic.db.postgres.link import PostgresLink
from hermetic.db.postgres.statements import dialect_statements
from hermetic.errors import Conflict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hermetic.db.postgres.place import PostgresPlace


class PostgresDatabase(Database):
    """A custody database on a server."""

    searched = False

    def __init__(self, place: PostgresPlace, *, timeout_s: float = TIMEOUT_S) -> None:
        """Use `Database.open` or `Database.create`."""
        self.place = place
        super().__init__(_Queue(timeout_s), timeout_s=timeout_s)
        self._idle[False] = self._idle[True]  # connections are for reading and writing alike

    @classmethod
    def opened(cls, place: PostgresPlace, *, timeout_s: float) -> PostgresDatabase:
        """See `Database.open`."""
        database = cls(place, timeout_s=timeout_s)
        try:
            with database.read(None):
                return database
        except BaseException:
            database.close()
            raise

    @classmethod
    def created(cls, place: PostgresPlace, *, timeout_s: float, data: bytes | None = None) -> PostgresDatabase:
        """See `Database.create` and `Database.from_snapshot`."""
        from hermetic.db.postgres import build  # noqa: PLC0415 - Alembic is for init and migrate only

        build.create(place, timeout_s=timeout_s, data=data)
        steps.reached("db.create.renamed" if data is None else "db.restore.renamed")
        return cls.opened(place, timeout_s=timeout_s)

    def again(self) -> Database:
        """See `Database.again`."""
        return self.opened(self.place, timeout_s=self._timeout_s)

    def checkpoint(self) -> None:
        """Do nothing: the server does so by itself, beside everybody."""

    def checkpoint_truncate(self) -> None:
        """Have the server write a checkpoint and begin another file of its log, as far as it lets this user."""
        with self._gate.entered(), self._borrowed(write=True) as link:
            upkeep.flush(link.raw)
        steps.reached("db.checkpoint.truncated")

    def scrub(self, gone: Iterable[bytes]) -> None:
        """Make sure that no row holds these bytes. Files of the server are not searched (`searched`)."""
        with self._gate.entered(), self._borrowed(write=True) as link:
            upkeep.scrub(link.raw, gone)
        steps.reached("db.scrub.done")

    def rebuild(self) -> None:
        """Write the tables that hold keys anew, without old versions of rows. Raises Conflict when a reader is in the way."""
        with self._gate.entered(), self._borrowed(write=True) as link:
            upkeep.rebuild(link.raw)
        steps.reached("db.rebuild.done")

    def _take(self, *, write: bool) -> PostgresLink:
        with contextlib.suppress(IndexError):
            while True:
                link = self._idle[write].pop()
                if link.alive():
                    return link  # type: ignore[return-value]
                link.close()
        return PostgresLink(self.place, timeout_s=self._timeout_s, statements=dialect_statements())


class _Queue:
    """The turns of one process's threads."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._threads = threading.Lock()

    def acquire(self) -> None:
        """Wait for our turn. Raises Conflict after the timeout."""
        if not self._threads.acquire(timeout=self._timeout_s):
            raise Conflict("the database is in use: no turn to write within the time allowed", hint=BUSY_HINT)

    def release(self) -> None:
        """Let the next one in."""
        self._threads.release()

    def forget(self) -> None:
        """Begin anew, in a child whose parent may hold the turn."""
        self._threads = threading.Lock()

    def close(self) -> None:
        """Nothing is open."""
