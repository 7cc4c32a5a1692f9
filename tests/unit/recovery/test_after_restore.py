"""Who uses a domain from elsewhere after it was restored: follows what its log can prove, and has a way out where it cannot."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest

from hermetic.audit.note import Checkpoint, Origin, VerifierKey
from hermetic.audit.tree import leaf_hash
from hermetic.crypto.sign import SigningKey
from hermetic.domain import pins, restored
from hermetic.domain.pinned import PinKeeper
from hermetic.errors import Conflict, IntegrityError, LogTampered, NotFound, SignatureError, UsageError
from hermetic.formats.binary_text import to_base64url
from hermetic.formats.messages.backup import TakeBackup
from hermetic.formats.messages.base import Pair
from hermetic.formats.messages.catalogue import ShowVersion
from hermetic.formats.messages.greeting import Restore
from hermetic.formats.messages.signing import RotateSigningKey
from hermetic.ids import DataClass, Purpose
from tests import world as w
from tests.backends import EMBEDDED, SEPARATED, SERVICE, serving
from tests.unit.recovery.test_restore import bring_back, lose, whole


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


def here(world):
    return restored.Here(world.project, world.home, url=os.environ.get("HERMETIC_URL", ""))


def older_copy_comes_back(world, tmp_path, *, hides, uses=()):
    """A backup, work after it (and keys changed) that somebody elsewhere has seen, a restore of that backup; return their home."""
    shutil.copytree(world.backup, tmp_path / "copy")
    rotate(world, *uses)
    with world.connect() as connection:
        w.seal(connection, "dataset/shops", DataClass.INTERNAL)
        w.open_(connection, "dataset/shops", purpose=Purpose.RECOVER)
        assert connection.ask(ShowVersion("dataset/shops")).number == 2
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(world.home.config, elsewhere)
    lose(world)
    shutil.rmtree(world.backup)
    shutil.copytree(tmp_path / "copy", world.backup)
    if hides:
        shutil.rmtree(world.home.config)
    bring_back(world, world.home, reason=None if hides else "the newer disk burned")
    if hides:  # whoever restored has nothing to compare with; who saw more is given that custody
        assert restored.look(here(world)).accepted is False
        with world.connect():
            pass
        told = restored.look(here(world))
        assert told.accepted
    else:
        told = restored.look(here(world))
    return elsewhere, told.digest


def as_elsewhere(world, elsewhere):
    """Use custody with the settings of who saw more."""
    shutil.rmtree(world.home.config)
    shutil.copytree(elsewhere, world.home.config)


@pytest.mark.parametrize(("backend", "uses"), [(EMBEDDED, ()), (SEPARATED, ("log", "manifest")), (SERVICE, ("log",))])
def test_who_saw_what_a_restore_hides_is_refused_and_takes_it_after_comparing(world, tmp_path, monkeypatch, backend, uses):
    elsewhere, digest = older_copy_comes_back(world, tmp_path, hides=True, uses=uses)
    as_elsewhere(world, elsewhere)
    with serving(backend, world.home, world.domain, tmp_path) as url:
        monkeypatch.setenv("HERMETIC_URL", url)
        refuse_and_take(world, digest)


def refuse_and_take(world, digest):
    for _ in range(2):
        with pytest.raises(LogTampered) as refused:
            world.connect()
        assert refused.value.exit_code == 4
        assert "hermetic log restored" in refused.value.hint
    said = restored.look(here(world))
    assert (said.digest, said.admits, said.accepted) == (digest, False, False)
    with pytest.raises(IntegrityError, match="another restore"):
        restored.accept(here(world), "0" * 64)
    with pytest.raises(UsageError):
        restored.accept(here(world), digest[:20])
    with pytest.raises(LogTampered):  # looking and being wrong have changed nothing
        world.connect()
    assert restored.accept(here(world), digest).accepted
    with pytest.raises(Conflict):
        restored.accept(here(world), digest)
    with world.connect() as connection:
        assert w.open_(connection, "dataset/shops", purpose=Purpose.RECOVER).released[0].number == 1
        assert len(connection.pins.earlier) == 1  # and is named by `log verify` for ever
        assert "pin-in-lost-entries" in {pair.name for pair in whole(connection).findings}


class Imposter:
    """Who answers in custody's place, with a welcome of their own."""

    def __init__(self, connection, welcome):
        self.port, self.pins, self.project = self, connection.pins, connection.project
        self._welcome = welcome

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def ask(self, _):
        return self._welcome


