"""Rotation of the keys that sign log and manifests: what was signed stays, who runs goes on, nothing is left of the old key."""

from __future__ import annotations

import json
import threading

import pytest

from hermetic.audit.note import Note, VerifierKey, open_note
from hermetic.audit.proof import Receipt as Proof
from hermetic.audit.receipts import verify_receipt
from hermetic.audit.tables_store import TablesStore
from hermetic.errors import ApprovalNeeded, KeyServiceUnavailable, NotAuthenticated, UsageError
from hermetic.formats.binary_text import to_base64url
from hermetic.formats.dsse import parse_envelope
from hermetic.formats.messages.backup import TakeBackup
from hermetic.formats.messages.domain import GatherFacts
from hermetic.formats.messages.greeting import Hello
from hermetic.formats.messages.log import ExportLog, ProveEntry, VerifyLog
from hermetic.formats.messages.signing import ChangeSigningCare, ListSigningKeys, RotateSigningKey
from hermetic.ids import DataClass
from hermetic.keys import secret_keys, slots
from tests import world as w
from tests.unit.custody.approving import Person, the_request

USES = ("log", "manifest")


def rows(port, use):
    return [row for row in port.ask(ListSigningKeys()).keys if row.use == use]


def rotate(port, use="log", reason="yearly", **more):
    return port.ask(RotateSigningKey(use, reason, **more))


def key_id_of(published):
    return parse_envelope(published.manifest, limit=1 << 20).key_id


def whole(port):
    """The log is whole, and says nothing but that nobody anchors it."""
    report = port.ask(VerifyLog())
    assert {pair.name for pair in report.findings} <= {"log-key-first-use", "log-never-anchored"}
    return report


@pytest.mark.parametrize("use", USES)
def test_a_rotation(world, port, use):
    (old,) = rows(port, use)
    done = rotate(port, use)
    assert rows(port, use) == [done.before, done.key]
    assert (done.before.key, done.before.state, done.before.public, done.before.roots) == (old.key, "destroyed", old.public, ())
    assert (done.key.state, done.key.roots) == ("active", old.roots)
    assert done.key.public != old.public
    whole(port)
    again = rotate(port, use)
    assert again.before.key == done.key.key
    whole(port)


def test_who_and_why_and_how_is_on_record(port):
    done = rotate(port, "log", "the yearly one")
    facts, opened = {kind: (facts, opened) for kind, facts, opened in w.leaves(port)}["key.rotated"]
    assert (facts["key"], facts["previous"], facts["purpose"]) == (done.key.key, done.before.key, "log-signing")
    assert opened["reason"] == "the yearly one"
    assert facts["policies"]
    assert [kind for kind in w.kinds(port) if "key" in kind][-3:] == ["key.rotated", "log.key-changed", "key.destroyed"]
    rotate(port, "manifest")
    assert [kind for kind in w.kinds(port) if "key" in kind][-3:] == ["key.rotated", "manifest.key-changed", "key.destroyed"]


def test_the_log_is_handed_over_under_both_signatures(port):
    before = port.ask(ProveEntry(0))
    done = rotate(port)
    note = Note.parse(Proof.parse(done.receipt.proof.encode()).checkpoint.__bytes__())
    old = VerifierKey.parse(before.verifier_key)
    new = VerifierKey(old.name, done.key.public)
    assert {line.key_id for line in note.signatures} == {old.key_id, new.key_id}
    after = port.ask(ProveEntry(0))
    assert after.verifier_key == str(new)
    assert [line.key_id for line in Proof.parse(after.receipt.proof.encode()).checkpoint.signatures] == [new.key_id]
    assert port.ask(ExportLog(1)).verifier_key == str(new)


def test_receipts_from_before_go_on_to_prove(port):
    proof = port.ask(ProveEntry(0))
    rotate(port)
    logged = verify_receipt(Proof.parse(proof.receipt.proof.encode()), [VerifierKey.parse(proof.verifier_key)])
    assert logged.leaf.kind == "domain.created"


def test_manifests_are_signed_by_the_new_key_and_old_ones_stay(port):
    _, first = w.seal(port)
    done = rotate(port, "manifest")
    _, second = w.seal(port)
    assert (key_id_of(first), key_id_of(second)) == (done.before.key, done.key.key)
    assert w.open_(port, "dataset/patients@1").released[0].manifest == first.manifest
    whole(port)


@pytest.mark.parametrize("use", USES)
def test_nothing_is_left_of_the_old_private_key(world, port, use):
    (old,) = rows(port, use)
    stored = w.sql(world, "SELECT wrapped FROM secret_key WHERE id = ?", old.key)[0][0]
    wraps = [to_base64url(wrapped).encode() for wrapped in slots.decode(stored).values()]
    assert wraps
    assert all(wrapped in world.database.read_bytes() + _wal(world) for wrapped in wraps)
    rotate(port, use)
    assert w.sql(world, "SELECT wrapped FROM secret_key WHERE id = ?", old.key) == [(b"",)]
    assert not any(wrapped in world.database.read_bytes() + _wal(world) for wrapped in wraps)
    assert w.sql(world, "SELECT count(*) FROM setting WHERE key LIKE 'signing-gone/%'") == [(0,)]


