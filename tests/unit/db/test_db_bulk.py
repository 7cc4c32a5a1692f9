"""Rows read, changed and written in pages: what a session would have done, refused where a session would have refused."""

from __future__ import annotations

import pytest

from hermetic.db import tables
from hermetic.db.bulk import Bulk
from hermetic.errors import Conflict, IntegrityError, RowTampered, UsageError

CHANGING = ("kek_id", "kek_number", "wrapped")
NEW = ("kek.id-2", 1002, b"new")
MANY = 2500


@pytest.fixture
def bulk(keys):
    return Bulk(tables.data_key, keys, CHANGING)


@pytest.fixture
def many(filled, keys, samples):
    """Data keys of one KEK version, beside the two of `filled`."""
    with filled.write(keys) as session:
        like = samples.values(tables.data_key, 1)
        session.insert_many(tables.data_key, (like | {"id": f"many-{number:05}"} for number in range(MANY)))
    return filled


def equal(samples):
    like = samples.values(tables.data_key, 1)
    return {name: like[name] for name in ("kek_id", "kek_number", "state")}


def pages(database, keys, bulk, wanted, limit=1000):
    after = ""
    while True:
        with database.read(keys) as session:
            rows = bulk.page(session, wanted, after=after, limit=limit)
        if not rows:
            return
        yield rows
        after = rows[-1][bulk.at["id"]]


def test_every_row_is_changed_once(many, keys, bulk, samples):
    with many.read(keys) as session:
        before = session.find(tables.data_key, **equal(samples))
    assert len(before) == MANY + 1
    for rows in pages(many, keys, bulk, equal(samples)):
        changes = [(row, bulk.changed(row, NEW)) for row in rows]
        with many.write(keys) as session:
            bulk.write(session, bulk.ready(changes))
    with many.read(keys) as session:
        after = {row["id"]: row for row in session.find(tables.data_key, wrapped=b"new")}
        assert session.find(tables.data_key, **equal(samples)) == []
    assert after == {row["id"]: row | dict(zip(CHANGING, NEW, strict=True)) | {"revision": 2} for row in before}


def test_a_row_that_moved_on_refuses_the_page(many, keys, bulk, samples):
    (rows, *_) = pages(many, keys, bulk, equal(samples))
    changes = [(row, bulk.changed(row, NEW)) for row in rows]
    with many.write(keys) as session:
        session.update(tables.data_key, rows[7][bulk.at["id"]], 1, state="suspended")
    with pytest.raises(Conflict, match="changed meanwhile"), many.write(keys) as session:
        bulk.write(session, bulk.ready(changes))
    with many.read(keys) as session:
        assert session.find(tables.data_key, wrapped=b"new") == []


@pytest.mark.parametrize("column", ["wrapped", "version_id", "revision", "mac"])
def test_a_row_changed_by_hand_is_refused_when_read(filled, keys, bulk, samples, hand, column):
    value = {"wrapped": b"other", "version_id": "version.id-2", "revision": 7, "mac": bytes(32)}[column]
    hand.write(tables.data_key, samples.key(tables.data_key, 1), **{column: value})
    with filled.read(keys) as session, pytest.raises(RowTampered):
        bulk.page(session, equal(samples), after="", limit=10)


def test_a_type_never_stored_is_refused_when_read(filled, keys, bulk, samples, hand):
    hand.write(tables.data_key, samples.key(tables.data_key, 1), wrapped=1.5)
    with filled.read(keys) as session, pytest.raises(IntegrityError):
        bulk.page(session, equal(samples), after="", limit=10)


def test_a_row_that_was_not_read_does_not_pass(filled, keys, bulk, samples):
    with filled.read(keys) as session:
        (row,) = bulk.page(session, equal(samples), after="", limit=10)
    forged = list(row)
    forged[bulk.at["state"]] = "active"
    with filled.write(keys) as session:
        bulk.write(session, bulk.ready([(forged, bulk.changed(forged, NEW))]))
        with pytest.raises(IntegrityError, match="was changed by hand"):
            session.get(tables.data_key, row[bulk.at["id"]])


@pytest.mark.parametrize("values", [("k", "one", b"x"), ("k", 1, "text"), ("k", 2**63, b"x")], ids=["text", "not bytes", "too large"])
def test_values_of_wrong_types_are_refused(filled, keys, bulk, samples, values):
    with filled.read(keys) as session:
        (row,) = bulk.page(session, equal(samples), after="", limit=10)
    with pytest.raises(UsageError):
        bulk.changed(row, values)


@pytest.mark.parametrize("table", [tables.asset, tables.meta, tables.principal], ids=str)
def test_only_tables_without_sealed_columns(keys, table):
    with pytest.raises(UsageError, match="row by row"):
        Bulk(table, keys, ("state",))


@pytest.mark.parametrize("column", ["id", "revision", "mac"])
def test_what_is_kept_up_is_not_changed(keys, column):
    with pytest.raises(UsageError):
        Bulk(tables.data_key, keys, (column,))


def test_it_shows_no_key(bulk):
    assert repr(bulk) == "<Bulk data_key>"
