import threading

import pytest

from hermetic.db import tables
from hermetic.errors import Conflict, IntegrityError, KeyServiceUnavailable, KeyUnusable, Locked, NotFound, RowTampered, UsageError
from hermetic.ids import DataClass, Environment, KeyState
from hermetic.keys import hierarchy, roots
from hermetic.keys.hierarchy import KekScope
from hermetic.keys.limits import KEK_WRAP_LIMIT
from hermetic.keys.roots import Anchors
from hermetic.keys.wrap import KekContext
from hermetic.testing.fake_provider import FakeProvider, Fault
from tests.unit.keys.conftest import NOW
from tests.unit.keys.values import DOMAIN, ROOTS, an_id

SCOPE = KekScope(Environment.DEVELOPMENT, DataClass.RESTRICTED, "risk")


@pytest.fixture
def kek(session, anchors):
    return hierarchy.ensure_kek(session, anchors, SCOPE, now_ms=NOW, owner="ana", rotate_after_days=90)


def load(session, anchors, kek, number=1, **more):
    return hierarchy.load_kek(session, anchors, kek.kek_id, number, **more)


def test_the_first_version(session, kek):
    assert kek.scope == SCOPE
    assert (kek.state, kek.epoch, kek.owner, kek.rotate_after_days) == (KeyState.ACTIVE, 1, "ana", 90)
    (version,) = kek.versions
    assert (version.number, version.state, version.wraps, version.created_ms) == (1, KeyState.ACTIVE, 0, NOW)
    assert kek.active() == hierarchy.active_version(session, kek.kek_id) == version
    assert {row["root_id"]: row["provider"] for row in session.find(tables.kek_slot)} == {ROOTS[0]: "fake:0", ROOTS[1]: "fake:1"}
    assert kek.due_ms() == NOW + 90 * 86_400_000


def test_ensuring_again_returns_it(session, anchors, kek):
    assert hierarchy.ensure_kek(session, anchors, SCOPE, now_ms=NOW + 1, owner="ben") == kek
    assert hierarchy.find(session, SCOPE) == kek
    assert hierarchy.ls(session) == [kek]


@pytest.mark.parametrize(
    "scope",
    [
        KekScope(Environment.PRODUCTION, DataClass.RESTRICTED, "risk"),
        KekScope(Environment.DEVELOPMENT, DataClass.INTERNAL, "risk"),
        KekScope(Environment.DEVELOPMENT, DataClass.RESTRICTED, "fraud"),
    ],
)
def test_other_scopes_have_other_keys(session, anchors, kek, scope):
    other = hierarchy.ensure_kek(session, anchors, scope, now_ms=NOW)
    assert other.kek_id != kek.kek_id
    assert not load(session, anchors, other).same_as(load(session, anchors, kek))


def test_any_root_loads_it(session, anchors, providers, kek):
    secret = load(session, anchors, kek)
    assert len(secret) == 32
    for root in ROOTS[:2]:
        assert load(session, Anchors(DOMAIN, {root: providers[root]}), kek).same_as(secret)
    providers[ROOTS[0]].fault = Fault.UNREACHABLE
    assert load(session, anchors, kek).same_as(secret)
    providers[ROOTS[1]].fault = Fault.LOCKED
    with pytest.raises(Locked):
        load(session, anchors, kek)


def test_a_missing_root_refuses_new_keys_but_not_old_ones(session, anchors, providers, kek):
    one = Anchors(DOMAIN, {ROOTS[0]: providers[ROOTS[0]]})
    with pytest.raises(KeyServiceUnavailable, match="new keys need every active root"):
        hierarchy.rotate(session, one, kek.kek_id, now_ms=NOW)
    assert len(load(session, one, kek)) == 32
    roots.set_state(session, ROOTS[1], KeyState.SUSPENDED)
    hierarchy.rotate(session, one, kek.kek_id, now_ms=NOW)
    assert [row["root_id"] for row in session.find(tables.kek_slot, number=2)] == [ROOTS[0]]


def test_no_root_at_all(database, row_keys):
    with database.write(row_keys) as session, pytest.raises(KeyUnusable, match="no active root"):
        hierarchy.ensure_kek(session, Anchors(DOMAIN, {}), SCOPE, now_ms=NOW)


def test_a_root_that_is_unknown_or_closed_is_not_asked(session, anchors, providers, kek):
    stranger = FakeProvider(ROOTS[2])
    secret = load(session, Anchors(DOMAIN, {ROOTS[2]: stranger, **providers}), kek)
    assert stranger.calls == []
    roots.set_state(session, ROOTS[0], KeyState.COMPROMISED)
    providers[ROOTS[0]].calls.clear()
    assert load(session, anchors, kek).same_as(secret)
    assert providers[ROOTS[0]].calls == []