def _wal(world):
    path = world.database.with_name(world.database.name + "-wal")
    return path.read_bytes() if path.exists() else b""


@pytest.mark.parametrize("use", USES)
def test_other_processes_meet_the_new_key(world, port, use):
    """Another process that has the old key in memory goes on, with the new one: it seals, it reads, it rotates."""
    other = world.port()
    w.seal(other)
    done = rotate(port, use)
    assert other.ask(ProveEntry(0)).verifier_key == port.ask(ProveEntry(0)).verifier_key
    _, published = w.seal(other)
    w.open_(other)
    _, again = w.seal(port)
    assert key_id_of(again) == key_id_of(published)
    assert (key_id_of(published) == done.key.key) == (use == "manifest")
    second = rotate(other, use)
    assert second.before.key == done.key.key
    w.seal(port)
    w.seal(other)
    whole(port)
    whole(other)


def test_a_process_that_only_reads_meets_it_too(world, port):
    other = world.port()
    rotate(port)
    w.seal(port)
    assert other.ask(ProveEntry(3)).verifier_key == port.ask(ProveEntry(3)).verifier_key
    whole(other)


def test_without_a_root_nothing_changes(world, port, monkeypatch):
    (old,) = rows(port, "log")

    def gone(*_arguments):
        raise KeyServiceUnavailable("the root is away")

    with monkeypatch.context() as patch:
        patch.setattr(secret_keys.roots, "wrap_under", gone)
        with pytest.raises(KeyServiceUnavailable):
            rotate(port)
    assert rows(port, "log") == [old]
    w.seal(port)
    whole(port)


def test_bad_input_and_strangers(world, port):
    with pytest.raises(UsageError):
        rotate(port, "everything")
    with pytest.raises(UsageError):
        rotate(port, "log", " ", compromised_after=0)
    with pytest.raises(UsageError):
        rotate(port, "log", "stolen", compromised_after=10_000)
    with pytest.raises(UsageError):
        rotate(port, "log", "stolen", compromised_after=-1)
    with pytest.raises(NotAuthenticated):
        rotate(world.port(uid=4242))
    assert len(rows(port, "log")) == 1


def test_owner_contact_and_schedule(port):
    done = port.ask(ChangeSigningCare("manifest", owner="ana", contact="ana, +49 30 1", rotate_after_days=365, reason="audit"))
    assert (done.key.owner, done.key.contact, done.key.rotate_after_days) == ("ana", "ana, +49 30 1", 365)
    assert port.ask(ChangeSigningCare("manifest", rotate_after_days=0)).key.rotate_after_days is None
    new = rotate(port, "manifest").key
    assert (new.owner, new.contact) == ("ana", "ana, +49 30 1")
    for bad in ({}, {"owner": "x" * 201}, {"contact": "two\nlines"}, {"rotate_after_days": -1}):
        with pytest.raises(UsageError):
            port.ask(ChangeSigningCare("log", **bad))


def noted(port):
    return {note.name: note.value for note in port.ask(GatherFacts()).critical if "sign" in note.name}


def test_a_key_that_is_overdue_is_noted(world, port):
    world.clock.now = rows(port, "log")[0].created_ms + 29 * w.DAY
    port.ask(ChangeSigningCare("log", rotate_after_days=30))
    assert noted(port) == {}
    world.clock.now = rows(port, "log")[0].created_ms + 33 * w.DAY
    assert noted(port) == {"signing-rotation-overdue": "log|3"}
    rotate(port, "log")
    assert noted(port) == {}


def test_versions_that_a_compromised_key_signed_are_noted(port):
    _, first = w.seal(port)
    w.seal(port)
    done = rotate(port, "manifest", "a stolen backup", compromised_after=first.receipt.index)
    assert done.before.doubtful_after == f"1/{first.receipt.index}"
    w.seal(port)
    assert noted(port)["signed-by-compromised-key"].startswith("dataset/patients@2|1/")
    facts = next(facts for kind, facts, _ in w.leaves(port) if kind == "key.rotated")
    assert facts["compromised_after"] == first.receipt.index
    assert [note.value for note in port.ask(GatherFacts()).critical if note.name == "signed-by-compromised-key"] == [
        noted(port)["signed-by-compromised-key"]
    ]
    whole(port)


def test_entries_that_a_compromised_log_key_vouches_for_are_noted(port):
    w.seal(port)
    done = rotate(port, "log", "a stolen backup", compromised_after=2)
    w.seal(port)
    rotated = next(index for index, kind in enumerate(w.kinds(port)) if kind == "key.rotated")
    assert noted(port) == {"log-signed-by-compromised-key": f"{done.before.key}|1/2 to 1/{rotated}"}
    rotate(port, "log")
    assert noted(port) == {"log-signed-by-compromised-key": f"{done.before.key}|1/2 to 1/{rotated}"}


