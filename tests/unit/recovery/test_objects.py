"""Sealed objects to the backup place and back; the trial of a copy; the commands."""

from __future__ import annotations

import json
import shutil
import sqlite3

import pytest

from hermetic.cli import main
from hermetic.crypto.secret import Secret
from hermetic.domain.connect import connect
from hermetic.domain.home import Home
from hermetic.domain.recovering import recover
from hermetic.domain.recovery_wrap import set_recovery
from hermetic.domain.restore import restore_domain
from hermetic.errors import HermeticError, IntegrityError, LogTampered, NotFound, UsageError, WrongKey
from hermetic.formats.messages.backup import TakeBackup
from hermetic.formats.messages.domain import GatherFacts, RecordRestoreCheck
from hermetic.formats.messages.log import ReadLog
from hermetic.recovery.objects import bring_back, copy_out
from hermetic.recovery.trial import MEMORY, try_copy
from hermetic.server.http_status import status_of
from tests import world as w
from tests.unit.recovery.conftest import CONTENT, contents


def passphrase():
    return Secret(w.PASSPHRASE)


def trials():
    return {path.name for path in MEMORY.glob("hermetic-trial-*")}


def sealed(world):
    return world.project / "sealed"


def damage(path):
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(raw)


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# objects


def test_objects_are_copied_once_and_byte_for_byte(world):
    with world.connect() as connection:
        first = copy_out(connection, world.backup)
        again = copy_out(connection, world.backup)
    there = world.backup / world.domain / "objects"
    assert (first.versions, first.objects, first.findings) == (4, 4, [])
    assert first.bytes == sum(len(raw) for name, raw in files(sealed(world)).items() if name.endswith(".sealed"))
    assert (again.versions, again.objects) == (4, 0)
    assert files(there) == files(sealed(world))


def test_only_what_is_missing_is_copied(world):
    with world.connect() as connection:
        copy_out(connection, world.backup)
        victim = next((world.backup / world.domain / "objects").rglob("*.sealed"))
        victim.unlink()
        assert copy_out(connection, world.backup).objects == 1
        assert victim.is_file()


def test_damage_does_not_spread(world):
    broken = next(sealed(world).rglob("*.sealed"))
    damage(broken)
    with world.connect() as connection:
        done = copy_out(connection, world.backup)
    assert (done.objects, [item.code for item in done.findings]) == (3, ["object-not-copied"])
    assert not (world.backup / world.domain / "objects" / broken.relative_to(sealed(world))).exists()
    assert not list(world.backup.rglob(".hermetic-tmp-*"))


def test_damage_does_not_come_back(world):
    with world.connect() as connection:
        copy_out(connection, world.backup)
        there = world.backup / world.domain / "objects"
        broken = next(there.rglob("*.sealed"))
        damage(broken)
        shutil.rmtree(sealed(world))
        done = bring_back(connection, world.backup)
    assert (done.objects, len(done.findings)) == (3, 1)
    assert not (sealed(world) / broken.relative_to(there)).exists()


def test_a_missing_object_is_told(world):
    next(sealed(world).rglob("*.sealed")).unlink()
    with world.connect() as connection:
        assert len(copy_out(connection, world.backup).findings) == 1


def test_another_manifest_there_is_told(world):
    with world.connect() as connection:
        copy_out(connection, world.backup)
        other = next((world.backup / world.domain / "objects").rglob("manifest.json"))
        other.write_bytes(other.read_bytes() + b" ")
        assert len(copy_out(connection, world.backup).findings) == 1


def test_from_nothing_but_the_backup_place(world, tmp_path):
    """Machine gone: custody home, project, store. The place and the passphrase bring everything back."""
    with world.connect() as connection:
        copy_out(connection, world.backup)
    shutil.rmtree(world.project)
    shutil.rmtree(world.root / "home")
    (tmp_path / "new" / "project").mkdir(parents=True, mode=0o700)
    home = Home(tmp_path / "new" / "data", tmp_path / "new" / "config")
    restore_domain(world.backup, home, tmp_path / "new" / "project", lambda *_: passphrase(), provider_uri="local:insecure-file")
    with connect(tmp_path / "new" / "project", home=home) as connection:
        assert bring_back(connection, world.backup).objects == 4
        assert contents(connection) == CONTENT


# trials


