"""The schema revision in the database against the one of this release. No Alembic here: this runs in every transaction."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from hermetic.db.faults import CORRUPT_HINT
from hermetic.db.statements import Statements
from hermetic.db.tables import SCHEMA_REVISION
from hermetic.errors import IntegrityError, Unsupported

if TYPE_CHECKING:
    from hermetic.db.links import Link


@functools.cache
def dialect_statements() -> Statements:
    """Return the statements compiled for SQLite, one set for the whole process."""
    from sqlalchemy.dialects import sqlite  # noqa: PLC0415 - loaded with the first database

    return Statements(sqlite.dialect(paramstyle="qmark"))


def stored_revision(link: Link) -> int:
    """Return the revision that the database says it has. Raises IntegrityError when it says nothing sensible."""
    return as_revision(link.revision())


def as_revision(value: object) -> int:
    """Return the revision that `meta` holds. Raises IntegrityError for nothing sensible."""
    if not isinstance(value, str) or not value.isascii() or not value.isdecimal() or len(value) > 9:
        raise IntegrityError("the database does not say which schema it has", hint=CORRUPT_HINT)
    return int(value)


def check_revision(link: Link) -> None:
    """Refuse any schema but the one of this release. Raises Unsupported, IntegrityError."""
    found = stored_revision(link)
    if found > SCHEMA_REVISION:
        raise Unsupported(
            f"the database has schema {found}, written by a newer release; this one knows {SCHEMA_REVISION}",
            hint="install the release that wrote it, or a newer one",
        )
    if found < SCHEMA_REVISION:
        raise Unsupported(
            f"the database has schema {found}; this release needs {SCHEMA_REVISION}",
            hint="back it up, then run `hermetic migrate`",
        )
