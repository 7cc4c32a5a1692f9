"""What holds directly after a restore, before anything else was done: where copies go, what they lack, that they can be tried."""

from __future__ import annotations

import shutil

import pytest

from hermetic.crypto.secret import Secret
from hermetic.domain import config, pins, restored
from hermetic.domain.connect import connect
from hermetic.domain.pinned import PinKeeper
from hermetic.domain.restore import restore_domain
from hermetic.errors import Conflict, LogTampered, NotFound, Unsupported, UsageError
from hermetic.evidence.status import backup_answer
from hermetic.formats.messages.backup import TakeBackup
from hermetic.formats.messages.domain import GatherFacts
from hermetic.formats.messages.measures import GatherMeasures
from hermetic.ids import Purpose
from hermetic.providers import kernel_keyring
from hermetic.recovery.trial import try_copy
from tests import world as w
from tests.unit.recovery.test_restore import FRESH, ROOT, fresh_home, given, lose, older_copy


def moved(world, tmp_path):
    """Restore from another disk, onto which the backup place was copied; return that disk and the new home."""
    disk, home = tmp_path / "disk", fresh_home(tmp_path)
    shutil.copytree(world.backup, disk)
    restore_domain(disk, home, world.project, given, provider_uri=ROOT)
    return disk, home


def passphrase():
    return Secret(w.PASSPHRASE)


def test_the_state_of_the_copy_is_told_and_it_can_be_tried(world, tmp_path):
    disk, home = moved(world, tmp_path)
    shutil.copytree(disk, tmp_path / "kept")
    with connect(world.project, home=home) as connection:
        facts = connection.ask(GatherFacts())
        said = backup_answer(facts)
        assert (said.place, said.problem, said.taken_over, said.has_recovery) == (str(disk), None, False, True)
        assert said.behind == facts.log_size > 0
        assert connection.ask(GatherMeasures()).backup_missing == facts.log_size
        for place in (disk, world.backup):  # the one that custody came from, and the same copy elsewhere
            tried = try_copy(connection, place, passphrase())
            assert (tried.versions, tried.behind > 0) == (4, True)
        assert connection.ask(TakeBackup()).problem is None
        now = backup_answer(connection.ask(GatherFacts()))
        assert (now.place, now.behind) == (str(disk), 0)
        assert try_copy(connection, disk, passphrase()).versions == 4
        with pytest.raises(Conflict, match="generation 1") as told:  # it is older now, and nobody is to blame
            try_copy(connection, world.backup, passphrase())
        assert told.value.exit_code == 1
        shutil.rmtree(disk)
        shutil.copytree(tmp_path / "kept", disk)
        with pytest.raises(LogTampered, match="generation 1") as accused:
            try_copy(connection, disk, passphrase())
        assert "older copy" in accused.value.hint


def test_an_older_copy_in_the_place_is_found_before_the_first_new_one(world, tmp_path):
    older = tmp_path / "older"
    shutil.copytree(world.backup, older)
    with world.connect() as connection:
        w.seal(connection, "dataset/later")
    disk, home = moved(world, tmp_path)
    shutil.rmtree(disk)
    shutil.copytree(older, disk)
    with connect(world.project, home=home) as connection, pytest.raises(LogTampered, match="ends at log entry"):
        try_copy(connection, disk, passphrase())


# what others have seen


def hidden_loss(world, tmp_path):
    """Somebody elsewhere restores an older copy, knowing of nothing that it lacks; their copies are in the place from then on."""
    older_copy(world, tmp_path)
    elsewhere = fresh_home(tmp_path, "elsewhere")
    restore_domain(world.backup, elsewhere, world.project, given, provider_uri=ROOT)
    with world.connect(home=elsewhere) as connection:
        assert connection.ask(TakeBackup()).problem is None