@pytest.mark.parametrize("brings", ["log", "manifest"])
def test_the_right_digest_takes_no_key_that_the_restore_does_not_lead_to(world, tmp_path, monkeypatch, brings):
    """The entry is no secret: whoever has it could show it in a log that they go on with by themselves."""
    elsewhere, digest = older_copy_comes_back(world, tmp_path, hides=True)
    with world.connect() as connection:
        genuine = connection.ask(replace(connection.pins.greeting(), generation=1, size=1))
    as_elsewhere(world, elsewhere)
    theirs, leaf = SigningKey.generate(), genuine.restores[0].leaf
    origin = Origin(world.domain, 2)
    forged = replace(
        genuine,
        log_key=str(VerifierKey(str(origin), theirs.public)),
        checkpoint=str(Checkpoint(origin, 1, leaf_hash(leaf)).sign(theirs)),
        restores=(Restore(leaf, ()),),
        key_changes=(),
    )
    if brings == "manifest":
        planted = Pair(w.fresh(), to_base64url(theirs.public))
        forged = replace(genuine, manifest_keys=(*genuine.manifest_keys, planted))
    file = world.home.domain_config(world.domain) / "pins.json"
    keeper = PinKeeper(file, world.domain)
    before = keeper.pins
    project = SimpleNamespace(domain=world.domain)
    monkeypatch.setattr(restored, "_connected", lambda _: Imposter(SimpleNamespace(pins=keeper, project=project), forged))
    if brings == "log":
        with pytest.raises(SignatureError, match="another key"):
            restored.accept(here(world), digest)
        assert keeper.pins == before
    else:
        restored.accept(here(world), digest)
        assert keeper.pins.manifest_keys == before.manifest_keys


def test_what_a_restore_says_is_lost_is_forgotten_without_being_asked(world, tmp_path):
    """Also the numbers of versions: `latest` was refused for ever as an older state."""
    elsewhere, _ = older_copy_comes_back(world, tmp_path, hides=False)
    as_elsewhere(world, elsewhere)
    for _ in range(2):
        with world.connect() as connection:
            assert w.open_(connection, "dataset/shops", purpose=Purpose.RECOVER).released[0].number == 1


def put_back(world, copy):
    lose(world)
    shutil.rmtree(world.backup)
    shutil.copytree(copy, world.backup)


def test_a_restore_begins_no_generation_that_was_seen_before(world, tmp_path):
    """A copy of the first generation comes back when the second one was in use."""
    shutil.copytree(world.backup, tmp_path / "copy")
    lose(world)
    bring_back(world, world.home)
    with world.connect() as connection:
        assert connection.pins.pins.generation == 2
    put_back(world, tmp_path / "copy")
    assert bring_back(world, world.home, reason="the newer disk burned").generation == 3
    with world.connect() as connection:
        assert connection.pins.pins.generation == 3
        assert {pair.name for pair in whole(connection).findings} >= {"log-lost-entries"}


def test_who_knows_no_key_that_leads_to_the_one_in_force_takes_it_on_a_persons_word(world, tmp_path):
    """Of somebody who came after a change of keys and the restore that followed; a copy from before both comes back."""
    shutil.copytree(world.backup, tmp_path / "copy")
    rotate(world, "log")
    lose(world)
    bring_back(world, world.home)
    known, file = tmp_path / "known", world.home.config / world.domain / "pins.json"
    shutil.copytree(world.home.config, known)  # of who restores
    file.unlink()
    with world.connect() as connection:
        assert len(connection.pins.log_keys) == 1
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(world.home.config, elsewhere)
    as_elsewhere(world, known)
    with world.connect():
        pass
    put_back(world, tmp_path / "copy")
    assert bring_back(world, world.home, reason="the newer disk burned").generation == 3
    digest = restored.look(here(world)).digest
    as_elsewhere(world, elsewhere)
    with pytest.raises(LogTampered, match="not pinned") as refused:
        world.connect()
    assert refused.value.exit_code == 4
    assert "hermetic log restored" in refused.value.hint
    restored.accept(here(world), digest)
    with world.connect() as connection:
        assert w.open_(connection, "dataset/shops", purpose=Purpose.RECOVER)


