"""One connection to SQLite: opened strictly, asserted, and driven without surprises.

Every new connection sets what durability and secrecy depend on and reads it back; a build of SQLite that ignores a setting is
refused. Transactions are begun and ended here, by hand: the driver's own transaction handling is off.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from hermetic.db.faults import CORRUPT_HINT, DRIVER_ERRORS, driver_errors
from hermetic.db.tables import SCHEMA_KEY
from hermetic.errors import FormatError, IntegrityError, StorageError

if TYPE_CHECKING:
    from pathlib import Path

    import sqlalchemy as sa

    from hermetic.db.statements import Statements

APPLICATION_ID = 0x48524D43  # "HRMC", PRAGMA application_id of every custody database
_STATEMENTS_KEPT = 512
_REVISION = "SELECT value FROM meta WHERE key = ?"
_MERGED_PAGES = 1000  # of write-ahead log, SQLite's own default

# setting, value written, value read back
_SETTINGS: tuple[tuple[str, str, object], ...] = (
    ("synchronous", "FULL", 2),  # a commit is durable when it returns
    ("foreign_keys", "ON", 1),
    ("secure_delete", "ON", 1),  # deleted bytes are overwritten with zeros
    ("trusted_schema", "OFF", 0),  # functions in a schema changed by hand do not run
    ("cell_size_check", "ON", 1),
    ("temp_store", "MEMORY", 2),  # no temporary files
    ("recursive_triggers", "OFF", 0),
)


class Driver(sqlite3.Connection):
    """The driver's connection in autocommit, which only `SqliteLink` takes in and out of transactions.

    SQLAlchemy and Alembic call `commit` and `rollback` and set `isolation_level` (which commits, in the driver): here, all do nothing.
    """

    def commit(self) -> None:
        """Do nothing."""

    def rollback(self) -> None:
        """Do nothing."""

    @property
    def isolation_level(self) -> None:
        """None: autocommit."""

    @isolation_level.setter
    def isolation_level(self, value: object) -> None:
        """Do nothing."""


class SqliteLink:
    """A connection. `raw` is the driver's; `sqlalchemy()` wraps the same connection for SQLAlchemy Core."""

    def __init__(self, path: Path, *, timeout_s: float, read_only: bool, statements: Statements) -> None:
        self.statements = statements
        self._sqlalchemy: sa.Connection | None = None
        self._merges = True
        with driver_errors():
            self.raw = connect(path, timeout_s=timeout_s)
        try:
            with driver_errors():
                self._prepare(read_only=read_only)
        except BaseException:
            self.raw.close()
            raise
        self.execute = self.raw.execute
        self.executemany = self.raw.executemany

    def _prepare(self, *, read_only: bool) -> None:
        for name, written, expected in (*_SETTINGS, ("query_only", "ON" if read_only else "OFF", int(read_only))):
            self.raw.execute(f"PRAGMA {name}={written}").fetchall()
            if self.pragma(name) != expected:
                raise StorageError(f"this build of SQLite does not obey {name}={written}", hint="use a stock build of SQLite")
        if self.pragma("application_id") != APPLICATION_ID:
            raise FormatError("not a Hermetic database", hint="check the path; a custody database is made by `hermetic init`")
        if self.pragma("journal_mode") != "wal":
            raise StorageError("the database is not in write-ahead mode", hint=CORRUPT_HINT)
        foreign = self.raw.execute("SELECT name FROM sqlite_schema WHERE type NOT IN ('table', 'index') LIMIT 1").fetchone()
        if foreign is not None:
            raise IntegrityError("the database holds a trigger or view, which Hermetic never makes", hint=CORRUPT_HINT)

    def pragma(self, name: str) -> Any:
        """Return the value of a setting."""
        row = self.raw.execute(f"PRAGMA {name}").fetchone()
        return None if row is None else row[0]

    def begin(self, *, write: bool) -> None:
        """Begin a transaction: writers take SQLite's write lock at once, so that nothing has to be upgraded later."""
        self.raw.execute("BEGIN IMMEDIATE" if write else "BEGIN")

    def revision(self) -> Any:
        """Return what the database says about its schema."""
        row = self.raw.execute(_REVISION, (SCHEMA_KEY,)).fetchone()
        return None if row is None else row[0]

    def merge_at_commit(self, *, wanted: bool) -> None:
        """Let commits bring a long write-ahead log into the database file, as SQLite does by itself, or not."""
        if wanted is not self._merges:
            self.raw.execute(f"PRAGMA wal_autocheckpoint={_MERGED_PAGES if wanted else 0}").fetchall()
            self._merges = wanted

    def commit(self) -> None:
        """Make the transaction durable (write-ahead log synced) or raise."""
        self.raw.execute("COMMIT")

    def rollback(self) -> None:
        """Undo the transaction, if SQLite has not already done so by itself."""
        if self.raw.in_transaction:
            self.raw.execute("ROLLBACK")

    def alive(self) -> bool:
        """Whether the connection looks usable; a file never hangs up."""
        return True

    def whole(self) -> bytes:
        """Return a copy of every page of the database as this transaction sees it."""
        return self.raw.serialize()

    def close(self) -> None:
        """Close the connection, whatever state it is in."""
        with contextlib.suppress(*DRIVER_ERRORS):
            self.raw.close()

    def sqlalchemy(self) -> sa.Connection:
        """Return the SQLAlchemy connection over this one; it neither begins nor ends transactions."""
        if self._sqlalchemy is None:
            self._sqlalchemy = wrap(self.raw)
        return self._sqlalchemy


def connect(path: Path, *, timeout_s: float) -> Driver:
    """Open a connection without transaction handling of the driver's own. Raises driver errors."""
    return sqlite3.connect(
        f"file:{quote(os.fsencode(path))}?mode=rw",  # never creates
        uri=True,
        timeout=timeout_s,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=_STATEMENTS_KEPT,
        factory=Driver,
    )


def wrap(raw: Driver) -> sa.Connection:
    """Return a SQLAlchemy connection over a driver connection, in driver autocommit."""
    import sqlalchemy as sa  # noqa: PLC0415 - the paths that only use keys do without an engine
    from sqlalchemy.pool import StaticPool  # noqa: PLC0415

    engine = sa.create_engine(
        "sqlite://",
        creator=lambda: raw,
        poolclass=StaticPool,
        pool_reset_on_return=None,
        isolation_level="AUTOCOMMIT",
        skip_autocommit_rollback=True,
    )
    return engine.connect()
