"""Approvals: asked for, signed, counted once; and everything that must not count."""

from __future__ import annotations

import threading

import pytest

from hermetic.access import approvals
from hermetic.errors import (
    ApprovalNeeded,
    Conflict,
    Denied,
    HermeticError,
    NotFound,
    PolicyDenied,
    RowTampered,
    SignatureError,
    UsageError,
)
from hermetic.formats.messages.approvals import AddStatement, ListApprovers, ListRequests, RemoveApprover, ShowRequest
from hermetic.formats.messages.catalogue import RenameAsset, ShowVersion
from hermetic.formats.messages.keys import ListKeys, RotateKey
from hermetic.formats.messages.log import VerifyLog
from tests.unit.custody.approving import Person, the_request, to_shred
from tests.world import DAY, HOUR, START, change_policy, kinds, leaves, open_, seal, sql

REF = "dataset/patients@1"


def strict(text, needed=2):
    return text.replace("delete: {approvals: 2, approvals_in: {development: 0, staging: 1}}", f"delete: {{approvals: {needed}}}")


@pytest.fixture
def people(port):
    """Two approvers, and a domain in which shredding needs both."""
    made = [Person("bob"), Person("carol")]
    for person in made:
        person.enrol(port)
    return made


@pytest.fixture
def asked(world, port, people):
    """A request that waits: to shred a version."""
    change_policy(world, port, strict)
    seal(port)
    with pytest.raises(ApprovalNeeded) as caught:
        port.ask(to_shred(port))
    row = the_request(port)
    assert row.id in str(caught.value)
    assert "hermetic approve" in caught.value.hint
    return row


def test_m_of_n_approvals_are_collected_and_used_once(port, people, asked, world):
    bob, carol = people
    assert (asked.needed, asked.action, asked.requester != "") == (2, "delete", True)
    shown = {pair.name: pair.value for pair in asked.asks}
    assert (shown["refs[0]"], shown["versions[0]"]) == (REF, port.ask(ShowVersion(REF)).version)
    assert len(bob.answers(port, asked, START).statements) == 1
    with pytest.raises(ApprovalNeeded, match="has 1: request"):
        port.ask(to_shred(port))
    assert the_request(port).id == asked.id
    carol.answers(port, asked, START)
    assert port.ask(to_shred(port)).refs == (REF,)
    assert port.ask(ShowRequest(asked.id)).state == "used"
    said = kinds(port)
    assert (said.count("approval.asked"), said.count("approval.given"), said.count("approval.used")) == (1, 2, 1)
    (entry,) = [facts for kind, facts, _ in leaves(port) if kind == "approval.used"]
    assert set(entry["approvers"]) == {bob.key_id, carol.key_id}
    assert not [item for item in port.ask(VerifyLog((), ())).findings if "|high|" in item.value]


def test_approvals_are_for_the_version_and_not_for_its_name(world, port, people, asked):
    """Renamed between asking, approving and doing: what goes by the name now is not shredded, and no approval counts for it."""
    seal(port, "dataset/other")
    asks = to_shred(port)
    for person in people:
        person.answers(port, asked, START)
    port.ask(RenameAsset("dataset/patients", "dataset/moved"))
    port.ask(RenameAsset("dataset/other", "dataset/patients"))
    with pytest.raises(Conflict, match="means another version") as caught:
        port.ask(asks)
    assert "run the command again" in caught.value.hint
    with pytest.raises(ApprovalNeeded, match="has 0"):
        port.ask(to_shred(port))
    open_(port, REF, "dataset/moved@1")
    port.ask(RenameAsset("dataset/patients", "dataset/other"))
    port.ask(RenameAsset("dataset/moved", "dataset/patients"))
    assert port.ask(asks).refs == (REF,)
    open_(port, "dataset/other@1")


def test_used_approvals_do_not_serve_again(port, people, asked):
    statements = [person.statement(asked, START) for person in people]
    for raw in statements:
        port.ask(AddStatement(raw))
    port.ask(to_shred(port))
    seal(port, "dataset/other")
    again = to_shred(port, "dataset/other@1")
    with pytest.raises(ApprovalNeeded):
        port.ask(again)
    for raw in statements:
        with pytest.raises(Conflict, match="used"):
            port.ask(AddStatement(raw))


def test_an_equal_request_is_another_one(world, port, people, asked):
    """The same words a day later need new signatures: old ones name the request of then."""
    statements = [person.statement(asked, START, expires_ms=START + 7 * DAY) for person in people]
    world.clock.now += DAY
    with pytest.raises(ApprovalNeeded):
        port.ask(to_shred(port))
    fresh = the_request(port)
    assert (fresh.id != asked.id, fresh.hash) == (True, asked.hash)
    for raw in statements:
        with pytest.raises(Conflict):
            port.ask(AddStatement(raw))
    with pytest.raises(Denied, match="not made while"):
        people[0].answers(port, fresh, START, expires_ms=START + 7 * DAY)


