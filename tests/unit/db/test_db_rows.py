"""Sessions give back what they were given, find it, change it under a revision, and refuse what makes no sense."""

from __future__ import annotations

import enum

import pytest
import sqlalchemy as sa

from hermetic.db import layout, tables
from hermetic.errors import Conflict, IntegrityError, NotFound, UsageError
from hermetic.ids import DataClass

TABLES = tables.metadata.sorted_tables
PROTECTED = [table for table in TABLES if table.info.get("authenticated")]
OTHERS = [table for table in TABLES if table is not tables.meta]


def expected(table, values):
    return values | ({"revision": 1} if table in PROTECTED else {})


@pytest.mark.parametrize("table", OTHERS, ids=str)
def test_every_table_gives_back_what_it_was_given(table, filled, keys, samples):
    with filled.read(keys) as session:
        for number in (1, 2):
            assert session.get(table, samples.key(table, number)) == expected(table, samples.values(table, number))
        assert len(session.find(table)) == 2
        assert list(session.scan(table)) == session.find(table)


@pytest.mark.parametrize("table", OTHERS, ids=str)
def test_every_searchable_column_is_found_by_its_plain_value(table, filled, keys, samples):
    shape = layout.of(table)
    with filled.read(keys) as session:
        for name, value in samples.values(table, 2).items():
            if name in shape.sealed and name not in shape.lookups:
                with pytest.raises(UsageError, match="sealed and has no lookup"):
                    session.find(table, **{name: value})
            else:
                assert [samples.key(table, 2)] == [
                    tuple(row[key] for key in shape.keys) for row in session.find(table, **{name: value})
                ]
                assert session.first(table, **{name: value}) == expected(table, samples.values(table, 2))


@pytest.mark.parametrize("table", PROTECTED, ids=str)
def test_update_counts_revisions_and_reseals(table, filled, keys, samples):
    shape = layout.of(table)
    new = {
        name: value
        for name, value in samples.values(table, 3).items()
        if name not in shape.keys and not list(table.c[name].foreign_keys)
    }
    key = samples.key(table, 1)
    with filled.write(keys) as session:
        changed = session.update(table, key, 1, **new)
        assert changed == samples.values(table, 1) | new | {"revision": 2}
    with filled.read(keys) as session:
        assert session.get(table, key) == changed
        assert session.get(table, samples.key(table, 2)) == expected(table, samples.values(table, 2))
        for source in shape.lookups:
            assert session.first(table, **{source: new[source]}) == changed
            assert session.find(table, **{source: samples.values(table, 1)[source]}) == []


def test_null_comes_back_as_none_and_is_found(filled, keys, samples):
    with filled.write(keys) as session:
        row = session.update(tables.asset, samples.key(tables.asset, 1), 1, owner=None, project=None, retention_days=None)
        assert (row["owner"], row["project"], row["retention_days"]) == (None, None, None)
        assert session.find(tables.asset, owner=None) == [row] == session.find(tables.asset, retention_days=None, owner=None)
        assert session.find(tables.asset, owner=None, state="other") == []


def test_columns_left_out_are_null(database, keys, samples):
    values = samples.values(tables.root, 1)
    with database.write(keys) as session:
        with pytest.raises(UsageError, match="missing"):
            session.insert(tables.root, id="x")
        session.insert(tables.root, **values)
        session.insert(tables.run, id="r", name="n", purpose="train", principal="p", state="running", started_ms=1)
        assert session.require(tables.run, "r")["details"] is None


def test_plain_tables_have_no_revision(database):
    with database.write(None) as session:
        session.insert(tables.backup_state, key="a", value="1")
        assert session.update(tables.backup_state, "a", None, value="2") == {"key": "a", "value": "2"}
        with pytest.raises(Conflict):
            session.update(tables.backup_state, "a", 1, value="3")


def test_stale_revision_conflicts_and_changes_nothing(filled, keys, samples):
    key = samples.key(tables.kek, 1)
    with filled.write(keys) as session:
        session.update(tables.kek, key, 1, epoch=5)
        with pytest.raises(Conflict, match="changed meanwhile"):
            session.update(tables.kek, key, 1, epoch=6)
        assert session.require(tables.kek, key)["epoch"] == 5


def test_missing_rows(filled, keys):
    with filled.write(keys) as session:
        assert session.get(tables.asset, "nobody") is None
        assert session.first(tables.asset, id="nobody") is None
        for call in (session.require, session.delete):
            with pytest.raises(NotFound, match="no asset with id nobody"):
                call(tables.asset, "nobody")
        with pytest.raises(NotFound):
            session.update(tables.asset, "nobody", 1, epoch=2)


def test_delete(filled, keys, samples):
    key = samples.key(tables.lease, 1)
    with filled.write(keys) as session:
        session.delete(tables.lease, key)
        assert session.get(tables.lease, key) is None
        assert len(session.find(tables.lease)) == 1
        with pytest.raises(Conflict, match="still referred to"):
            session.delete(tables.asset, samples.key(tables.asset, 1))


