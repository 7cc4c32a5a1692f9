"""Recovery roots end to end: added to a domain in use, and a fresh machine that has nothing but the backup place and their key."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil

import pytest

from hermetic import steps
from hermetic.assets.workspace import Workspace
from hermetic.crypto import hpke
from hermetic.crypto.hpke import PrivateKey
from hermetic.crypto.secret import Secret
from hermetic.domain import escrow, recovery_roots, share_files
from hermetic.domain.home import Home
from hermetic.domain.recovering import opens_with
from hermetic.domain.restore import restore_domain
from hermetic.domain.vouching import Vouching
from hermetic.errors import ApprovalNeeded, Conflict, FormatError, IntegrityError, KeyUnusable, NotFound, UsageError, WrongKey
from hermetic.formats.messages.domain import GatherFacts
from hermetic.formats.messages.keys import ListKeys, RotateKey
from hermetic.formats.messages.log import ReadLog
from hermetic.formats.messages.roots import AddRoot, DropRoot, ListRoots, SetRootState
from hermetic.keys.domain_file import DomainFile
from hermetic.keys.recipient_key import Recipient
from hermetic.keys.recovery_root import RecoveryRootFile, holder_of
from hermetic.recovery.trial import try_copy
from tests import world as w
from tests.unit.recovery.conftest import CONTENT, contents

ROOT = "local:insecure-file"
NOW = w.START


@pytest.fixture(autouse=True)
def no_hook():
    yield
    steps.install(None)


def make(connection, count=5, threshold=3, name="the board", **more):
    """Give a domain a recovery root in shares; returns the shares, and what became of it."""
    private = PrivateKey.generate()
    shares = share_files.split(private, count, threshold)
    file = escrow.in_shares(
        connection.project.domain, private, shares, name, now_ms=NOW, check=recovery_roots.domain_check(connection)
    )
    return shares, recovery_roots.add(connection, file, private, **more)


def fingerprint_of(world):
    with world.connect() as connection:
        return Vouching(fingerprint=recovery_roots.domain_fingerprint(connection))


def recovered_check(world):
    with world.connect() as connection:
        return recovery_roots.domain_check(connection)


def fresh_home(tmp_path, name="second"):
    base = tmp_path / name
    base.mkdir(mode=0o700)
    return Home(base / "data", base / "config")


def back(world, home, shares, **more):
    return restore_domain(
        world.backup, home, world.project, lambda *_: share_files.joined(shares), provider_uri=more.pop("provider_uri", ROOT), **more
    )


def entries(connection, kind):
    return [json.loads(row.leaf)["facts"] for row in connection.ask(ReadLog(limit=2000)).rows if row.kind == kind]


def slots_of(connection):
    return {row.root: (row.slots, row.keys, row.state) for row in connection.ask(ListRoots()).roots}


def test_three_of_five_shares_open_everything_on_a_fresh_machine(world, tmp_path):
    """The drill."""
    with world.connect() as connection:
        shares, added = make(connection)
        assert added.problem is None
    shutil.rmtree(world.root / "home")
    for number, chosen in enumerate((shares[:3], [shares[4], shares[0], shares[2]])):
        home = fresh_home(tmp_path, f"machine-{number}")
        done = back(world, home, chosen)
        assert (done.generation, done.versions, done.lost, done.how) == (
            2 + number,
            4,
            False,
            "shares",
        )  # each machine goes on in the place
        with world.connect(home=home) as connection:
            assert contents(connection) == CONTENT
            (facts,) = entries(connection, "domain.recovered")
            assert (facts["how"], facts["root"]) == ("shares", added.root.root)


def test_two_of_five_shares_open_nothing(world, tmp_path):
    with world.connect() as connection:
        shares, _ = make(connection)
    home = fresh_home(tmp_path)
    for chosen in itertools.combinations(shares, 2):
        with pytest.raises(UsageError, match="2 of the 3 shares"):
            back(world, home, list(chosen))
    assert not list(home.data.glob("*/domain.json"))


def test_every_key_has_a_slot_under_it_now_and_later(world):
    with world.connect() as connection:
        _, added = make(connection)
        assert (added.root.slots, added.root.state) == (added.root.keys, "active")
        assert added.root.keys >= 5
        for row in connection.ask(ListKeys()).keys:
            connection.ask(RotateKey(row.kek, "schedule"))
        Workspace(connection).seal(b"new", name="config/app", data_class="public", member="a")
        have, all_, _ = slots_of(connection)[added.root.root]
        assert have == all_ > added.root.keys
        (announced,) = [facts for facts in entries(connection, "root.added") if facts["root"] == added.root.root]
        assert announced["provider"] == added.root.provider
        assert [facts["state"] for facts in entries(connection, "root.state")] == ["active"]


def test_what_was_sealed_after_is_recovered_too(world, tmp_path):
    with world.connect() as connection:
        shares, _ = make(connection)
        Workspace(connection).seal(b"new", name="config/app", data_class="public", member="a")
    home = fresh_home(tmp_path)
    back(world, home, shares[1:4])
    with world.connect(home=home) as connection:
        assert contents(connection) == {**CONTENT, "config/app": b"new"}


def test_after_a_recovery_the_shares_go_on_and_the_lost_root_is_out_of_use(world, tmp_path):
    with world.connect() as connection:
        shares, added = make(connection)
        (old,) = [row.root for row in connection.ask(ListRoots()).roots if row.root != added.root.root]
    home = fresh_home(tmp_path)
    back(world, home, shares[:3])
    with world.connect(home=home) as connection:
        found = slots_of(connection)
        assert found[added.root.root][2] == "active"
        assert found[old][2] == "suspended"
        (new,) = set(found) - {old, added.root.root}
        assert found[new] == (added.root.keys, added.root.keys, "active")
        Workspace(connection).seal(b"later", name="config/app", data_class="public", member="a")
        assert slots_of(connection)[added.root.root][0] > added.root.keys  # new keys get a slot under the shares
        connection.ask(DropRoot(old, "lost with the machine"))
        assert contents(connection) == {**CONTENT, "config/app": b"later"}
        assert [row.name for row in recovery_roots.listing(connection)] == ["the board"]
    # and again, from the copy that the second machine made: the place is its own now
    with world.connect(home=home) as connection:
        place = connection.config.backup_place
    third = fresh_home(tmp_path, "third")
    assert restore_domain(place, third, world.project, lambda *_: share_files.joined(shares[2:]), provider_uri=ROOT).generation == 3
    with world.connect(home=third) as connection:
        assert contents(connection) == {**CONTENT, "config/app": b"later"}


def test_a_restore_by_passphrase_keeps_the_recovery_root(world, tmp_path):
    with world.connect() as connection:
        shares, added = make(connection)
    home = fresh_home(tmp_path)
    done = restore_domain(world.backup, home, world.project, lambda *_: Secret(w.PASSPHRASE), provider_uri=ROOT)
    assert done.how == "passphrase"
    with world.connect(home=home) as connection:
        assert slots_of(connection)[added.root.root][2] == "active"
        Workspace(connection).seal(b"later", name="config/app", data_class="public", member="a")
    back(world, fresh_home(tmp_path, "third"), shares[:3])


def test_a_new_root_under_a_passphrase(world, tmp_path):
    fresh = b"a passphrase for the new machine"
    with world.connect() as connection:
        shares, _ = make(connection)
    home = fresh_home(tmp_path)
    back(world, home, shares[:3], provider_uri="local:passphrase", ask=lambda *_: Secret(fresh))
    with world.connect(home=home, ask_passphrase=lambda *_: Secret(fresh)) as connection:
        assert contents(connection) == CONTENT
    with pytest.raises(UsageError, match="nobody can be asked for one"):
        back(world, fresh_home(tmp_path, "third"), shares[:3], provider_uri="local:passphrase")


def test_shares_of_another_domain(world, tmp_path):
    other = w.World.make(tmp_path / "other", backup=True)
    with world.connect() as connection, other.connect() as elsewhere:
        make(connection)
        foreign, _ = make(elsewhere, name="others")
    with pytest.raises(WrongKey) as caught:
        back(world, fresh_home(tmp_path), foreign)
    assert "the copy takes 3 of 5 shares of the board" in caught.value.hint
    other.close()


def test_without_a_recovery_root_shares_open_nothing(world, tmp_path):
    with pytest.raises(NotFound, match="no recovery root"):
        restore_domain(world.backup, fresh_home(tmp_path), world.project, lambda *_: PrivateKey.generate(), provider_uri=ROOT)


def test_escrow(world, tmp_path):
    """Ada holds the key; nobody here has its private half."""
    path = tmp_path / "ada.key"
    public, recipient = escrow.new_key(path, "Ada", Secret(w.PASSPHRASE))
    with world.connect() as connection:
        file = escrow.in_escrow(connection.project.domain, escrow.read_recipient(public), now_ms=NOW)
        added = recovery_roots.add(connection, file, reason="the auditors hold it")
        assert (added.root.slots, added.root.state) == (added.root.keys, "active")
        (row,) = recovery_roots.listing(connection)
        assert (row.holder, row.name, row.count) == ("escrow", "Ada", None)
    assert opens_with(world.backup, world.domain) == ["a recovery passphrase", "the escrow key of Ada"]
    home, known = fresh_home(tmp_path), fingerprint_of(world)
    private = escrow.open_key(path, Secret(w.PASSPHRASE))
    assert private.public == recipient.public
    assert restore_domain(world.backup, home, world.project, lambda *_: private, provider_uri=ROOT, known=known).how == "escrow"
    with world.connect(home=home) as connection:
        assert contents(connection) == CONTENT
    with pytest.raises(WrongKey):
        restore_domain(world.backup, fresh_home(tmp_path, "third"), world.project, lambda *_: PrivateKey.generate(), provider_uri=ROOT)


def test_shares_and_escrow_beside_each_other(world, tmp_path):
    public, _ = escrow.new_key(tmp_path / "ada.key", "Ada", Secret(w.PASSPHRASE))
    with world.connect() as connection:
        shares, _ = make(connection)
        recovery_roots.add(connection, escrow.in_escrow(connection.project.domain, escrow.read_recipient(public), now_ms=NOW))
    back(world, fresh_home(tmp_path), shares[:3])
    private = escrow.open_key(tmp_path / "ada.key", Secret(w.PASSPHRASE))
    third, known = fresh_home(tmp_path, "third"), Vouching(check=recovered_check(world))
    restore_domain(world.backup, third, world.project, lambda *_: private, provider_uri=ROOT, known=known)


def test_replaced_shares_open_nothing_new(world, tmp_path):
    with world.connect() as connection:
        old, first = make(connection)
        (row,) = recovery_roots.listing(connection)
        new, second = make(connection, 3, 2, replace=row, reason="a holder has left")
        assert second.replaced.root.root == first.root.root
        assert [(row.root, row.count) for row in recovery_roots.listing(connection)] == [(second.root.root, 3)]
        assert slots_of(connection)[first.root.root][0] == 0
        assert not (world.data / f"root-{first.root.root}.json").exists()
    assert opens_with(world.backup, world.domain) == ["a recovery passphrase", "2 of 3 shares of the board"]
    assert not (world.backup / world.domain / f"root-{first.root.root}.json").exists()
    with pytest.raises(WrongKey, match="was replaced"):
        back(world, fresh_home(tmp_path), old)
    back(world, fresh_home(tmp_path, "third"), new[:2])


def test_the_last_root_that_opens_here_cannot_go(world):
    """Shares alone would leave a domain that nobody here can use."""
    with world.connect() as connection:
        _, added = make(connection)
        (local,) = [row.root for row in connection.ask(ListRoots()).roots if row.root != added.root.root]
        with pytest.raises(Conflict, match="without this root nothing opens the domain"):
            connection.ask(SetRootState(local, "suspend", "test"))
        with pytest.raises(Conflict, match="only recovery roots would be left active") as caught:
            connection.ask(SetRootState(local, "deactivate", "test"))
        assert "hermetic key root add URI" in caught.value.hint
        assert contents(connection) == CONTENT


def test_the_private_key_does_not_stay(world):
    with world.connect() as connection:
        private = PrivateKey.generate()
        shares = share_files.split(private, 2, 2)
        recovery_roots.add(
            connection,
            escrow.in_shares(
                connection.project.domain, private, shares, "", now_ms=NOW, check=recovery_roots.domain_check(connection)
            ),
            private,
        )
        with pytest.raises(UsageError):
            private.seed()  # wiped
        assert slots_of(connection)


def test_an_interrupted_one_is_told_and_taken_up(world, tmp_path):
    class Stop(Exception):
        pass

    def stop(name):
        if name == "recovery.root.written":
            raise Stop

    with world.connect() as connection:
        private = PrivateKey.generate()
        shares = share_files.split(private, 3, 2)
        file = escrow.in_shares(
            connection.project.domain, private, shares, "cut", now_ms=NOW, check=recovery_roots.domain_check(connection)
        )
        steps.install(stop)
        with pytest.raises(Stop):
            recovery_roots.add(connection, file, private)
        steps.install(None)
        with pytest.raises(Conflict) as caught:
            recovery_roots.check_none_begun(connection)
        (row,) = recovery_roots.listing(connection)
        assert f"hermetic key root resume {row.root[:8]}" in caught.value.hint
        assert contents(connection) == CONTENT
    from hermetic.domain.root_moves import resume

    with world.connect() as connection:
        (row,) = [row for row in connection.ask(ListRoots()).roots if holder_of(row.provider)]
        resume(connection, row)
        recovery_roots.check_none_begun(connection)
    back(world, fresh_home(tmp_path), shares[:2])


def test_one_that_was_never_finished_is_refused(world, tmp_path):
    """Its slot of the domain secret is there, and not one for every key."""

    class Stop(Exception):
        pass

    def stop(name):
        if name == "custody.root.opens-domain":
            raise Stop

    with world.connect() as connection:
        private = PrivateKey.generate()
        shares = share_files.split(private, 3, 2)
        file = escrow.in_shares(
            connection.project.domain, private, shares, "cut", now_ms=NOW, check=recovery_roots.domain_check(connection)
        )
        steps.install(stop)
        with pytest.raises(Stop):
            recovery_roots.add(connection, file, private)
        steps.install(None)
        Workspace(connection).seal(b"new", name="config/app", data_class="public", member="a")  # which is copied
    with pytest.raises(KeyUnusable, match="never finished"):
        back(world, fresh_home(tmp_path), shares[:2])


def test_one_that_was_suspended_opens_what_it_has_all_of(world, tmp_path):
    with world.connect() as connection:
        shares, added = make(connection)
        connection.ask(SetRootState(added.root.root, "suspend", "the holders are away"))
    home = fresh_home(tmp_path)
    back(world, home, shares[:3])
    with world.connect(home=home) as connection:
        assert contents(connection) == CONTENT
        assert slots_of(connection)[added.root.root][2] == "active", "its key is at hand again"
        assert {"root": added.root.root, "state": "active"} in entries(connection, "root.state")


def test_one_that_was_suspended_and_missed_a_key_is_refused(world, tmp_path):
    with world.connect() as connection:
        shares, added = make(connection)
        connection.ask(SetRootState(added.root.root, "suspend", "the holders are away"))
        Workspace(connection).seal(b"new", name="config/app", data_class="public", member="a")
    with pytest.raises(KeyUnusable, match=r"opens \d+ of \d+ keys"):
        back(world, fresh_home(tmp_path), shares[:3])


def test_a_public_half_that_was_changed_in_the_place_is_mended_by_the_next_copy(world):
    with world.connect() as connection:
        _, added = make(connection)
        path = world.backup / world.domain / f"root-{added.root.root}.json"
        good = path.read_bytes()
        for wrong in (good.replace(b"the board", b"the bored"), good + b"longer than it should be", b""):
            path.write_bytes(wrong)
            Workspace(connection).seal(wrong + b"new", name="config/app", data_class="public", member="a")
            assert path.read_bytes() == good


def test_a_public_half_that_was_changed_in_the_place_is_left_out(world, tmp_path):
    """The shares still open the copy; what came back has no such root until it is added again, rather than one of an attacker's."""
    with world.connect() as connection:
        shares, added = make(connection)
        known = Vouching(check=recovery_roots.domain_check(connection))
    path = world.backup / world.domain / f"root-{added.root.root}.json"
    document = json.loads(path.read_bytes())
    document["public"] = json.loads(Recipient("x", PrivateKey.generate().public).encode())["public"]
    path.write_bytes(json.dumps(document, sort_keys=True, separators=(",", ":")).encode())
    with pytest.raises(IntegrityError, match="nothing vouches"):  # the shares' authenticator was in that file
        back(world, fresh_home(tmp_path, "refused"), shares[:3])
    home = fresh_home(tmp_path)
    back(world, home, shares[:3], known=known)
    with world.connect(home=home) as connection:
        assert slots_of(connection)[added.root.root][2] == "suspended"
        assert recovery_roots.listing(connection)[0].count is None
        assert contents(connection) == CONTENT