def test_a_trial_opens_something_and_leaves_nothing(world):
    before = trials()
    with world.connect() as connection:
        tried = try_copy(connection, world.backup, passphrase())
        assert (tried.ref, tried.length, tried.versions) == ("dataset/shops@1", len(CONTENT["dataset/shops"]), 4)
        assert tried.objects == "stores"
        assert tried.took_ms > 0
        facts = {pair.name: pair.value for pair in connection.ask(GatherFacts()).backup}
        assert facts["checked_ms"]
        assert not any("shops" in value for value in facts.values()), "that table is readable without a key"
        row = connection.ask(ReadLog(kind="drill")).rows[-1]
        assert json.loads(row.leaf)["facts"]["drill"] == "restore-check"
        assert {pair.name: pair.value for pair in row.opened}["ref"] == "dataset/shops@1"
    assert trials() == before


def test_a_trial_changes_nothing_but_the_record(world):
    settings = files(world.home.config)
    place = set(files(world.backup))
    with world.connect() as connection:
        generation = connection.welcome.generation
        try_copy(connection, world.backup, passphrase())
        assert connection.ask(GatherFacts()).generation == generation
    assert {name for name in files(world.home.config) if "pins" not in name} == {name for name in settings if "pins" not in name}
    assert {name for name in files(world.backup) if "index" not in name and "pack" not in name} == {
        name for name in place if "index" not in name and "pack" not in name
    }
    with world.connect() as connection:
        assert contents(connection) == CONTENT


def test_a_trial_from_the_objects_in_the_place(world):
    with world.connect() as connection:
        with pytest.raises(NotFound):
            try_copy(connection, world.backup, passphrase(), objects=True)
        copy_out(connection, world.backup)
        shutil.rmtree(sealed(world))
        tried = try_copy(connection, world.backup, passphrase(), objects=True)
    assert tried.objects == "backup place"


def test_a_trial_of_a_damaged_object_fails_and_is_not_recorded(world):
    for path in sealed(world).rglob("*.sealed"):
        damage(path)
    before = trials()
    with world.connect() as connection:
        with pytest.raises(IntegrityError):
            try_copy(connection, world.backup, passphrase())
        assert "checked_ms" not in {pair.name for pair in connection.ask(GatherFacts()).backup}
    assert trials() == before


def test_a_trial_with_a_wrong_passphrase(world):
    with world.connect() as connection, pytest.raises(WrongKey):
        try_copy(connection, world.backup, Secret(b"wrong, but long enough"))


def test_a_trial_of_an_older_copy_is_refused(world, tmp_path):
    with world.connect() as connection:
        connection.ask(TakeBackup())
        kept = tmp_path / "kept"
        shutil.copytree(world.backup, kept)
        w.seal(connection, "dataset/later")
        shutil.rmtree(world.backup)
        shutil.copytree(kept, world.backup)
        with pytest.raises(LogTampered, match="older copy"):
            try_copy(connection, world.backup, passphrase())


def test_a_trial_of_another_domains_copy_is_refused(world, tmp_path):
    other = w.World.make(tmp_path / "other", backup=True)
    with other.connect() as connection:
        with pytest.raises(NotFound):
            try_copy(connection, world.root, passphrase())
        for size in (1, 10_000, 0, -1):
            with pytest.raises(UsageError, match="another log") as told:
                connection.ask(RecordRestoreCheck("dataset/x@1", size, bytes(32)))
            assert (status_of(told.value), told.value.exit_code) == (422, 2)
            assert "backup place" in told.value.hint
    other.close()


def test_what_the_caller_says_of_a_copy_is_told_from_a_log_that_was_changed(world):
    with world.connect() as connection:
        seen = connection.ask(GatherFacts())
        with sqlite3.connect(world.database) as database:  # the newest node of the tree: the log no longer leads to its checkpoint
            database.execute("UPDATE log_checkpoint SET root = zeroblob(length(root)) WHERE size = ?", (seen.log_size,))
        with pytest.raises(LogTampered) as told:
            connection.ask(RecordRestoreCheck("dataset/x@1", seen.log_size, seen.log_root))
    assert (status_of(told.value), told.value.exit_code) == (500, 4)


def test_a_copy_that_shows_that_the_log_was_cut_is_no_mistake_of_the_caller(tmp_path):
    whole, cut = (w.World.make(tmp_path / name, backup=True) for name in ("whole", "cut"))  # one domain, and two states of its log
    with whole.connect() as connection:
        seen = connection.ask(GatherFacts())
        connection.ask(RecordRestoreCheck("dataset/x@1", seen.log_size, seen.log_root))
        connection.ask(TakeBackup())
    with cut.connect() as connection, pytest.raises(LogTampered, match="another log") as told:
        try_copy(connection, whole.backup, passphrase())
    assert "log verify" in told.value.hint
    whole.close()
    cut.close()


# the recovery passphrase