def test_the_pins_of_who_restores_follow_what_they_took_with_a_reason(world, tmp_path):
    """They saw more of the first generation than the second one came from: the copy is later, and lacks what they saw."""
    theirs = tmp_path / "pins.json"
    hidden_loss(world, tmp_path)
    with world.connect() as connection:
        pass
    pins.save(theirs, connection.pins.pins)
    seen = connection.pins.size
    lose(world)
    with pytest.raises(LogTampered, match="seen more"):
        restore_domain(world.backup, world.home, world.project, given, provider_uri=ROOT)
    done = restore_domain(world.backup, world.home, world.project, given, provider_uri=ROOT, reason="the newer disk burned")
    assert (done.lost, done.seen, done.highest_generation, done.highest_size) == (True, True, 1, seen)
    with world.connect() as connection:
        assert connection.pins.pins.generation == 3
        assert w.open_(connection, "dataset/shops", purpose=Purpose.RECOVER)
        assert len(connection.pins.earlier) == 1  # what was seen stays to be compared
    keeper = PinKeeper(theirs, world.domain)
    with world.connect() as connection, pytest.raises(LogTampered, match="does not say so") as refused:
        keeper.meet(connection.ask(keeper.greeting()), None)
    assert "log restored" in refused.value.hint


def test_a_restore_of_a_restore_hides_no_loss(world, tmp_path):
    """That a later generation was known says nothing of what the one before gave up."""
    theirs = tmp_path / "theirs"
    hidden_loss(world, tmp_path)
    shutil.copytree(world.home.config, theirs)
    lose(world)
    shutil.rmtree(world.home.config)
    restore_domain(world.backup, world.home, world.project, given, provider_uri=ROOT)
    shutil.rmtree(world.home.config)
    shutil.copytree(theirs, world.home.config)
    with pytest.raises(LogTampered, match="does not say so"):
        world.connect()


def test_what_others_have_to_be_told_is_said(world, tmp_path):
    home = fresh_home(tmp_path)
    done = restore_domain(world.backup, home, world.project, given, provider_uri=ROOT)
    assert (done.lost, done.seen) == (False, False)
    assert restored.look(restored.Here(world.project, home)).digest == done.digest


# the root


def test_the_root_is_kept_as_it_was_before(world, tmp_path):
    home = fresh_home(tmp_path)
    done = restore_domain(world.backup, home, world.project, given)
    assert done.root == ROOT
    with world.connect(home=home) as connection:
        assert [root.uri for root in connection.ask(GatherFacts()).roots] == [ROOT]


def test_the_recovery_passphrase_never_becomes_that_of_the_root(world, tmp_path, monkeypatch):
    def none(*_):
        raise Unsupported("no kernel keyring here")

    monkeypatch.setattr(kernel_keyring, "load", none)
    monkeypatch.setattr(kernel_keyring, "store", none)
    with pytest.raises(UsageError, match="passphrase of its own") as refused:
        restore_domain(world.backup, fresh_home(tmp_path), world.project, given, provider_uri="local:passphrase")
    assert "--root" in refused.value.hint
    home = fresh_home(tmp_path, "with-passphrase")
    fresh = {"ask": lambda *_: Secret(FRESH)}
    done = restore_domain(world.backup, home, world.project, given, provider_uri="local:passphrase", **fresh)
    assert done.root == "local:passphrase"
    with world.connect(home=home, ask_passphrase=fresh["ask"]) as connection:
        assert connection.ask(TakeBackup()).problem is None
    third = fresh_home(tmp_path, "third")
    with pytest.raises(UsageError, match="passphrase of its own"):  # as it was kept before: nobody can be asked
        restore_domain(world.backup, third, world.project, given)
    assert not (third.data / world.domain).exists()
    assert restore_domain(world.backup, third, world.project, given, provider_uri=ROOT).root == ROOT


# stores


def test_a_trial_names_the_users_own_settings_where_a_store_is_not_known(world, monkeypatch):
    rules = world.project / "hermetic.yaml"
    rules.write_text(rules.read_text().replace("sealed: {kind: local, path: sealed}", "sealed: {kind: named}"))
    settings = world.home.domain_config(world.domain) / config.CONFIG_FILE
    with world.connect() as connection, pytest.raises(NotFound, match="does not know the store 'sealed'") as told:
        try_copy(connection, world.backup, passphrase())
    assert str(settings) in told.value.hint
    places = f"stores:\n  sealed:\n    folder: {world.project / 'sealed'}\nlocations: {{lake: s3://bucket/prefix}}\n"
    settings.write_text(settings.read_text() + places)
    save, saved = config.save, []
    monkeypatch.setattr(config, "save", lambda folder, given: (saved.append(given), save(folder, given)))
    with world.connect() as connection:
        assert try_copy(connection, world.backup, passphrase()).objects == "stores"
    assert saved[-1].locations == {"lake": "s3://bucket/prefix"}  # of the home that the trial opens from
