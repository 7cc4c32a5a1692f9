"""Whole-database copies: check one and put it in place as a file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hermetic.db.faults import CORRUPT_HINT, driver_errors
from hermetic.db.files import storage_errors
from hermetic.db.link import Link
from hermetic.db.schema import dialect_statements, stored_revision
from hermetic.db.tables import SCHEMA_REVISION
from hermetic.errors import IntegrityError, Unsupported

if TYPE_CHECKING:
    from pathlib import Path

_HEADER = b"SQLite format 3\0"
_WAL_VERSIONS = slice(18, 20)  # file format write and read version; 2 means write-ahead log


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
    link = Link(path, timeout_s=1.0, read_only=True, statements=dialect_statements())
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