def test_duplicates_conflict_without_showing_values(filled, keys, samples):
    values = samples.values(tables.asset, 1)
    with filled.write(keys) as session:
        with pytest.raises(Conflict, match="already exists") as by_key:
            session.insert(tables.asset, **values)
        with pytest.raises(Conflict, match=r"asset\.environment, asset\.name_h") as by_name:
            session.insert(tables.asset, **values | {"id": "another"})
    assert "SECRET" not in str(by_key.value) + str(by_name.value)


def test_a_row_that_refers_to_nothing_conflicts(database, keys, samples):
    with database.write(keys) as session, pytest.raises(Conflict, match="refers to"):
        session.insert(tables.version, **samples.values(tables.version, 1))


class Loud(enum.IntEnum):
    ONE = 1


def test_subclasses_are_stored_as_their_plain_values(filled, keys, samples):
    with filled.write(keys) as session:
        row = session.update(tables.asset, samples.key(tables.asset, 1), 1, data_class=DataClass.RESTRICTED, epoch=Loud.ONE)
        assert (type(row["data_class"]), type(row["epoch"])) == (str, int)
        session.update(tables.policy, samples.key(tables.policy, 1), 1, current=True)
        assert session.find(tables.asset, data_class=DataClass.RESTRICTED) == [row]


@pytest.mark.parametrize(
    "changes",
    [
        {"nothing": 1},
        {"revision": 7},
        {"mac": b""},
        {"name_h": b""},
        {"id": "x"},
        {"epoch": "1"},
        {"epoch": 1.5},
        {"epoch": 2**63},
        {"kind": 1},
        {"kind": b"x"},
        {"kind": "\ud800"},
        {"name": 5},
        {"name": "\ud800"},
        {"owner": b"ana"},
        {"kind": None},
    ],
    ids=str,
)
def test_wrong_changes_are_usage_errors(changes, filled, keys, samples):
    key = samples.key(tables.asset, 1)
    with filled.write(keys) as session:
        with pytest.raises(UsageError):
            session.update(tables.asset, key, 1, **changes)
        assert session.require(tables.asset, key)["revision"] == 1


@pytest.mark.parametrize(
    "value",
    [{1: 2}, {"a": object()}, {"a": float("nan")}, {"a": 2**60}, {"a": b"x"}],
    ids=["key", "object", "nan", "large", "bytes"],
)
def test_what_json_cannot_hold_is_a_usage_error(value, filled, keys, samples):
    with filled.write(keys) as session:
        for table, column in ((tables.version, "details"), (tables.principal, "roles")):
            with pytest.raises(UsageError, match="JSON"):
                session.update(table, samples.key(table, 1), 1, **{column: value})


@pytest.mark.parametrize("key", ["one", ("one",), ("one", 2, 3), ("one", None), (1, "one"), None], ids=str)
def test_keys_of_the_wrong_shape_are_usage_errors(key, database, keys):
    with database.read(keys) as session, pytest.raises(UsageError):
        session.get(tables.kek_version, key)


def test_searching_what_cannot_be_searched(database, keys):
    with database.read(keys) as session:
        for wrong in ({"mac": b""}, {"revision": 1}, {"name_h": b""}, {"nothing": 1}, {"epoch": "1"}):
            with pytest.raises(UsageError):
                session.find(tables.asset, **wrong)


def test_protected_tables_need_keys(filled, samples):
    with filled.write(None) as session:
        for call in (
            lambda: session.get(tables.asset, samples.key(tables.asset, 1)),
            lambda: session.find(tables.asset),
            lambda: session.find(tables.asset, name="x"),
            lambda: session.insert(tables.lease, **samples.values(tables.lease, 1)),
            lambda: session.update(tables.data_key, samples.key(tables.data_key, 1), 1, state="x"),
        ):
            with pytest.raises(UsageError, match="without row keys"):
                call()


def test_other_keys_open_nothing(filled, samples):
    from hermetic.crypto.secret import Secret
    from hermetic.db.columns import RowKeys

    stranger = RowKeys(Secret(b"x" * 32), Secret(b"y" * 32), Secret(b"z" * 32))
    with filled.read(stranger) as session:
        assert session.find(tables.asset, name=samples.values(tables.asset, 1)["name"]) == []
        with pytest.raises(IntegrityError):
            session.get(tables.asset, samples.key(tables.asset, 1))


def test_scan_takes_conditions_order_and_limit(filled, keys):
    column = tables.asset.c.created_ms
    with filled.read(keys) as session:
        found = list(session.scan(tables.asset, column > 1000, order_by=[sa.desc(column)], limit=1))
        assert [row["created_ms"] for row in found] == [1002]


def test_plain_sql_sees_the_transaction(filled, keys):
    with filled.write(keys) as session:
        session.insert(tables.backup_state, key="now", value="1")
        count = sa.select(sa.func.count()).select_from(tables.backup_state)
        assert session.connection.execute(count).scalar_one() == 3
        session.connection.commit()
        session.connection.rollback()
        assert session.connection.execute(count).scalar_one() == 3
    with filled.read(keys) as session:
        assert session.connection.execute(count).scalar_one() == 3
