"""A domain whose custody is gone comes back from its backup place: whole, as the next generation, with everything on record."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import time

import pytest

from hermetic import steps
from hermetic.access import identity
from hermetic.assets.workspace import Workspace
from hermetic.crypto.secret import Secret
from hermetic.domain import config, pins, succession
from hermetic.domain.connect import connect
from hermetic.domain.home import Home
from hermetic.domain.pinned import PinKeeper
from hermetic.domain.restore import restore_domain
from hermetic.errors import ConfigError, Conflict, HermeticError, Locked, LogTampered, NotFound, Unsupported, UsageError, WrongKey
from hermetic.formats.messages import keys, policy, runs, versions
from hermetic.formats.messages.backup import TakeBackup
from hermetic.formats.messages.base import Pair
from hermetic.formats.messages.domain import GatherFacts
from hermetic.formats.messages.log import Anchor, ReadLog, VerifyLog
from hermetic.ids import DataClass, Purpose
from hermetic.providers import kernel_keyring
from tests import world as w
from tests.unit.recovery.conftest import CONTENT, contents

ROOT = "local:insecure-file"
FRESH = b"another passphrase, long enough"


@pytest.fixture(autouse=True)
def no_hook():
    yield
    steps.install(None)


def given(*_):
    return Secret(w.PASSPHRASE)


def bring_back(world, home, **more):
    return restore_domain(world.backup, home, world.project, given, provider_uri=more.pop("provider_uri", ROOT), **more)


def lose(world):
    shutil.rmtree(world.home.data)


def fresh_home(tmp_path, name="second"):
    base = tmp_path / name
    base.mkdir(mode=0o700)
    return Home(base / "data", base / "config")


def entries(connection, kind):
    rows = connection.ask(ReadLog(limit=2000)).rows
    return [(json.loads(row.leaf)["facts"], {pair.name: pair.value for pair in row.opened}) for row in rows if row.kind == kind]


def whole(connection):
    pins = connection.pins
    notes = (pins.checkpoint, *pins.earlier)
    return connection.ask(VerifyLog(tuple(Anchor(note, "pins", external=False) for note in notes), pins.log_keys))


def test_on_a_second_home_every_version_opens(world, tmp_path):
    home = fresh_home(tmp_path)
    done = bring_back(world, home)
    assert (done.generation, done.versions, done.lost) == (2, 4, False)
    with world.connect(home=home) as connection:
        assert connection.welcome.generation == 2
        assert contents(connection) == CONTENT
        assert w.open_(connection, "model/risk@1", purpose=Purpose.RECOVER)
        ((facts, opened),) = entries(connection, "domain.recovered")
        assert (facts["lost"], facts["skipped"]) == (False, 0)
        assert opened["principal"]
        assert {pair.name for pair in whole(connection).findings} <= {"log-never-anchored"}
    assert sorted(path.name for path in (home.data / ".restoring").iterdir()) == [f"{world.domain}.lock"]
    assert stat_modes(home.data / world.domain) <= {0o600, 0o700}


def stat_modes(folder):
    return {path.stat().st_mode & 0o777 for path in folder.rglob("*")}


def test_with_the_old_users_pins_three_generations_long(world):
    """Custody is lost, the settings with the pins are not; then it is lost again."""
    with world.connect() as connection:
        before = connection.pins.pins
    for generation in (2, 3):
        lose(world)
        done = bring_back(world, world.home)
        assert (done.generation, done.lost) == (generation, False)
        with world.connect() as connection:
            assert not connection.pins.first_use
            assert connection.pins.pins.generation == generation
            assert len(connection.pins.log_keys) == generation
            assert connection.pins.pins.manifest_keys == before.manifest_keys
            assert contents(connection) == CONTENT
            found = {pair.name for pair in whole(connection).findings}
            assert found <= {"log-never-anchored"}
            Workspace(connection).seal(CONTENT["dataset/shops"], name="dataset/shops")
    assert len(connection.pins.earlier) >= 1


def test_the_restored_domain_goes_on(world, tmp_path):
    home = fresh_home(tmp_path)
    bring_back(world, home)
    with world.connect(home=home) as connection:
        assert w.seal(connection, "model/risk", DataClass.CONFIDENTIAL)[1].number == 3
        for row in connection.ask(keys.ListKeys()).keys:
            connection.ask(keys.RotateKey(row.kek))
            assert connection.ask(keys.RewrapKey(row.kek)).left == 0
        state = connection.ask(TakeBackup())
        assert (state.problem, state.place) == (None, str(world.backup))
    third = fresh_home(tmp_path, "third")
    assert bring_back(world, third).generation == 3
    with world.connect(home=third) as connection:
        for name in ("dataset/patients", "dataset/shops"):
            with Workspace(connection).open(name, purpose="recover") as file:
                assert file.read() == CONTENT[name]


def test_the_old_home_is_stale_and_covers_nothing(world, tmp_path):
    old = world.connect()
    home = fresh_home(tmp_path)
    bring_back(world, home)
    with world.connect(home=home) as connection:
        assert connection.ask(TakeBackup()).problem is None
    w.seal(old, "dataset/late", DataClass.INTERNAL)
    state = old.ask(TakeBackup())
    assert "later or another state" in state.problem
    with world.connect() as connection:
        assert Pair("taken_over", "true") in connection.ask(GatherFacts()).backup
    old.close()
    assert bring_back(world, fresh_home(tmp_path, "third")).generation == 3


def test_two_restores_of_one_copy_do_not_cover_each_other(world, tmp_path):
    homes = [fresh_home(tmp_path, name) for name in ("one", "two")]
    for home in homes:
        assert bring_back(world, home).generation == 2
    with world.connect(home=homes[0]) as connection:
        w.seal(connection, "dataset/one", DataClass.INTERNAL)
    with world.connect(home=homes[1]) as connection:
        w.seal(connection, "dataset/two", DataClass.INTERNAL)
        assert "another state" in connection.ask(TakeBackup()).problem


def test_what_ran_is_over(world, tmp_path):
    with world.connect() as connection:
        run = connection.ask(runs.StartRun(w.fresh(), "work", Purpose.PREPARE)).run
        scratch = connection.ask(runs.OpenScratch(w.fresh(), run))
        draft = w.begin(connection, "features/x", DataClass.INTERNAL, run=run)
        lease = w.open_(connection).released[0].lease
        connection.ask(TakeBackup())
    home = fresh_home(tmp_path)
    bring_back(world, home)
    with world.connect(home=home) as connection:
        assert connection.ask(runs.ShowRun(run)).state == "aborted"
        for held in (scratch.lease, draft.lease, lease):
            assert w.ended(connection, held)
        with pytest.raises(Conflict):
            connection.ask(versions.PublishVersion(draft.version, (w.record(),)))
        assert len(entries(connection, "version.abandoned")) == 2
        assert {pair.name for pair in whole(connection).findings} <= {"log-never-anchored"}


def test_what_is_good_for_so_much_is_over(world, tmp_path):
    """A copy may show as left what was used since: it is granted anew."""
    with world.connect() as connection:
        w.enrol(connection, "nobody", ("auditor",))
        ends = int(time.time() * 1000) + w.DAY
        terms = ("nobody", "open", "dataset/*", (Purpose.PREPARE,), ends, "test")
        given_ = [connection.ask(policy.GiveGrant(*terms, **more)).id for more in ({"uses": 1}, {"length": 1000}, {})]
        connection.ask(TakeBackup())
    home = fresh_home(tmp_path)
    bring_back(world, home)
    with world.connect(home=home) as connection:
        states = {row.id: row.state for row in connection.ask(policy.ListGrants(ended=True)).grants}
        assert [states[grant] for grant in given_] == ["revoked", "revoked", "active"]
        ended = [facts for facts, _ in entries(connection, "grant.revoked")]
        assert sorted(facts["grant"] for facts in ended) == sorted(given_[:2])
        assert all(facts["restored"] for facts in ended)
        assert {pair.name for pair in whole(connection).findings} <= {"log-never-anchored"}


def test_approvals_that_waited_are_over(world, tmp_path):
    """A copy may show a request as open that was used since: it is asked anew."""
    from hermetic.errors import ApprovalNeeded
    from hermetic.formats.messages.approvals import ListRequests
    from tests.unit.custody.approving import Person, to_shred

    people = [Person("bob"), Person("carol")]
    with world.connect() as connection:
        for person in people:
            person.enrol(connection)
        w.change_policy(world, connection, lambda text: text.replace("approvals_in: {development: 0", "approvals_in: {development: 2"))
        shred = to_shred(connection)
        with pytest.raises(ApprovalNeeded):
            connection.ask(shred)
        (row,) = connection.ask(ListRequests()).requests
        for person in people:
            person.answers(connection, row, row.created_ms)
        connection.ask(TakeBackup())
        shutil.copytree(world.backup, tmp_path / "elsewhere")  # the place itself forgets what was before a shred
        connection.ask(shred)
    home = fresh_home(tmp_path)
    shutil.rmtree(world.backup)
    (tmp_path / "elsewhere").rename(world.backup)
    bring_back(world, home, reason="the newest copy is lost")
    with world.connect(home=home) as connection:
        with pytest.raises(ApprovalNeeded):
            connection.ask(shred)
        states = [item.state for item in connection.ask(ListRequests(closed=True)).requests]
        assert states == ["expired", "open"]


def test_approvals_that_went_on_to_cover_work_are_over(world, tmp_path):
    """A copy may show a campaign that was finished since."""
    from hermetic.errors import ApprovalNeeded
    from hermetic.formats.messages.approvals import ListRequests
    from hermetic.formats.messages.roots import AddRoot
    from tests.unit.custody.approving import Person

    people = [Person("bob"), Person("carol")]
    add = AddRoot("local:insecure-file", "another disk")
    with world.connect() as connection:
        for person in people:
            person.enrol(connection)
        w.change_policy(world, connection, lambda text: text.replace("approvals_in: {development: 0", "approvals_in: {development: 2"))
        with pytest.raises(ApprovalNeeded):
            connection.ask(add)
        (row,) = connection.ask(ListRequests()).requests
        for person in people:
            person.answers(connection, row, row.created_ms)
        root = connection.ask(add).root.root
        assert connection.ask(add).root.root == root  # goes on under the same approvals
        connection.ask(TakeBackup())
    lose(world)
    home = fresh_home(tmp_path)
    bring_back(world, home)
    with world.connect(home=home) as connection:
        with pytest.raises(ApprovalNeeded):
            connection.ask(add)
        assert {pair.name for pair in whole(connection).findings} <= {"log-never-anchored"}


# what this user has seen


def older_copy(world, tmp_path):
    """Use the domain on, then put the backup place back as it was."""
    kept = tmp_path / "older-copy"
    shutil.copytree(world.backup, kept)
    with world.connect() as connection:
        w.seal(connection, "dataset/newer", DataClass.INTERNAL)
        seen = connection.pins.size
    shutil.rmtree(world.backup)
    shutil.copytree(kept, world.backup)
    return seen


def test_an_older_copy_needs_a_reason_on_record(world, tmp_path):
    older_copy(world, tmp_path)
    with world.connect() as connection:
        seen = connection.pins.size
    shutil.rmtree(world.backup)
    shutil.copytree(tmp_path / "older-copy", world.backup)
    lose(world)
    with pytest.raises(LogTampered) as refused:
        bring_back(world, world.home)
    assert refused.value.exit_code == 4
    assert "--reason" in refused.value.hint
    assert not (world.home.data / world.domain).exists()
    with pytest.raises(UsageError):
        bring_back(world, world.home, reason="  ")
    done = bring_back(world, world.home, reason="the newer disk burned")
    assert done.lost
    assert done.highest_size >= seen
    with world.connect() as connection:
        ((facts, opened),) = entries(connection, "domain.recovered")
        assert facts["lost"] is True
        assert opened["reason"] == "the newer disk burned"
        found = {pair.name for pair in whole(connection).findings}
        assert "log-lost-entries" in found
        with pytest.raises(NotFound):
            w.open_(connection, "dataset/newer", purpose=Purpose.RECOVER)


def test_a_restore_that_hides_a_loss_is_refused_by_who_saw_it(world, tmp_path):
    """Somebody with the passphrase restores an older copy elsewhere; the user with pins is then given that home."""
    older_copy(world, tmp_path)
    elsewhere = fresh_home(tmp_path)
    bring_back(world, elsewhere)
    lose(world)
    shutil.copytree(elsewhere.data, world.home.data)
    with pytest.raises(LogTampered, match="does not say so"):
        world.connect()


def from_elsewhere(world, file):
    """Greet custody as who uses it in another process does, with the pins of before, and take what it says, or not."""
    keeper = PinKeeper(file, world.domain)
    with world.connect() as connection:
        keeper.meet(connection.ask(keeper.greeting()), None)
    return keeper


def test_who_uses_custody_elsewhere_is_shown_that_a_restore_continues_what_they_saw(world, tmp_path):
    file = tmp_path / "pins.json"
    with world.connect() as connection:
        pins.save(file, connection.pins.pins)
    for generation in (2, 3):
        lose(world)
        bring_back(world, world.home)
        assert from_elsewhere(world, file).seen.origin.generation == generation
        with world.connect() as connection:
            w.seal(connection, f"dataset/of-{generation}", DataClass.INTERNAL)


@pytest.mark.parametrize("hides", [True, False])
def test_who_uses_custody_elsewhere_is_told_of_a_loss_that_a_restore_hides(world, tmp_path, hides):
    """As above, but pins lie on another machine: the one where custody is restored knows of nothing that was lost."""
    older_copy(world, tmp_path)
    file = tmp_path / "pins.json"
    with world.connect() as connection:
        pins.save(file, connection.pins.pins)
    shutil.rmtree(world.backup)
    shutil.copytree(tmp_path / "older-copy", world.backup)
    lose(world)
    if hides:
        shutil.rmtree(world.home.config)
        bring_back(world, world.home)
        with pytest.raises(LogTampered, match="does not say so"):
            from_elsewhere(world, file)
    else:
        bring_back(world, world.home, reason="the newer disk burned")
        assert from_elsewhere(world, file).seen.origin.generation == 2


def test_a_copy_of_a_fork_is_refused(world, tmp_path):
    """The copy is longer than the pins, and another one."""
    settings = tmp_path / "settings"
    fork = tmp_path / "fork"
    shutil.copytree(world.root, fork, symlinks=True)
    with world.connect() as connection:
        w.seal(connection, "dataset/mine", DataClass.INTERNAL)
    shutil.copytree(world.home.config, settings)
    other = w.World(fork)
    for file in fork.glob("home/config/*/config.yaml"):
        file.write_text(file.read_text().replace(str(world.root), str(fork)))
    with other.connect() as connection:
        for _ in range(5):
            w.seal(connection, "dataset/theirs", DataClass.INTERNAL)
    lose(world)
    shutil.rmtree(world.backup)
    shutil.copytree(other.backup, world.backup)
    with pytest.raises(LogTampered):
        bring_back(world, world.home, reason="even so")


# interruptions


@pytest.mark.parametrize(
    "step",
    [
        "restore.database.written",
        "restore.root.created",
        "restore.generation.committed.before",
        "restore.generation.committed",
        "restore.domain-file.written",
        "restore.home.renamed",
    ],
)
def test_an_interrupted_restore_is_repeated(world, tmp_path, step):
    home = fresh_home(tmp_path)

    def stop(name):
        if name == step:
            raise KeyboardInterrupt

    steps.install(stop)
    with pytest.raises(KeyboardInterrupt):
        bring_back(world, home)
    steps.install(None)
    if step == "restore.home.renamed":
        with pytest.raises(Conflict):
            bring_back(world, home)
    else:
        assert not (home.data / world.domain).exists()
        assert bring_back(world, home).generation == 2
    with world.connect(home=home) as connection:
        assert contents(connection) == CONTENT


def test_a_home_that_is_there_is_never_touched(world):
    for path in (world.data / "domain.json",):
        kept = path.read_bytes()
        with pytest.raises(Conflict):
            bring_back(world, world.home)
        path.unlink()
        database = (world.data / "custody.db").read_bytes()
        with pytest.raises(Conflict) as refused:
            bring_back(world, world.home)
        assert "domain.json" in refused.value.hint
        assert (world.data / "custody.db").read_bytes() == database
        path.write_bytes(kept)
        path.chmod(0o600)
    world.connect().close()


def test_an_empty_folder_is_no_home(world, tmp_path):
    home = fresh_home(tmp_path)
    home.domain_data(world.domain).mkdir(parents=True, mode=0o700)
    assert bring_back(world, home).generation == 2


# places, passphrases, settings


def test_a_wrong_passphrase(world, tmp_path):
    with pytest.raises(WrongKey):
        restore_domain(world.backup, fresh_home(tmp_path), world.project, lambda *_: Secret(b"wrong"), provider_uri=ROOT)


def test_places_that_hold_nothing(world, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    for place in (empty, tmp_path / "nowhere"):
        with pytest.raises(HermeticError):
            restore_domain(place, fresh_home(tmp_path, place.name + "-home"), world.project, given, provider_uri=ROOT)
    for name in world.backup.glob("*/recovery-*"):
        name.unlink()
    with pytest.raises(NotFound, match="no recovery wrap"):
        bring_back(world, fresh_home(tmp_path))


def test_a_place_in_the_project_is_refused(world, tmp_path):
    shutil.copytree(world.backup, world.project / "backup")
    with pytest.raises(ConfigError):
        restore_domain(world.project / "backup", fresh_home(tmp_path), world.project, given, provider_uri=ROOT)


def test_copies_of_several_domains(world, tmp_path):
    other = w.World.make(tmp_path / "other")
    shutil.copytree(next(world.backup.iterdir()), world.backup / other.domain)
    bare = tmp_path / "bare"
    bare.mkdir()
    with pytest.raises(UsageError):
        restore_domain(world.backup, fresh_home(tmp_path), bare, given, provider_uri=ROOT)
    assert bring_back(world, fresh_home(tmp_path, "third")).domain_id == world.domain


def test_the_policy_comes_back_where_there_is_none(world, tmp_path):
    with world.connect() as connection:
        in_force = connection.ask(policy.ShowPolicy()).digest
        connection.ask(TakeBackup())
    bare = tmp_path / "bare"
    bare.mkdir(mode=0o700)
    home = fresh_home(tmp_path)
    restore_domain(world.backup, home, bare, given, provider_uri=ROOT)
    moved = w.World(world.root)
    assert (bare / "hermetic.yaml").read_text() == (moved.project / "hermetic.yaml").read_text()
    with connect(bare, home=home) as connection:
        assert connection.welcome.policy_digest == in_force
        assert connection.project.bundle().digest() == in_force


def test_from_a_folder_inside_the_project(world, tmp_path):
    inside = world.project / "notebooks"
    inside.mkdir()
    restore_domain(world.backup, fresh_home(tmp_path), inside, given, provider_uri=ROOT)
    assert list(inside.iterdir()) == []


def test_settings_that_are_there_are_kept(world, tmp_path):
    folder = world.home.domain_config(world.domain)
    settings = config.UserConfig(
        backup_place=tmp_path, backup_objects=True, anchor_command=("/bin/true",), store_folders={"staging": tmp_path}
    )
    config.save(folder, settings)
    lose(world)
    bring_back(world, world.home)
    after = config.load(folder)
    assert after.backup_place == world.backup
    assert (after.anchor_command, after.store_folders, after.backup_objects) == (("/bin/true",), {"staging": tmp_path}, True)


def test_a_passphrase_root_without_kernel_keyring(world, tmp_path, monkeypatch):
    def none(*_):
        raise Unsupported("no kernel keyring here")

    monkeypatch.setattr(kernel_keyring, "load", none)
    monkeypatch.setattr(kernel_keyring, "store", none)
    home = fresh_home(tmp_path)
    done = restore_domain(world.backup, home, world.project, given, provider_uri="local:passphrase", ask=lambda *_: Secret(FRESH))
    assert done.generation == 2
    with pytest.raises(Locked):
        world.connect(home=home)
    with world.connect(home=home, ask_passphrase=lambda *_: Secret(FRESH)) as connection:
        assert contents(connection) == CONTENT


# who restores


def test_the_same_person_with_another_number(world, tmp_path, monkeypatch):
    """The new machine numbers its users otherwise."""
    real = pwd.getpwuid(os.geteuid())
    numbers = {"uid": 31337}

    class Here:
        def __getattr__(self, name):
            return getattr(os, name)

        def geteuid(self):
            return numbers["uid"]

    class People:
        @staticmethod
        def getpwuid(_):
            return real

    monkeypatch.setattr(succession, "os", Here())
    monkeypatch.setattr(succession, "pwd", People)
    home = fresh_home(tmp_path)
    bring_back(world, home)
    port = w.LocalPort(w.opening.open_custodian(home.data / world.domain, world.domain, None, dict))
    port._caller = identity.local_id(world.domain, 31337)
    people = port.ask(policy.ListPrincipals()).principals
    port.close()
    assert [(row.name, row.state, row.roles) for row in people] == [
        (real.pw_name, "active", ("domain-owner",)),
        (f"{real.pw_name} ({real.pw_uid})", "disabled", ("domain-owner",)),
    ]
