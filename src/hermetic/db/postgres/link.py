"""One connection to the custody database on a server: asserted when it is made, and again in every transaction.

Whoever writes takes the advisory lock in the statement after BEGIN and holds it until the commit is durable. The server lets go of
it only after the commit can be seen, so the order of commits is the order of the lock, for all processes of all hosts; and the next
writer, who reads with a snapshot for each statement (READ COMMITTED), sees everything that was written before its turn. Readers have
one snapshot (REPEATABLE READ), taken with the schema's revision, and wait for nobody.

Begin, lock, settings and revision are one round trip; the question for the last two is planned once a connection. A connection that
turns out dead there is made anew, once: nothing was done yet.
"""

from __future__ import annotations

import contextlib
import select
from typing import TYPE_CHECKING, Any, Final

import psycopg

from hermetic.db.faults import CORRUPT_HINT
from hermetic.db.postgres import image
from hermetic.db.postgres.driver import LOCK, SCHEMA, SETTINGS, check_durable, connect, wrap
from hermetic.db.tables import SCHEMA_KEY
from hermetic.errors import HermeticError, IntegrityError, NotFound, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable

    import sqlalchemy as sa
    from psycopg.pq import TransactionStatus

    from hermetic.db.postgres.driver import Driver
    from hermetic.db.postgres.place import PostgresPlace
    from hermetic.db.statements import Statements

UNKNOWN: Final = "the transaction is not known to be committed; treat it as if it were"
_UNKNOWN_HINT: Final = "look at what is there (`hermetic log ls`) before doing it again"
_STATE: Final = f"SELECT {SETTINGS}, current_setting('search_path'), (SELECT value FROM meta WHERE key = '{SCHEMA_KEY}')"  # noqa: S608 - our own names
_WRITE: Final = f"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SELECT pg_advisory_xact_lock({LOCK}); EXECUTE "
_READ: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; EXECUTE "
_OURS: Final = f"(SELECT oid FROM pg_namespace WHERE nspname = '{SCHEMA}')"  # noqa: S608 - our own name
_FOREIGN: Final = f"""
SELECT coalesce(
  (SELECT 'a table that a crash of the server empties' FROM pg_class
    WHERE relnamespace = {_OURS} AND relkind IN ('r', 'p') AND relpersistence <> 'p' LIMIT 1),
  (SELECT 'a view, a sequence or the like' FROM pg_class WHERE relnamespace = {_OURS} AND relkind NOT IN ('r', 'i') LIMIT 1),
  (SELECT 'a trigger' FROM pg_trigger JOIN pg_class c ON c.oid = tgrelid WHERE relnamespace = {_OURS} AND NOT tgisinternal LIMIT 1),
  (SELECT 'a rule' FROM pg_rewrite JOIN pg_class c ON c.oid = ev_class WHERE relnamespace = {_OURS} LIMIT 1),
  (SELECT 'a table that inherits' FROM pg_inherits JOIN pg_class c ON c.oid = inhparent WHERE relnamespace = {_OURS} LIMIT 1),
  (SELECT 'row security' FROM pg_class WHERE relnamespace = {_OURS} AND relrowsecurity LIMIT 1))
"""  # noqa: S608 - our own name


