"""Scheduled destruction of KEK versions: announced, waited for, refused while needed, certified."""

from __future__ import annotations

import threading

import pytest

from hermetic.errors import ApprovalNeeded, Conflict, HermeticError, KeyUnusable, StorageError, UsageError
from hermetic.formats.certificate import PAYLOAD_TYPE, parse_certificate
from hermetic.formats.messages.approvals import ListRequests
from hermetic.formats.messages.catalogue import CollectGarbage
from hermetic.formats.messages.destruction import (
    AnnounceDestruction,
    CancelDestruction,
    DestroyDue,
    PlanDestruction,
    RecordCopiesDestroyed,
    ShowCertificate,
)
from hermetic.formats.messages.domain import GatherFacts
from hermetic.formats.messages.greeting import Hello
from hermetic.formats.messages.keys import ListKeys, RewrapKey, RotateKey
from hermetic.formats.messages.log import VerifyLog
from hermetic.formats.messages.policy import ListPrincipals
from hermetic.signing.envelopes import verify_envelope
from tests.unit.custody.approving import Person, the_request
from tests.world import DAY, START, change_policy, kinds, leaves, open_, seal, sql


def the_kek(port):
    return port.ask(ListKeys()).keys[0].kek


def rotate(port, *, rewrap=True):
    """A KEK whose version 1 wraps nothing any more."""
    kek = the_kek(port)
    port.ask(RotateKey(kek, "test"))
    while rewrap and port.ask(RewrapKey(kek)).left:
        pass
    return kek


def announce(port, kek, number=1, days=7, reason="retired"):
    return port.ask(AnnounceDestruction(kek, number, days, reason))


def manifest_keys(world):
    custodian = world.custodian()
    signer = custodian.signer
    custodian.close()
    return {signer.key_id: signer.key.public}


def test_it_waits_and_is_done_when_due_with_a_certificate(world, port):
    seal(port)
    kek = rotate(port)
    (wrapped,) = [row[0] for row in sql(world, "SELECT wrapped FROM kek_slot WHERE number = 1")]
    told = announce(port, kek)
    assert (told.number, told.due_ms) == (1, START + 7 * DAY)
    assert port.ask(DestroyDue()).versions == ()
    world.clock.now += 7 * DAY - 1
    assert port.ask(DestroyDue()).versions == ()
    world.clock.now += 1
    (done,) = port.ask(DestroyDue()).versions
    assert (done.kek, done.number, done.problem) == (kek, 1, "")
    assert [item.state for item in port.ask(ListKeys()).keys[0].versions] == ["destroyed", "active"]
    open_(port)
    assert wrapped not in world.database.read_bytes()
    row = port.ask(ShowCertificate(f"{kek[:8]}/1"))
    assert verify_envelope(row.envelope, PAYLOAD_TYPE, manifest_keys(world), limit=1 << 20).payload == row.payload
    said = parse_certificate(row.payload)
    assert (said.kind, said.subjects, said.state, said.reason, said.approvers) == ("kek", (f"{kek}/1",), "destroyed", "retired", ())
    assert port.ask(ShowCertificate(done.certificate)).envelope == row.envelope
    assert {"key.destruction-announced", "key.destroyed", "certificate.made"} <= set(kinds(port))
    assert not [item for item in port.ask(VerifyLog((), ())).findings if "|high|" in f"|{item.value}"]


def test_the_next_connection_does_what_is_due(world, port):
    seal(port)
    kek = rotate(port)
    announce(port, kek)
    world.clock.now += 30 * DAY
    with world.connect() as connection:
        connection.ask(ListKeys())
    # a connection has the machine's own clock, which is before the day: nothing is due for it
    assert "key.destroyed" not in kinds(port)
    port.ask(CollectGarbage(older_than_ms=DAY))
    assert "key.destroyed" in kinds(port)


