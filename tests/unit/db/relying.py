"""What every database has to do for those who compare what they relied on: bodies of tests, for SQLite and for PostgreSQL.

`by_hand(sql)` changes the database past Hermetic.
"""

from __future__ import annotations

import pytest

from hermetic.db import tables
from hermetic.db.relied import Changed
from hermetic.db.rows import ReadSession
from hermetic.errors import RowTampered

OTHER = "b" * 26
CHANGES = ("update", "appears", "goes", "by name", "by hand")


def fill(database, keys, samples, numbers=(1, 2)):
    with database.write(keys) as session:
        for table in tables.metadata.sorted_tables:
            if table is not tables.meta:
                session.insert_many(table, [samples.values(table, number) for number in numbers])


def ask(session, samples):
    """Read as a decision does: by key, by other columns, what is not there, several rows and none."""
    one = samples.values(tables.asset, 1)
    return [
        session.get(tables.asset, samples.key(tables.asset, 1)),
        session.first(tables.asset, environment=one["environment"], name=one["name"]),
        session.get(tables.run, OTHER),
        session.find(tables.kek),
        session.find(tables.grant_, state="revoked"),
        session.find(tables.run, ended_ms=None),
    ]


def change(database, keys, samples, how, by_hand):
    if how == "by hand":
        by_hand("UPDATE asset SET epoch = epoch + 1")
        return
    with database.write(keys) as session:
        if how == "update":
            session.update(tables.kek, samples.key(tables.kek, 2), 1, epoch=77)
        elif how == "appears":
            session.insert(tables.run, **samples.values(tables.run, 3) | {"id": OTHER})
        elif how == "goes":
            session.delete(tables.lease, samples.key(tables.lease, 2))
        else:
            session.update(tables.asset, samples.key(tables.asset, 1), 1, name="dataset/renamed")


def is_noticed(database, keys, samples, how, by_hand):
    """The same rows are the same; any change of them is one, in a session that reads and in one that writes."""
    fill(database, keys, samples)
    with database.read(keys) as session:
        before = ask(session, samples)
        session.find(tables.lease)
        relied = session.relied()
    for opened in (database.read, database.write):
        with opened(keys) as session:
            session.require_unchanged(relied)
            assert ask(session, samples) == before
    change(database, keys, samples, how, by_hand)
    for opened in (database.read, database.write):
        with opened(keys) as session:
            with pytest.raises(Changed):
                session.require_unchanged(relied)
            if how == "by hand":
                with pytest.raises(RowTampered):
                    session.get(tables.asset, samples.key(tables.asset, 1))
            elif how != "goes":
                assert ask(session, samples) != before


def is_planned(database, keys, samples, by_hand, monkeypatch):
    """A plan saves statements, and answers nothing: what is read is what is there, and verified."""
    fetched, fetch = [], ReadSession._fetch
    monkeypatch.setattr(ReadSession, "_fetch", lambda self, *more: fetched.append(more[1]) or fetch(self, *more))

    def read():
        fetched.clear()
        with database.read(keys, plan="test") as session:
            return ask(session, samples), len(fetched)

    fill(database, keys, samples)
    first, alone = read()
    assert (read(), alone) == ((first, 1), 6)
    change(database, keys, samples, "appears", by_hand)
    found, count = read()
    assert (found[2]["id"], found[:2], count) == (OTHER, first[:2], 1)
    change(database, keys, samples, "update", by_hand)
    assert 77 in [row["epoch"] for row in read()[0][3]]
    by_hand("UPDATE asset SET epoch = epoch + 1")
    with pytest.raises(RowTampered):
        read()
