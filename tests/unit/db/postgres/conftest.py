"""One server for the test process, and databases on it: one shared by tests that clean up after it, new ones where that matters."""

from __future__ import annotations

import pytest

from hermetic.crypto.secret import Secret
from hermetic.db import tables
from hermetic.db.columns import RowKeys
from hermetic.db.engine import Database
from tests import postgres


@pytest.fixture(scope="session")
def server():
    return postgres.shared()


@pytest.fixture
def keys():
    return RowKeys(Secret(b"m" * 32), Secret(b"c" * 32), Secret(b"l" * 32))


@pytest.fixture(scope="session")
def made(server):
    """A database with the schema of this release."""
    place = server.database()
    Database.create(place).close()
    return place


@pytest.fixture
def place(server, made):
    """It, emptied afterwards."""
    yield made
    names = [table.name for table in reversed(tables.metadata.sorted_tables) if table is not tables.meta]
    server.sql(made, *(f'DELETE FROM "{name}"' for name in names), "DELETE FROM meta WHERE key <> 'schema_revision'")


@pytest.fixture
def database(place):
    opened = Database.open(place, timeout_s=5)
    yield opened
    opened.close()


@pytest.fixture
def empty(server):
    """A database without a schema, and dropped afterwards."""
    place = server.database()
    yield place
    server.drop(place)
