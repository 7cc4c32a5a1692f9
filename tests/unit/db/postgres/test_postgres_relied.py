"""What a decision relied on, on a server: the same questions in one statement."""

from __future__ import annotations

import pytest

from tests.unit.db import relying


@pytest.fixture
def by_hand(server, place):
    return lambda statement: server.sql(place, statement)


@pytest.mark.parametrize("how", relying.CHANGES)
def test_a_change_is_noticed(database, keys, samples, by_hand, how):
    relying.is_noticed(database, keys, samples, how, by_hand)


def test_a_plan_answers_nothing(database, keys, samples, by_hand, monkeypatch):
    relying.is_planned(database, keys, samples, by_hand, monkeypatch)
