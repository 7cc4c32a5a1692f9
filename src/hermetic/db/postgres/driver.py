"""The connection to PostgreSQL: psycopg's, with our errors, taken in and out of transactions by hand only.

SQLAlchemy, Alembic and psycopg itself would begin, commit and set isolation levels; here all of that does nothing, and `Link` says
BEGIN and COMMIT. Every connection sets what durability depends on and reads it back: a server that does not obey is refused.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.rows import TupleRow, tuple_row

from hermetic.db.postgres.faults import server_errors
from hermetic.db.postgres.place import check_environment
from hermetic.errors import StorageError, Unsupported

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import sqlalchemy as sa
    from psycopg.abc import Params

    from hermetic.db.postgres.place import PostgresPlace

SCHEMA = "hermetic"
LOCK = 0x4865726D  # advisory lock of whoever writes; its space is one database
OLDEST = 140_000
_PREPARED = 400
_HELD_MS = 120_000  # that a writer may pause inside a transaction, until the server undoes it and lets others write

_SET = """
SELECT set_config('search_path', %s, false), set_config('lock_timeout', %s, false), set_config('statement_timeout', '0', false),
  set_config('idle_in_transaction_session_timeout', %s, false), set_config('bytea_output', 'hex', false),
  set_config('tcp_keepalives_idle', '10', false), set_config('tcp_keepalives_interval', '5', false),
  set_config('tcp_keepalives_count', '4', false), set_config('plan_cache_mode', 'force_generic_plan', false),
  set_config('synchronous_commit',
  CASE current_setting('synchronous_commit') WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, false)
"""
SETTINGS = "current_setting('synchronous_commit'), current_setting('fsync'), current_setting('full_page_writes')"
"""What a commit that returned depends on, as SQL; `check_durable` judges the values."""


class Cursor(psycopg.Cursor[TupleRow]):
    """A cursor whose errors are ours, and whose rows come as the server has them: keys and digests are not written as text."""

    def execute(self, query: Any, params: Params | None = None, *, prepare: bool | None = None, binary: bool | None = None) -> Cursor:
        """Run one statement. Raises HermeticError."""
        if binary is None:
            binary = prepare is not False  # which may be several statements: the protocol gives their rows as text only
        with server_errors():
            return super().execute(query, params, prepare=prepare, binary=binary)

    def executemany(self, query: Any, params_seq: Iterable[Params], *, returning: bool = False) -> None:
        """Run one statement with many parameters, in one round trip. Raises HermeticError."""
        with server_errors():
            super().executemany(query, params_seq, returning=returning)


class Driver(psycopg.Connection[TupleRow]):
    """A connection in autocommit, whoever asks for something else."""

    def commit(self) -> None:
        """Do nothing."""

    def rollback(self) -> None:
        """Do nothing."""

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Send statements whose answers nobody waits for in one round trip; errors come at the end. Raises HermeticError."""
        with server_errors(), self.pipeline():
            yield

    def _set_autocommit(self, value: bool) -> None:  # noqa: FBT001 - psycopg's
        """Do nothing."""

    def _set_isolation_level(self, value: psycopg.IsolationLevel | None) -> None:
        """Do nothing."""


def connect(place: PostgresPlace, *, timeout_s: float) -> Driver:
    """Open a connection and set it up. Raises StorageError, Denied, ConfigError (environment), Unsupported."""
    check_environment(os.environ)
    with server_errors():
        raw = Driver.connect(place.conninfo(), autocommit=True, prepare_threshold=0, row_factory=tuple_row, cursor_factory=Cursor)
    try:
        _set_up(raw, timeout_s)
    except BaseException:
        raw.close()
        raise
    raw.prepared_max = _PREPARED
    return raw


def _set_up(raw: Driver, timeout_s: float) -> None:
    values = (f"{SCHEMA}, pg_temp", str(max(1, round(timeout_s * 1000))), str(_HELD_MS))
    raw.execute(_SET, values, prepare=False)
    query = f"SELECT {SETTINGS}, current_setting('server_encoding'), current_setting('server_version_num')::int"
    row = raw.execute(query, prepare=False).fetchone()
    if row is None or row[4] < OLDEST:
        raise Unsupported("the database server is older than PostgreSQL 14", hint="upgrade the server")
    if row[3] != "UTF8":
        raise Unsupported(f"the database keeps text as {row[3]}", hint="createdb --template=template0 --encoding=UTF8 NAME")
    check_durable(row[:3])


def check_durable(found: tuple[Any, ...]) -> None:
    """Refuse a server on which a commit that returned may be lost. Raises StorageError."""
    synchronous, fsync, pages = found
    if synchronous not in {"on", "remote_apply"}:
        raise StorageError("the database does not obey synchronous_commit=on", hint="connect to the server itself, not to a pooler")
    for name, value in (("fsync", fsync), ("full_page_writes", pages)):
        if value != "on":
            raise StorageError(
                f"the database server runs with {name}={value}: a power cut would lose what was answered",
                hint=f"set {name} = on in postgresql.conf",
            )


def wrap(raw: Driver, *, builds: bool = False) -> sa.Connection:
    """Return a SQLAlchemy connection over a connection; it neither begins nor ends transactions.

    `builds` writes text columns so that they sort by bytes, as SQLite does, on any server and for good.
    """
    import sqlalchemy as sa  # noqa: PLC0415 - the paths that only use keys do without an engine
    from sqlalchemy.dialects.postgresql.base import PGTypeCompiler  # noqa: PLC0415
    from sqlalchemy.pool import StaticPool  # noqa: PLC0415

    class ByBytes(PGTypeCompiler):
        def visit_TEXT(self, type_: Any, **kw: Any) -> str:  # noqa: N802 - SQLAlchemy's name
            return f'{super().visit_TEXT(type_, **kw)} COLLATE "C"'

    engine = sa.create_engine(
        "postgresql+psycopg://",
        creator=lambda: raw,
        poolclass=StaticPool,
        pool_reset_on_return=None,
        isolation_level="AUTOCOMMIT",
        skip_autocommit_rollback=True,
        use_native_hstore=False,
    )
    if builds:
        engine.dialect.type_compiler_instance = ByBytes(engine.dialect)
    return engine.connect()