@pytest.mark.parametrize(("days", "reason"), [(6, "soon"), (31, "late"), (0, "now"), (-7, "before"), (7, ""), (7, "  ")])
def test_the_wait_is_7_to_30_days_and_has_a_reason(port, days, reason):
    seal(port)
    kek = rotate(port)
    with pytest.raises(UsageError):
        announce(port, kek, days=days, reason=reason)


def test_what_is_needed_is_not_destroyed(port):
    seal(port)
    kek = rotate(port, rewrap=False)
    with pytest.raises(KeyUnusable):
        announce(port, kek, number=2)  # the active one
    with pytest.raises(Conflict, match="1 data keys still hang"):
        announce(port, kek)
    plan = port.ask(PlanDestruction(kek, 0))
    assert (plan.number, plan.radius.versions, plan.radius.data_keys) == (1, ("dataset/patients@1",), 1)
    assert "rewrap" in plan.radius.in_the_way[0]
    with pytest.raises(UsageError, match="in full"):
        announce(port, kek[:8])


def test_nobody_is_asked_to_approve_what_would_be_refused(world, port):
    """Collecting signatures for it would only show at the end that keys hang on the version, or that it is in use."""
    seal(port)
    kek = rotate(port, rewrap=False)
    bob, carol = Person("bob"), Person("carol")
    for person in (bob, carol):
        person.enrol(port)
    loose = "destroy-keys: {approvals: 2, approvals_in: {development: 0, staging: 1}}"
    change_policy(world, port, lambda text: text.replace(loose, "destroy-keys: {approvals: 2}"))
    with pytest.raises(Conflict, match="1 data keys still hang"):
        announce(port, kek)
    with pytest.raises(KeyUnusable, match="active version") as told:
        announce(port, kek, number=2)
    assert told.value.hint == "`hermetic key rotate` first"
    with pytest.raises(UsageError, match="7 to 30"):
        announce(port, kek, days=6)
    assert port.ask(ListRequests()).requests == ()
    port.ask(RewrapKey(kek, 100))
    with pytest.raises(ApprovalNeeded):
        announce(port, kek)
    assert the_request(port)


def test_the_plan_shows_the_blast_radius(port):
    seal(port)
    seal(port, "features/x", parents=("dataset/patients@1",))
    open_(port)
    kek = the_kek(port)
    radius = port.ask(PlanDestruction(kek, 1)).radius
    assert set(radius.versions) == {"dataset/patients@1", "features/x@1"}
    assert (radius.assets, radius.derived) == (("dataset/patients", "features/x"), ())
    assert radius.leases >= 1
    assert radius.last_use_ms == START
    assert "active version" in radius.in_the_way[0]


def test_cancelling(world, port):
    seal(port)
    kek = rotate(port)
    announce(port, kek)
    assert port.ask(CancelDestruction(kek, 0, "still needed")).due_ms is None
    with pytest.raises(Conflict):
        port.ask(CancelDestruction(kek, 1, "again"))
    world.clock.now += 31 * DAY
    assert port.ask(DestroyDue()).versions == ()


def test_approvals_say_which_version_and_when(world, port):
    people = [Person("bob"), Person("carol")]
    for person in people:
        person.enrol(port)
    change_policy(
        world,
        port,
        lambda text: text.replace(
            "destroy-keys: {approvals: 2, approvals_in: {development: 0, staging: 1}}", "destroy-keys: {approvals: 2}"
        ),
    )
    seal(port)
    kek = rotate(port)
    with pytest.raises(ApprovalNeeded):
        announce(port, kek)
    for person in people:
        person.answers(port, the_request(port), START)
    with pytest.raises(ApprovalNeeded):
        announce(port, kek, days=8)
    announce(port, kek)
    world.clock.now += 7 * DAY
    port.ask(DestroyDue())
    assert parse_certificate(port.ask(ShowCertificate(f"{kek}/1")).payload).approvers == ("bob", "carol")
    (entry,) = [facts for kind, facts, _ in leaves(port) if kind == "key.destruction-announced"]
    assert entry["approvals"] == 2


