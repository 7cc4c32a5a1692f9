"""Breaking glass: two people, short, for one purpose, loud, and reviewed by somebody else."""

from __future__ import annotations

import pytest

from hermetic.errors import ApprovalNeeded, Conflict, PolicyDenied, UsageError
from hermetic.formats.messages import policy
from hermetic.formats.messages.access import BreakGlass, ReviewGrant
from hermetic.formats.messages.catalogue import RenameAsset
from hermetic.formats.messages.domain import GatherFacts
from hermetic.ids import DataClass, Purpose
from tests import world as w
from tests.unit.custody.approving import Person, the_request

OTHER, MAIL = 65534, 8


@pytest.fixture
def port(world):
    made = world.port()
    w.seal(made, "dataset/patients", DataClass.CONFIDENTIAL)
    w.seal(made, "dataset/secret", DataClass.RESTRICTED)
    w.enrol(made, "nobody", ["research-lead"])
    w.enrol(made, "mail", ["auditor"])
    return made


@pytest.fixture
def other(world, port):
    return world.port(uid=OTHER)


def ask(ref="dataset/patients", purpose=Purpose.DEBUG, seconds=3600):
    return BreakGlass(ref, purpose, seconds, "the nightly run writes nonsense")


def breaks(port, other, world, people, request=None):
    """Ask, have people agree, ask again."""
    request = request or ask()
    with pytest.raises(ApprovalNeeded):
        other.ask(request)
    for person in people:
        person.answers(port, the_request(port), world.clock.now)
    return other.ask(request)


def critical(port):
    return {pair.name: pair.value for pair in port.ask(GatherFacts()).critical if pair.name.startswith("break-glass")}


def enrolled(port, *names):
    people = [Person(name) for name in names]
    for person in people:
        person.enrol(port)
    return people


def test_two_others_who_have_keys_open_it(world, port, other):
    people = enrolled(port, "vera", "wim")
    with pytest.raises(PolicyDenied):
        w.open_(other, purpose=Purpose.DEBUG)
    with pytest.raises(ApprovalNeeded):
        other.ask(ask())
    people[0].answers(port, the_request(port), world.clock.now)
    with pytest.raises(ApprovalNeeded, match="2 other people"):  # vera holds no role
        other.ask(ask())
    people[1].answers(port, the_request(port), world.clock.now)
    grant = other.ask(ask())
    assert (grant.kind, grant.approvals, grant.pattern) == ("break-glass", 2, "development:dataset/patients")
    lease = w.open_(other, purpose=Purpose.DEBUG).released[0].lease
    facts = next(facts for kind, facts, _ in reversed(w.leaves(port)) if kind == "release.intent")
    assert facts["grants"] == [grant.id]
    with pytest.raises(PolicyDenied):  # no other asset, no other purpose
        w.open_(other, "dataset/secret", purpose=Purpose.DEBUG)
    with pytest.raises(PolicyDenied):
        w.open_(other, purpose=Purpose.RECOVER)
    world.clock.now += w.HOUR
    assert w.ended(other, lease) is not None
    with pytest.raises(PolicyDenied):
        w.open_(other, purpose=Purpose.DEBUG)


def test_one_whom_the_policy_lets_approve_is_enough(world, port, other):
    w.enrol(port, "mail", ["approver"])
    person, _ = enrolled(port, "mail", "vera")
    assert breaks(port, other, world, [person]).approvals == 1


def test_it_is_loud_until_somebody_else_has_reviewed_it(world, port, other):
    auditor = world.port(uid=MAIL)
    grant = breaks(port, other, world, enrolled(port, "vera", "wim"))
    w.open_(other, purpose=Purpose.DEBUG)
    assert critical(port) == {"break-glass-open": f"{grant.pattern}|{grant.id} nobody"}
    review = ReviewGrant(grant.id, "read one table, as said")
    with pytest.raises(Conflict, match="still open"):
        auditor.ask(review)
    world.clock.now += w.HOUR
    assert list(critical(port)) == ["break-glass-unreviewed"]
    with pytest.raises(PolicyDenied):  # a lead reads no log
        other.ask(review)
    w.enrol(port, "nobody", ["research-lead", "auditor"])
    with pytest.raises(PolicyDenied, match="themselves"):
        other.ask(review)
    done = auditor.ask(review)
    assert (done.releases, done.grant.reviewed_ms) == (1, world.clock.now)
    assert critical(port) == {}
    with pytest.raises(Conflict):
        auditor.ask(review)
    said = {kind: (facts, opened) for kind, facts, opened in w.leaves(port) if kind.startswith("break-glass")}
    assert set(said) == {"break-glass.opened", "break-glass.reviewed"}
    opened, hidden = said["break-glass.opened"]
    assert (opened["purpose"], opened["class"], len(opened["approvers"])) == ("debug", "confidential", 2)
    assert "nonsense" in hidden["reason"]
    assert opened["policies"] == ["glass-is-broken-with-approval"]
    assert said["break-glass.reviewed"][0]["releases"] == 1