def test_a_passphrase_set_later_replaces_the_old_one(world):
    new = Secret(b"six other words kept elsewhere")
    with world.connect() as connection:
        root = set_recovery(connection, new)
        row = connection.ask(ReadLog(kind="backup.made")).rows[-1]
        facts = json.loads(row.leaf)["facts"]
        assert (facts["backup"], facts["root"], facts["policies"]) == ("recovery-wrap", root, ["owner-administers"])
    assert recover(world.backup, world.domain, new).root.root_id == root
    with pytest.raises(WrongKey):
        recover(world.backup, world.domain, passphrase())


def test_without_a_place_there_is_nowhere_to_put_it(tmp_path):
    made = w.World.make(tmp_path / "bare")
    with made.connect() as connection, pytest.raises(HermeticError) as refused:
        set_recovery(connection, Secret(b"six other words kept elsewhere"))
    assert refused.value.exit_code == 2
    made.close()


# commands


@pytest.fixture
def hermetic(world, capfd, monkeypatch):
    """Call the program in the project of the world; returns (exit code, JSON or None)."""
    secret = world.root / "passphrase"
    secret.write_bytes(w.PASSPHRASE)
    secret.chmod(0o600)
    monkeypatch.chdir(world.project)
    monkeypatch.setenv("HERMETIC_HOME", str(world.root / "home"))

    def call(*arguments):
        code = main.run([str(item) for item in arguments] + ["--json"])
        said = capfd.readouterr()
        return code, json.loads(said.out) if said.out else said.err

    call.secret = secret
    return call


def test_backup_and_restore_with_objects(world, hermetic, tmp_path, monkeypatch):
    code, said = hermetic("backup", "now", "--with-objects")
    assert code == 0
    assert said["objects"]["objects"] == 4
    code, said = hermetic("restore", "--check", "--with-objects", "--recovery-passphrase-file", hermetic.secret)
    assert (code, said["objects"]) == (0, "backup place")
    shutil.rmtree(sealed(world))
    monkeypatch.setenv("HERMETIC_HOME", str(tmp_path / "second"))
    (tmp_path / "second").mkdir(mode=0o700)
    arguments = ("--root", "local:insecure-file", "--recovery-passphrase-file", hermetic.secret, "--with-objects")
    code, said = hermetic("restore", "--from", world.backup, *arguments)
    assert code == 0
    assert (said["generation"], said["versions"], said["lost"], said["objects"]["objects"]) == (2, 4, False, 4)
    code, said = hermetic("verify", "dataset/patients")
    assert code == 0


def test_objects_as_a_setting(world, hermetic):
    config = next((world.root / "home" / "config").glob("*/config.yaml"))
    config.write_text(config.read_text().replace("objects: false", "objects: true"))
    code, said = hermetic("backup", "now")
    assert (code, said["objects"]["versions"]) == (0, 4)


def test_a_damaged_object_is_a_finding(world, hermetic):
    damage(next(sealed(world).rglob("*.sealed")))
    code, said = hermetic("backup", "now", "--with-objects")
    assert (code, len(said["objects"]["findings"])) == (7, 1)


def test_what_to_tell_others_and_where_the_root_is_are_said(world, hermetic, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("HERMETIC_HOME", str(tmp_path / "second"))
    (tmp_path / "second").mkdir(mode=0o700)
    assert main.run(["restore", "--from", str(world.backup), "--recovery-passphrase-file", str(hermetic.secret)]) == 0
    said = capfd.readouterr().out
    code, told = hermetic("log", "restored")
    assert code == 0
    for words in ("root         local:insecure-file", "others may have seen more", f"log restored --accept {told['digest']}"):
        assert words in " ".join(said.split("\n")), said


def test_an_older_copy_wants_a_reason(world, hermetic, tmp_path):
    kept = tmp_path / "kept"
    shutil.copytree(world.backup, kept)
    with world.connect() as connection:
        w.seal(connection, "dataset/later")
    shutil.rmtree(world.backup)
    shutil.copytree(kept, world.backup)
    shutil.rmtree(world.home.data)
    arguments = ("restore", "--from", world.backup, "--root", "local:insecure-file", "--recovery-passphrase-file", hermetic.secret)
    assert hermetic(*arguments)[0] == 4
    code, said = hermetic(*arguments, "--reason", "the disk burned")
    assert (code, said["lost"]) == (0, True)


def test_a_new_passphrase_by_command(world, hermetic, tmp_path):
    other = tmp_path / "other"
    other.write_bytes(b"six other words kept elsewhere")
    other.chmod(0o600)
    assert hermetic("backup", "now", "--recovery-passphrase-file", other)[0] == 0
    assert hermetic("restore", "--check", "--recovery-passphrase-file", hermetic.secret)[0] == 4
    assert hermetic("restore", "--check", "--recovery-passphrase-file", other)[0] == 0


def test_the_place_has_to_be_named(hermetic):
    assert hermetic("restore")[0] == 2
