"""The keys of a rewrap campaign: unwrapped once a request, wiped at its end, and of no use once their state has changed."""

from __future__ import annotations

import pytest

from hermetic import steps
from hermetic.custody import pacing
from hermetic.errors import Conflict, IntegrityError, KeyUnusable
from hermetic.formats.messages import keys
from hermetic.keys import hierarchy
from tests import world as w


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    for name, value in {"START": 2, "STEP": 1, "LEAST": 1, "MOST": 2}.items():
        monkeypatch.setattr(pacing, name, value)
    yield
    steps.install(None)


@pytest.fixture
def loaded(monkeypatch):
    """The keys that were unwrapped, by version."""
    found, plain = [], hierarchy.load_kek

    def load(session, anchors, kek_id, number, **more):
        secret = plain(session, anchors, kek_id, number, **more)
        found.append((number, secret))
        return secret

    monkeypatch.setattr(hierarchy, "load_kek", load)
    return found


def rotated(port, count):
    for _ in range(count):
        w.seal(port)
    (row,) = port.ask(keys.ListKeys()).keys
    port.ask(keys.RotateKey(row.kek))
    return row.kek


def on_version(port, kek):
    return {item.number: item.data_keys for item in port.ask(keys.ShowKey(kek)).versions}


def test_each_key_is_unwrapped_once_a_request_and_wiped(world, loaded):
    port = world.port()
    kek = rotated(port, 7)
    loaded.clear()
    assert port.ask(keys.RewrapKey(kek)).moved == 7
    assert [number for number, _ in loaded] == [1, 2]
    assert [len(secret) for _, secret in loaded] == [0, 0]


def test_they_are_wiped_when_a_batch_fails(world, loaded):
    port = world.port()
    kek = rotated(port, 5)
    loaded.clear()

    def fail(name):
        if name == "custody.rewrap.batch":
            raise IntegrityError("the disk said so")

    steps.install(fail)
    with pytest.raises(IntegrityError, match="the disk said so"):
        port.ask(keys.RewrapKey(kek))
    assert loaded
    assert all(not len(secret) for _, secret in loaded)


@pytest.mark.parametrize("verb", ["suspend", "revoke"])
def test_a_key_that_is_closed_meanwhile_moves_nothing_more(world, verb):
    port, other = world.port(), world.port()
    kek = rotated(port, 6)
    before, done = on_version(port, kek), []

    def close(name):
        if name == "custody.rewrap.batch" and not done:
            done.append(name)
            other.ask(keys.ChangeKeyState(kek, verb, "test"))

    steps.install(close)
    with pytest.raises((Conflict, KeyUnusable)):
        port.ask(keys.RewrapKey(kek))
    assert before[1] == 6
    assert {number: on_version(port, kek)[number] for number in (1, 2)} == {1: 4, 2: 2}
