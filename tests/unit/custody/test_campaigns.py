"""One approval covers one campaign: all batches of a rewrap, and nothing that comes after or beside it."""

from __future__ import annotations

import pytest

from hermetic.access import approvals
from hermetic.custody import pacing, rewrapping
from hermetic.errors import ApprovalNeeded, Conflict
from hermetic.formats.messages.approvals import ListRequests, RemoveApprover, ShowRequest
from hermetic.formats.messages.greeting import Hello
from hermetic.formats.messages.keys import ListKeys, RewrapKey, RotateKey
from hermetic.formats.messages.log import VerifyLog
from tests.unit.custody.approving import Person, the_request
from tests.world import DAY, START, change_policy, enrol, kinds, leaves, open_, seal

VERSIONS = 7
OTHER = 65534


@pytest.fixture
def people(port):
    made = [Person("bob"), Person("carol")]
    for person in made:
        person.enrol(port)
    return made


@pytest.fixture
def asked(world, port, people, monkeypatch):
    """A rewrap of several small batches that waits for two approvals."""
    for name in ("START", "STEP", "MOST"):
        monkeypatch.setattr(pacing, name, 2)  # data keys in a batch, whatever the machine could do
    for _ in range(VERSIONS):
        seal(port)
    kek = port.ask(ListKeys()).keys[0].kek
    port.ask(RotateKey(kek, "schedule"))
    change_policy(
        world, port, lambda text: text.replace("administer-keys: {mfa: 15m, from: separated}", "administer-keys: {approvals: 2}")
    )
    with pytest.raises(ApprovalNeeded):
        port.ask(RewrapKey(kek, 3))
    return kek, the_request(port)


def agree(port, people, row, now=START):
    for person in people:
        person.answers(port, row, now)


def test_one_approval_covers_every_batch_of_a_campaign(port, people, asked):
    kek, row = asked
    agree(port, people, row)
    left = [port.ask(RewrapKey(kek, 3)).left for _ in range(3)]
    assert left == [4, 1, 0]
    assert port.ask(ShowRequest(row.id)).state == "used"
    assert kinds(port).count("approval.used") == 1
    (said,) = [facts for kind, facts, _ in leaves(port) if kind == "approval.used"]
    assert said["campaign"] == f"rewrap/{kek}/2"
    assert kinds(port).count("key.rewrapped") >= 4
    assert all(facts["policies"] for kind, facts, _ in leaves(port) if kind == "key.rewrapped")
    open_(port)
    assert not [item for item in port.ask(VerifyLog((), ())).findings if "|high|" in item.value]


def test_a_campaign_is_for_one_version_and_one_requester(world, port, people, asked):
    kek, row = asked
    enrol(port, "nobody", ("domain-owner",))
    agree(port, people, row)
    port.ask(RewrapKey(kek, 3))
    with pytest.raises(ApprovalNeeded):
        world.port(uid=OTHER).ask(RewrapKey(kek, 3))
    with pytest.raises(ApprovalNeeded):
        port.ask(RotateKey(kek, "again"))  # rotating is not what was agreed to
    rotate = next(item for item in port.ask(ListRequests()).requests if item.action == "administer-keys" and "again" in str(item.asks))
    agree(port, people, rotate)
    port.ask(RotateKey(kek, "again"))
    with pytest.raises(ApprovalNeeded):
        port.ask(RewrapKey(kek, 3))  # to version 3, which nobody agreed to


def test_a_campaign_ends_with_its_request_and_with_its_approvers(world, port, people, asked):
    kek, row = asked
    agree(port, people, row)
    port.ask(RewrapKey(kek, 3))
    world.clock.now = START + DAY
    with pytest.raises(ApprovalNeeded, match="has 0"):
        port.ask(RewrapKey(kek, 3))
    world.clock.now = START + 1
    gone = RemoveApprover("bob", "left")
    with pytest.raises(ApprovalNeeded):
        port.ask(gone)
    (removal,) = [item for item in port.ask(ListRequests()).requests if "left" in str(item.asks)]
    people[1].answers(port, removal, START + 1)
    port.ask(gone)
    with pytest.raises(ApprovalNeeded, match="1 could give it"):
        port.ask(RewrapKey(kek, 3))


@pytest.mark.parametrize("connected", ["at its end", "after the clock was set back"])
def test_a_campaign_that_is_over_stays_over_when_the_clock_is_set_back(world, port, people, asked, connected):
    kek, row = asked
    agree(port, people, row)
    port.ask(RewrapKey(kek, 3))
    world.clock.now = START + DAY
    open_(port)
    if connected == "at its end":
        port.ask(Hello())
    world.clock.now = START + 1
    if connected != "at its end":
        port.ask(Hello())
    open_(port)  # dated by the clock as it is now: the newest entry shows nothing any more
    (ended,) = [facts for kind, facts, _ in leaves(port) if kind == "approval.expired"]
    assert ended == {"request": row.id, "campaign": f"rewrap/{kek}/2"}
    with pytest.raises(ApprovalNeeded, match="has 0"):
        port.ask(RewrapKey(kek, 3))


def test_approvals_that_were_over_stay_over_when_the_clock_is_set_back(world, port, people, asked):
    kek, row = asked
    agree(port, people, row)
    world.clock.now = START + DAY
    open_(port)
    world.clock.now = START + 1
    for _ in range(2):
        with pytest.raises(ApprovalNeeded, match="has 0"):
            port.ask(RewrapKey(kek, 3))


def test_the_reason_of_a_campaign_is_on_record(port):
    seal(port)
    kek = port.ask(ListKeys()).keys[0].kek
    port.ask(RotateKey(kek, "schedule"))
    port.ask(RewrapKey(kek, 3, "the old version was on a disk that left"))
    (opened,) = [opened for kind, _, opened in leaves(port) if kind == "key.rewrapped"]
    assert opened["reason"] == "the old version was on a disk that left"


def test_an_approver_removed_between_two_batches_stops_the_campaign(port, people, asked, monkeypatch):
    """The batches of one request are covered one by one, not once for all."""
    kek, row = asked
    agree(port, people, row)
    before, seen, batch = rewrapping.still_the_same, [], 2

    def gone_after_the_first(call, session, caller, *more, **named):
        if seen:
            who = approvals.named(session, "bob")
            session.update(approvals.tables.approver, who.key_id, who.revision, state=approvals.REMOVED)
        seen.append(caller)
        return before(call, session, caller, *more, **named)

    monkeypatch.setattr(rewrapping, "still_the_same", gone_after_the_first)
    with pytest.raises(Conflict):
        port.ask(RewrapKey(kek, 3))
    monkeypatch.setattr(rewrapping, "still_the_same", before)
    assert [facts["count"] for kind, facts, _ in leaves(port) if kind == "key.rewrapped"] == [batch]
