"""Work on the database as a whole: empty the write-ahead log, make sure bytes are gone, put a copy in place."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hermetic.db.faults import CORRUPT_HINT, driver_errors
from hermetic.db.files import storage_errors, sync
from hermetic.db.link import SqliteLink
from hermetic.db.schema import dialect_statements, stored_revision
from hermetic.db.tables import SCHEMA_REVISION
from hermetic.errors import Conflict, IntegrityError, StorageError, Unsupported, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from hermetic.db.links import Link

SHORTEST = 16  # bytes looked for; shorter ones occur by chance, and the last ones count as all, since long values span pages
_HEADER = b"SQLite format 3\0"
_WAL_VERSIONS = slice(18, 20)  # file format write and read version; 2 means write-ahead log


def truncate_log(link: Link, path: Path) -> None:
    """Check point everything and cut the log to nothing, durably. Raises Conflict, StorageError."""
    busy, _, _ = link.raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        raise Conflict("a reader holds on to an older state of the database", hint="end long-running commands, then try again")
    wal = path.with_name(path.name + "-wal")
    if not wal.exists():
        return
    if wal.stat().st_size != 0:
        raise StorageError("the write-ahead log could not be emptied", hint="end other commands, then try again")
    with storage_errors("the write-ahead log cannot be synced"):
        sync(wal)  # SQLite does not: a power cut would bring back the log with what was deleted; its locks are on other files


def scrub(link: Link, path: Path, gone: Iterable[bytes]) -> None:
    """See `Database.scrub`."""
    needles = list(gone)
    if any(len(needle) < SHORTEST for needle in needles):
        raise UsageError(f"bytes to look for are at least {SHORTEST} long")
    truncate_log(link, path)
    if not _holds_any(link, needles):
        return
    link.raw.execute("VACUUM")
    truncate_log(link, path)
    if _holds_any(link, needles):
        raise StorageError("deleted bytes are still in the database file", hint="a row still holds them; delete it first")


def rebuild(link: Link, path: Path) -> None:
    """See `Database.rebuild`."""
    truncate_log(link, path)
    link.raw.execute("VACUUM")
    truncate_log(link, path)


def _holds_any(link: Link, needles: list[bytes]) -> bool:
    pages = link.raw.serialize()  # every page as it lies in the file, free ones included: the log is empty
    return any(needle in pages or needle[-SHORTEST:] in pages for needle in needles)


def install(path: Path, data: bytes) -> None:
    """Write `data` to the empty file `path` and check it page by page; an older schema is migrated.

    Raises IntegrityError when it is no whole Hermetic database, Unsupported when a newer release wrote it, StorageError.
    """
    if not data.startswith(_HEADER) or data[_WAL_VERSIONS] != b"\2\2":
        raise IntegrityError("the snapshot is not a copy of a custody database", hint="check where it comes from")
    with storage_errors("the snapshot cannot be written"), path.open("r+b") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    if _checked_revision(path) < SCHEMA_REVISION:
        from hermetic.db import migrate  # noqa: PLC0415 - Alembic is for init and migrate only

        migrate.upgrade_file(path)


def _checked_revision(path: Path) -> int:
    link = SqliteLink(path, timeout_s=1.0, read_only=True, statements=dialect_statements())
    try:
        with driver_errors():
            problems = link.raw.execute("PRAGMA integrity_check(1)").fetchall()
            if problems != [("ok",)]:
                raise IntegrityError("the snapshot is damaged", hint=CORRUPT_HINT)
            revision = stored_revision(link)
    finally:
        link.close()
    if revision > SCHEMA_REVISION:
        raise Unsupported(f"the snapshot has schema {revision}, from a newer release", hint="install that release, or a newer one")
    return revision