def test_rotation(session, anchors, kek):
    first = load(session, anchors, kek)
    made = hierarchy.rotate(session, anchors, kek.kek_id, now_ms=NOW + 5)
    after = hierarchy.get(session, kek.kek_id)
    assert [(version.number, version.state) for version in after.versions] == [(1, KeyState.DEACTIVATED), (2, KeyState.ACTIVE)]
    assert after.active() == made
    assert after.epoch == kek.epoch + 1
    assert not load(session, anchors, kek, 2).same_as(first)
    assert load(session, anchors, kek, 1).same_as(first)
    with pytest.raises(KeyUnusable, match="cannot wrap"):
        load(session, anchors, kek, 1, use="wrap")
    hierarchy.rotate(session, anchors, kek.kek_id, now_ms=NOW + 6)
    assert [version.number for version in hierarchy.get(session, kek.kek_id).versions] == [1, 2, 3]


@pytest.mark.parametrize(
    ("state", "recovering", "opens"),
    [
        (KeyState.SUSPENDED, False, False),
        (KeyState.SUSPENDED, True, False),
        (KeyState.DEACTIVATED, False, False),
        (KeyState.DEACTIVATED, True, True),
        (KeyState.COMPROMISED, False, False),
        (KeyState.COMPROMISED, True, True),
    ],
)
def test_the_kek_as_a_whole(session, anchors, kek, state, recovering, opens):
    changed = hierarchy.set_state(session, kek.kek_id, state)
    assert (changed.state, changed.epoch) == (state, kek.epoch + 1)
    if opens:
        assert len(load(session, anchors, kek, recovering=recovering)) == 32
    else:
        with pytest.raises(KeyUnusable) as caught:
            load(session, anchors, kek, recovering=recovering)
        assert caught.value.hint
    with pytest.raises(KeyUnusable):
        load(session, anchors, kek, use="wrap", recovering=True)
    with pytest.raises(KeyUnusable):
        changed.active()
    with pytest.raises(KeyUnusable):
        hierarchy.rotate(session, anchors, kek.kek_id, now_ms=NOW)


def test_resume(session, anchors, kek):
    hierarchy.set_state(session, kek.kek_id, KeyState.SUSPENDED)
    with pytest.raises(Conflict):
        hierarchy.set_state(session, kek.kek_id, KeyState.SUSPENDED)
    hierarchy.set_state(session, kek.kek_id, KeyState.ACTIVE)
    assert len(load(session, anchors, kek)) == 32
    assert hierarchy.get(session, kek.kek_id).epoch == kek.epoch + 2


def test_a_revoked_kek_never_comes_back(session, kek):
    hierarchy.set_state(session, kek.kek_id, KeyState.DEACTIVATED)
    with pytest.raises(KeyUnusable):
        hierarchy.set_state(session, kek.kek_id, KeyState.ACTIVE)
    with pytest.raises(UsageError):
        hierarchy.set_state(session, kek.kek_id, KeyState.DESTROYED)


def test_states_of_one_version(session, anchors, kek):
    hierarchy.set_version_state(session, kek.kek_id, 1, KeyState.SUSPENDED, now_ms=NOW)
    for recovering in (False, True):
        with pytest.raises(KeyUnusable):
            load(session, anchors, kek, recovering=recovering)
    hierarchy.rotate(session, anchors, kek.kek_id, now_ms=NOW)
    with pytest.raises(Conflict, match="another version"):
        hierarchy.set_version_state(session, kek.kek_id, 1, KeyState.ACTIVE, now_ms=NOW)
    hierarchy.set_version_state(session, kek.kek_id, 1, KeyState.DEACTIVATED, now_ms=NOW + 9)
    assert hierarchy.get(session, kek.kek_id).version(1).updated_ms == NOW + 9
    with pytest.raises(UsageError):
        hierarchy.set_version_state(session, kek.kek_id, 1, KeyState.DESTROYED, now_ms=NOW)
    with pytest.raises(NotFound):
        hierarchy.set_version_state(session, kek.kek_id, 7, KeyState.SUSPENDED, now_ms=NOW)


def test_after_a_compromise(session, anchors, kek):
    hierarchy.rotate(session, anchors, kek.kek_id, now_ms=NOW)
    epoch = hierarchy.get(session, kek.kek_id).epoch
    assert hierarchy.compromise(session, kek.kek_id, now_ms=NOW) == (1, 2)
    assert hierarchy.get(session, kek.kek_id).epoch == epoch + 1
    with pytest.raises(KeyUnusable, match="no active version"):
        hierarchy.active_version(session, kek.kek_id)
    fresh = hierarchy.rotate(session, anchors, kek.kek_id, now_ms=NOW)
    assert fresh.number == 3
    with pytest.raises(KeyUnusable, match="compromised"):
        load(session, anchors, kek, 2)
    assert len(load(session, anchors, kek, 2, recovering=True)) == 32
    assert hierarchy.compromise(session, kek.kek_id, now_ms=NOW) == (3,)