def test_a_clock_set_back_makes_the_wait_longer(world, port):
    seal(port)
    kek = rotate(port)
    announce(port, kek)
    world.clock.now -= 365 * DAY
    assert port.ask(DestroyDue()).versions == ()
    assert [item.state for item in port.ask(ListKeys()).keys[0].versions] == ["deactivated", "active"]


def test_copies_from_before_are_vouched_for_first(world_with_backup):
    world = world_with_backup
    port = world.port()
    seal(port)
    sql(world, "INSERT OR REPLACE INTO backup_state VALUES ('last_ms', ?)", str(START))
    kek = rotate(port)
    announce(port, kek)
    world.clock.now += 7 * DAY
    (kept,) = port.ask(DestroyDue()).versions
    assert "copies-destroyed" in kept.problem
    with pytest.raises(UsageError):
        port.ask(RecordCopiesDestroyed(world.clock.now + 1, "in the future"))
    port.ask(RecordCopiesDestroyed(START - 1, "too early to help"))
    assert port.ask(DestroyDue()).versions[0].problem
    port.ask(RecordCopiesDestroyed(world.clock.now, "tapes shredded, protocol 17"))
    with pytest.raises(UsageError, match="later moment"):
        port.ask(RecordCopiesDestroyed(START, "earlier"))
    (done,) = port.ask(DestroyDue()).versions
    assert done.problem == ""
    port.ask(RecordCopiesDestroyed(world.clock.now, "and those that were made while it waited"))
    assert any("vouch" in item for item in parse_certificate(port.ask(ShowCertificate(f"{kek}/1")).payload).relies)


def test_a_word_from_before_the_announcement_covers_nothing_when_the_clock_was_set_back(world_with_backup):
    world = world_with_backup
    port = world.port()
    seal(port)
    kek = rotate(port)
    world.clock.now = START + 30 * DAY
    port.ask(RecordCopiesDestroyed(world.clock.now, "tapes shredded"))
    world.clock.now = START
    announce(port, kek)
    world.clock.now = START + 7 * DAY
    assert "copies-destroyed" in port.ask(DestroyDue()).versions[0].problem
    port.ask(RecordCopiesDestroyed(world.clock.now, "the others too"))
    assert port.ask(DestroyDue()).versions[0].problem == ""


def test_destroying_beside_sealing_and_reading(world, port):
    """Nothing is lost: what is sealed or opened meanwhile hangs on the active version, or the destruction is refused."""
    seal(port)
    kek = rotate(port)
    announce(port, kek)
    world.clock.now += 7 * DAY
    others = [world.port() for _ in range(3)]
    start, results = threading.Barrier(4), []

    def run(work):
        start.wait(timeout=20)
        try:
            results.append(work())
        except HermeticError as error:
            results.append(error)

    works = [
        lambda: port.ask(DestroyDue()),
        lambda: [seal(others[0], f"dataset/{number}") for number in range(5)],
        lambda: [open_(others[1]) for _ in range(5)],
        lambda: port.ask(RotateKey(kek, "meanwhile")) and others[2].ask(RewrapKey(kek)),
    ]
    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not [item for item in results if isinstance(item, HermeticError)]
    for number in range(5):
        open_(port, f"dataset/{number}")
    open_(port)
    assert not [item for item in port.ask(VerifyLog((), ())).findings if "|high|" in f"|{item.value}"]


def test_two_processes_destroy_once(world, port):
    seal(port)
    announce(port, rotate(port))
    world.clock.now += 7 * DAY
    ports, found = [port, world.port()], []
    start = threading.Barrier(2)

    def run(which):
        start.wait(timeout=20)
        found.extend(which.ask(DestroyDue()).versions)

    threads = [threading.Thread(target=run, args=(which,)) for which in ports]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert kinds(port).count("key.destroyed") == 1
    assert len([item for item in found if not item.problem]) == 1


