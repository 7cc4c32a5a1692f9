"""The contract of sessions on a server: what tests/unit/db asks of every database, asked here of PostgreSQL."""

from __future__ import annotations

import os
import threading

import pytest
import sqlalchemy as sa

from hermetic.db import tables
from hermetic.db.bulk import Bulk
from hermetic.db.engine import Database
from hermetic.db.statements import Beside
from hermetic.errors import Conflict, NotFound, RowTampered, StorageError, UsageError

NAMES = [table.name for table in tables.metadata.sorted_tables]


def fill(database, keys, samples, numbers=(1, 2)):
    with database.write(keys) as session:
        for table in tables.metadata.sorted_tables:
            if table is not tables.meta:
                session.insert_many(table, [samples.values(table, number) for number in numbers])


def kept(database, keys=None):
    with database.read(keys) as session:
        return {row["key"]: row["value"] for row in session.find(tables.meta) if row["key"] != "schema_revision"}


def test_every_table_keeps_what_it_was_given(database, keys, samples):
    fill(database, keys, samples)
    with database.read(keys) as session:
        for table in tables.metadata.sorted_tables:
            if table is not tables.meta:
                row = session.require(table, samples.key(table, 1))
                assert {name: row[name] for name in samples.values(table, 1)} == samples.values(table, 1), table.name
                assert len(list(session.scan(table))) == 2


def test_rows_are_changed_and_deleted_where_they_still_are_as_read(database, keys, samples):
    fill(database, keys, samples, (1,))
    key = samples.key(tables.run, 1)
    with database.write(keys) as session:
        row = session.update(tables.run, key, 1, state="ended", ended_ms=2**60, details=None)
        assert (row["revision"], row["ended_ms"], row["details"]) == (2, 2**60, None)
    with pytest.raises(Conflict, match="changed meanwhile"), database.write(keys) as session:
        session.update(tables.run, key, 1, state="other")
    with pytest.raises(Conflict, match="refers"), database.write(keys) as session:
        session.delete(tables.run, key)
    with pytest.raises(Conflict, match="exists"), database.write(keys) as session:
        session.insert(tables.run, **samples.values(tables.run, 1))
    with pytest.raises(NotFound), database.write(keys) as session:
        session.delete(tables.lease, "nowhere")
    with database.write(keys) as session:
        session.delete(tables.lease, samples.key(tables.lease, 1))
    with database.read(keys) as session:
        assert session.get(tables.lease, samples.key(tables.lease, 1)) is None
        assert session.require(tables.run, key)["state"] == "ended"
        assert session.find(tables.run, state="ended", details=None)[0]["id"] == key[0]
        assert session.first(tables.asset, name=samples.values(tables.asset, 1)["name"])["id"] == samples.key(tables.asset, 1)[0]


def test_a_statement_that_failed_fails_the_commit(database, keys, samples):
    """The server answers COMMIT with ROLLBACK then, and no error."""
    with pytest.raises(StorageError, match="had failed"), database.write(keys) as session:
        session.insert(tables.meta, key="a", value="1")
        with pytest.raises(Conflict):
            session.insert(tables.meta, key="a", value="2")
    assert kept(database) == {}


def test_keys_sort_by_bytes(database, keys):
    """A locale would sort otherwise, and paging and backups rely on it."""
    names = ["a", "B", "b", "_", "\u00e4", "Z", "-", "\uffff", "\U0001f600"]
    with database.write(keys) as session:
        session.insert_many(tables.backup_state, [{"key": name, "value": name} for name in names])
    with database.read(keys) as session:
        assert [row["key"] for row in session.find(tables.backup_state)] == sorted(names, key=lambda name: name.encode())


def test_text_that_a_server_cannot_keep_is_refused(database, keys):
    with pytest.raises(UsageError), database.write(keys) as session:
        session.insert(tables.meta, key="a", value="nul \0")


