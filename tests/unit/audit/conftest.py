"""A log to test with: in memory, and in a real custody database."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from hermetic.audit.store import LogStore, MemoryStore
from hermetic.audit.tables_store import TablesStore
from hermetic.db.engine import Database
from tests.unit.audit.making import START_MS, intent, make_log, outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from hermetic.audit.log import Log


@pytest.fixture
def log() -> Log:
    return make_log()


@pytest.fixture
def memory(log: Log) -> MemoryStore:
    """A begun log with three more entries."""
    store = MemoryStore()
    log.begin(store, now_ms=START_MS)
    log.append(store, [intent("r1"), outcome("r1")], now_ms=START_MS + 1)
    log.append(store, [intent("r2")], now_ms=START_MS + 2)
    return store


@pytest.fixture(params=["memory", "database"])
def transaction(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], AbstractContextManager[LogStore]]]:
    """Something that opens a transaction and gives the store inside it."""
    kept = MemoryStore()

    @contextmanager
    def in_memory() -> Iterator[LogStore]:
        yield kept

    if request.param == "memory":
        yield in_memory
        return
    database = Database.create(tmp_path / "home" / "custody.db")

    @contextmanager
    def in_database() -> Iterator[LogStore]:
        with database.write(None) as session:
            yield TablesStore(session.connection)

    yield in_database
    database.close()
