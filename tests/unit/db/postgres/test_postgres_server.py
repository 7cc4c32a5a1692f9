"""What is asked of a server, what happens when it is away, and what can be said about what it deleted."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from types import SimpleNamespace

import psycopg
import pytest
from alembic import command

from hermetic.db import migrate, tables
from hermetic.db.engine import Database
from hermetic.db.postgres import build, driver
from hermetic.db.postgres import link as links
from hermetic.db.postgres.driver import SCHEMA, connect, wrap
from hermetic.db.postgres.faults import translate
from hermetic.db.postgres.place import PostgresPlace
from hermetic.errors import Conflict, DatabaseUnavailable, Denied, IntegrityError, NotFound, StorageError, Unsupported, UsageError
from tests import postgres

PROTECTED = [table for table in tables.metadata.sorted_tables if table.info.get("authenticated")]


def put(database, key, value="1"):
    with database.write(None) as session:
        session.insert(tables.meta, key=key, value=value)


def kept(database):
    with database.read(None) as session:
        return {row["key"] for row in session.find(tables.meta)} - {"schema_revision"}


@pytest.mark.parametrize("given", [("off", "on", "on"), ("local", "on", "on"), ("on", "off", "on"), ("on", "on", "off")])
def test_a_server_that_loses_commits_is_refused(given):
    with pytest.raises(StorageError, match=r"synchronous_commit=on|fsync=off|full_page_writes=off"):
        driver.check_durable(given)


def test_a_user_whose_commits_are_not_waited_for_gets_them_waited_for_all_the_same(database, server):
    name = database.place.name
    server.sql(None, f"ALTER ROLE {postgres.USER} IN DATABASE {name} SET synchronous_commit = off")
    try:
        database.close()
        with database.write(None) as session:
            asked = session.connection.exec_driver_sql("SELECT current_setting('synchronous_commit')").scalar_one()
        assert asked == "on"
    finally:
        server.sql(None, f"ALTER ROLE {postgres.USER} IN DATABASE {name} RESET ALL")


def test_settings_that_a_pooler_loses_are_seen_in_the_next_transaction(database):
    put(database, "a")
    database._idle[True][-1].raw.execute("SET synchronous_commit = off")
    with pytest.raises(StorageError, match="pooler"):
        put(database, "b")
    database.close()
    database._idle[True].append(database._take(write=True))
    database._idle[True][-1].raw.execute("SET search_path = public")
    with pytest.raises((StorageError, IntegrityError)):
        put(database, "b")
    assert kept(database) == {"a"}


@pytest.mark.parametrize(
    ("done", "undone", "says"),
    [
        ("ALTER TABLE log_leaf SET UNLOGGED", "ALTER TABLE log_leaf SET LOGGED", "a crash of the server empties"),
        ("CREATE VIEW seen AS SELECT 1", "DROP VIEW seen", "a view"),
        ("CREATE TABLE public.more () INHERITS (hermetic.run)", "DROP TABLE public.more", "inherits"),
        ("CREATE RULE no AS ON DELETE TO run DO INSTEAD NOTHING", "DROP RULE no ON run", "a rule"),
        ("ALTER TABLE run ENABLE ROW LEVEL SECURITY", "ALTER TABLE run DISABLE ROW LEVEL SECURITY", "row security"),
        (
            "CREATE TRIGGER t BEFORE INSERT ON run FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
            "DROP TRIGGER t ON run",
            "a trigger",
        ),
    ],
)
def test_what_hermetic_never_makes_is_refused(done, undone, says, place, server):
    server.sql(place, done)
    try:
        with pytest.raises(IntegrityError, match=says):
            Database.open(place)
    finally:
        server.sql(place, undone)
    Database.open(place).close()


def test_a_server_that_was_away_is_found_again_without_a_restart(keys):
    server = postgres.Server()
    try:
        database = Database.create(server.tcp(server.database()))
        put(database, "before")
        server.stop()
        for _ in range(2):
            with pytest.raises(StorageError, match="away"):
                put(database, "lost")
        server.start()
        put(database, "after")
        with pytest.raises(StorageError, match="treat it as if it were"), database.write(None) as session:
            session.insert(tables.meta, key="unknown", value="1")
            session.connection  # noqa: B018 - its transaction is open
            server.kill()
            raise_nothing()
        server.start()
        assert kept(database) == {"before", "after"}
        database.close()
    finally:
        server.remove()


def raise_nothing():
    """The block ends as usual, and the commit finds nobody."""


def test_a_connection_cut_by_the_administrator_costs_nothing_while_idle(database, server):
    put(database, "a")
    server.sql(database.place, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'custody'")
    put(database, "b")
    assert kept(database) == {"a", "b"}


def test_a_writer_that_is_killed_lets_the_next_one_in(database, server):
    other = Database.open(database.place, timeout_s=20)
    with pytest.raises(StorageError), database.write(None) as session:
        session.insert(tables.meta, key="lost", value="1")
        server.sql(database.place, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle in transaction'")
        put(other, "next")
    assert kept(database) == {"next"}
    other.close()


def test_a_warning_at_the_commit_means_not_known(database):
    put(database, "a")
    link = database._idle[True][-1]
    link.begin(write=True)
    link.execute("CREATE TEMP TABLE warns () ON COMMIT DROP")
    link.raw.execute(
        "CREATE FUNCTION pg_temp.warn() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING 'no standby'; RETURN NULL; END $$"
    )
    link.raw.execute("CREATE TEMP TABLE said (x int)")
    link.raw.execute(
        "CREATE CONSTRAINT TRIGGER t AFTER INSERT ON said DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION pg_temp.warn()"
    )
    link.raw.execute("INSERT INTO said VALUES (1)")
    with pytest.raises(StorageError, match=links.UNKNOWN):
        link.commit()


def test_a_server_that_cannot_show_who_it_is_gets_nothing(database, tmp_path):
    """Over TLS with the name checked: this one has no certificate at all, and the next one that of nobody we trust."""
    settings = (("sslmode", "verify-full"), ("sslrootcert", str(tmp_path / "nobody.pem")))
    (tmp_path / "nobody.pem").write_text("")
    place = PostgresPlace("127.0.0.1", database.place.port, database.place.name, postgres.USER, settings)
    with pytest.raises(StorageError, match="away"):
        Database.open(place)


def test_tls_holds_for_the_name_in_the_certificate_only(certified, tmp_path):
    server, authority = certified
    place = server.database()
    by_name = (("sslmode", "verify-full"), ("sslrootcert", str(authority)))
    opened = Database.create(PostgresPlace("localhost", server.port, place.name, postgres.USER, by_name))
    put(opened, "a")
    with opened.read(None) as session:
        assert session.connection.exec_driver_sql("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").scalar_one() is True
    opened.close()
    with pytest.raises(StorageError, match=r"does not match|server certificate"):
        Database.open(PostgresPlace("127.0.0.1", server.port, place.name, postgres.USER, by_name))


@pytest.fixture
def certified():
    """A server with a certificate for `localhost`, of an authority of its own."""
    server = postgres.Server()
    key, certificate = server.data / "server.key", server.data / "server.crt"
    command_line = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command_line, *names], check=True, capture_output=True)
    key.chmod(0o600)
    if os.geteuid() == 0:
        for path in (key, certificate):
            os.chown(path, server.data.stat().st_uid, server.data.stat().st_gid)
    server.stop()
    with (server.data / "postgresql.conf").open("a") as settings:
        settings.write("ssl = on\n")
    server.start()
    yield server, certificate
    server.remove()


# copies


def fill(database, keys, samples):
    with database.write(keys) as session:
        for table in tables.metadata.sorted_tables:
            if table is not tables.meta:
                session.insert_many(table, [samples.values(table, number) for number in (1, 2)])


def everything(database, keys):
    with database.read(keys) as session:
        return {table.name: session.find(table) for table in tables.metadata.sorted_tables}


def test_a_copy_of_either_kind_fills_the_other(database, keys, samples, tmp_path, empty):
    fill(database, keys, samples)
    rows = everything(database, keys)
    in_file = Database.from_snapshot(tmp_path / "home" / "custody.db", database.snapshot_bytes())
    assert everything(in_file, keys) == rows
    back = Database.from_snapshot(empty, in_file.snapshot_bytes())
    assert everything(back, keys) == rows
    assert back.snapshot_bytes() == database.snapshot_bytes()
    with pytest.raises(Conflict, match="already"):
        Database.from_snapshot(empty, in_file.snapshot_bytes())
    for one in (in_file, back):
        one.close()


def test_a_copy_that_is_damaged_or_newer_fills_nothing(database, empty, tmp_path):
    good = database.snapshot_bytes()
    path = tmp_path / "newer.db"
    path.write_bytes(good)
    with sqlite3.connect(path) as raw:
        raw.execute("UPDATE meta SET value = '99' WHERE key = 'schema_revision'")
    raw.close()
    for bad, error in ((b"", IntegrityError), (good[: len(good) // 2], IntegrityError), (path.read_bytes(), Unsupported)):
        with pytest.raises(error):
            Database.from_snapshot(empty, bad)
    path.write_bytes(good)
    with sqlite3.connect(path) as raw:
        raw.execute("INSERT INTO backup_state VALUES ('a', x'00')")
    raw.close()
    with pytest.raises(IntegrityError, match="type never stored"):
        Database.from_snapshot(empty, path.read_bytes())
    with pytest.raises(NotFound):
        Database.open(empty)


# schema


@pytest.mark.parametrize("revision", range(1, tables.SCHEMA_REVISION))
def test_every_earlier_schema_is_migrated(revision, keys, samples, database, empty):
    """As an earlier release made it: its tables, and rows that authenticate in them."""
    raw = connect(empty, timeout_s=5)
    raw.execute("BEGIN", prepare=False)
    raw.execute(f"CREATE SCHEMA {SCHEMA}", prepare=False)
    command.upgrade(migrate.config(wrap(raw, builds=True)), f"{revision:04}")
    raw.execute("INSERT INTO meta VALUES ('schema_revision', %s)", (str(revision),))
    with database.write(keys) as session:
        session.insert(tables.asset, **samples.values(tables.asset, 1))
        session.insert(tables.principal, **samples.values(tables.principal, 1))
    for table in (tables.asset, tables.principal):
        names = ", ".join(column.name for column in table.columns)
        with database.read(keys) as session:
            row = session.connection.execute(table.select()).one()
        raw.execute(f"INSERT INTO {table.name} ({names}) VALUES ({', '.join(['%s'] * len(row))})", tuple(row))
    raw.execute("COMMIT", prepare=False)
    raw.close()
    with pytest.raises(Unsupported, match="this release needs"):
        Database.open(empty)
    assert migrate.upgrade(empty) == (revision, tables.SCHEMA_REVISION)
    migrated = Database.open(empty)
    with migrated.read(keys) as session:
        assert session.require(tables.asset, samples.key(tables.asset, 1))["kind"]
        assert [session.find(table) for table in PROTECTED if table.name not in {"asset", "principal"}] == [[]] * (len(PROTECTED) - 2)
    migrated.close()
    with pytest.raises(NotFound):
        build.upgrade(type(empty)(empty.host, empty.port, "postgres", postgres.USER), timeout_s=5)


def test_a_newer_schema_is_refused_by_whoever_is_connected(database, server, keys):
    put(database, "a")
    server.sql(database.place, "UPDATE meta SET value = '99' WHERE key = 'schema_revision'")
    try:
        with pytest.raises(Unsupported, match="newer release"):
            put(database, "b")
        with pytest.raises(Unsupported, match="newer release"):
            migrate.upgrade(database.place)
    finally:
        server.sql(database.place, f"UPDATE meta SET value = '{tables.SCHEMA_REVISION}' WHERE key = 'schema_revision'")


# what was deleted


def test_rows_are_searched_and_old_versions_of_them_go(database, keys, samples, server):
    fill(database, keys, samples)
    with database.read(keys) as session:
        wrapped = session.require(tables.data_key, samples.key(tables.data_key, 1))["wrapped"]
    gone = wrapped + b"\0" * 16
    with database.write(keys) as session:
        row = session.update(tables.data_key, samples.key(tables.data_key, 1), 1, wrapped=gone)
    with pytest.raises(StorageError, match="a row still holds them"):
        database.scrub([gone])
    with database.write(keys) as session:
        session.update(tables.data_key, samples.key(tables.data_key, 1), row["revision"], wrapped=None)
    database.scrub([gone])
    database.rebuild()
    assert not database.searched
    (size, tuples) = server.sql(database.place, "SELECT pg_relation_size('data_key'), (SELECT count(*) FROM data_key)")[0]
    assert (size, tuples) == (8192, 2)
    with pytest.raises(UsageError, match="at least 16"):
        database.scrub([b"short"])


def test_a_reader_holds_up_a_rebuild_for_a_moment_only(database):
    other = Database.open(database.place)
    with other.read(None) as session:
        session.find(tables.log_subject)
        with pytest.raises(Conflict, match="older state"):
            database.rebuild()
    database.rebuild()
    database.checkpoint_truncate()
    other.close()


@pytest.mark.parametrize(
    ("needs", "used", "kind", "words"),
    [
        (1, 0, Denied, "wants a password"),
        (0, 1, StorageError, "let nobody in: FATAL"),
        (0, 0, DatabaseUnavailable, "is away: FATAL"),
    ],
)
def test_a_server_that_lets_nobody_in_is_not_called_away(needs, used, kind, words):
    class Refused(psycopg.OperationalError):
        pgconn = SimpleNamespace(needs_password=needs, used_password=used)

    told = translate(Refused("FATAL:  no entry"))
    assert type(told) is kind
    assert words in told.message
    assert (".pgpass" in told.hint) == (needs or used)