def test_a_statement_about_something_else_is_refused(port, people, asked):
    bob = people[0]
    with pytest.raises(Denied, match="something else"):
        bob.answers(port, asked, START, request_hash=b"\1" * 32)
    with pytest.raises(NotFound):
        bob.answers(port, asked, START, request="a" * 26)
    with pytest.raises(Denied, match="another domain"):
        bob.answers(port, asked, START, domain="a" * 26)


def test_forged_and_flipped_statements_are_refused(port, people, asked):
    bob, _ = people
    raw = bob.statement(asked, START)
    mallory = Person("mallory")
    with pytest.raises(SignatureError, match="no approver"):
        mallory.answers(port, asked, START)
    with pytest.raises(SignatureError):  # signed by mallory, said to be by bob
        mallory.key_id = bob.key_id
        mallory.answers(port, asked, START)
    for at in range(0, len(raw), 7):
        with pytest.raises(HermeticError):
            port.ask(AddStatement(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]))
    with pytest.raises(SignatureError, match="another key"):
        bob.answers(port, asked, START, approver=people[1].key_id)
    assert the_request(port).statements == ()


def test_one_approver_counts_once(port, people, asked):
    bob = people[0]
    bob.answers(port, asked, START)
    with pytest.raises(Conflict, match="answered"):
        bob.answers(port, asked, START)
    with pytest.raises(ApprovalNeeded):
        port.ask(to_shred(port))


def test_a_no_closes_the_request(port, people, asked):
    bob, carol = people
    carol.answers(port, asked, START)
    bob.answers(port, asked, START, "deny", reason="they need it for the audit")
    with pytest.raises(PolicyDenied, match="bob denied this request: they need it for the audit"):
        port.ask(to_shred(port))
    with pytest.raises(Conflict):
        carol.answers(port, asked, START)


def test_what_expired_does_not_count_nor_come_back(world, port, people, asked):
    bob, carol = people
    bob.answers(port, asked, START, expires_ms=START + HOUR)
    carol.answers(port, asked, START)
    world.clock.now += 2 * HOUR
    with pytest.raises(ApprovalNeeded, match="has 1"):
        port.ask(to_shred(port))
    world.clock.now = START + DAY
    with pytest.raises(ApprovalNeeded, match="has 0"):
        port.ask(to_shred(port))
    world.clock.now = START + HOUR // 2  # the clock is set back: what was seen to be over stays over
    states = {row.id: row.state for row in port.ask(ListRequests(closed=True)).requests}
    assert states[asked.id] == "expired"
    with pytest.raises(ApprovalNeeded, match="has 0"):
        port.ask(to_shred(port))


def test_a_clock_before_the_request_counts_nothing(world, port, people, asked):
    for person in people:
        person.answers(port, asked, START)
    world.clock.now = START - HOUR
    with pytest.raises(HermeticError):
        port.ask(to_shred(port))
    world.clock.now = START
    assert port.ask(to_shred(port)).refs == (REF,)


def test_nobody_approves_their_own_request(world, port, people):
    me = port.ask(ListApprovers()).approvers
    assert len(me) == 2
    change_policy(world, port, strict)
    seal(port)
    own = Person(owner_name(port))
    with pytest.raises(ApprovalNeeded):
        own.enrol(port)  # a third approver needs the two
    row = the_request(port)
    for person in people:
        person.answers(port, row, START)
    own.enrol(port)
    with pytest.raises(ApprovalNeeded):
        port.ask(to_shred(port))
    row = the_request(port)
    with pytest.raises(Denied, match="own request"):
        own.answers(port, row, START)
    people[0].answers(port, row, START)
    with pytest.raises(ApprovalNeeded, match="has 1"):
        port.ask(to_shred(port))


def owner_name(port):
    from hermetic.formats.messages.policy import ListPrincipals

    return port.ask(ListPrincipals()).principals[0].name


def test_a_removed_approver_does_not_count(port, people, asked):
    bob, carol = people
    bob.answers(port, asked, START)
    carol.answers(port, asked, START)
    gone = RemoveApprover("bob", "left")
    with pytest.raises(ApprovalNeeded):
        port.ask(gone)
    (row,) = [item for item in port.ask(ListRequests()).requests if item.id != asked.id]
    assert row.needed == 1
    carol.answers(port, row, START)
    port.ask(gone)
    with pytest.raises(ApprovalNeeded, match="1 could give it"):
        port.ask(to_shred(port))
    assert [item.counts for item in port.ask(ShowRequest(asked.id)).statements if item.approver == "bob"] == [
        "is no approver any more"
    ]
    with pytest.raises(Denied, match="no approver any more"):
        bob.answers(port, row, START)


def test_one_key_is_one_person(port):
    bob = Person("bob")
    bob.enrol(port)
    twin = Person("dave")
    twin.signing, twin.key_id = bob.signing, bob.key_id
    with pytest.raises(Conflict, match="bob"):
        twin.enrol(port)
    with pytest.raises(Conflict, match="bob"):
        Person("Bob").enrol(port)
    with pytest.raises(UsageError):
        Person("bo\nb").enrol(port)


