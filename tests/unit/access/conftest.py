"""A fresh custody database for each test, copied from one template."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hermetic.access import identity
from hermetic.crypto.secret import Secret
from hermetic.db.columns import RowKeys
from hermetic.db.engine import Database

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hermetic.db.rows import Session
    from hermetic.policy.request import Principal

NOW = 1_790_000_000_000
KEYS = RowKeys(Secret(b"m" * 32), Secret(b"c" * 32), Secret(b"l" * 32))


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return Database.create(tmp_path_factory.mktemp("template") / "home" / "custody.db").snapshot_bytes()


@pytest.fixture
def database(tmp_path: Path, template: bytes) -> Database:
    return Database.from_snapshot(tmp_path / "home" / "custody.db", template, timeout_s=5)


@pytest.fixture
def session(database: Database) -> Iterator[Session]:
    with database.write(KEYS) as session:
        yield session


@pytest.fixture
def owner(session: Session) -> Principal:
    return identity.bind_owner(session, identity.local_principal("d" * 26, user="ana", uid=1000), now_ms=NOW).principal
