"""Somebody is disabled: what they may do and hold ends at once, and does not come back with a role."""

from __future__ import annotations

import pytest

from hermetic.db import tables
from hermetic.errors import ApprovalNeeded, Conflict, NotAuthenticated, NotFound, PolicyDenied, UsageError
from hermetic.formats.messages import policy
from hermetic.formats.messages.access import DisablePrincipal
from hermetic.formats.messages.approvals import ListApprovers, ListRequests
from hermetic.formats.messages.versions import ExposureTerms, OpenVersions
from hermetic.ids import Purpose
from tests import world as w
from tests.unit.custody.approving import Person, the_request, to_shred

OTHER = 65534
LENIENT = "delete: {approvals: 2, approvals_in: {development: 0, staging: 1}}"


@pytest.fixture
def port(world):
    made = world.port()
    w.seal(made)
    w.enrol(made, "nobody", ["ml-engineer"])
    return made


@pytest.fixture
def other(world, port):
    return world.port(uid=OTHER)


def disable(port, name="nobody"):
    return port.ask(DisablePrincipal(name, "left the team"))


def give(port):
    terms = ("nobody", "expose", "dataset/*", (Purpose.TRAIN,), w.START + w.HOUR, "test")
    return port.ask(policy.GiveGrant(*terms))


def test_everything_ends_in_one_entry_with_its_numbers(world, port, other):
    given = give(port)
    lease = w.open_(other, purpose=Purpose.TRAIN).released[0].lease
    where = ExposureTerms("/plain/a.csv", w.START + w.HOUR)
    other.ask(OpenVersions(w.fresh(), ("dataset/patients",), Purpose.TRAIN, exposure=where))
    _credential(world, port)
    done = disable(port)
    assert (done.grants, done.credentials, done.leases, done.requests, done.exposures) == (1, 1, 2, 0, 1)
    assert done.principal.state == "disabled"
    with pytest.raises(NotAuthenticated):
        w.open_(other, purpose=Purpose.TRAIN)
    assert "disabled" in w.ended(other, lease)
    assert next(row.state for row in port.ask(policy.ListGrants(ended=True)).grants if row.id == given.id) == "revoked"
    entry = next((facts, opened) for kind, facts, opened in w.leaves(port) if kind == "principal.state")
    assert (entry[0]["state"], entry[0]["grants"], entry[0]["leases"]) == ("disabled", 1, 2)
    assert "left the team" in entry[1]["reason"]
    assert entry[0]["policies"]


def test_a_role_brings_nothing_back(port, other):
    given = give(port)
    lease = w.open_(other, purpose=Purpose.TRAIN).released[0].lease
    disable(port)
    w.enrol(port, "nobody", ["ml-engineer"])
    assert w.ended(other, lease) == "it was given back"
    assert given.id not in {row.id for row in port.ask(policy.ListGrants()).grants}
    w.open_(other, purpose=Purpose.TRAIN)


def test_taking_all_roles_away_does_the_same(port, other):
    give(port)
    assert port.ask(policy.SetRoles("nobody", (), "left")).state == "disabled"
    assert port.ask(policy.ListGrants()).grants == ()
    with pytest.raises(NotAuthenticated):
        w.open_(other, purpose=Purpose.TRAIN)


@pytest.mark.parametrize("name", ["nobody", "Nobody"])
def test_who_is_disabled_has_no_voice_until_they_are_back(world, port, name):
    """What they signed before counts no more; nor can approvals be made cheaper that way."""
    w.change_policy(world, port, lambda text: text.replace(LENIENT, "delete: {approvals: 1}"))
    people = [Person(name), Person("vera")]
    for person in people:
        person.enrol(port)
    asked = to_shred(port)
    with pytest.raises(ApprovalNeeded, match="needs the approval"):
        port.ask(asked)
    row = the_request(port)
    people[0].answers(port, row, world.clock.now)
    disable(port)
    (shown,) = port.ask(ListRequests()).requests
    assert "is disabled" in str(shown.statements[0])
    with pytest.raises(ApprovalNeeded, match="and has 0"):
        port.ask(asked)
    assert {item.state for item in port.ask(ListApprovers()).approvers} == {"active"}
    w.enrol(port, "nobody", ["approver"])
    port.ask(asked)


def test_what_they_asked_for_is_closed(world, port, other):
    w.change_policy(world, port, lambda text: text.replace(LENIENT, "delete: {approvals: 1}"))
    people = [Person("vera"), Person("wim")]
    for person in people:
        person.enrol(port)
    w.enrol(port, "nobody", ["data-steward"])
    with pytest.raises(ApprovalNeeded, match="needs the approval"):
        other.ask(to_shred(port))
    row = the_request(port)
    assert disable(port).requests == 1
    with pytest.raises(Conflict):
        people[0].answers(port, row, w.START)


def test_nobody_disables_above_themselves_nor_the_last_owner(port, other):
    owner = port.ask(policy.ListPrincipals()).principals
    me = next(row.name for row in owner if "domain-owner" in row.roles)
    with pytest.raises(Conflict):
        disable(port, me)
    with pytest.raises(PolicyDenied):
        disable(other, me)
    with pytest.raises(NotFound):
        disable(port, "there-is-none")
    with pytest.raises(UsageError):
        port.ask(DisablePrincipal("nobody", " "))


def _credential(world, port):
    custodian = port._custodian
    who = next(row.id for row in port.ask(policy.ListPrincipals()).principals if row.name == "nobody")
    with custodian.database.write(custodian.row_keys, step="test") as session:
        session.insert(
            tables.credential,
            id=w.fresh(),
            principal_id=who,
            kind="device",
            fingerprint=bytes(32),
            public=b"key",
            authority_id=None,
            not_after_ms=None,
            state="active",
            created_ms=world.clock.now,
            ended_ms=None,
            about=None,
        )
