"""A fresh database for each test (copied from one template), keys, and rows of every table."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from hermetic.crypto.secret import Secret
from hermetic.db import tables
from hermetic.db.columns import RowKeys
from hermetic.db.engine import Database

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return Database.create(tmp_path_factory.mktemp("template") / "home" / "custody.db").snapshot_bytes()


@pytest.fixture
def keys() -> RowKeys:
    return RowKeys(Secret(b"m" * 32), Secret(b"c" * 32), Secret(b"l" * 32))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "custody.db"


@pytest.fixture
def database(path: Path, template: bytes) -> Database:
    return Database.from_snapshot(path, template, timeout_s=5)


class Hand:
    """An attacker who can write the database file: plain SQL, no foreign keys, nothing kept up."""

    def __init__(self, path: Path, database: Database) -> None:
        self._path, self._database = path, database

    def run(self, *statements: str, parameters: tuple[Any, ...] = ()) -> list[Any]:
        """Run statements, the last one with parameters, and return its rows."""
        self._database.close()  # all descriptors of the file are closed before another opens it
        with closing(sqlite3.connect(self._path)) as raw, raw:
            for statement in statements[:-1]:
                raw.execute(statement)
            return raw.execute(statements[-1], parameters).fetchall()

    def write(self, table: sa.Table, key: tuple[Any, ...], /, **values: Any) -> None:
        """Overwrite columns of a row."""
        sets = ", ".join(f"{name} = ?" for name in values)
        self.run(f'UPDATE "{table.name}" SET {sets} WHERE {is_key(table)}', parameters=(*values.values(), *key))

    def row(self, table: sa.Table, key: tuple[Any, ...]) -> dict[str, Any]:
        """Return a row as stored."""
        listed = ", ".join(f'"{column.name}"' for column in table.columns)  # a column that came later stands last in the file
        (found,) = self.run(f'SELECT {listed} FROM "{table.name}" WHERE {is_key(table)}', parameters=key)
        return dict(zip((column.name for column in table.columns), found, strict=True))

    def save(self) -> bytes:
        """Return the bytes of the file."""
        self._database.close()
        return self._path.read_bytes()

    def restore(self, saved: bytes) -> None:
        """Put back what `save` returned, into the same file."""
        self._database.close()
        self._path.write_bytes(saved)


def is_key(table: sa.Table) -> str:
    return " AND ".join(f"{column.name} = ?" for column in table.primary_key.columns)


@pytest.fixture
def hand(path: Path, database: Database) -> Hand:
    return Hand(path, database)


def sample(table: sa.Table, number: int) -> dict[str, Any]:
    """Values for row `number` of a table, its references pointing to row `number` of other tables; nothing is NULL."""
    made: dict[str, Any] = {}
    for column in table.columns:
        if column.name in {"revision", "mac"} and table.info.get("authenticated"):
            continue
        if "lookup_of" not in column.info:
            made[column.name] = _value(table, column, number)
    return made


def _value(table: sa.Table, column: sa.Column[Any], number: int) -> Any:
    for foreign in column.foreign_keys:
        return _value(foreign.column.table, foreign.column, number)
    text = f"{'SECRET ' if 'sealed' in column.info else ''}{table.name}.{column.name}-{number}"
    if column.info.get("sealed") == "json" or column.info.get("json"):
        return {"value": text, "list": [number, None, True]}
    if isinstance(column.type, sa.BigInteger):
        return 1000 + number
    binary = isinstance(column.type, sa.LargeBinary) and column.info.get("sealed") != "text"
    return text.encode() if binary else text


@pytest.fixture
def filled(database: Database, keys: RowKeys) -> Database:
    """Two rows, numbers 1 and 2, in every table but `meta`."""
    with database.write(keys) as session:
        for table in tables.metadata.sorted_tables:
            if table is not tables.meta:
                session.insert_many(table, [sample(table, 1), sample(table, 2)])
    return database


class Samples:
    """What `filled` holds."""

    values = staticmethod(sample)

    @staticmethod
    def key(table: sa.Table, number: int) -> tuple[Any, ...]:
        return _key_of(table, number)


@pytest.fixture
def samples() -> type[Samples]:
    return Samples


def _key_of(table: sa.Table, number: int) -> tuple[Any, ...]:
    values = sample(table, number)
    return tuple(values[column.name] for column in table.primary_key.columns)
