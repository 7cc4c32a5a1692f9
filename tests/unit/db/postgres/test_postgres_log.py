"""Appends to the log on a server: one statement for a few leaves, one round trip for many; and what is planned once a connection."""

from __future__ import annotations

import pytest

from hermetic.audit import tables_store
from hermetic.audit.tables_store import TablesStore
from hermetic.audit.verify import verify
from hermetic.db import tables
from hermetic.errors import Conflict
from tests.unit.audit.making import DOMAIN, START_MS, intent, make_log, outcome


def test_few_leaves_and_many_are_the_same_log(database, monkeypatch):
    log, sizes, ran = make_log(), (1, 2, tables_store.FEW, tables_store.FEW + 1, 1, 3), []
    monkeypatch.setattr(tables_store, "_at_once", lambda *more, real=tables_store._at_once: ran.append(more) or real(*more))
    with database.write(None) as session:
        log.begin(TablesStore(session.connection), now_ms=START_MS)
    for size in sizes:
        with database.write(None) as session:
            log.append(TablesStore(session.connection), [intent("r"), *[outcome("r")] * (size - 1)], now_ms=START_MS)
    with database.read(None) as session:
        store = TablesStore(session.connection)
        assert verify(store, DOMAIN).entries == 1 + sum(sizes)
        assert [len(leaf.hidden) > 0 for leaf in log.leaves(store)].count(True) == len(sizes)
        assert [row.size for row in store.checkpoints(1)] == [1, 1 + sum(sizes)]
    assert len(ran) == len(sizes)  # the first leaf of the log too, and not the many


def test_what_is_asked_in_every_transaction_is_planned_once(database, keys, samples):
    values = samples.values(tables.run, 1)
    for _ in range(3):  # a transaction that is undone takes what was planned back
        with database.write(keys) as session:
            session.insert(tables.run, **values)
            session.delete(tables.run, values["id"])
        with pytest.raises(Conflict), database.write(keys) as session:
            session.insert(tables.run, **values)
            session.insert(tables.run, **values)
        for _ in range(2):
            with database.read(keys) as session:
                assert session.find(tables.run) == []
                planned = session._link.raw.execute("SELECT name FROM pg_prepared_statements WHERE name LIKE 'hermetic%'").fetchall()
                assert len(planned) == 1
