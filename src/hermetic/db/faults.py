"""Driver errors to the errors of Hermetic.

Disk full, read-only and failing disks are StorageError; busy and duplicates Conflict; damage IntegrityError; wrong values UsageError.
Messages of SQLite name tables and columns, never values.
"""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from hermetic.errors import Conflict, HermeticError, IntegrityError, StorageError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

DRIVER_ERRORS = (sqlite3.Error, sqlite3.Warning, SQLAlchemyError, OverflowError)

BUSY_HINT = "another process is writing; try again, and look for a process that is stopped in the middle of a write"
CORRUPT_HINT = "keep the files as they are and restore a backup: `hermetic restore`"
_DISK = {
    sqlite3.SQLITE_FULL: ("the disk is full; nothing was written", "free some space, then try again"),
    sqlite3.SQLITE_READONLY: (
        "the database cannot be written: read-only file, folder or file system",
        "check the mount and the permissions",
    ),
    sqlite3.SQLITE_CANTOPEN: ("the database cannot be opened", "check that its folder exists and can be written"),
    sqlite3.SQLITE_IOERR: ("reading or writing the database failed; the transaction was not committed", "check the disk"),
    sqlite3.SQLITE_NOMEM: ("out of memory; nothing was written", "free some memory, then try again"),
    sqlite3.SQLITE_PERM: ("the database cannot be accessed", "check the permissions"),
}
_DUPLICATE = {sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_ROWID}


def translate(error: BaseException) -> HermeticError:
    """Return the error to raise instead of a driver's."""
    if isinstance(error, DBAPIError) and error.orig is not None:
        error = error.orig
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return _without_code(error)
    primary = code & 0xFF
    if primary in _DISK:
        message, hint = _DISK[primary]
        return StorageError(message, hint=hint)
    return _constraint(code, error) if primary == sqlite3.SQLITE_CONSTRAINT else _other(primary, error)


def _other(primary: int, error: BaseException) -> HermeticError:
    if primary in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return Conflict("the database is in use", hint=BUSY_HINT)
    if primary in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
        return IntegrityError("the database file is damaged or is no database", hint=CORRUPT_HINT)
    if primary in {sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH}:
        return UsageError("a value is too large for the database")
    if str(error).startswith(("no such table", "no such column")):
        return IntegrityError("the database lacks a table or column that its schema has", hint=CORRUPT_HINT)
    return StorageError(f"the database refused: {error}", hint="check the disk, its mount and the permissions")


def _constraint(code: int, error: BaseException) -> HermeticError:
    if code in _DUPLICATE:
        return Conflict(f"it already exists ({_columns(error)})", hint="look at what is there, then try again")
    if code == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
        return Conflict("a row that this one refers to is missing, or is still referred to")
    return UsageError(f"a value is missing or not allowed ({_columns(error)})")


def _columns(error: BaseException) -> str:
    return str(error).rpartition(": ")[2]


def _without_code(error: BaseException) -> HermeticError:
    """Errors that Python's driver raises by itself."""
    if isinstance(error, OverflowError):
        return UsageError("a number is too large for the database")
    if "Could not decode to UTF-8" in str(error):
        return IntegrityError("a text in the database is not UTF-8", hint=CORRUPT_HINT)
    return UsageError(f"the database was asked wrongly: {error}")


@contextlib.contextmanager
def driver_errors() -> Iterator[None]:
    """Turn driver errors into errors of Hermetic."""
    try:
        yield
    except DRIVER_ERRORS as error:
        raise translate(error) from None
