"""The rule by which batches of a campaign shrink and grow, and that a campaign follows it."""

from __future__ import annotations

import contextlib

import pytest

from hermetic.custody import pacing, rewrapping
from hermetic.custody.pacing import LEAST, LONGEST_S, MOST, QUICK_RUN, SLOW_S, START, STEP, Pace
from hermetic.formats.messages import keys
from tests import world as w


def after(*seconds):
    pace = Pace()
    for each in seconds:
        pace.took(each)
    return pace.size


def test_a_slow_write_halves_what_follows():
    assert after(0.021) == 200  # half of 500, in steps of 100
    assert after(*[0.001] * QUICK_RUN, 0.021) == 300
    assert after(*[1.0] * 50) == LEAST


def test_quick_writes_grow_it_again_one_step_after_a_run_of_them():
    assert after(*[0.001] * (QUICK_RUN - 1)) == START
    assert after(*[0.001] * QUICK_RUN) == START + STEP
    assert after(*[SLOW_S] * QUICK_RUN * 100) == MOST
    assert after(*[0.001] * (QUICK_RUN - 1), 0.021, *[0.001] * (QUICK_RUN - 1)) == 200  # a run is without a slow one


@pytest.mark.parametrize("each_s", [0.00002, 0.0001, 0.0002])
def test_where_a_key_takes_so_long_writes_stay_below_the_longest(each_s):
    pace, longest = Pace(), 0.0
    for _ in range(4):  # the first ones tell what the machine is like
        pace.took(pace.size * each_s)
    for _ in range(10_000):
        seconds = pace.size * each_s
        longest = max(longest, seconds)
        pace.took(seconds)
    assert longest <= LONGEST_S


def test_a_campaign_follows_the_pace(world, monkeypatch):
    port = world.port()
    for _ in range(9):
        w.seal(port)
    (row,) = port.ask(keys.ListKeys()).keys
    port.ask(keys.RotateKey(row.kek))
    for name, value in {"START": 4, "STEP": 1, "LEAST": 1, "MOST": 4}.items():
        monkeypatch.setattr(pacing, name, value)
    clock = iter(range(1000))
    monkeypatch.setattr(rewrapping, "perf_counter", lambda: next(clock))  # every write takes a second
    assert port.ask(keys.RewrapKey(row.kek)).moved == 9
    counts = [facts["count"] for kind, facts, _ in w.leaves(port) if kind == "key.rewrapped"]
    assert counts[0] == 4  # what was not known to be slow
    assert counts[-1] == 1
    assert counts == sorted(counts, reverse=True)


def test_checkpoints_stay_out_of_the_turn(world, monkeypatch):
    port = world.port()
    for _ in range(4):
        w.seal(port)
    (row,) = port.ask(keys.ListKeys()).keys
    port.ask(keys.RotateKey(row.kek))
    database, seen, inside = port._custodian.database, [], []
    plain_write, plain_checkpoint = database.write, database.checkpoint

    @contextlib.contextmanager
    def write(*given, **named):
        with plain_write(*given, **named) as session:
            inside.append(True)
            try:
                yield session
            finally:
                inside.pop()

    monkeypatch.setattr(database, "write", write)
    monkeypatch.setattr(database, "checkpoint", lambda: seen.append(bool(inside)) or plain_checkpoint())
    monkeypatch.setattr(pacing, "MERGED", 2)
    monkeypatch.setattr(pacing, "START", 2)
    assert port.ask(keys.RewrapKey(row.kek)).moved == 4
    assert seen == [False, False]
