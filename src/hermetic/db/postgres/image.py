"""The tables as an SQLite file, and back: a copy of custody is the same whatever database it was made from.

    data = taken(connection)            the rows of one transaction, as a file that `Database.from_snapshot` opens
    with opened(data) as memory: …      checked page by page, and brought to the schema of this release, in memory
    filled(connection, memory)          every row into an empty schema

The log comes first and indexes last, so that the pages of a log that grew stay where they were: copies share what did not change.
Rows are carried as they are stored. What does not authenticate here does not authenticate there.
"""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from hermetic.db.faults import CORRUPT_HINT, driver_errors
from hermetic.db.link import APPLICATION_ID, Driver
from hermetic.db.postgres.faults import server_errors
from hermetic.db.tables import SCHEMA_KEY, SCHEMA_REVISION, metadata
from hermetic.errors import IntegrityError, Unsupported

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermetic.db.postgres.driver import Driver as ServerDriver

HEADER: Final = b"SQLite format 3\0"
WAL: Final = slice(18, 20)  # file format write and read version; 2 means write-ahead log, which no database in memory has
_PAGE: Final = 2000  # rows carried at a time
_ALEMBIC: Final = "alembic_version"
_STATEMENTS: Final = sa.Table(_ALEMBIC, sa.MetaData(), sa.Column("version_num", sa.String(32), primary_key=True, nullable=False))


def taken(raw: ServerDriver) -> bytes:
    """Return the database as this transaction sees it."""
    with contextlib.closing(_memory()) as memory, driver_errors():
        memory.execute(f"PRAGMA application_id={APPLICATION_ID}")
        memory.execute("BEGIN")
        dialect = sqlite.dialect()
        ordered = _log_first()
        for table in ordered:
            memory.execute(str(CreateTable(table).compile(dialect=dialect)).replace(f"CONSTRAINT {_ALEMBIC}_pkc ", ""))
            _carry(raw, memory, table)
        for table in ordered:
            for index in sorted(table.indexes, key=lambda item: str(item.name)):
                memory.execute(str(CreateIndex(index).compile(dialect=dialect)))
        memory.execute("COMMIT")
        data = bytearray(memory.serialize())
    data[WAL] = b"\2\2"
    return bytes(data)


def _log_first() -> list[sa.Table]:
    return sorted([*metadata.sorted_tables, _STATEMENTS], key=lambda table: not table.name.startswith("log_"))


def _carry(raw: ServerDriver, memory: sqlite3.Connection, table: sa.Table) -> None:
    names = ", ".join(f'"{column.name}"' for column in table.columns)
    order = ", ".join(f'"{column.name}"' for column in table.primary_key.columns)
    insert = f'INSERT INTO "{table.name}" ({names}) VALUES ({", ".join("?" * len(table.columns))})'  # noqa: S608 - our own names
    with server_errors(), raw.cursor(name="image", binary=True) as cursor:
        cursor.itersize = _PAGE
        cursor.execute(f'SELECT {names} FROM "{table.name}" ORDER BY {order}'.encode())  # noqa: S608 - our own names
        while rows := cursor.fetchmany(_PAGE):
            memory.executemany(insert, rows)


def _memory() -> Driver:
    return sqlite3.connect(":memory:", isolation_level=None, factory=Driver)


@contextlib.contextmanager
def opened(data: bytes) -> Iterator[Driver]:
    """Lend a copy in memory, checked and of this release's schema. Raises IntegrityError, Unsupported."""
    if not data.startswith(HEADER) or data[WAL] != b"\2\2":
        raise IntegrityError("the snapshot is not a copy of a custody database", hint="check where it comes from")
    with contextlib.closing(_memory()) as memory, driver_errors():
        memory.deserialize(data[: WAL.start] + b"\1\1" + data[WAL.stop :])
        if memory.execute("PRAGMA application_id").fetchone() != (APPLICATION_ID,):
            raise IntegrityError("the snapshot is not a copy of a custody database", hint="check where it comes from")
        if memory.execute("PRAGMA integrity_check(1)").fetchall() != [("ok",)]:
            raise IntegrityError("the snapshot is damaged", hint=CORRUPT_HINT)
        _bring_up(memory)
        yield memory


def _bring_up(memory: Driver) -> None:
    row = memory.execute("SELECT value FROM meta WHERE key = ?", (SCHEMA_KEY,)).fetchone()
    if row is None or not isinstance(row[0], str) or not row[0].isascii() or not row[0].isdecimal():
        raise IntegrityError("the database does not say which schema it has", hint=CORRUPT_HINT)
    if int(row[0]) > SCHEMA_REVISION:
        raise Unsupported(f"the snapshot has schema {row[0]}, from a newer release", hint="install that release, or a newer one")
    if int(row[0]) < SCHEMA_REVISION:
        from hermetic.db import migrate  # noqa: PLC0415 - Alembic is for init, migrate and restore only

        memory.execute("PRAGMA foreign_keys=OFF").fetchall()
        migrate.bring_up(memory)


def filled(raw: ServerDriver, memory: Driver) -> None:
    """Put every row into the empty tables of a new schema, inside its transaction. Raises IntegrityError for what is no such row."""
    for table in metadata.sorted_tables:
        names = ", ".join(f'"{column.name}"' for column in table.columns)
        rows = memory.execute(f'SELECT {names} FROM "{table.name}"')  # noqa: S608 - our own names
        if table.name == "meta":
            raw.execute("DELETE FROM meta", prepare=False)
        expected: list[type] = [_KINDS[type(column.type)] for column in table.columns]
        with server_errors(), raw.cursor().copy(f'COPY "{table.name}" ({names}) FROM STDIN'.encode()) as copy:
            while page := rows.fetchmany(_PAGE):
                for row in page:
                    copy.write_row(_checked(table.name, expected, row))


_KINDS: Final[dict[type, type]] = {sa.BigInteger: int, sa.Text: str, sa.LargeBinary: bytes}


def _checked(table: str, expected: list[type], row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a row of the types that its columns store: SQLite would keep any, and a server would change them in passing."""
    for kind, value in zip(expected, row, strict=True):
        if value is not None and (type(value) is not kind or (isinstance(value, str) and "\0" in value)):
            raise IntegrityError(f"a row of table {table} was changed by hand: it holds a type never stored", hint=CORRUPT_HINT)
    return row
