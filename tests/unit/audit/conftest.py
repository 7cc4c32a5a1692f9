"""A log to test with: in memory, and in a real custody database."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from hermetic import ids
from hermetic.audit.leaf import Entry, Hidden
from hermetic.audit.log import Log
from hermetic.audit.note import Origin
from hermetic.audit.openings import LogKeys
from hermetic.audit.store import LogStore, MemoryStore
from hermetic.audit.tables_store import TablesStore
from hermetic.crypto.secret import Secret
from hermetic.crypto.sign import SigningKey
from hermetic.db.engine import Database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

DOMAIN = ids.DomainId(ids.id_from_bytes(bytes(range(16))))
START_MS = 1_767_225_600_000


def signing_key(number: int = 1) -> SigningKey:
    return SigningKey(Secret(bytes([number]) * 32))


def make_log(*, generation: int = 1, key: int = 1) -> Log:
    return Log(Origin(DOMAIN, generation), signing_key(key), LogKeys(Secret(bytes([200]) * 32)))


def intent(request: str = "r1", **facts: str) -> Entry:
    hidden = {"principal": Hidden("ana@example.org", "principal:1"), "asset": Hidden("dataset/patients", "asset:1")}
    return Entry("release.intent", {"request": request, **facts}, hidden)


def outcome(request: str = "r1") -> Entry:
    return Entry("release.outcome", {"request": request})


def denial(request: str, who: str = "eve") -> Entry:
    return Entry("access.denied", {"request": request, "purpose": "debug"}, {"principal": Hidden(who, f"principal:{who}")})


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
