"""Create, fill and migrate the schema on a server, each in one transaction. Imports Alembic: for init, migrate and restore only."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from alembic import command
from alembic.util import CommandError

from hermetic.db import migrate
from hermetic.db.faults import CORRUPT_HINT
from hermetic.db.postgres import image
from hermetic.db.postgres.driver import LOCK, SCHEMA, connect, wrap
from hermetic.db.postgres.link import UNKNOWN
from hermetic.db.schema import as_revision
from hermetic.db.tables import SCHEMA_KEY, SCHEMA_REVISION
from hermetic.errors import Conflict, HermeticError, IntegrityError, NotFound, StorageError, Unsupported

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermetic.db.postgres.driver import Driver
    from hermetic.db.postgres.place import PostgresPlace

_UPSERT = "INSERT INTO meta (key, value) VALUES (%s, %s) ON CONFLICT (key) DO UPDATE SET value = excluded.value"


def create(place: PostgresPlace, *, timeout_s: float, data: bytes | None = None) -> None:
    """Make the schema of this release, empty or with the rows of a copy. All at once or not at all.

    A schema that an interrupted `init` left empty is taken. Raises Conflict when it holds anything, else as `connect` and `opened`.
    """
    with _alone(place, timeout_s) as raw:
        raw.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}", prepare=False)
        _refuse_held(raw, place)
        _bring_up(raw)
        if data is not None:
            with image.opened(data) as memory:
                image.filled(raw, memory)


def check_free(place: PostgresPlace, *, timeout_s: float) -> None:
    """Return if `create` could begin. Raises Conflict when the place holds a custody database, else as `connect`."""
    with _alone(place, timeout_s) as raw:
        _refuse_held(raw, place)


def upgrade(place: PostgresPlace, *, timeout_s: float) -> int:
    """Migrate in place; return the revision that there was. Raises NotFound, Unsupported for a newer one, IntegrityError."""
    with _alone(place, timeout_s) as raw:
        if _relation(raw, "meta") is None:
            raise NotFound(f"{place} holds no custody database", hint="check config.yaml")
        row = raw.execute("SELECT value FROM meta WHERE key = %s", (SCHEMA_KEY,), prepare=False).fetchone()
        before = as_revision(None if row is None else row[0])
        if before > SCHEMA_REVISION:
            raise Unsupported(f"the database has schema {before}, from a newer release", hint="install that release, or a newer one")
        if before < SCHEMA_REVISION:
            _bring_up(raw)
    return before


def _refuse_held(raw: Driver, place: PostgresPlace) -> None:
    if _holds(raw):
        raise Conflict(
            f"{place} holds a custody database already",
            hint=f"name an empty database; if an init or restore failed half way, `DROP SCHEMA {SCHEMA} CASCADE` empties it",
        )


def _holds(raw: Driver) -> bool:
    """Whether there is anything in the schema but empty tables of ours. An `init` writes meta and the log."""
    names = raw.execute(
        "SELECT relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = %s AND relkind = 'r'",
        (SCHEMA,),
        prepare=False,
    ).fetchall()
    known = {"meta", "alembic_version"}
    return any(
        name not in known and raw.execute(f'SELECT 1 FROM "{name}" LIMIT 1', prepare=False).fetchone()  # noqa: S608 - a table's name
        for (name,) in names
    )


def _relation(raw: Driver, name: str) -> object:
    return (raw.execute("SELECT to_regclass(%s)", (f"{SCHEMA}.{name}",), prepare=False).fetchone() or (None,))[0]


def _bring_up(raw: Driver) -> None:
    try:
        command.upgrade(migrate.config(wrap(raw, builds=True)), "head")
    except CommandError as error:
        raise IntegrityError(f"the database does not say which migrations it has seen: {error}", hint=CORRUPT_HINT) from None
    raw.execute(_UPSERT, (SCHEMA_KEY, str(SCHEMA_REVISION)), prepare=False)


@contextlib.contextmanager
def _alone(place: PostgresPlace, timeout_s: float) -> Iterator[Driver]:
    """Lend a connection in a transaction with the writers' lock; commit at the end."""
    raw = connect(place, timeout_s=timeout_s)
    try:
        raw.execute(f"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SELECT pg_advisory_xact_lock({LOCK})", prepare=False)
        yield raw
        try:
            said = raw.execute("COMMIT", prepare=False).statusmessage
        except HermeticError as error:
            raise StorageError(f"{error.message}: {UNKNOWN}", hint="run the command again") from None
        if said != "COMMIT":
            raise StorageError("a statement had failed; nothing was written", hint="try again")
    finally:
        raw.close()
