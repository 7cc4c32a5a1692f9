"""What holds directly after a restore, before anything else was done: where copies go, what they lack, that they can be tried."""

from __future__ import annotations

import shutil

import pytest

from hermetic.crypto.secret import Secret
from hermetic.domain.connect import connect
from hermetic.domain.restore import restore_domain
from hermetic.errors import Conflict, LogTampered
from hermetic.evidence.status import backup_answer
from hermetic.formats.messages.backup import TakeBackup
from hermetic.formats.messages.domain import GatherFacts
from hermetic.formats.messages.measures import GatherMeasures
from hermetic.recovery.trial import try_copy
from tests import world as w
from tests.unit.recovery.test_restore import ROOT, fresh_home, given


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
