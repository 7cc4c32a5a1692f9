"""Usage counters of KEK versions, set near their limits: a finding before, a refusal at the limit, and a way on."""

from __future__ import annotations

import pytest

from hermetic.audit.leaf import Entry
from hermetic.custody.work import unit
from hermetic.db import tables
from hermetic.db.columns import REVISION_LIMIT
from hermetic.errors import KeyUnusable
from hermetic.formats.messages.domain import GatherFacts
from hermetic.formats.messages.keys import ListKeys, RewrapKey, RotateKey
from hermetic.keys import limits
from hermetic.keys.limits import KEK_CHANGES_LIMIT, KEK_WRAP_LIMIT, KEK_WRAP_WARNING
from tests import world as w


@pytest.fixture
def sealed(world):
    port = world.port()
    w.seal(port)
    return port


def newest(port):
    (row,) = port.ask(ListKeys()).keys
    return row.versions[-1]


def set_wraps(port, wraps):
    """Set the counter of the newest version, as so many seals would have."""
    custodian = port._custodian
    (row,) = port.ask(ListKeys()).keys
    with unit(custodian, "test.counter", custodian.clock()) as work:
        key = (row.kek, row.versions[-1].number)
        work.session.update(tables.kek_version, key, work.session.require(tables.kek_version, key)["revision"], wraps=wraps)
        work.log(Entry("key.changed", {"key": row.kek}))


def test_a_new_key_has_used_nothing(sealed):
    assert (newest(sealed).wraps, newest(sealed).used) == (1, 0)


def test_from_half_on_it_is_told(sealed):
    set_wraps(sealed, KEK_WRAP_WARNING - 1)
    assert newest(sealed).used == 49
    w.seal(sealed)
    assert newest(sealed).used == 50
    assert sealed.ask(GatherFacts()).keys[0].versions[-1].used == 50


def test_at_the_limit_it_wraps_no_more_and_rotation_is_the_way_on(sealed):
    set_wraps(sealed, KEK_WRAP_LIMIT - 1)
    w.seal(sealed)
    assert newest(sealed).used == 100
    with pytest.raises(KeyUnusable, match="all the wraps") as refused:
        w.seal(sealed)
    assert "key rotate" in refused.value.hint
    w.open_(sealed)  # what is sealed opens
    kek = sealed.ask(ListKeys()).keys[0].kek
    sealed.ask(RotateKey(kek, "used up"))
    w.seal(sealed)
    assert (newest(sealed).number, newest(sealed).used) == (2, 0)
    while sealed.ask(RewrapKey(kek)).left:
        pass
    w.open_(sealed, "dataset/patients@1")


def test_a_rewrap_that_would_pass_the_limit_of_the_new_version_is_refused_whole(sealed):
    for _ in range(3):
        w.seal(sealed)
    kek = sealed.ask(ListKeys()).keys[0].kek
    sealed.ask(RotateKey(kek, "yearly"))
    set_wraps(sealed, KEK_WRAP_LIMIT - 2)
    with pytest.raises(KeyUnusable):
        sealed.ask(RewrapKey(kek))
    assert newest(sealed).wraps <= KEK_WRAP_LIMIT
    w.open_(sealed, "dataset/patients@1")


def test_the_refusal_is_on_record(sealed):
    set_wraps(sealed, KEK_WRAP_LIMIT)
    with pytest.raises(KeyUnusable):
        w.seal(sealed)
    assert any(kind.endswith("denied") for kind in w.kinds(sealed))


def test_the_row_limit_leaves_room_to_rotate():
    assert REVISION_LIMIT - KEK_CHANGES_LIMIT >= 1000


def test_the_row_that_counts_is_not_used_up_by_wraps(sealed, monkeypatch):
    """Sealing one version after the other changes it each time; what is left is for rotating it out."""
    monkeypatch.setattr(limits, "KEK_CHANGES_LIMIT", 4)
    w.seal(sealed)
    w.seal(sealed)
    with pytest.raises(KeyUnusable, match="as often as it may") as refused:
        for _ in range(3):
            w.seal(sealed)
    assert "key rotate" in refused.value.hint
    assert newest(sealed).used >= 100
    sealed.ask(RotateKey(sealed.ask(ListKeys()).keys[0].kek, "used up"))
    w.seal(sealed)
