"""The statements compiled for PostgreSQL, one set for the whole process."""

from __future__ import annotations

import functools

from hermetic.db.statements import Statements


@functools.cache
def dialect_statements() -> Statements:
    """Return the statements as psycopg takes them."""
    from sqlalchemy.dialects.postgresql import psycopg  # noqa: PLC0415 - loaded with the first database

    return Statements(
        psycopg.dialect(paramstyle="format"),  # type: ignore[no-untyped-call]
        mark="%s",
        types={int: "BIGINT", str: "TEXT", bytes: "BYTEA"},
    )
