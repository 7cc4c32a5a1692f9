"""What a copy shows as announced is not destroyed after a restore: it has to be announced again, and waits again."""

from __future__ import annotations

from hermetic.formats.messages.destruction import AnnounceDestruction, CancelDestruction, DestroyDue
from hermetic.formats.messages.domain import GatherFacts
from hermetic.formats.messages.keys import ListKeys, RewrapKey, RotateKey
from tests import world as w
from tests.unit.recovery.test_restore import bring_back, entries, fresh_home, lose


def announced(connection):
    """A KEK whose first version waits to be destroyed."""
    kek = connection.ask(ListKeys()).keys[0].kek
    connection.ask(RotateKey(kek, "test"))
    while connection.ask(RewrapKey(kek)).left:
        pass
    connection.ask(AnnounceDestruction(kek, 1, 7, "retired"))
    return kek


def standing_out(connection):
    return [(item.name, item.value) for item in connection.ask(GatherFacts()).critical]


def test_a_restore_takes_announcements_back(world, tmp_path):
    with world.connect() as connection:
        w.seal(connection)
        kek = announced(connection)
        assert ("destruction-not-announced", f"{kek}/1") not in standing_out(connection)
    lose(world)
    home = fresh_home(tmp_path)
    bring_back(world, home)
    with world.connect(home=home) as connection:
        (version, _) = connection.ask(ListKeys()).keys[0].versions
        assert (version.state, version.destroy_after_ms) == ("deactivated", None)
        ((facts, _),) = entries(connection, "key.destruction-cancelled")
        assert facts == {"key": kek, "number": 1, "restored": True}
        assert ("destruction-not-announced", f"{kek}/1") in standing_out(connection)
        custodian = connection.port._custodian
        wall = custodian.clock
        custodian.clock = lambda: wall() + 40 * w.DAY
        assert connection.ask(DestroyDue()).versions == ()
        custodian.clock = wall
        connection.ask(AnnounceDestruction(kek, 1, 7, "still meant"))
        assert ("destruction-not-announced", f"{kek}/1") not in standing_out(connection)
        connection.ask(CancelDestruction(kek, 1, "not any more"))
        assert ("destruction-not-announced", f"{kek}/1") not in standing_out(connection)