def test_copies_made_while_it_waited_hold_the_slots_too(world_with_backup):
    """The certificate says *destroyed* only once people vouch for those as well."""
    world = world_with_backup
    port = world.port()
    seal(port)
    sql(world, "INSERT OR REPLACE INTO backup_state VALUES ('last_ms', ?)", str(START))
    kek = rotate(port)
    announce(port, kek)
    port.ask(RecordCopiesDestroyed(START, "tapes shredded"))
    world.clock.now += 7 * DAY
    (done,) = port.ask(DestroyDue()).versions
    assert done.problem == ""
    said = parse_certificate(port.ask(ShowCertificate(done.certificate)).payload)
    assert said.state == "deleted"
    assert "copies-destroyed" in said.missing[0]
    assert ("destruction-incomplete", f"{kek}/1") in [(item.name, item.value) for item in port.ask(GatherFacts()).critical]
    world.clock.now += DAY
    port.ask(RecordCopiesDestroyed(world.clock.now, "the others too"))
    said = parse_certificate(port.ask(ShowCertificate(f"{kek}/1")).payload)
    assert (said.state, said.missing) == ("destroyed", ())
    assert said.relies[0] == "every slot of the version was deleted"
    assert "destruction-incomplete" not in [item.name for item in port.ask(GatherFacts()).critical]


def opened(port, kind):
    """Facts and opened values of every entry of a kind."""
    return [(facts, hidden) for what, facts, hidden in leaves(port) if what == kind]


def test_the_log_says_who_was_there_when_it_was_destroyed(world, port):
    seal(port)
    announce(port, rotate(port))
    world.clock.now += 7 * DAY
    port.ask(DestroyDue())
    ((_, hidden),) = opened(port, "key.destroyed")
    assert hidden["principal"] == port.ask(ListPrincipals()).principals[0].name


def test_what_fails_when_it_is_due_is_on_the_log_and_a_finding_and_stops_nobody(world, monkeypatch):
    from hermetic.custody import destroying

    port = world.port()
    seal(port)
    kek = rotate(port)
    announce(port, kek)
    world.clock.now += 7 * DAY

    def full(*_given, **_more):
        raise StorageError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(destroying.destruction, "destroy", full)
        for _ in range(3):
            port.ask(Hello())
        found = {item.name: item.value for item in port.ask(GatherFacts()).critical}
        assert found["destruction-held-up"] == f"{kek}/1|the disk is full"
        (row,) = port.ask(DestroyDue()).versions
        assert row.problem == "the disk is full"
    ((facts, hidden),) = opened(port, "key.destruction-held-up")
    assert facts == {"key": kek, "number": 1, "error": "StorageError"}
    assert hidden["principal"]
    port.ask(Hello())
    assert kinds(port).count("key.destroyed") == 1
    assert "destruction-held-up" not in [item.name for item in port.ask(GatherFacts()).critical]


def test_one_that_fails_keeps_no_other_from_being_destroyed(world, monkeypatch):
    from hermetic.custody import destroying

    port = world.port()
    seal(port)
    kek = rotate(port)
    rotate(port)
    announce(port, kek)
    announce(port, kek, number=2)
    world.clock.now += 7 * DAY
    before = destroying.destruction.destroy

    def first_fails(session, kek_id, number, **more):
        if number == 1:
            raise StorageError("bad block")
        return before(session, kek_id, number, **more)

    monkeypatch.setattr(destroying.destruction, "destroy", first_fails)
    assert [row.problem for row in port.ask(DestroyDue()).versions] == ["bad block", ""]


def test_an_announcement_taken_back_takes_its_failure_along(world, port):
    seal(port)
    kek = rotate(port)
    announce(port, kek)
    sql(world, "INSERT OR REPLACE INTO backup_state VALUES ('last_ms', ?)", str(START))
    world.clock.now += 7 * DAY
    port.ask(DestroyDue())
    assert sql(world, "SELECT key FROM setting WHERE key LIKE 'destruction-held-up/%'") != []
    port.ask(CancelDestruction(kek, 1, "still needed"))
    assert sql(world, "SELECT key FROM setting WHERE key LIKE 'destruction-held-up/%'") == []
