"""A whole domain with its custody in PostgreSQL: made, used, copied, restored into either kind, migrated."""

from __future__ import annotations

import shutil
import time

import pytest

from hermetic.audit import floods
from hermetic.audit.tables_store import TablesStore
from hermetic.crypto.secret import Secret
from hermetic.custody import certifying
from hermetic.db import tables
from hermetic.db.engine import Database
from hermetic.domain import config
from hermetic.domain.connect import connect
from hermetic.domain.create import create_domain
from hermetic.domain.home import Home
from hermetic.domain.migrating import migrate_domain
from hermetic.domain.restore import restore_domain
from hermetic.errors import Conflict, DatabaseUnavailable, KeyUnusable, NotFound, RowTampered, StorageError
from hermetic.formats.certificate import parse_certificate
from hermetic.formats.messages.destruction import RecordCopiesDestroyed, ShowCertificate
from hermetic.formats.messages.domain import GatherFacts
from hermetic.formats.messages.log import VerifyLog
from tests import world as w
from tests.unit.custody.approving import to_shred
from tests.world import World


@pytest.fixture(scope="module")
def domain(tmp_path_factory, server):
    """A domain on a server, with a backup place and something sealed."""
    root, place = tmp_path_factory.mktemp("domain"), server.database()
    (root / "project").mkdir(mode=0o700)
    create_domain(
        root / "project",
        provider_uri="local:insecure-file",
        project_name="cardio",
        home=Home(root / "home" / "data", root / "home" / "config"),
        backup=root / "backup",
        recovery_passphrase=Secret(w.PASSPHRASE),
        database=str(place),
    )
    made = World(root)
    with made.connect() as connection:
        draft, _ = w.seal(connection.port, "dataset/a")
        w.open_(connection.port, "dataset/a")
        yield made, place, draft
    server.drop(place)


def test_nothing_of_it_is_in_a_file(domain):
    made, place, _ = domain
    assert not made.database.exists()
    assert config.load(made.home.domain_config(made.domain)).database == place
    text = (made.home.domain_config(made.domain) / "config.yaml").read_text()
    assert "password" not in text.replace("never a password", "")


def test_its_log_verifies_and_a_second_home_appends_to_it(domain, tmp_path):
    made, _, _ = domain
    shutil.copytree(made.root, tmp_path / "other", symlinks=True)
    other = World(tmp_path / "other")
    with made.connect() as one, other.connect() as two:
        for port in (one.port, two.port, one.port, two.port):
            w.open_(port, "dataset/a")
        report = two.ask(VerifyLog())
        assert (report.open_intents, [item for item in report.findings if item.name == "log-forked"]) == (0, [])
        assert one.ask(VerifyLog()).size == report.size


def test_refusals_of_one_caller_through_several_processes_are_summed_together(domain, tmp_path, monkeypatch):
    """Each home is as another process of a service: what waits to be written lies in the database."""
    monkeypatch.setattr(floods, "SINGLY", 4)
    made, _, _ = domain
    shutil.copytree(made.root, tmp_path / "other", symlinks=True)
    with made.connect() as one, World(tmp_path / "other").connect() as two:
        before = len([kind for kind in w.kinds(one.port) if kind == "release.denied"])
        for number in range(16):
            with pytest.raises(NotFound):
                w.open_((one, two)[number % 2].port, f"dataset/made-up-{number}")
        assert w.kinds(two.port).count("release.denied") == before + 1 + 4
        custodian = one.port.custodian
        later = custodian.clock() + floods.SUMMARY_MS
        with custodian.database.write(custodian.row_keys, step="test") as session:
            custodian.log.flush(TablesStore(session.connection), now_ms=later)
        (facts,) = [facts for kind, facts, _ in w.leaves(two.port) if kind == "denials.summed"]
        assert facts["count"] == 16 - 5
        assert "many-refusals" in {pair.name for pair in two.ask(GatherFacts()).critical}
        assert two.ask(VerifyLog()).open_intents == 0


