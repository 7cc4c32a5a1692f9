"""A request that who asked took back: on record, never approved, never used, asked anew by the same command."""

from __future__ import annotations

import pwd

import pytest

from hermetic.custody import approving as custody_approving
from hermetic.errors import ApprovalNeeded, Conflict, NotFound, RowTampered, UsageError
from hermetic.formats.messages.approvals import AddStatement, ListRequests, ShowRequest, WithdrawRequest
from tests import world as w
from tests.unit.custody.approving import Person, the_request, to_shred

WHY = "not needed any more"


@pytest.fixture
def bob(world, port):
    w.change_policy(world, port, lambda text: text.replace("approvals: 2, approvals_in: {development: 0, staging: 1}", "approvals: 1"))
    w.seal(port)
    person = Person("bob")
    person.enrol(port)
    return person


def ask(port):
    with pytest.raises(ApprovalNeeded):
        port.ask(to_shred(port))
    return the_request(port)


def test_what_was_withdrawn_is_neither_approved_nor_used(port, bob):
    row = ask(port)
    bob.answers(port, row, w.START)
    assert port.ask(WithdrawRequest(row.id[:8], WHY)).request == row.id
    with pytest.raises(ApprovalNeeded, match="has 0: request"):
        port.ask(to_shred(port))
    assert the_request(port).id != row.id
    with pytest.raises(Conflict, match="withdrawn"):
        port.ask(AddStatement(bob.statement(row, w.START, reason="again")))
    with pytest.raises(Conflict, match="withdrawn already"):
        port.ask(WithdrawRequest(row.id, WHY))
    shown = port.ask(ShowRequest(row.id))
    assert (shown.state, len(shown.statements)) == ("withdrawn", 1)
    ((facts, opened),) = [(facts, opened) for kind, facts, opened in w.leaves(port) if kind == "approval.withdrawn"]
    assert (facts["request"], opened["reason"], bool(opened["principal"])) == (row.id, WHY, True)


def test_one_that_was_put_back_is_refused_when_it_is_used(world, port, bob):
    row = ask(port)
    bob.answers(port, row, w.START)
    before = w.row_of(world, "approval_request", row.id)
    port.ask(WithdrawRequest(row.id, WHY))
    w.put_back(world, "approval_request", row.id, before)
    with pytest.raises(RowTampered):
        port.ask(to_shred(port))


def test_only_ones_own_and_only_with_a_reason(world, port, bob):
    row = ask(port)
    w.enrol(port, "nobody", ("auditor",))
    other = world.port(uid=pwd.getpwnam("nobody").pw_uid)
    with pytest.raises(NotFound):
        other.ask(WithdrawRequest(row.id, WHY))
    with pytest.raises(UsageError):
        port.ask(WithdrawRequest(row.id, "  "))
    world.clock.now += w.DAY
    with pytest.raises(Conflict, match="expired"):
        port.ask(WithdrawRequest(row.id, WHY))
    assert "approval.withdrawn" not in w.kinds(port)


def test_the_history_is_listed_page_by_page(port, bob, monkeypatch):
    monkeypatch.setattr(custody_approving, "LISTED", 2)
    made = []
    for _ in range(5):
        made.append(ask(port).id)
        port.ask(WithdrawRequest(made[-1], WHY))
    assert port.ask(ListRequests()).requests == ()
    found, page = [], port.ask(ListRequests(closed=True))
    while True:
        found = [row.id for row in page.requests] + found
        if not page.older:
            break
        page = port.ask(ListRequests(closed=True, before=page.requests[0].id))
    assert sorted(found) == sorted(made)
