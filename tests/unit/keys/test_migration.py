import pytest

from hermetic.db import tables
from hermetic.errors import Conflict, KeyServiceUnavailable, NotFound
from hermetic.ids import DataClass, Environment, KeyState
from hermetic.keys import hierarchy, migration, roots, secret_keys
from hermetic.keys.hierarchy import KekScope
from hermetic.keys.roots import Anchors
from hermetic.testing.fake_provider import FakeProvider, Fault
from tests.unit.keys.conftest import NOW
from tests.unit.keys.values import DOMAIN, ROOTS

NEW = ROOTS[2]


@pytest.fixture
def kek(session, anchors):
    made = hierarchy.ensure_kek(session, anchors, KekScope(Environment.DEVELOPMENT, DataClass.INTERNAL, "p"), now_ms=NOW)
    hierarchy.rotate(session, anchors, made.kek_id, now_ms=NOW)
    hierarchy.set_state(session, made.kek_id, KeyState.SUSPENDED)
    return made


@pytest.fixture
def key(session, anchors):
    return secret_keys.create(session, anchors, secret_keys.LOG_SIGNING, now_ms=NOW)


@pytest.fixture
def more(session, providers):
    new = FakeProvider(NEW, uri="fake:new")
    roots.add(session, new, now_ms=NOW)
    return Anchors(DOMAIN, {**providers, NEW: new})


def test_a_whole_move(session, anchors, kek, key, more):
    old = [hierarchy.load_kek(session, anchors, one, number) for one, number in _resumed(session, kek)]
    assert migration.extend_to_root(session, more, NEW) == 3
    assert migration.extend_to_root(session, more, NEW) == 0
    for root in ROOTS[:2]:
        roots.set_state(session, root, KeyState.DEACTIVATED)
        assert migration.drop_root(session, root) == 3
        assert roots.get(session, root).state is KeyState.DESTROYED
    alone = Anchors(DOMAIN, {NEW: more.providers[NEW]})
    new = [hierarchy.load_kek(session, alone, kek.kek_id, number) for number in (1, 2)]
    assert [one.same_as(two) for one, two in zip(old, new, strict=True)] == [True, True]
    assert secret_keys.load(session, alone, key.key_id).public == key.public
    assert {row["root_id"] for row in session.find(tables.kek_slot)} == {NEW}
    roots.set_state(session, NEW, KeyState.DEACTIVATED)
    with pytest.raises(Conflict, match="hang on this root alone"):
        migration.drop_root(session, NEW)


def _resumed(session, kek):
    hierarchy.set_state(session, kek.kek_id, KeyState.ACTIVE)
    return [(kek.kek_id, 1), (kek.kek_id, 2)]


def test_it_can_be_stopped_and_called_again(session, kek, key, more):
    more.providers[NEW].fail_next(Fault.LOCKED)
    with pytest.raises(KeyServiceUnavailable):
        migration.extend_to_root(session, more, NEW)
    assert migration.extend_to_root(session, more, NEW) == 3


def test_an_active_or_unknown_root_is_not_dropped(session, kek, key):
    with pytest.raises(Conflict, match="active root"):
        migration.drop_root(session, ROOTS[0])
    with pytest.raises(NotFound):
        migration.drop_root(session, ROOTS[3])


def test_a_signing_key_that_hangs_on_one_root_alone(session, providers, more):
    for root in ROOTS[:2]:
        roots.set_state(session, root, KeyState.SUSPENDED)
    secret_keys.create(session, more, secret_keys.LOG_SIGNING, now_ms=NOW)
    roots.set_state(session, NEW, KeyState.DEACTIVATED)
    with pytest.raises(Conflict, match="signing key"):
        migration.drop_root(session, NEW)