@pytest.mark.parametrize("which", ["taken", "away", "not there"])
def test_where_no_domain_can_be_nothing_is_left_behind(domain, tmp_path, which):
    """Above all no root: nobody would know any more what it is for."""
    _, place, _ = domain
    url, kind = {
        "taken": (str(place), Conflict),
        "away": (f"postgresql:///x?host={tmp_path}&user=x", DatabaseUnavailable),
        "not there": (str(place).replace(place.name, "nowhere"), StorageError),
    }[which]
    (tmp_path / "project").mkdir(mode=0o700)
    with pytest.raises(kind):
        create_domain(
            tmp_path / "project",
            provider_uri="local:insecure-file",
            project_name="x",
            home=Home(tmp_path / "data", tmp_path / "config"),
            database=url,
        )
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_it_restores_into_a_file_and_that_one_into_a_server_again(domain, tmp_path, server, empty):
    made, _, draft = domain
    with made.connect() as connection:
        connection._port._backup.take()
    for number, target in enumerate((None, str(empty))):
        base = tmp_path / str(number)
        home, project = Home(base / "data", base / "config"), base / "project"
        project.mkdir(parents=True)
        back = restore_domain(
            made.backup, home, project, lambda _: Secret(w.PASSPHRASE), provider_uri="local:insecure-file", server=target
        )
        assert (back.versions, back.generation) == (1, 2 + number)
        assert (home.domain_data(made.domain) / "custody.db").exists() == (target is None)
        with connect(project, home=home) as connection:
            assert connection.ask(VerifyLog()).open_intents == 0
            (released,) = w.open_(connection.port, "dataset/a").released
            assert released.version == draft.version
            connection._port._backup.take()  # what the next one restores
    with pytest.raises(Conflict, match="holds a custody database already"):
        restore_domain(
            made.backup,
            Home(tmp_path / "d", tmp_path / "c"),
            tmp_path / "0" / "project",
            lambda _: Secret(w.PASSPHRASE),
            provider_uri="local:insecure-file",
            server=str(empty),
        )
    assert not (tmp_path / "d" / made.domain).exists()


def test_a_row_changed_with_psql_stops_the_domain(domain, server):
    made, place, _ = domain
    change = "UPDATE asset SET data_class = %s"
    server.sql(place, change, parameters=("public",))
    try:
        with made.connect() as connection, pytest.raises(RowTampered, match="asset"):
            w.open_(connection.port, "dataset/a")
    finally:
        server.sql(place, change, parameters=("restricted",))


def test_migrating_what_is_current_changes_nothing(domain, server, empty):
    made, _, _ = domain
    assert migrate_domain(made.project, home=made.home) == (tables.SCHEMA_REVISION, tables.SCHEMA_REVISION)
    with pytest.raises(NotFound, match="hermetic init --database"):
        Database.open(empty)


def test_a_shred_never_claims_that_the_server_was_searched(tmp_path, server, empty):
    """Complete only when people vouch for what the server keeps, after the shred."""
    project, home = tmp_path / "project", Home(tmp_path / "data", tmp_path / "config")
    project.mkdir()
    create_domain(project, provider_uri="local:insecure-file", project_name="cardio", home=home, database=str(empty))
    with connect(project, home=home) as connection:
        port = connection.port
        draft, _ = w.seal(port, "dataset/a")
        ((wrapped,),) = server.sql(empty, "SELECT wrapped FROM data_key WHERE version_id = %s", parameters=(draft.version,))
        done = port.ask(to_shred(port, "dataset/a@1", reason="consent withdrawn"))
        assert (done.state, done.missing) == ("deleted", (certifying.SERVER_KEEPS,))
        assert certifying.TABLES_REBUILT in done.relies
        assert not any("searched for the wrapped keys" in item or item == certifying.NO_COPY for item in done.relies)
        assert server.sql(empty, "SELECT count(*) FROM data_key WHERE wrapped = %s", parameters=(wrapped,)) == [(0,)]
        with pytest.raises(KeyUnusable):
            w.open_(port, "dataset/a@1")
        until = time.time_ns() // 1_000_000
        port.ask(RecordCopiesDestroyed(until, "archive and base backups of before were destroyed"))
        now = parse_certificate(port.ask(ShowCertificate("dataset/a@1")).payload)
        assert (now.state, now.missing) == ("complete", ())
        assert certifying.VOUCHED in now.relies
