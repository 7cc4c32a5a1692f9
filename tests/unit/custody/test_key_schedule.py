"""Who answers for a KEK, whom to call, how often it is rotated; and what `status` says where nobody does."""

from __future__ import annotations

import pytest

from hermetic.errors import NotAuthenticated, NotFound, UsageError
from hermetic.formats.messages import keys, log
from hermetic.formats.messages.domain import GatherFacts
from tests import world as w


def kek(port):
    (row,) = port.ask(keys.ListKeys()).keys
    return row


def test_each_part_is_changed_alone_and_stays(port):
    w.seal(port)
    before = kek(port)
    changed = port.ask(keys.ChangeKeySchedule(before.kek[:6], contact="Ana, +49 30 1234", reason="on call")).key
    assert (changed.contact, changed.owner, changed.rotate_after_days) == ("Ana, +49 30 1234", before.owner, before.rotate_after_days)
    changed = port.ask(keys.ChangeKeySchedule(before.kek, owner="ben")).key
    assert (changed.contact, changed.owner) == ("Ana, +49 30 1234", "ben")
    changed = port.ask(keys.ChangeKeySchedule(before.kek, rotate_after_days=0)).key
    assert changed.rotate_after_days is None
    changed = port.ask(keys.ChangeKeySchedule(before.kek, rotate_after_days=30, contact="")).key
    assert (changed.contact, changed.rotate_after_days) == ("", 30)
    assert kek(port) == changed


def test_it_goes_on_record_without_names(port):
    w.seal(port)
    port.ask(keys.ChangeKeySchedule(kek(port).kek, owner="ben", contact="0170 5550123", reason="handover"))
    (row,) = port.ask(log.ReadLog(kind="key.changed")).rows
    assert b"5550123" not in row.leaf
    assert b"ben" not in row.leaf
    assert {pair.name: pair.value for pair in row.opened}["owner"] == "ben"
    assert {pair.name for pair in port.ask(log.VerifyLog()).findings} == {"log-key-first-use", "log-never-anchored"}


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"owner": ""},
        {"owner": "   "},
        {"owner": "x" * 201},
        {"contact": "two\nlines"},
        {"contact": "x" * 201},
        {"contact": "\x1b[2J"},
        {"rotate_after_days": -1},
    ],
    ids=["nothing", "no owner", "blank owner", "long owner", "two lines", "long contact", "control", "negative"],
)
def test_bad_input_changes_nothing(port, change):
    w.seal(port)
    before = kek(port)
    with pytest.raises(UsageError):
        port.ask(keys.ChangeKeySchedule(before.kek, **change))
    assert kek(port) == before


def test_strangers_change_nothing(world, port):
    w.seal(port)
    with pytest.raises(NotAuthenticated):
        world.port(uid=4242).ask(keys.ChangeKeySchedule(kek(port).kek, owner="mallory"))
    with pytest.raises(NotFound):
        port.ask(keys.ChangeKeySchedule("zzzzzz", owner="ana"))


def test_an_owner_that_nobody_knows_is_told(port):
    w.seal(port)
    assert kek(port).owner not in port.ask(GatherFacts()).unknown_owners
    port.ask(keys.ChangeKeySchedule(kek(port).kek, owner="nobody here"))
    assert "nobody here" in port.ask(GatherFacts()).unknown_owners