def test_counting(session, anchors, kek):
    assert hierarchy.count_wraps(session, kek.kek_id, 1, now_ms=NOW + 1).wraps == 1
    assert hierarchy.count_wraps(session, kek.kek_id, 1, 1000, now_ms=NOW + 2).wraps == 1001
    row = session.require(tables.kek_version, (kek.kek_id, 1))
    session.update(tables.kek_version, (kek.kek_id, 1), row["revision"], wraps=KEK_WRAP_LIMIT - 1)
    assert hierarchy.count_wraps(session, kek.kek_id, 1, now_ms=NOW).wraps == KEK_WRAP_LIMIT
    with pytest.raises(KeyUnusable, match="all the wraps"):
        hierarchy.count_wraps(session, kek.kek_id, 1, now_ms=NOW)
    hierarchy.rotate(session, anchors, kek.kek_id, now_ms=NOW)
    with pytest.raises(KeyUnusable, match="cannot wrap"):
        hierarchy.count_wraps(session, kek.kek_id, 1, now_ms=NOW)


def test_schedule(session, kek):
    changed = hierarchy.set_schedule(session, kek.kek_id, owner="ben", rotate_after_days=None)
    assert (changed.owner, changed.rotate_after_days, changed.due_ms()) == ("ben", None, None)
    with pytest.raises(UsageError):
        hierarchy.set_schedule(session, kek.kek_id, owner=None, rotate_after_days=0)


def test_context(kek):
    assert kek.context(1) == KekContext(kek.kek_id, 1, Environment.DEVELOPMENT, data_class=DataClass.RESTRICTED, project="risk")


def test_unknown(session, anchors):
    with pytest.raises(NotFound):
        hierarchy.get(session, an_id(9))
    assert hierarchy.find(session, SCOPE) is None
    with pytest.raises(NotFound):
        hierarchy.load_kek(session, anchors, an_id(9), 1)


class TestSomebodyWritesTheDatabase:
    """Whoever can write the file but has no root: authentic rows only, and wraps bound to their place."""

    def raw(self, session, sql, **values):
        import sqlalchemy as sa

        session.connection.execute(sa.text(sql), values)

    @pytest.mark.parametrize(
        "change",
        [
            "update kek set state = 'active', epoch = 1",
            "update kek set environment = 'production'",
            "update kek set data_class = 'public'",
            "update kek_version set state = 'active'",
            "update kek_version set wraps = 0, number = 2",
            "update kek_slot set wrapped = x'00'",
            "update root set state = 'active'",
        ],
    )
    def test_edited_rows(self, session, anchors, kek, change):
        hierarchy.count_wraps(session, kek.kek_id, 1, 5, now_ms=NOW)
        hierarchy.set_state(session, kek.kek_id, KeyState.SUSPENDED)
        hierarchy.set_state(session, kek.kek_id, KeyState.ACTIVE)
        hierarchy.set_version_state(session, kek.kek_id, 1, KeyState.DEACTIVATED, now_ms=NOW)
        roots.set_state(session, ROOTS[0], KeyState.SUSPENDED)
        self.raw(session, "pragma defer_foreign_keys = on")
        self.raw(session, change)
        with pytest.raises(RowTampered):
            load(session, anchors, kek)
        self.raw(session, "delete from kek_slot")
        self.raw(session, "delete from kek_version")

    def test_slots_of_another_kek_do_not_open_even_with_the_row_key(self, session, anchors, kek):
        """The row MAC set aside: the provider's context refuses by itself."""
        other = hierarchy.ensure_kek(session, anchors, KekScope(Environment.PRODUCTION, DataClass.RESTRICTED, "risk"), now_ms=NOW)
        foreign = session.require(tables.kek_slot, (other.kek_id, 1, ROOTS[0]))
        mine = session.require(tables.kek_slot, (kek.kek_id, 1, ROOTS[0]))
        session.update(tables.kek_slot, (kek.kek_id, 1, ROOTS[0]), mine["revision"], wrapped=foreign["wrapped"])
        with pytest.raises(IntegrityError):
            load(session, anchors, kek)


def test_two_processes_ensure_one_kek(database, row_keys, providers, anchors):
    with database.write(row_keys) as session:
        for provider in providers.values():
            roots.add(session, provider, now_ms=NOW)
    made = []

    def work():
        with database.write(row_keys) as session:
            made.append(hierarchy.ensure_kek(session, anchors, SCOPE, now_ms=NOW).kek_id)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 4
    assert len(set(made)) == 1


def test_nothing_stays_when_a_provider_fails_in_the_middle(database, row_keys, providers, anchors):
    with database.write(row_keys) as session:
        for provider in providers.values():
            roots.add(session, provider, now_ms=NOW)
    providers[ROOTS[1]].fault = Fault.UNREACHABLE

    def attempt():
        with database.write(row_keys) as session:
            hierarchy.ensure_kek(session, anchors, SCOPE, now_ms=NOW)

    with pytest.raises(KeyServiceUnavailable):
        attempt()
    with database.read(row_keys) as session:
        assert hierarchy.ls(session) == []