def test_the_trial_works_with_shares_too(world):
    with world.connect() as connection:
        shares, _ = make(connection)
        key = share_files.joined(shares[2:])
        assert try_copy(connection, world.backup, key).versions == 4
        assert {pair.name: pair.value for pair in connection.ask(GatherFacts()).backup}["checked_ms"]


def test_another_domain_json_entry_is_refused(world, tmp_path):
    """Whoever writes the backup place moves the shares' wrap to another root's name."""
    with world.connect() as connection:
        shares, _ = make(connection)
    path = world.backup / world.domain / "domain.json"
    file = DomainFile.decode(path.read_bytes())
    swapped = json.loads(file.encode())
    one, two = swapped["roots"]
    one["wrapped"], two["wrapped"] = two["wrapped"], one["wrapped"]
    path.write_bytes(json.dumps(swapped, sort_keys=True, separators=(",", ":")).encode())
    with pytest.raises((WrongKey, FormatError)):
        back(world, fresh_home(tmp_path), shares[:3])


# share files and names


def test_share_files(world, tmp_path):
    private = PrivateKey.generate()
    shares = share_files.split(private, 3, 2)
    with world.connect() as connection:
        paths = share_files.write(connection, tmp_path / "shares", shares)
        assert [path.name for path in paths] == ["share-1-of-3.txt", "share-2-of-3.txt", "share-3-of-3.txt"]
        assert {path.stat().st_mode & 0o777 for path in paths} == {0o600}
        share_files.check([share_files.read(path) for path in paths[1:]], private)
        with pytest.raises(Conflict):
            share_files.write(connection, tmp_path / "shares", shares)
        for folder in (world.project, world.backup / "x", world.home.data / "x", world.home.config):
            with pytest.raises(UsageError, match="lies in the"):
                share_files.write(connection, folder, shares)
    with pytest.raises(WrongKey, match="another key back"):
        share_files.check([share_files.read(path) for path in paths], PrivateKey.generate())


