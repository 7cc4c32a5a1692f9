"""What a decision relied on is compared whole, and asked for at once the next time."""

from __future__ import annotations

import pytest

from hermetic.db import relied, rows, tables
from hermetic.db.relied import Changed, Plans, same
from hermetic.errors import NotFound, RowTampered
from tests.unit.db import relying


@pytest.mark.parametrize("how", relying.CHANGES)
def test_a_change_is_noticed(database, keys, samples, hand, how):
    relying.is_noticed(database, keys, samples, how, hand.run)


def test_a_plan_answers_nothing(database, keys, samples, hand, monkeypatch):
    relying.is_planned(database, keys, samples, hand.run, monkeypatch)


@pytest.mark.parametrize("table", [table for table in tables.metadata.sorted_tables if table is not tables.meta], ids=str)
def test_every_table_is_read_together_as_alone(table, filled, keys, samples):
    with filled.read(keys) as session:
        alone = [session.get(table, samples.key(table, 1)), session.find(table), session.find(tables.root)]
        asked = session.relied()
    with filled.read(keys) as session:
        session.require_unchanged(asked)
        assert session._ahead == {query: list(map(tuple, answer)) for query, answer in asked.items()}
        assert [session.get(table, samples.key(table, 1)), session.find(table), session.find(tables.root)] == alone


def test_types_are_compared_too():
    assert same([(1, "a", b"x", None)], [[1, "a", b"x", None]])
    for other in (1.0, True, "1", b"1", None, 2):
        assert not same([(1, "a")], [(other, "a")])
    assert not same([(1,)], [])
    assert not same([(1,)], [(1,), (2,)])
    assert not same([(1, "a")], [(1,)])


def test_rows_that_have_no_order_are_no_rows(filled, keys):
    with filled.read(keys) as session:
        session.find(tables.root)
        ((query, (first, second)),) = session.relied().items()
    assert rows._in_order(query[0], [second, first]) == [first, second]
    with pytest.raises(RowTampered, match="table root"):
        rows._in_order(query[0], [first, (7, *second[1:])])


def test_text_that_is_none_names_its_table(filled, keys, samples, hand):
    with filled.read(keys) as session:
        session.find(tables.run)
        session.find(tables.kek)
        asked = session.relied()
    hand.run("UPDATE run SET state = CAST(x'ff' AS TEXT)")
    with filled.read(keys) as session, pytest.raises(RowTampered, match="table run"):
        session.require_unchanged(asked)


def test_what_is_not_whole_is_never_the_same(filled, keys, monkeypatch):
    monkeypatch.setattr(rows, "ANSWER_ROWS", 1)
    with filled.read(keys) as session:
        assert len(session.find(tables.run)) == 2
        assert session.relied() is None
        with pytest.raises(Changed):
            session.require_unchanged(session.relied())


def test_a_row_found_by_other_columns_is_asked_for_by_its_key(filled, keys, samples, hand):
    key = samples.key(tables.asset, 1)
    values = samples.values(tables.asset, 1)
    with filled.read(keys) as session:
        session.first(tables.asset, environment=values["environment"], name=values["name"])
        session.rely(tables.asset, key)
        assert len(session.relied()) == 2
        session.rely(tables.run, samples.key(tables.run, 1))  # met nowhere: read
        assert len(session.relied()) == 3
        with pytest.raises(NotFound):
            session.rely(tables.run, "nobody")
        asked = session.relied()
    with filled.read(keys) as session:
        session.require_unchanged(asked)


def test_plans_are_few_and_short(monkeypatch):
    monkeypatch.setattr(relied, "PLANS", 2)
    plans = Plans()
    for number in range(3):
        plans.keep(number, [("query", number)])
    assert [plans.find(number) for number in range(3)] == [(), (("query", 1),), (("query", 2),)]
    plans.keep(2, [("query", number) for number in range(relied.PLANNED + 1)])
    assert plans.find(2) == (("query", 2),)


def test_a_writer_asks_again(filled, keys, samples):
    key = samples.key(tables.kek, 1)
    with filled.write(keys) as session:
        before = session.require(tables.kek, key)
        session.update(tables.kek, key, before["revision"], epoch=99)
        assert session.require(tables.kek, key)["epoch"] == 99
        assert session.relied() == {}
