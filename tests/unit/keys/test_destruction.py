import pytest

from hermetic.db import tables
from hermetic.errors import Conflict, KeyServiceUnavailable, KeyUnusable, UsageError
from hermetic.ids import DataClass, Environment, KeyState
from hermetic.keys import destruction, hierarchy
from hermetic.keys.hierarchy import KekScope
from tests.unit.keys.conftest import NOW
from tests.unit.keys.values import ASSET, DATA_KEY, VERSION

DAY = destruction.DAY_MS


@pytest.fixture
def kek(session, anchors):
    made = hierarchy.ensure_kek(session, anchors, KekScope(Environment.DEVELOPMENT, DataClass.INTERNAL, "p"), now_ms=NOW)
    hierarchy.rotate(session, anchors, made.kek_id, now_ms=NOW)
    return hierarchy.get(session, made.kek_id)


@pytest.fixture
def data_key(session, kek):
    session.insert(
        tables.asset,
        id=ASSET,
        kind="dataset",
        name="dataset/a",
        data_class="internal",
        project="p",
        environment="development",
        epoch=1,
        state="active",
        created_ms=NOW,
        next_number=2,
    )
    session.insert(
        tables.version,
        id=VERSION,
        asset_id=ASSET,
        number=1,
        state="published",
        purpose="ingest",
        writer="ana",
        created_ms=NOW,
        store="default",
        data_class="internal",
        length=1,
    )
    session.insert(tables.data_key, id=DATA_KEY, version_id=VERSION, kek_id=kek.kek_id, kek_number=1, wrapped=b"w", state="active")
    return session.require(tables.data_key, DATA_KEY)


def test_announce_wait_destroy(session, anchors, kek):
    announced = destruction.schedule(session, kek.kek_id, 1, days=7, now_ms=NOW)
    assert announced.destroy_after_ms == NOW + 7 * DAY
    assert announced.state is KeyState.DEACTIVATED
    with pytest.raises(Conflict, match="1 more days"):
        destruction.destroy(session, kek.kek_id, 1, now_ms=NOW + 7 * DAY - 1)
    assert len(hierarchy.load_kek(session, anchors, kek.kek_id, 1)) == 32
    gone = destruction.destroy(session, kek.kek_id, 1, now_ms=NOW + 7 * DAY)
    assert gone.state is KeyState.DESTROYED
    assert session.find(tables.kek_slot, number=1) == []
    assert len(session.find(tables.kek_slot, number=2)) == 2
    for recovering in (False, True):
        with pytest.raises((KeyUnusable, KeyServiceUnavailable)):
            hierarchy.load_kek(session, anchors, kek.kek_id, 1, recovering=recovering)
    with pytest.raises((KeyUnusable, Conflict)):
        destruction.schedule(session, kek.kek_id, 1, days=7, now_ms=NOW)
    with pytest.raises(Conflict):
        destruction.cancel(session, kek.kek_id, 1, now_ms=NOW)
    assert len(hierarchy.load_kek(session, anchors, kek.kek_id, 2)) == 32
    assert hierarchy.rotate(session, anchors, kek.kek_id, now_ms=NOW).number == 3


def test_refused_while_needed(session, kek, data_key):
    destruction.schedule(session, kek.kek_id, 1, days=7, now_ms=NOW)
    with pytest.raises(Conflict, match="1 data keys still hang"):
        destruction.destroy(session, kek.kek_id, 1, now_ms=NOW + 8 * DAY)
    session.update(tables.data_key, DATA_KEY, data_key["revision"], wrapped=None, state="destroyed")
    assert destruction.count_data_keys(session, kek.kek_id, 1) == 0
    destruction.destroy(session, kek.kek_id, 1, now_ms=NOW + 8 * DAY)


def test_cancel(session, kek):
    destruction.schedule(session, kek.kek_id, 1, days=30, now_ms=NOW)
    assert destruction.cancel(session, kek.kek_id, 1, now_ms=NOW).destroy_after_ms is None
    for attempt in (destruction.cancel, destruction.destroy):
        with pytest.raises(Conflict):
            attempt(session, kek.kek_id, 1, now_ms=NOW + 40 * DAY)


@pytest.mark.parametrize("days", [0, 6, 31])
def test_waiting_periods(session, kek, days):
    with pytest.raises(UsageError):
        destruction.schedule(session, kek.kek_id, 1, days=days, now_ms=NOW)


def test_never_the_active_version(session, kek):
    with pytest.raises(KeyUnusable, match="active version"):
        destruction.schedule(session, kek.kek_id, 2, days=7, now_ms=NOW)
