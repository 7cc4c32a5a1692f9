import pytest

from hermetic.errors import Conflict, KeyUnusable, NotFound
from hermetic.ids import DataClass, Environment, KeyState
from hermetic.keys import hierarchy, roots
from hermetic.keys.hierarchy import KekScope
from hermetic.testing.fake_provider import FakeProvider, Fault
from tests.unit.keys.conftest import NOW
from tests.unit.keys.values import DOMAIN, ROOTS


def test_add_and_list(session):
    roots.add(session, FakeProvider(ROOTS[2], uri="local:passphrase"), now_ms=NOW, parameters={"lanes": 2})
    listed = {root.root_id: root for root in roots.ls(session)}
    assert list(listed) == sorted(listed)
    assert (listed[ROOTS[0]].provider_uri, listed[ROOTS[0]].kind) == ("fake:0", "fake")
    assert (listed[ROOTS[2]].kind, listed[ROOTS[2]].parameters) == ("local:passphrase", {"lanes": 2, roots.OPENS_DOMAIN: NOW})
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


def test_a_provider_that_could_not_be_reached_is_tried_last_for_a_while(session, providers):
    """Else every opening waits for it. A locked one answers at once, and stays where it is."""
    now = [0]
    anchors = roots.Anchors(DOMAIN, providers, roots.Away(lambda: now[0]))
    kek = hierarchy.ensure_kek(session, anchors, KekScope(Environment.DEVELOPMENT, DataClass.INTERNAL, "p"), now_ms=NOW)
    first, second = providers.values()

    def asked():
        for provider in (first, second):
            provider.calls.clear()
        hierarchy.load_kek(session, anchors, kek.kek_id, 1)
        return len(first.calls), len(second.calls)

    first.fault = Fault.LOCKED
    assert [asked(), asked()] == [(1, 1), (1, 1)]
    first.fault = Fault.UNREACHABLE
    assert [asked(), asked(), asked()] == [(1, 1), (0, 1), (0, 1)]
    now[0] = roots.AWAY_MS
    assert [asked(), asked()] == [(1, 1), (0, 1)]
    first.fault, now[0] = None, 3 * roots.AWAY_MS
    assert asked() == (1, 0)
