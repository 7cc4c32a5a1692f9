"""Bring a database to the schema of this release. The only code that imports Alembic; used by init, migrate and restore.

Each run is one transaction: all migrations, then the revision number in `meta`. A crash leaves the old schema whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from alembic.util import CommandError

from hermetic import steps
from hermetic.db import files, filesystems
from hermetic.db.faults import CORRUPT_HINT, driver_errors
from hermetic.db.link import APPLICATION_ID, Driver, SqliteLink, connect, wrap
from hermetic.db.postgres.place import PostgresPlace
from hermetic.db.schema import dialect_statements, stored_revision
from hermetic.db.tables import SCHEMA_KEY, SCHEMA_REVISION
from hermetic.db.writerlock import WriterLock
from hermetic.errors import IntegrityError, Unsupported

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import sqlalchemy as sa

    from hermetic.db.engine import DatabasePlace

PACKAGE = "hermetic.db:migrations"


def build(path: Path) -> None:
    """Turn the empty file `path` into a database with the schema of this release, in write-ahead mode, with no side files."""
    with driver_errors():
        raw = connect(path, timeout_s=1.0)
        try:
            raw.execute(f"PRAGMA application_id={APPLICATION_ID}")
            raw.execute("PRAGMA journal_mode=WAL").fetchall()
            bring_up(raw)
        finally:
            raw.close()


def upgrade(place: DatabasePlace, *, timeout_s: float = 10.0, unsafe: Mapping[int, str] = filesystems.UNSAFE) -> tuple[int, int]:
    """Migrate an existing database in place; return (revision before, revision now). Take a backup first.

    Raises as `Database.open`; Conflict when the database stays in use.
    """
    if isinstance(place, PostgresPlace):
        from hermetic.db.postgres import build as server  # noqa: PLC0415 - psycopg is optional

        before = server.upgrade(place, timeout_s=timeout_s)
        steps.reached("db.migrate.committed")
        return before, SCHEMA_REVISION
    path = place.absolute()
    filesystems.check(path.parent, unsafe)
    files.check_owned(path)
    lock = WriterLock(path.with_name(path.name + ".lock"), timeout_s)
    lock.acquire()
    try:
        before = upgrade_file(path, timeout_s=timeout_s)
    finally:
        lock.release()
        lock.close()
    steps.reached("db.migrate.committed")
    return before, SCHEMA_REVISION


def upgrade_file(path: Path, *, timeout_s: float = 10.0) -> int:
    """Migrate a file that nobody else writes; return the revision it had. Raises Unsupported for a newer one."""
    link = SqliteLink(path, timeout_s=timeout_s, read_only=False, statements=dialect_statements())
    try:
        with driver_errors():
            before = stored_revision(link)
            if before > SCHEMA_REVISION:
                raise Unsupported(
                    f"the database has schema {before}, from a newer release", hint="install that release, or a newer one"
                )
            if before < SCHEMA_REVISION:
                link.raw.execute("PRAGMA foreign_keys=OFF").fetchall()  # tables are rebuilt; `bring_up` checks at the end
                bring_up(link.raw)
    finally:
        link.close()
    return before


def bring_up(raw: Driver) -> None:
    """Run every migration that is missing over a connection that is in no transaction. Raises IntegrityError."""
    raw.execute("BEGIN IMMEDIATE")
    try:
        command.upgrade(config(wrap(raw)), "head")
        raw.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (SCHEMA_KEY, str(SCHEMA_REVISION)))
        if raw.execute("PRAGMA foreign_key_check").fetchone() is not None:
            raise IntegrityError("after the migration, rows refer to rows that do not exist", hint=CORRUPT_HINT)
        raw.execute("COMMIT")
    except CommandError as error:
        raise IntegrityError(f"the database does not say which migrations it has seen: {error}", hint=CORRUPT_HINT) from None
    finally:
        if raw.in_transaction:
            raw.execute("ROLLBACK")


def config(connection: sa.Connection | None = None) -> Config:
    """Return Alembic's configuration: the migrations of this package, run over `connection`."""
    made = Config()
    made.set_main_option("script_location", PACKAGE)
    made.attributes["connection"] = connection
    return made
