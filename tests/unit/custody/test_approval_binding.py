"""A statement is about one request of one principal: it names who asks, and serves nobody else."""

from __future__ import annotations

import pytest

from hermetic.access import approvals
from hermetic.errors import ApprovalNeeded, Denied, FormatError, IntegrityError, SignatureError
from hermetic.formats import canonical
from hermetic.formats.approval import FIRST, PAYLOAD_TYPE, parse_statement
from hermetic.formats.dsse import parse_envelope
from hermetic.formats.messages.approvals import AddStatement, ListRequests, ShowRequest
from hermetic.formats.messages.keys import ListKeys, RotateKey
from hermetic.signing.envelopes import sign_envelope
from tests.unit.custody.approving import Person, the_request
from tests.world import START, World, change_policy, enrol, seal

OTHER = 65534


@pytest.fixture
def rotating(world, port):
    """Two who may administer keys, an approver, and a rotation that the first has asked for."""
    bob = Person("bob")
    bob.enrol(port)
    change_policy(
        world, port, lambda text: text.replace("administer-keys: {mfa: 15m, from: separated}", "administer-keys: {approvals: 1}")
    )
    seal(port)
    enrol(port, "nobody", ("domain-owner",))
    rotate = RotateKey(port.ask(ListKeys()).keys[0].kek, "schedule")
    with pytest.raises(ApprovalNeeded):
        port.ask(rotate)
    return bob, rotate, the_request(port)


def test_a_statement_names_who_asks(port, rotating):
    bob, _, row = rotating
    assert row.requester_id.startswith("os:")
    said = parse_statement(parse_envelope(bob.statement(row, START), limit=1 << 16).payload)
    assert (said.requester, said.requester_name) == (row.requester_id, row.requester)
    for changes in ({"requester": "os:somebody:1"}, {"requester_name": "somebody"}):
        with pytest.raises(Denied, match="somebody else's request"):
            bob.answers(port, row, START, **changes)
    assert port.ask(ShowRequest(row.id)).statements == ()


def test_the_same_words_from_somebody_else_are_another_request(world, port, rotating):
    """Request, hash and approver are equal; the other administrator gets a request of their own, and the old yes does not serve it."""
    bob, rotate, row = rotating
    bob.answers(port, row, START)
    other = world.port(uid=OTHER)
    with pytest.raises(ApprovalNeeded, match="has 0"):
        other.ask(rotate)
    theirs = next(item for item in the_requests(port) if item.id != row.id)
    assert (theirs.hash, theirs.requester_id != row.requester_id) == (row.hash, True)
    with pytest.raises(Denied, match="somebody else's request"):
        bob.answers(port, row, START, request=theirs.id)
    with pytest.raises(ApprovalNeeded):
        other.ask(rotate)
    assert port.ask(rotate).key.versions[-1].number == 2  # it serves who asked


def test_a_request_given_to_another_requester_keeps_no_approval(world, port, rotating):
    """Whoever holds the root can write an authentic row that says somebody else asked; the approver's signature says who did."""
    bob, _, row = rotating
    bob.answers(port, row, START)
    other = world.port(uid=OTHER)
    custodian = other._custodian
    with custodian.database.write(custodian.row_keys, step="test") as session:
        item = approvals.asked(session, row.id)
        session.update(approvals.tables.approval_request, item.id, item.revision, requester_id=other._caller, requester="nobody")
    shown = port.ask(ShowRequest(row.id))
    assert [item.counts for item in shown.statements] == ["does not name who asks"]
    with pytest.raises((ApprovalNeeded, IntegrityError)):
        other.ask(rotating[1])


def test_a_statement_of_the_first_form_is_read_and_does_not_count(port, rotating):
    bob, rotate, row = rotating
    payload = canonical.decode(parse_envelope(bob.statement(row, START), limit=1 << 16).payload, limit=1 << 16)
    del payload["requester"], payload["requester_name"]
    payload["format"] = FIRST
    assert parse_statement(canonical.encode(payload)).requester == ""
    with pytest.raises(Denied, match="somebody else's request"):
        port.ask(AddStatement(sign_envelope(canonical.encode(payload), PAYLOAD_TYPE, bob.signing, bob.key_id)))
    with pytest.raises(ApprovalNeeded):
        port.ask(rotate)
    payload["requester"] = ""
    with pytest.raises(FormatError):
        parse_statement(canonical.encode(payload))


def the_requests(port):
    return port.ask(ListRequests()).requests


def test_an_approver_of_two_domains_approves_in_one_only(world, port, rotating, tmp_path):
    """The same key is enrolled in both, and the same words are asked: what was signed for one is not for the other."""
    bob, _, row = rotating
    other = World.make(tmp_path / "other", backup=True)  # made from another template, so another domain
    try:
        elsewhere = other.port()
        bob.enrol(elsewhere)
        change_policy(
            other,
            elsewhere,
            lambda text: text.replace("administer-keys: {mfa: 15m, from: separated}", "administer-keys: {approvals: 1}"),
        )
        seal(elsewhere)
        rotate = RotateKey(elsewhere.ask(ListKeys()).keys[0].kek, "schedule")
        with pytest.raises(ApprovalNeeded):
            elsewhere.ask(rotate)
        theirs = the_request(elsewhere)
        with pytest.raises(Denied, match="another domain"):
            port.ask(AddStatement(bob.statement(theirs, START)))
        with pytest.raises(Denied, match="another domain"):  # also where everything else is as it is here
            bob.answers(port, row, START, domain=theirs.domain)
        assert port.ask(ShowRequest(row.id)).statements == ()
    finally:
        other.close()


def test_a_key_enrolled_in_another_domain_only_approves_nothing_here(port, rotating):
    _, _, row = rotating
    carol = Person("carol")
    with pytest.raises(SignatureError, match="no approver"):
        carol.answers(port, row, START)
