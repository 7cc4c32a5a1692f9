import itertools

import pytest

from hermetic.crypto.secret import Secret
from hermetic.db.engine import Database
from hermetic.keys import roots
from hermetic.keys.derived import DomainKeys
from hermetic.keys.roots import Anchors
from hermetic.testing.fake_provider import FakeProvider
from tests.unit.keys.values import DOMAIN, ROOTS

NOW = 1_800_000_000_000


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    folder.chmod(0o700)
    database = Database.create(folder / "custody.db")
    yield database.snapshot_bytes()
    database.close()


@pytest.fixture
def database(empty_database, tmp_path):
    tmp_path.chmod(0o700)
    made = Database.from_snapshot(tmp_path / "custody.db", empty_database)
    yield made
    made.close()


@pytest.fixture
def row_keys():
    return DomainKeys.from_secret(Secret(bytes(32))).row_keys()


@pytest.fixture
def providers():
    return {root: FakeProvider(root, uri=f"fake:{number}") for number, root in enumerate(ROOTS[:2])}


@pytest.fixture
def anchors(providers):
    return Anchors(DOMAIN, providers)


@pytest.fixture
def session(database, row_keys, providers):
    with database.write(row_keys) as session:
        for provider in providers.values():
            roots.add(session, provider, now_ms=NOW)
        yield session


@pytest.fixture
def ids():
    return itertools.count(1000)
