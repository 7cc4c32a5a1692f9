"""Grants that are good for so many bytes, or for some versions only."""

from __future__ import annotations

import threading

import pytest

from hermetic.custody import release
from hermetic.errors import HermeticError, KeyUnusable, PolicyDenied, UsageError
from hermetic.formats.messages import policy
from hermetic.formats.messages.greeting import Hello
from hermetic.ids import Purpose
from tests import world as w

OTHER = 65534
TEN = b"0123456789"


@pytest.fixture
def port(world):
    """The owner's port, with three versions of ten bytes each and a user enrolled who may do nothing."""
    made = world.port()
    for _ in range(3):
        w.seal(made, "dataset/a", content=TEN)
    w.enrol(made, "nobody", ["approver"])
    return made


@pytest.fixture
def other(world, port):
    return world.port(uid=OTHER)


def give(port, pattern="dataset/*", **limits):
    terms = ("nobody", "open", pattern, (Purpose.PREPARE,), w.START + w.HOUR, "needed for a test")
    return port.ask(policy.GiveGrant(*terms, **limits))


def row_of(port, given):
    return next(row for row in port.ask(policy.ListGrants(ended=True)).grants if row.id == given.id)


def test_bytes_are_those_of_plaintext_and_are_taken_once(port, other):
    given = give(port, length=25)
    assert given.bytes_left == 25
    lease = w.open_(other, "dataset/a@1").released[0].lease
    assert row_of(port, given).bytes_left == 15
    assert w.ended(other, lease) is None
    other.ask(Hello())
    assert row_of(port, given).bytes_left == 15
    w.open_(other, "dataset/a@2")
    with pytest.raises(PolicyDenied):  # 5 are left, and versions are released whole
        w.open_(other, "dataset/a@3")
    assert row_of(port, given).bytes_left == 5
    assert w.ended(other, lease) is None


def test_what_is_held_outlives_the_last_byte(port, other):
    given = give(port, length=10)
    lease = w.open_(other, "dataset/a@1").released[0].lease
    assert row_of(port, given).state == "used up"
    assert w.ended(other, lease) is None
    with pytest.raises(PolicyDenied):
        w.open_(other, "dataset/a@1")


def test_a_batch_takes_the_sum_or_nothing(port, other):
    given = give(port, length=29)
    with pytest.raises(PolicyDenied, match="9 that are left"):
        w.open_(other, "dataset/a@1", "dataset/a@2", "dataset/a@3")
    assert row_of(port, given).bytes_left == 29
    w.open_(other, "dataset/a@1", "dataset/a@2")
    assert row_of(port, given).bytes_left == 9


def test_what_failed_gives_its_bytes_back(port, other, monkeypatch):
    given = give(port, length=10, uses=1)
    monkeypatch.setattr(release.unwrapping, "unwrap_all", _fails)
    with pytest.raises(KeyUnusable):
        w.open_(other, "dataset/a@1")
    monkeypatch.undo()
    row = row_of(port, given)
    assert (row.bytes_left, row.uses_left) == (10, 1)


def _fails(*_args, **_more):
    raise KeyUnusable("a test")


def test_two_who_race_for_the_last_bytes(world, port):
    given = give(port, length=10)
    racers = [world.port(uid=OTHER) for _ in range(2)]
    start, came = threading.Barrier(2), []

    def race(racer):
        start.wait(20)
        try:
            came.append(w.open_(racer, "dataset/a@1"))
        except HermeticError as error:
            came.append(error)

    threads = [threading.Thread(target=race, args=(racer,)) for racer in racers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(isinstance(item, PolicyDenied) for item in came) == [False, True]
    assert row_of(port, given).bytes_left == 0


def test_a_grant_for_a_version_is_good_for_that_version(port, other):
    give(port, "dataset/a@2")
    w.open_(other, "dataset/a@2")
    for ref in ("dataset/a@1", "dataset/a@3", "dataset/a"):
        with pytest.raises(PolicyDenied):
            w.open_(other, ref)
    w.seal(port, "dataset/a", content=TEN)
    give(port, "dataset/a@3-4")
    w.open_(other, "dataset/a@3", "dataset/a@4", "dataset/a")
    w.seal(port, "dataset/a", content=TEN)
    with pytest.raises(PolicyDenied):
        w.open_(other, "dataset/a")  # which is the fifth now
    assert sorted(row.pattern for row in port.ask(policy.ListGrants()).grants) == ["dataset/a@2", "dataset/a@3-4"]


@pytest.mark.parametrize("pattern", ["dataset/a@3-2", "dataset/a@0", "dataset/a@3-", "dataset/a@-3", "dataset/a@1-2-3"])
def test_ranges_that_are_none(port, pattern):
    with pytest.raises(UsageError):
        give(port, pattern)


def test_bytes_are_for_releases(port):
    with pytest.raises(UsageError):
        give(port, length=0)
    with pytest.raises(UsageError):
        port.ask(policy.GiveGrant("nobody", "seal", "dataset/*", (Purpose.INGEST,), w.START + w.HOUR, "test", length=10))


def test_grants_without_a_count_are_used_first(port, other):
    counted, free = give(port, length=100), give(port)
    w.open_(other, "dataset/a")
    assert row_of(port, counted).bytes_left == 100
    assert row_of(port, free).bytes_left is None


def test_whoever_is_refused_hears_what_became_of_the_grant(world, port, other):
    def hint(ref="dataset/a@1", **more):
        with pytest.raises(PolicyDenied) as refused:
            w.open_(other, ref, **more)
        return refused.value.hint

    assert "your grant" not in hint()
    once = give(port, uses=1)
    w.open_(other, "dataset/a@1")
    assert "your grant for this is used up\n" in hint()
    assert "your grant" not in hint(purpose=Purpose.TRAIN)  # which it never covered
    world.clock.now += 1
    few = give(port, length=9)
    assert "your grant for this has 9 bytes left, and this has 10\n" in hint()
    for given in (once, few):
        assert given.id not in hint()
    port.ask(policy.RevokeGrant(few.id, "for a test"))
    assert "your grant for this was revoked\n" in hint()
