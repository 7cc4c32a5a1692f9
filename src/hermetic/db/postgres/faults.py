"""Errors of PostgreSQL and of psycopg to errors of Hermetic.

Messages name tables, columns and constraints, never values: what the server says of rows (its detail) is left out.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import psycopg

from hermetic.db.faults import BUSY_HINT, CORRUPT_HINT
from hermetic.errors import Conflict, DatabaseUnavailable, Denied, HermeticError, IntegrityError, StorageError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

AWAY_HINT = "check that the server runs and can be reached; what was answered is safe, and the next call connects anew"
_ACCOUNT_HINT = "check the user in config.yaml, its password in ~/.pgpass (mode 0600) or its certificate, and what it is granted"

_STATES: dict[str, tuple[type[HermeticError], str, str | None]] = {
    "53100": (StorageError, "the disk of the database server is full; nothing was written", "free some space there, then try again"),
    "53200": (StorageError, "the database server is out of memory; nothing was written", "free some memory there, then try again"),
    "53300": (StorageError, "the database server takes no more connections", "raise max_connections, or end other clients"),
    "23505": (Conflict, "it already exists", "look at what is there, then try again"),
    "23503": (Conflict, "a row that this one refers to is missing, or is still referred to", None),
    "55P03": (Conflict, "the database is in use: no turn to write within the time allowed", BUSY_HINT),
    "25P02": (StorageError, "an earlier statement of this transaction failed; nothing was written", "try again"),
    "25P03": (StorageError, "the transaction took too long, and the server undid it", "try again"),
    "25006": (StorageError, "the database cannot be written: the server is a standby or read-only", "name the primary in config.yaml"),
    "42P01": (IntegrityError, "the database lacks a table or column that its schema has", CORRUPT_HINT),
    "42703": (IntegrityError, "the database lacks a table or column that its schema has", CORRUPT_HINT),
    "42501": (Denied, "the user of the database may not do this", _ACCOUNT_HINT),
    "58P01": (IntegrityError, "a file of the database is missing on its server", CORRUPT_HINT),
}
_CLASSES: dict[str, tuple[type[HermeticError], str, str | None]] = {
    "08": (DatabaseUnavailable, "the database server is away", AWAY_HINT),
    "57": (DatabaseUnavailable, "the database server is away", AWAY_HINT),
    "28": (Denied, "the database server does not let this user in", _ACCOUNT_HINT),
    "40": (Conflict, "the database is in use", BUSY_HINT),
    "23": (UsageError, "a value is missing or not allowed", None),
    "22": (UsageError, "a value cannot be stored in the database", None),
    "58": (StorageError, "the database server failed to read or write its disk", "check the disk of the server"),
    "XX": (IntegrityError, "the database is damaged", CORRUPT_HINT),
    "53": (StorageError, "the database server lacks resources; nothing was written", "look at the server's own log"),
}


def translate(error: psycopg.Error) -> HermeticError:
    """Return the error to raise instead of the driver's."""
    state = error.sqlstate or ""
    known = _STATES.get(state) or _CLASSES.get(state[:2])
    if known is not None:
        kind, message, hint = known
        where = error.diag.constraint_name or error.diag.column_name
        return kind(f"{message} ({where})" if where and state.startswith("23") else message, hint=hint)
    if isinstance(error, psycopg.DataError):
        return UsageError("a value cannot be stored in the database")
    if not state and isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return _unconnected(error)
    if state.startswith("42") or not state:
        return UsageError(f"the database was asked wrongly: {_first_line(error)}")
    return StorageError(f"the database refused: {_first_line(error)}", hint="look at the server's own log")


def _unconnected(error: psycopg.Error) -> HermeticError:
    """Return what failed while libpq connected, of which it gives no state: only a server that is there wants a password."""
    if error.pgconn is not None and error.pgconn.needs_password:
        return Denied("the database server wants a password, and there is none", hint=_ACCOUNT_HINT)
    if error.pgconn is not None and error.pgconn.used_password:
        return StorageError(f"the database server answered, and let nobody in: {_first_line(error)}", hint=_ACCOUNT_HINT)
    return DatabaseUnavailable(f"the database server is away: {_first_line(error)}", hint=AWAY_HINT)


def _first_line(error: psycopg.Error) -> str:
    """Return what libpq or the server says in one line; it names hosts and users, never passwords or values."""
    return (error.diag.message_primary or str(error)).strip().partition("\n")[0]


@contextlib.contextmanager
def server_errors() -> Iterator[None]:
    """Turn errors of the driver into errors of Hermetic."""
    try:
        yield
    except psycopg.Error as error:
        raise translate(error) from None