class PostgresLink:
    """A connection. `raw` is the driver's; `sqlalchemy()` wraps the same connection for SQLAlchemy Core."""

    raw: Driver

    def __init__(self, place: PostgresPlace, *, timeout_s: float, statements: Statements) -> None:
        self.statements = statements
        self._place, self._timeout_s = place, timeout_s
        self._writes = False
        self._connect()

    def _connect(self) -> None:
        self._sqlalchemy: sa.Connection | None = None
        self._revision: Any = None
        self._state, self._states = "", 0
        self._warned: list[str] = []
        self.raw = connect(self._place, timeout_s=self._timeout_s)
        try:
            self._check_schema()
        except BaseException:
            self.raw.close()
            raise
        warned = self._warned
        self.raw.add_notice_handler(lambda said: warned.append(said.message_primary or "") if _is_warning(said) else None)
        self.execute: Callable[..., Any] = self.raw.execute

    def _check_schema(self) -> None:
        (there,) = self.raw.execute(f"SELECT to_regclass('{SCHEMA}.meta') IS NOT NULL", prepare=False).fetchone() or (False,)
        if not there:
            raise NotFound(
                f"{self._place} holds no custody database",
                hint=f"`hermetic init --database {self._place}` makes one, in a new project",
            )
        (foreign,) = self.raw.execute(_FOREIGN, prepare=False).fetchone() or (None,)
        if foreign is not None:
            raise IntegrityError(f"the schema {SCHEMA} of the database holds {foreign}, which Hermetic never makes", hint=CORRUPT_HINT)

    def executemany(self, sql: str, rows: Any) -> Any:
        """Run one statement with many parameters; `rowcount` of what is returned counts over all."""
        cursor = self.raw.cursor()
        cursor.executemany(sql, rows)
        return cursor

    def begin(self, *, write: bool) -> None:
        """Begin a transaction; writers wait here. Raises Conflict when their turn does not come, StorageError, IntegrityError."""
        self._writes = write
        try:
            found = self._began(_WRITE if write else _READ)
        except StorageError:
            if not self.raw.closed:
                raise
            self._connect()
            found = self._began(_WRITE if write else _READ)
        *settings, path, self._revision = found
        check_durable(tuple(settings))
        if path != f"{SCHEMA}, pg_temp":
            raise StorageError("the settings of this connection were lost", hint="connect to the server itself, not to a pooler")

    def _began(self, sql: str) -> Any:
        try:
            if not self._state:  # each under a name of its own, as nobody says whether the last one is still there
                name, self._states = f"hermetic_state_{self._states}", self._states + 1
                self.raw.execute(f"PREPARE {name} AS {_STATE}", prepare=False)
                self._state = name
            cursor = self.raw.execute(sql + self._state, prepare=False)
        except HermeticError:
            self.rollback()
            raise
        while cursor.nextset():
            pass
        return cursor.fetchone()

    def revision(self) -> Any:
        """Return what the database says about its schema, as this transaction sees it."""
        return self._revision

    def merge_at_commit(self, *, wanted: bool) -> None:
        """Do nothing: the server brings its log into its files by itself, beside everybody."""

    def commit(self) -> None:
        """Make the transaction durable or raise: then it is not known to be committed."""
        self._warned.clear()
        try:
            said = self.raw.execute("COMMIT", prepare=False).statusmessage
        except HermeticError as error:
            raise StorageError(f"{error.message}: {UNKNOWN}", hint=_UNKNOWN_HINT) from None
        if said != "COMMIT":  # the server answers ROLLBACK, and no error, where a statement had failed
            raise StorageError("a statement of this transaction had failed; nothing was written", hint="try again")
        if self._warned:  # it stopped waiting for a synchronous standby
            raise StorageError(f"the server warned at the commit ({self._warned[0]}): {UNKNOWN}", hint=_UNKNOWN_HINT)

    def rollback(self) -> None:
        """End the transaction, if it has not ended; a connection that cannot say so is closed, and the server undoes it."""
        status: TransactionStatus = self.raw.info.transaction_status
        if status in {psycopg.pq.TransactionStatus.IDLE, psycopg.pq.TransactionStatus.UNKNOWN}:
            return
        if self._writes:  # psycopg takes all prepared statements back at a ROLLBACK: readers end with COMMIT
            self._state = ""
        try:
            self.raw.execute("ROLLBACK" if self._writes else "COMMIT", prepare=False)
        except HermeticError:
            self.close()

    def alive(self) -> bool:
        """Whether an idle connection looks usable: the server says something to an idle one only when it hangs up."""
        if self.raw.closed:
            return False
        poll = select.poll()
        poll.register(self.raw.fileno(), select.POLLIN)
        return not poll.poll(0)

    def whole(self) -> bytes:
        """Return the database as an SQLite file, as this transaction sees it."""
        return image.taken(self.raw)

    def close(self) -> None:
        """Close the connection, whatever state it is in."""
        with contextlib.suppress(psycopg.Error):
            self.raw.close()

    def sqlalchemy(self) -> sa.Connection:
        """Return the SQLAlchemy connection over this one; it neither begins nor ends transactions."""
        if self._sqlalchemy is None:
            self._sqlalchemy = wrap(self.raw)
        return self._sqlalchemy


def _is_warning(said: psycopg.errors.Diagnostic) -> bool:
    return said.severity_nonlocalized == "WARNING"