def test_share_files_of_others_are_refused(tmp_path):
    path = tmp_path / "share"
    path.write_text("words")
    path.chmod(0o644)
    with pytest.raises(Exception, match="open to other users"):
        share_files.read(path)


def test_recovery_roots_have_an_id_of_four_letters(world):
    with world.connect() as connection:
        _, added = make(connection)
        assert recovery_roots.find(connection, added.root.root[:4]).root == added.root.root
        (local,) = [row.root for row in connection.ask(ListRoots()).roots if row.root != added.root.root]
        for text in ("", added.root.root[:3], local, "1111"):
            with pytest.raises(NotFound):
                recovery_roots.find(connection, text)


def test_nothing_of_a_seed_is_on_disk_or_in_the_log(world, tmp_path):
    private = PrivateKey.generate()
    seed = private.seed()
    planted = [bytes(seed.view()), bytes(seed.view()).hex().encode()]
    with world.connect() as connection:
        shares = share_files.split(private, 3, 2)
        planted += [bytes(share.words.view())[20:] for share in shares]
        recovery_roots.add(
            connection,
            escrow.in_shares(
                connection.project.domain, private, shares, "x", now_ms=NOW, check=recovery_roots.domain_check(connection)
            ),
            private,
        )
    looked = 0
    for path in world.root.rglob("*"):
        if path.is_file():
            raw = path.read_bytes()
            looked += 1
            assert not any(item in raw for item in planted), path
    assert looked > 10