def test_an_unfinished_destruction_is_done_by_who_looks_next(world, port, monkeypatch):
    (old,) = rows(port, "log")
    with monkeypatch.context() as patch:
        patch.setattr("hermetic.custody.signing_keys.settle", lambda *_arguments, **_named: None)
        rotate(port)
    assert w.sql(world, "SELECT count(*) FROM setting WHERE key LIKE 'signing-gone/%'") == [(1,)]
    with world.connect():
        pass
    assert w.sql(world, "SELECT count(*) FROM setting WHERE key LIKE 'signing-gone/%'") == [(0,)]
    assert [facts["key"] for kind, facts, _ in w.leaves(port) if kind == "key.destroyed"] == [old.key]


def test_sealing_under_a_class_goes_on_beside_a_rotation(port):
    w.seal(port, "dataset/open", DataClass.INTERNAL)
    rotate(port, "manifest")
    rotate(port, "log")
    _, published = w.seal(port, "dataset/open", DataClass.INTERNAL)
    assert published.number == 2


def test_writers_beside_many_rotations(world):
    """Three writers with custody of their own go on while the keys change again and again: no failure, and the log is whole."""
    w.seal(world.port())
    failures, done = [], threading.Event()

    def write(name):
        port = world.port()
        try:
            while not done.is_set():
                w.seal(port, f"dataset/{name}", DataClass.INTERNAL)
                w.open_(port, f"dataset/{name}")
        except Exception as error:  # noqa: BLE001 - told below, whatever it is
            failures.append(error)

    writers = [threading.Thread(target=write, args=(name,)) for name in ("one", "two", "three")]
    for writer in writers:
        writer.start()
    port = world.port()
    for _ in range(5):
        for use in USES:
            rotate(port, use)
    done.set()
    for writer in writers:
        writer.join()
    assert failures == []
    assert sorted(row.state for row in rows(port, "log")) == ["active"] + ["destroyed"] * 5
    whole(port)


@pytest.mark.parametrize("use", USES)
def test_where_the_policy_asks_for_approvals_they_are_used_once(world, port, use):
    bob = Person("bob")
    bob.enrol(port)
    w.change_policy(
        world, port, lambda text: text.replace("administer-keys: {mfa: 15m, from: separated}", "administer-keys: {approvals: 1}")
    )
    with pytest.raises(ApprovalNeeded):
        rotate(port, use)
    assert len(rows(port, use)) == 1
    bob.answers(port, the_request(port), w.START)
    done = rotate(port, use)
    assert json.loads(done.receipt.leaf)["kind"] == f"{use}.key-changed"
    assert "approval.used" in w.kinds(port)
    with pytest.raises(ApprovalNeeded):
        rotate(port, use)
    whole(port)


@pytest.mark.parametrize("moment", ["callers.require", "do_due"])
def test_a_greeting_beside_a_rotation_tells_the_key_that_signed_its_checkpoint(world, monkeypatch, moment):
    """Else whoever connects takes a rotation for a forged log."""
    from hermetic.custody import greeting

    port = world.port()
    w.seal(port)
    w.wait_less(port._custodian)
    holder, name = (greeting.callers, "require") if moment == "callers.require" else (greeting, "do_due")
    before, rotated = getattr(holder, name), []

    def rotating(call, *more):
        found = before(call, *more)
        if not rotated:
            rotated.append(1)  # the rotation asks who it is, too
            other = threading.Thread(target=port.ask, args=(RotateSigningKey("log", "meanwhile"),))
            other.start()
            other.join()
        return found

    monkeypatch.setattr(holder, name, rotating)
    welcome = port.ask(Hello())
    assert rotated
    assert open_note(Note.parse(welcome.checkpoint.encode()), [VerifierKey.parse(welcome.log_key)])
    world.connect()


@pytest.mark.parametrize("ask", [GatherFacts(), ProveEntry(0), TakeBackup()], ids=["status", "receipt", "backup"])
def test_whoever_looks_beside_a_rotation_looks_again(world_with_backup, monkeypatch, ask):
    """Else a state that the old key signed is taken for a forged log."""
    port, other = world_with_backup.connect().port, world_with_backup.port()
    w.wait_less(other._custodian)
    custodian, before, rotated = port._custodian, port._custodian.log.head, []

    def meet():
        with custodian.database.read(custodian.row_keys) as session:
            before(TablesStore(session.connection))

    def head(store):
        store.head(custodian.generation)  # from here on the session sees this state
        if not rotated:
            rotated.append(custodian.log.verifier_key)
            rotate(other)
            meeting = threading.Thread(target=meet)
            meeting.start()
            meeting.join()
            assert custodian.log.verifier_key != rotated[0]
        return before(store)

    monkeypatch.setattr(custodian.log, "head", head)
    answer = port.ask(ask)
    assert rotated
    assert getattr(answer, "problem", None) is None
    assert not [item for item in port.ask(VerifyLog()).findings if "|high|" in item.value]
