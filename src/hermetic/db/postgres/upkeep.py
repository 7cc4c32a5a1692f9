"""What can be done about old row versions on a server: write the tables anew, checkpoint, begin another file of its log.

That is no search as SQLite allows. PostgreSQL writes a new version of a row beside the old one, both into its write-ahead log, and
gives files that it no longer needs back to the file system as they are; archives of the log, base backups and standbys have them too.
Nothing here claims that bytes are gone from any of those: whoever says so is a person, on record (custody/certifying.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermetic.db.upkeep import SHORTEST
from hermetic.errors import Conflict, Denied, StorageError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hermetic.db.postgres.driver import Driver

HOLDING = {  # tables with keys in them, and where
    "data_key": "wrapped",
    "kek_slot": "wrapped",
    "secret_key": "wrapped",
    "log_subject": "wrapped",
}
_PATIENCE_MS = 2000  # for readers to let go of a table: who waits for it alone makes others wait behind


def scrub(raw: Driver, gone: Iterable[bytes]) -> None:
    """Make sure that no row holds these bytes, and take old versions of rows out of the pages of the tables that had them."""
    needles = list(gone)
    if any(len(needle) < SHORTEST for needle in needles):
        raise UsageError(f"bytes to look for are at least {SHORTEST} long")
    for table, column in HOLDING.items():
        for needle in needles:
            query = f"SELECT 1 FROM {table} WHERE position(%s::bytea IN {column}) > 0 LIMIT 1"  # noqa: S608 - our own names
            if raw.execute(query, (needle,)).fetchone() is not None:
                raise StorageError("deleted bytes are still in the database", hint="a row still holds them; delete it first")
    if needles:
        for table in HOLDING:
            raw.execute(f"VACUUM {table}", prepare=False)


def rebuild(raw: Driver) -> None:
    """Write the tables anew without old versions of rows. Raises Conflict when a reader holds on to one for longer than a moment."""
    raw.execute(f"SET lock_timeout = {_PATIENCE_MS}", prepare=False)
    try:
        for table in HOLDING:
            raw.execute(f"VACUUM (FULL) {table}", prepare=False)
    except Conflict:
        raise Conflict(
            "a reader holds on to an older state of the database", hint="end long-running commands, then try again"
        ) from None
    finally:
        raw.execute("RESET lock_timeout", prepare=False)
    flush(raw)


def flush(raw: Driver) -> None:
    """Have the server write a checkpoint and begin another file of its log, where it lets this user (pg_checkpoint, superuser)."""
    for statement in ("CHECKPOINT", "SELECT pg_switch_wal()"):
        try:
            raw.execute(statement, prepare=False)
        except Denied:  # it does so by itself, later
            return