def test_a_public_key_comes_with_proof(port):
    thief, bob = Person("thief"), Person("bob")
    raw = bob.public.replace(bob.key_id.encode(), thief.key_id.encode())
    from hermetic.formats.messages.approvals import EnrolApprover

    with pytest.raises(HermeticError):
        port.ask(EnrolApprover("thief", raw, "takes it"))
    assert port.ask(ListApprovers()).approvers == ()


def test_the_owner_enrols_alone_until_there_are_enough(port):
    assert Person("bob").enrol(port).approver.alone
    assert Person("carol").enrol(port).approver.alone
    with pytest.raises(ApprovalNeeded):
        Person("dave").enrol(port)
    assert port.ask(ListApprovers()).needed == 2
    entries = [facts["alone"] for kind, facts, _ in leaves(port) if kind == "approver.enrolled"]
    assert entries == [True, True]


def test_without_approvers_nothing_can_be_asked(world, port):
    change_policy(world, port, strict)
    seal(port)
    with pytest.raises(ApprovalNeeded, match="0 could give it") as caught:
        port.ask(to_shred(port))
    assert "approver enrol" in caught.value.hint
    assert port.ask(ListRequests(closed=True)).requests == ()


def test_a_policy_that_asks_for_fewer_approvals_needs_them_itself(world, port, people, asked):
    with pytest.raises(ApprovalNeeded, match="fewer approvals"):
        change_policy(world, port, lambda text: text.replace("delete: {approvals: 2}", "delete: {approvals: 0}"))
    with pytest.raises(ApprovalNeeded, match="fewer approvals"):
        change_policy(world, port, lambda text: text.replace("delete: {approvals: 2}", "delete: {approvals: 2, from: separated}"))
    change_policy(world, port, lambda text: text.replace("delete: {approvals: 2}", "delete: {approvals: 3}"))


def test_two_processes_use_one_set_of_approvals_once(world, port, people, asked):
    """Both pass the decision before either commits; the second finds the approvals used."""
    from hermetic.custody import shredding

    for person in people:
        person.answers(port, asked, START)
    other, ask = world.port(), to_shred(port)
    met = threading.Barrier(2)
    before = shredding.unit

    def together(custodian, step, now_ms):
        if step == "custody.shred.committed":
            met.wait(timeout=20)
        return before(custodian, step, now_ms)

    results = []

    def run(which):
        try:
            results.append(which.ask(ask).refs)
        except HermeticError as error:
            results.append(type(error).__name__)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shredding, "unit", together)
        threads = [threading.Thread(target=run, args=(which,)) for which in (port, other)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(results) == 2
    assert results.count((REF,)) == 1
    assert kinds(port).count("approval.used") == 1


def test_an_approval_changed_in_the_database_is_no_approval(world, port, people, asked):
    bob, _ = people
    bob.answers(port, asked, START)
    sql(world, "UPDATE approval SET verdict = 'deny'")
    with pytest.raises(HermeticError) as caught:
        port.ask(to_shred(port))
    assert caught.value.exit_code == 4


def test_approvals_put_back_are_found_by_the_log(world, port, people, asked):
    for person in people:
        person.answers(port, asked, START)
    (row,) = sql(world, "SELECT * FROM approval_request WHERE id = ?", asked.id)
    port.ask(to_shred(port))
    sql(world, f"REPLACE INTO approval_request VALUES ({', '.join('?' * len(row))})", *row)
    found = [item for item in port.ask(VerifyLog((), ())).findings if item.name == "row-put-back"]
    assert any("approval_request" in item.value for item in found)


def test_a_used_request_that_is_put_back_serves_no_second_time(world, port, people):
    """Rotating can be done again and again, so it shows best what a used approval is worth."""
    change_policy(
        world, port, lambda text: text.replace("administer-keys: {mfa: 15m, from: separated}", "administer-keys: {approvals: 2}")
    )
    seal(port)
    rotate = RotateKey(port.ask(ListKeys()).keys[0].kek, "schedule")
    with pytest.raises(ApprovalNeeded):
        port.ask(rotate)
    asked = the_request(port)
    for person in people:
        person.answers(port, asked, START)
    (row,) = sql(world, "SELECT * FROM approval_request WHERE id = ?", asked.id)
    port.ask(rotate)
    with pytest.raises(ApprovalNeeded):
        port.ask(rotate)
    sql(world, "DELETE FROM approval_request WHERE id <> ?", asked.id)
    sql(world, f"REPLACE INTO approval_request VALUES ({', '.join('?' * len(row))})", *row)
    with pytest.raises(RowTampered, match="put back"):
        port.ask(rotate)


def test_life_of_a_request():
    assert (approvals.LIFE_MS, approvals.SKEW_MS) == (DAY, 300_000)