def test_many_rows_are_paged_and_written_at_once(database, keys, samples):
    fill(database, keys, samples)
    like = samples.values(tables.data_key, 1)
    beside = Beside("version_id", tables.version.c.asset_id)
    bulk = Bulk(
        tables.data_key,
        keys.mac,
        {"state": like["state"]},
        fixed={"kek_number": like["kek_number"]},
        varying=("wrapped",),
        beside=beside,
    )
    with database.read(keys) as session:
        rows = bulk.page(session, after="", limit=10)
    bulk.verify(rows)
    assert [(row[0], row[-1]) for row in rows] == [(samples.key(tables.data_key, 1)[0], samples.values(tables.version, 1)["asset_id"])]
    page = bulk.ready(bulk.changed(row, (b"new",)) for row in rows)
    with database.write(keys) as session:
        bulk.write(session, page)
    with pytest.raises(Conflict, match="meanwhile"), database.write(keys) as session:
        bulk.write(session, page)
    with database.read(keys) as session:
        assert session.require(tables.data_key, samples.key(tables.data_key, 1))["wrapped"] == b"new"


def test_readers_have_one_snapshot_and_wait_for_nobody(database, keys):
    other = Database.open(database.place)
    with database.read(keys) as before:
        with other.write(keys) as session:
            session.insert(tables.meta, key="a", value="1")
        assert before.get(tables.meta, "a") is None
        with pytest.raises(UsageError), database.read(keys):
            pass
    assert kept(database) == {"a": "1"}
    other.close()


def test_writers_take_turns_and_see_what_was_written_before(database, keys):
    """A snapshot taken before the lock was had would count to less."""
    databases = [Database.open(database.place, timeout_s=30) for _ in range(3)]

    def count(one):
        for _ in range(20):
            with one.write(keys) as session:
                row = session.get(tables.meta, "count")
                if row is None:
                    session.insert(tables.meta, key="count", value="1")
                else:
                    session.update(tables.meta, "count", None, value=str(int(row["value"]) + 1))

    threads = [threading.Thread(target=count, args=(one,)) for one in databases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert kept(database) == {"count": "60"}
    for one in databases:
        one.close()


def test_whoever_gets_no_turn_is_told_so_and_can_try_again(database, keys):
    impatient = Database.open(database.place, timeout_s=0.05)
    with database.write(keys), pytest.raises(Conflict, match="no turn"), impatient.write(keys):
        pass
    with impatient.write(keys) as session:
        session.insert(tables.meta, key="a", value="1")
    assert kept(impatient) == {"a": "1"}
    impatient.close()


def test_a_child_of_a_fork_opens_connections_of_its_own(database, keys):
    assert kept(database) == {}
    child = os.fork()
    if child == 0:
        status = 1
        try:
            with database.write(keys) as session:
                session.insert(tables.meta, key="child", value="1")
            database.close()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert kept(database) == {"child": "1"}


@pytest.mark.parametrize("name", [name for name in NAMES if tables.metadata.tables[name].info.get("authenticated")])
def test_rows_changed_with_psql_are_refused(name, database, keys, samples, server):
    """Every column of every authenticated table, one after another."""
    table = tables.metadata.tables[name]
    fill(database, keys, samples, (1,))
    key = samples.key(table, 1)
    matches = " AND ".join(f'"{column.name}" = %s' for column in table.primary_key.columns)
    with database.read(keys) as session:
        session.require(table, key)
    for column in table.columns:
        if column.primary_key or column.foreign_keys:
            continue
        old = server.sql(database.place, f'SELECT "{column.name}" FROM "{name}" WHERE {matches}', parameters=key)[0][0]
        new = old + 1 if isinstance(old, int) else old + ("x" if isinstance(old, str) else b"x")
        change = f'UPDATE "{name}" SET "{column.name}" = %s WHERE {matches}'
        server.sql(database.place, "SET session_replication_role = replica", change, parameters=(new, *key))
        with database.read(keys) as session, pytest.raises(RowTampered, match=name):
            session.require(table, key)
        server.sql(database.place, "SET session_replication_role = replica", change, parameters=(old, *key))
    with database.read(keys) as session:
        session.require(table, key)


def test_what_sqlalchemy_asks_runs_in_the_same_transaction(database, keys):
    with pytest.raises(StorageError, match="on purpose"), database.write(keys) as session:
        session.connection.execute(sa.insert(tables.meta).values(key="a", value="1"))
        assert session.connection.execute(sa.select(sa.func.count()).select_from(tables.meta)).scalar_one() == 2
        raise StorageError("on purpose")
    assert kept(database) == {}
