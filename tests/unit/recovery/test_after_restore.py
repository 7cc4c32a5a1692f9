"""Who uses a domain from elsewhere after it was restored: follows what its log can prove, and has a way out where it cannot."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hermetic.domain import pins
from hermetic.domain.pinned import PinKeeper
from hermetic.errors import IntegrityError, LogTampered, SignatureError
from hermetic.formats.messages.backup import TakeBackup
from hermetic.formats.messages.signing import RotateSigningKey
from hermetic.ids import Purpose
from tests import world as w
from tests.unit.recovery.test_restore import bring_back, lose


def kept(world, file):
    """Put aside the pins of this moment, as somebody elsewhere has them."""
    with world.connect() as connection:
        pins.save(file, connection.pins.pins)
    return file


def greets(world, file):
    """Greet custody as who uses it in another process does, with pins of their own."""
    keeper = PinKeeper(file, world.domain)
    with world.connect() as connection:
        keeper.meet(connection.ask(keeper.greeting()), None)
    keeper.flush()
    return keeper


def rotate(world, *uses):
    with world.connect() as connection:
        for use in uses:
            connection.ask(RotateSigningKey(use, "yearly"))
        assert connection.ask(TakeBackup()).problem is None


@pytest.mark.parametrize("generations", [1, 2])
def test_who_saw_neither_the_change_of_keys_nor_the_restore_follows_both(world, tmp_path, generations):
    file = kept(world, tmp_path / "pins.json")
    for _ in range(generations):
        rotate(world, "log", "manifest")
        lose(world)
        bring_back(world, world.home)
    keeper = greets(world, file)
    assert keeper.seen.origin.generation == generations + 1
    assert len(keeper.manifest_keys) == generations + 1
    with world.connect() as connection:
        logged = w.open_(connection, "dataset/shops", purpose=Purpose.RECOVER)
    assert keeper.verified(logged.receipt).leaf.generation == generations + 1


def test_a_change_of_keys_that_the_restored_log_does_not_hold_is_refused(world, tmp_path):
    """Its entry is signed by the old key; that it is in the log which was restored has to be shown as well."""
    file = kept(world, tmp_path / "pins.json")
    rotate(world, "log")
    lose(world)
    bring_back(world, world.home)
    keeper = PinKeeper(file, world.domain)
    with world.connect() as connection:
        welcome = connection.ask(keeper.greeting())
    (change,) = welcome.key_changes
    assert change.generation == 1
    head, blank, note = change.proof.partition("\n\n")
    lines = head.split("\n")
    for forged in (
        "\n".join([*lines[:-1], lines[2]]) + blank + note,
        head + blank + note.replace("\n", "\nx", 1),
        change.proof.replace(lines[1], "index 0"),
    ):
        other = replace(welcome, key_changes=(replace(change, proof=forged),))
        with pytest.raises(IntegrityError):
            keeper.meet(other, None)
    with pytest.raises((LogTampered, SignatureError)):
        keeper.meet(replace(welcome, key_changes=()), None)
    keeper.meet(welcome, None)
