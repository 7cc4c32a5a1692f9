"""Weights under a lease: lent while it holds, overwritten once it is over, and never while somebody computes with them."""

from __future__ import annotations

import os
import threading

import numpy as np
import pytest

import hermetic
from hermetic.errors import KeyServiceUnavailable, KeyUnusable, LeaseEnded, NotFound, StorageError, UsageError
from hermetic.formats.messages.keys import ChangeKeyState, RewrapKey, RotateKey
from tests.unit.assets.real import domain, domain_template, real  # noqa: F401 - fixtures

STATE = {
    "head": np.arange(12, dtype="f4").reshape(3, 4),
    "bias": np.ones(4, "f8"),
    "half": np.ones((2, 2), "f2"),
    "scale": np.array(2.0, "f4"),
    "none": np.ones((0, 3), "f4"),
    "count": np.arange(3),
}


@pytest.fixture
def clock(real):  # noqa: F811
    """Milliseconds that leases go by, set by the test."""
    time = [1_000_000]
    real.connection.leases._clock = lambda: time[0]
    return time


@pytest.fixture
def held(real, clock):  # noqa: F811
    real.seal_tensors(STATE, name="model/risk")
    with real.hold_tensors("model/risk", framework="numpy", purpose="evaluate") as found:
        yield found


def later(clock, held):
    """Move on to where the lease is confirmed again."""
    clock[0] += held._version.leased.lease.check_ms


def change(h, verb):
    return h.connection.ask(ChangeKeyState(h.show("model/risk").kek, verb, "test"))


def gone(arrays):
    """Every byte of every array is 0xFF, so that floats are no numbers."""
    assert all(array.tobytes() == b"\xff" * array.nbytes for array in arrays.values())
    return all(np.isnan(array).all() for array in arrays.values() if array.dtype.kind == "f")


def test_they_are_lent_as_they_were_sealed(held):
    with held.use() as weights:
        assert weights.keys() == STATE.keys()
        for name, array in STATE.items():
            np.testing.assert_array_equal(weights[name], array)
        with pytest.raises(TypeError):
            weights["head"] = 0
    held.check()
    assert repr(held) == "<HeldTensors model/risk@1>"


@pytest.mark.parametrize("verb", ["suspend", "revoke"])
def test_once_the_key_may_not_be_used_they_are_refused_and_overwritten(real, clock, held, verb):  # noqa: F811
    with held.use() as weights:
        kept = dict(weights)
    change(real, verb)
    held.check()  # confirmed a moment ago
    later(clock, held)
    with pytest.raises(LeaseEnded):
        held.check()
    assert gone(kept)
    with pytest.raises(LeaseEnded), held.use():
        pytest.fail("nothing is lent any more")
    with pytest.raises(KeyUnusable):
        real.hold_tensors("model/risk", framework="numpy", purpose="evaluate")
    assert "over" in repr(held)


def test_rotation_and_rewrap_of_its_key_change_nothing(real, clock, held):  # noqa: F811
    kek = real.show("model/risk").kek
    real.connection.ask(RotateKey(kek, "test"))
    assert real.connection.ask(RewrapKey(kek)).moved
    later(clock, held)
    with held.use() as weights:
        np.testing.assert_array_equal(weights["head"], STATE["head"])


def test_a_key_that_is_resumed_is_asked_for_anew(real, clock, held):  # noqa: F811
    change(real, "suspend")
    later(clock, held)
    with pytest.raises(LeaseEnded):
        held.check()
    change(real, "resume")
    with pytest.raises(LeaseEnded):
        held.check()
    with real.hold_tensors("model/risk", framework="numpy", purpose="evaluate") as again, again.use() as weights:
        np.testing.assert_array_equal(weights["bias"], STATE["bias"])


def test_nothing_is_overwritten_while_somebody_computes(real, clock, held):  # noqa: F811
    inside, go_on, seen = threading.Event(), threading.Event(), []

    def compute():
        with held.use() as weights:
            inside.set()
            assert go_on.wait(60)
            seen.append(float(weights["head"].sum()))

    worker = threading.Thread(target=compute)
    worker.start()
    assert inside.wait(60)
    with held.use() as weights:
        kept = dict(weights)
    change(real, "revoke")
    later(clock, held)
    with pytest.raises(LeaseEnded):
        held.check()
    np.testing.assert_array_equal(kept["head"], STATE["head"])
    go_on.set()
    worker.join()
    assert seen == [float(STATE["head"].sum())]
    assert gone(kept)


def test_custody_out_of_reach_is_borne_as_long_as_the_class_says(real, clock, held, monkeypatch):  # noqa: F811
    lease = held._version.leased
    begin = clock[0]

    class Away:
        def ask(self, _request):
            raise KeyServiceUnavailable("away")

    monkeypatch.setattr(lease, "_port", Away())
    clock[0] = begin + lease.lease.offline_ms - 1
    held.check()
    with held.use() as weights:
        kept = dict(weights)
    clock[0] = begin + lease.lease.offline_ms
    with pytest.raises(LeaseEnded, match="out of reach"):
        held.check()
    assert gone(kept)


def test_closing_overwrites_and_gives_the_lease_back(real, clock):  # noqa: F811
    real.seal_tensors(STATE, name="model/risk")
    with real.hold_tensors("model/risk", names=["bias"], dtype="f4", framework="numpy", purpose="evaluate") as held:
        with held.use() as weights:
            kept = dict(weights)
            assert kept["bias"].dtype == np.dtype("f4")
        lease = held._version.leased
    assert gone(kept)
    assert lease._ended == "it was given back"
    held.close()
    with pytest.raises(LeaseEnded):
        held.check()


def test_closing_the_workspace_ends_it_too(real, clock, held):  # noqa: F811
    with held.use() as weights:
        kept = dict(weights)
    real.connection.leases.end_all()
    with pytest.raises(LeaseEnded):
        held.check()
    assert gone(kept)


def test_what_ended_a_loop_is_not_hidden_by_a_home_that_is_gone(domain, monkeypatch):  # noqa: F811
    def leave(error):
        with hermetic.connect(purpose="evaluate") as h:
            h.seal(b"x", name="dataset/x", data_class="internal")
            monkeypatch.setattr(h.connection.pins, "flush", away)
            if error is not None:
                raise error

    def away():
        raise StorageError("the home is gone")

    with pytest.raises(LeaseEnded, match="why it ended") as caught:
        leave(LeaseEnded("why it ended"))
    assert "the home is gone" in caught.value.__notes__[0]
    with pytest.raises(StorageError, match="the home is gone"):
        leave(None)


def test_a_forked_child_is_told_and_ends_nothing(held):
    pid = os.fork()
    if not pid:
        code = 1
        try:
            held.close()
            held.check()
        except LeaseEnded as error:
            code = 0 if "parent" in error.message else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    held.check()


def test_what_cannot_be_loaded_leaves_no_lease(real, clock):  # noqa: F811
    real.seal_tensors(STATE, name="model/risk")
    for more in ({"names": ["nobody"]}, {"device": "cuda"}):
        with pytest.raises((NotFound, UsageError)):
            real.hold_tensors("model/risk", framework="numpy", purpose="evaluate", **more)
    assert not real.connection.leases._held
