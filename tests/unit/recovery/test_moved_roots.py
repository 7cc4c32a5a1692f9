"""Backups of a domain that has several roots, or has moved: what the copy opens with, and what it does not any more."""

from __future__ import annotations

import pytest

from hermetic.crypto.secret import Secret
from hermetic.domain import root_moves
from hermetic.domain.backing import put_recovery, recovery_name
from hermetic.domain.recovering import recover
from hermetic.domain.recovery_wrap import set_recovery
from hermetic.domain.restore import restore_domain
from hermetic.errors import NotFound, WrongKey
from hermetic.formats.messages.roots import DropRoot, ListRoots, SetRootState
from hermetic.stores.local import LocalStore
from tests import world as w

NEWER = b"another passphrase for recovery"


@pytest.fixture
def world(tmp_path):
    made = w.World.make(tmp_path / "world", backup=True)
    yield made
    made.close()


def rows(connection):
    return connection.ask(ListRoots()).roots


def move(connection, *, drop=True):
    """Add a root and retire the first; returns (old, new)."""
    old = rows(connection)[0].root
    new = root_moves.add_root(connection, "local:insecure-file", reason="moving").root.root
    connection.ask(SetRootState(old, "deactivate", "moving"))
    if drop:
        connection.ask(DropRoot(old, "moving"))
    return old, new


def place_of(world):
    return LocalStore(world.backup / world.domain)


def test_the_recovery_wrap_goes_with_its_root_and_is_set_anew(world):
    connection = world.connect()
    w.seal(connection)
    old, new = move(connection)
    assert not place_of(world).exists(recovery_name(old))
    with pytest.raises(NotFound, match="no recovery wrap"):
        recover(world.backup, world.domain, Secret(w.PASSPHRASE))
    set_recovery(connection, Secret(NEWER))
    assert place_of(world).exists(recovery_name(new))
    assert recover(world.backup, world.domain, Secret(NEWER)).root.root_id == new


def test_while_both_roots_are_there_the_active_one_gets_the_passphrase(world):
    connection = world.connect()
    old, new = move(connection, drop=False)
    set_recovery(connection, Secret(NEWER))
    opened = {recover(world.backup, world.domain, Secret(text)).root.root_id for text in (NEWER, w.PASSPHRASE)}
    assert opened == {old, new}, "the old one goes with its root"
    connection.ask(DropRoot(old, "moving"))
    with pytest.raises(WrongKey):
        recover(world.backup, world.domain, Secret(w.PASSPHRASE))


def test_a_wrap_that_a_crash_left_in_the_place_is_passed_over(world):
    connection = world.connect()
    (old,) = (row.root for row in rows(connection))
    left = place_of(world).read_bytes(recovery_name(old), limit=4096)
    _, new = move(connection)
    set_recovery(connection, Secret(NEWER))
    put_recovery(place_of(world), old, left)
    assert recover(world.backup, world.domain, Secret(NEWER)).root.root_id == new
    with pytest.raises(WrongKey):
        recover(world.backup, world.domain, Secret(w.PASSPHRASE))


def test_restored_after_a_move_it_has_the_new_root_and_can_move_again(world, tmp_path):
    connection = world.connect()
    w.seal(connection)
    move(connection)
    set_recovery(connection, Secret(NEWER))
    connection.close()
    home = w.Home(tmp_path / "new" / "data", tmp_path / "new" / "config")
    restore_domain(world.backup, home, world.project, lambda *_: Secret(NEWER), provider_uri="local:insecure-file")
    again = world.connect(home=home)
    assert sorted(row.state for row in rows(again)) == ["active", "destroyed"]
    w.open_(again)
    (active,) = (row.root for row in rows(again) if row.state == "active")
    root_moves.add_root(again, "local:insecure-file")
    again.ask(SetRootState(active, "deactivate", "x"))
    again.ask(DropRoot(active, "x"))
    w.open_(again)


def test_another_root_of_before_a_restore_is_suspended_and_can_be_dropped_or_taken_back(world, tmp_path):
    """Its file did not come along: what was in the old home is gone with it, unless somebody brings it."""
    connection = world.connect()
    w.seal(connection)
    other = root_moves.add_root(connection, "local:insecure-file").root.root
    file = (world.data / f"root-{other}.json").read_bytes()
    connection.close()
    home = w.Home(tmp_path / "new" / "data", tmp_path / "new" / "config")
    restore_domain(world.backup, home, world.project, lambda *_: Secret(w.PASSPHRASE), provider_uri="local:insecure-file")
    again = world.connect(home=home)
    row = {row.root: row for row in rows(again)}[other]
    assert (row.state, row.status, row.opens_domain) == ("suspended", "absent", False)
    path = home.domain_data(world.domain) / f"root-{other}.json"
    path.write_bytes(file)
    path.chmod(0o600)
    assert root_moves.resume(again, row).root.state == "active"
    again.ask(SetRootState(other, "suspend", "x"))
    assert again.ask(DropRoot(other, "x")).root.state == "destroyed"
    w.open_(again)


@pytest.mark.parametrize("verb", ["deactivate", "suspend", "compromise"])
def test_restored_through_a_root_that_was_out_of_use_the_domain_has_an_active_one(world, tmp_path, verb):
    """A deactivated one never becomes active again: there is a new root. A suspended one, which is at hand again, does."""
    connection = world.connect()
    w.seal(connection)
    old = rows(connection)[0].root
    root_moves.add_root(connection, "local:insecure-file", reason="moving")
    connection.ask(SetRootState(old, verb, "moving"))
    connection.close()
    home = w.Home(tmp_path / "new" / "data", tmp_path / "new" / "config")
    restore_domain(world.backup, home, world.project, lambda *_: Secret(w.PASSPHRASE), provider_uri="local:insecure-file")
    again = world.connect(home=home)
    states = {row.root: row.state for row in rows(again)}
    active = [root for root, state in states.items() if state == "active"]
    assert len(active) == 1
    assert states[old] == {"deactivate": "deactivated", "suspend": "active", "compromise": "compromised"}[verb]
    w.open_(again)
    w.seal(again, "dataset/second", w.DataClass.INTERNAL)
    assert {row.root: row.opens_domain for row in rows(again)}[active[0]]