def test_revoking_ends_it_and_leaves_the_review(world, port, other):
    grant = breaks(port, other, world, enrolled(port, "vera", "wim"))
    port.ask(policy.RevokeGrant(grant.id, "enough"))
    with pytest.raises(PolicyDenied):
        w.open_(other, purpose=Purpose.DEBUG)
    assert list(critical(port)) == ["break-glass-unreviewed"]


def test_it_does_not_go_with_the_name_to_another_asset(world, port, other):
    """Whoever may rename would otherwise choose afterwards what was meant."""
    w.seal(port, "dataset/harmless", DataClass.CONFIDENTIAL)
    people = enrolled(port, "vera", "wim")
    request = ask("dataset/harmless")
    grant = breaks(port, other, world, people, request)
    port.ask(RenameAsset("dataset/harmless", "dataset/former"))
    port.ask(RenameAsset("dataset/patients", "dataset/harmless"))
    with pytest.raises(PolicyDenied):
        w.open_(other, "dataset/harmless", purpose=Purpose.DEBUG)
    assert next(row.state for row in port.ask(policy.ListGrants(ended=True)).grants if row.id == grant.id) == "revoked"
    assert list(critical(port)) == ["break-glass-unreviewed"]


def test_what_was_agreed_to_does_not_go_with_the_name_either(world, port, other):
    w.seal(port, "dataset/harmless", DataClass.CONFIDENTIAL)
    people, request = enrolled(port, "vera", "wim"), ask("dataset/harmless")
    with pytest.raises(ApprovalNeeded):
        other.ask(request)
    for person in people:
        person.answers(port, the_request(port), world.clock.now)
    port.ask(RenameAsset("dataset/harmless", "dataset/former"))
    port.ask(RenameAsset("dataset/patients", "dataset/harmless"))
    with pytest.raises(ApprovalNeeded):
        other.ask(request)


def test_guards_hold_for_it(port, other):
    enrolled(port, "vera", "wim")
    with pytest.raises(PolicyDenied):
        other.ask(ask("dataset/secret"))


def test_restricted_data_is_opened_to_recover(world, port, other):
    people = enrolled(port, "vera", "wim")
    breaks(port, other, world, people, ask("dataset/secret@1", Purpose.RECOVER))
    w.open_(other, "dataset/secret@1", purpose=Purpose.RECOVER)
    w.seal(port, "dataset/secret", DataClass.RESTRICTED)
    with pytest.raises(PolicyDenied):  # another version
        w.open_(other, "dataset/secret", purpose=Purpose.RECOVER)


@pytest.mark.parametrize(
    "request_",
    [ask(seconds=4 * 3600 + 1), ask(seconds=59), ask(purpose=Purpose.TRAIN), BreakGlass("dataset/patients", Purpose.DEBUG, 3600, " ")],
)
def test_what_it_is_not_for(other, request_):
    with pytest.raises(UsageError):
        other.ask(request_)


def test_roles_that_may_not(world, port):
    enrolled(port, "vera", "wim")
    auditor = world.port(uid=MAIL)
    with pytest.raises(PolicyDenied):
        auditor.ask(ask())


def test_an_ordinary_grant_is_not_reviewed(port):
    terms = ("nobody", "expose", "dataset/*", (Purpose.TRAIN,), w.START + w.HOUR, "test")
    given = port.ask(policy.GiveGrant(*terms))
    with pytest.raises(UsageError):
        port.ask(ReviewGrant(given.id, "x"))
