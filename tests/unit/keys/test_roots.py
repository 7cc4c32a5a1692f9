import pytest

from hermetic.errors import Conflict, KeyUnusable, NotFound
from hermetic.ids import KeyState
from hermetic.keys import roots
from hermetic.testing.fake_provider import FakeProvider
from tests.unit.keys.conftest import NOW
from tests.unit.keys.values import ROOTS


def test_add_and_list(session):
    roots.add(session, FakeProvider(ROOTS[2], uri="local:passphrase"), now_ms=NOW, parameters={"lanes": 2})
    listed = {root.root_id: root for root in roots.ls(session)}
    assert list(listed) == sorted(listed)
    assert (listed[ROOTS[0]].provider_uri, listed[ROOTS[0]].kind) == ("fake:0", "fake")
    assert (listed[ROOTS[2]].kind, listed[ROOTS[2]].parameters) == ("local:passphrase", {"lanes": 2})
    assert listed[ROOTS[2]].state is KeyState.ACTIVE


def test_not_twice_and_not_unknown(session, providers):
    with pytest.raises(Conflict):
        roots.add(session, providers[ROOTS[0]], now_ms=NOW)
    with pytest.raises(NotFound):
        roots.get(session, ROOTS[3])


def test_states(session, anchors):
    roots.set_state(session, ROOTS[0], KeyState.DEACTIVATED)
    assert list(roots.for_new_keys(session, anchors)) == [ROOTS[1]]
    assert list(roots.for_opening(session, anchors)) == ROOTS[1::-1], "active ones first"
    roots.set_state(session, ROOTS[0], KeyState.COMPROMISED)
    assert list(roots.for_opening(session, anchors)) == [ROOTS[1]]
    assert list(roots.for_opening(session, anchors, recovering=True)) == ROOTS[1::-1]
    with pytest.raises(KeyUnusable):
        roots.set_state(session, ROOTS[0], KeyState.ACTIVE)