def test_of_two_restores_of_one_copy_nobody_takes_the_other_but_what_is_restored_from_it(world, tmp_path):
    shutil.copytree(world.backup, tmp_path / "copy")
    lose(world)
    bring_back(world, world.home)
    with world.connect() as connection:
        w.seal(connection, "dataset/shops", DataClass.INTERNAL)
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(world.home.config, elsewhere)
    put_back(world, tmp_path / "copy")
    shutil.rmtree(world.home.config)
    bring_back(world, world.home)
    with world.connect() as connection:
        assert connection.ask(TakeBackup()).problem is None
    theirs = tmp_path / "theirs"
    shutil.copytree(world.home.config, theirs)
    as_elsewhere(world, elsewhere)
    with pytest.raises(LogTampered):
        world.connect()
    with pytest.raises(Conflict):
        restored.accept(here(world), restored.look(here(world)).digest)
    as_elsewhere(world, theirs)
    lose(world)
    bring_back(world, world.home)
    as_elsewhere(world, elsewhere)
    with pytest.raises(LogTampered) as refused:
        world.connect()
    assert "hermetic log restored" in refused.value.hint
    restored.accept(here(world), restored.look(here(world)).digest)
    with world.connect() as connection:
        assert connection.pins.pins.generation == 3


def test_a_key_that_handed_over_signs_a_restored_log_on_a_persons_word_only(world, tmp_path):
    """Whoever took it, which may be why it was changed, could restore an old copy as well, and say on it what they like."""
    elsewhere, digest = older_copy_comes_back(world, tmp_path, hides=False, uses=("log",))
    with world.connect() as connection:  # who restored has said why
        assert w.open_(connection, "dataset/shops", purpose=Purpose.RECOVER).released[0].number == 1
        assert connection.ask(TakeBackup()).problem is None
    theirs = tmp_path / "theirs"
    shutil.copytree(world.home.config, theirs)
    as_elsewhere(world, elsewhere)
    for _ in range(2):
        with pytest.raises(LogTampered, match="before a change of the log's key") as refused:
            world.connect()
        assert "hermetic log restored" in refused.value.hint
    restored.accept(here(world), digest)
    world.connect().close()
    accepted = tmp_path / "accepted"
    shutil.copytree(world.home.config, accepted)
    as_elsewhere(world, theirs)
    lose(world)
    bring_back(world, world.home)
    for settings in (theirs, accepted):  # from here on it is the log's key again
        as_elsewhere(world, settings)
        world.connect().close()


def test_a_key_that_handed_over_does_so_again_in_a_restored_log_on_a_persons_word_only(world, tmp_path):
    """Else whoever took it would hand over to a key of theirs, and sign with that one."""
    elsewhere, digest = older_copy_comes_back(world, tmp_path, hides=False, uses=("log",))
    rotate(world, "log")
    as_elsewhere(world, elsewhere)
    for _ in range(2):
        with pytest.raises(LogTampered, match="does so again") as refused:
            world.connect()
        assert "hermetic log restored" in refused.value.hint
    restored.accept(here(world), digest)
    for _ in range(2):
        with world.connect() as connection:
            assert connection.pins.verified(w.open_(connection, "dataset/shops", purpose=Purpose.RECOVER).receipt)


def test_custody_that_was_never_restored_says_nothing_of_it(world):
    with pytest.raises(NotFound, match="never restored"):
        restored.look(here(world))
