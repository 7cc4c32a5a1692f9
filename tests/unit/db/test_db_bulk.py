"""Rows read, changed and written in pages: what a session would have done, refused where a session would have refused."""

from __future__ import annotations

import pytest

from hermetic.db import tables
from hermetic.db.bulk import Bulk
from hermetic.db.statements import Beside
from hermetic.errors import Conflict, IntegrityError, RowTampered, UsageError

NEW = {"kek_id": "kek.id-2", "kek_number": 1002}
MANY = 2500


def equal(samples):
    like = samples.values(tables.data_key, 1)
    return {name: like[name] for name in ("kek_id", "kek_number", "state")}


@pytest.fixture
def bulk(keys, samples):
    return Bulk(tables.data_key, keys.mac, equal(samples), fixed=NEW, varying=("wrapped",))


@pytest.fixture
def many(filled, keys, samples):
    """Data keys of one KEK version, beside the two of `filled`."""
    with filled.write(keys) as session:
        like = samples.values(tables.data_key, 1)
        session.insert_many(tables.data_key, (like | {"id": f"many-{number:05}"} for number in range(MANY)))
    return filled


def read(database, keys, bulk, after="", limit=10):
    with database.read(keys) as session:
        rows = bulk.page(session, after=after, limit=limit)
    bulk.verify(rows)
    return rows


def pages(database, keys, bulk, limit=1000):
    after = ""
    while rows := read(database, keys, bulk, after, limit):
        yield rows
        after = rows[-1][bulk.at["id"]]


def test_every_row_is_changed_once(many, keys, bulk, samples):
    with many.read(keys) as session:
        before = session.find(tables.data_key, **equal(samples))
    assert len(before) == MANY + 1
    for rows in pages(many, keys, bulk):
        page = bulk.ready(bulk.changed(row, (b"new",)) for row in rows)
        assert page.keys == tuple(row[0] for row in rows)
        assert bulk.page_of(page.parameters) == page
        with many.write(keys) as session:
            bulk.write(session, page)
    with many.read(keys) as session:
        after = {row["id"]: row for row in session.find(tables.data_key, wrapped=b"new")}
        assert session.find(tables.data_key, **equal(samples)) == []
    assert after == {row["id"]: row | NEW | {"wrapped": b"new", "revision": 2} for row in before}


@pytest.mark.parametrize("fixed", [{}, {"state": "per%cent"}, {"kek_id": "kek.id-2", "kek_number": 1002}], ids=str)
@pytest.mark.parametrize("asked", [("version_id",), ("state", "version_id"), ("kek_id", "kek_number", "state", "version_id")], ids=str)
def test_what_is_asked_for_and_what_is_set_may_be_any_columns(filled, keys, samples, fixed, asked):
    like = samples.values(tables.data_key, 1)
    bulk = Bulk(tables.data_key, keys.mac, {name: like[name] for name in asked}, fixed=fixed, varying=("wrapped",))
    rows = read(filled, keys, bulk)
    with filled.write(keys) as session:
        bulk.write(session, bulk.ready(bulk.changed(row, (b"100 % new",)) for row in rows))
    with filled.read(keys) as session:
        found = session.require(tables.data_key, samples.key(tables.data_key, 1))
    assert found.items() >= (like | fixed | {"wrapped": b"100 % new", "revision": 2}).items()


def test_a_column_of_another_table_stands_beside(filled, keys, samples, hand):
    beside = Beside("version_id", tables.version.c.asset_id)
    bulk = Bulk(tables.data_key, keys.mac, equal(samples), beside=beside)
    (row,) = read(filled, keys, bulk)
    assert row[-1] == samples.values(tables.version, 1)["asset_id"]
    hand.run("DELETE FROM version WHERE id = ?", parameters=samples.key(tables.version, 1))
    (row,) = read(filled, keys, bulk)
    assert row[-1] is None


def test_a_row_that_moved_on_refuses_the_page(many, keys, bulk):
    rows = read(many, keys, bulk)
    page = bulk.ready(bulk.changed(row, (b"new",)) for row in rows)
    with many.write(keys) as session:
        session.update(tables.data_key, rows[7][bulk.at["id"]], 1, state="suspended")
    with pytest.raises(Conflict, match="changed meanwhile"), many.write(keys) as session:
        bulk.write(session, page)
    with many.read(keys) as session:
        assert session.find(tables.data_key, wrapped=b"new") == []


@pytest.mark.parametrize("column", ["wrapped", "version_id", "revision", "mac"])
def test_a_row_changed_by_hand_is_refused_when_read(filled, keys, bulk, samples, hand, column):
    value = {"wrapped": b"other", "version_id": "version.id-2", "revision": 7, "mac": bytes(32)}[column]
    hand.write(tables.data_key, samples.key(tables.data_key, 1), **{column: value})
    with pytest.raises(RowTampered, match="by hand"):
        read(filled, keys, bulk)


def test_a_row_that_an_index_leads_to_by_mistake_is_refused_when_read(filled, keys, samples):
    """As if the index had answered: its values are not read, so that the code fails over those that were asked for."""
    bulk = Bulk(tables.data_key, keys.mac, equal(samples) | {"kek_number": 7})
    right = Bulk(tables.data_key, keys.mac, equal(samples))
    rows = read(filled, keys, right)
    with pytest.raises(RowTampered, match="index"):
        bulk.verify(rows)


def test_a_type_never_stored_is_refused_when_read(filled, keys, bulk, samples, hand):
    hand.write(tables.data_key, samples.key(tables.data_key, 1), wrapped=1.5)
    with pytest.raises(IntegrityError):
        read(filled, keys, bulk)


def test_a_row_that_was_not_read_does_not_pass(filled, keys, bulk):
    (row,) = read(filled, keys, bulk)
    forged = list(row)
    forged[bulk.at["version_id"]] = "version.id-2"
    with filled.write(keys) as session:
        bulk.write(session, bulk.ready([bulk.changed(forged, (b"new",))]))
        with pytest.raises(IntegrityError, match="was changed by hand"):
            session.get(tables.data_key, row[bulk.at["id"]])


@pytest.mark.parametrize("value", ["text", 1], ids=["text", "number"])
def test_values_of_wrong_types_are_refused(filled, keys, bulk, value):
    (row,) = read(filled, keys, bulk)
    with pytest.raises(UsageError):
        bulk.changed(row, (value,))


@pytest.mark.parametrize("fixed", [{"kek_id": 1}, {"kek_number": "one"}, {"kek_number": 2**63}], ids=str)
def test_fixed_values_of_wrong_types_are_refused(keys, samples, fixed):
    with pytest.raises(UsageError):
        Bulk(tables.data_key, keys.mac, equal(samples), fixed=fixed)


@pytest.mark.parametrize("table", [tables.asset, tables.meta, tables.principal], ids=str)
def test_only_tables_without_sealed_columns(keys, table):
    with pytest.raises(UsageError, match="row by row"):
        Bulk(table, keys.mac, {"state": "x"})


@pytest.mark.parametrize("column", ["id", "revision", "mac"])
def test_what_is_kept_up_is_not_changed(keys, column):
    for given in ({"equal": {column: "x"}}, {"equal": {}, "fixed": {column: "x"}}, {"equal": {}, "varying": (column,)}):
        with pytest.raises(UsageError):
            Bulk(tables.data_key, keys.mac, **given)


def test_it_shows_no_key(bulk):
    assert repr(bulk) == "<Bulk data_key>"