def test_add_root_by_hand_makes_no_recovery_root(world):
    from hermetic.domain.root_moves import add_root

    with world.connect() as connection:
        private = PrivateKey.generate()
        file = escrow.in_escrow(connection.project.domain, Recipient("Ada", private.public), now_ms=NOW)
        with pytest.raises(UsageError, match="not made like this"):
            add_root(connection, file.uri)
        assert connection.ask(AddRoot(file.uri)).root.state == "pre-active"


def test_a_file_of_another_domain_is_not_taken(world):
    file = RecoveryRootFile(w.fresh(), "escrow", "Ada", PrivateKey.generate().public, os.urandom(16), NOW, None)
    with world.connect() as connection, pytest.raises(FormatError):
        recovery_roots.add(connection, file)


def test_fingerprints_are_what_people_compare(tmp_path):
    public, recipient = escrow.new_key(tmp_path / "key", "Ada", Secret(w.PASSPHRASE))
    assert escrow.read_recipient(public).fingerprint == recipient.fingerprint == hpke.fingerprint(recipient.public)
    with pytest.raises(Conflict):
        escrow.new_key(tmp_path / "key", "Ada", Secret(w.PASSPHRASE))


def test_a_public_key_is_there_only_when_its_private_one_is_durable(tmp_path):
    class Stop(Exception):
        pass

    def stop(name):
        if name == "escrow.private.written":
            raise Stop

    path, public = tmp_path / "key", tmp_path / "key.pub"
    steps.install(stop)
    with pytest.raises(Stop):
        escrow.new_key(path, "Ada", Secret(w.PASSPHRASE))
    steps.install(None)
    assert (path.exists(), public.exists()) == (True, False)
    with pytest.raises(WrongKey):
        escrow.new_key(path, "Ada", Secret(b"another passphrase than that"))
    with pytest.raises(Conflict, match="is the key of Ada"):
        escrow.new_key(path, "Eve", Secret(w.PASSPHRASE))
    _, recipient = escrow.new_key(path, "Ada", Secret(w.PASSPHRASE))
    assert escrow.open_key(path, Secret(w.PASSPHRASE)).public == recipient.public == escrow.read_recipient(public).public


def test_the_private_key_does_not_stay_after_a_refusal_either(world):
    w.change_policy(world, world.port(), lambda text: re.sub(r"administer-keys: {.*}", "administer-keys: {approvals: 1}", text))
    private = PrivateKey.generate()
    with world.connect() as connection:
        file = escrow.in_escrow(connection.project.domain, Recipient("Ada", private.public), now_ms=NOW)
        with pytest.raises(ApprovalNeeded):
            recovery_roots.add(connection, file, private, reason="test")
    with pytest.raises(UsageError, match="wiped"):
        private.seed()
