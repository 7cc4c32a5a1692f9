"""Grants: over at once, a use taken once, and over for good once that was seen."""

from __future__ import annotations

import os
import threading
from dataclasses import replace

import pytest

from hermetic.access.identity import local_id
from hermetic.custody import release
from hermetic.custody.call import Vouched
from hermetic.errors import HermeticError, NotFound, PolicyDenied, UsageError
from hermetic.formats.messages import log, policy
from hermetic.formats.messages.greeting import Hello
from hermetic.formats.messages.identity import EnrolIdentity
from hermetic.ids import DataClass, Enforcement, Purpose
from hermetic.testing.codec_port import CodecPort
from tests import world as w

OTHER = 65534


@pytest.fixture
def port(world):
    """The owner's port, with an asset sealed and a user enrolled who may do nothing."""
    made = world.port()
    w.seal(made)
    w.enrol(made, "nobody", ["approver"])
    return made


@pytest.fixture
def other(world, port):
    return world.port(uid=OTHER)


def grant(port, action="open", pattern="dataset/*", *, until=w.START + w.HOUR, uses=None, purposes=(Purpose.PREPARE,)):
    return port.ask(policy.GiveGrant("nobody", action, pattern, tuple(purposes), until, "needed for a test", uses))


def uses_left(port, given):
    rows = port.ask(policy.ListGrants(ended=True)).grants
    return next(row.uses_left for row in rows if row.id == given.id)


def test_nothing_is_allowed_without_and_something_with(port, other):
    with pytest.raises(PolicyDenied):
        w.open_(other)
    given = grant(port)
    opened = w.open_(other)
    facts = next(facts for kind, facts, _ in reversed(w.leaves(port)) if kind == "release.intent")
    assert facts["policies"] == ["granted-access"]
    assert facts["grants"] == [given.id]
    assert w.ended(other, opened.released[0].lease) is None
    with pytest.raises(PolicyDenied):
        w.open_(other, purpose=Purpose.TRAIN)
    with pytest.raises(PolicyDenied):
        w.begin(other)


def test_what_a_role_allows_takes_no_use_of_a_grant(port, other):
    w.enrol(port, "nobody", ["ml-engineer"])
    given = grant(port, uses=1)
    for _ in range(3):
        w.open_(other)
    assert uses_left(port, given) == 1
    w.enrol(port, "nobody", ["approver"])
    w.open_(other)
    assert uses_left(port, given) == 0


def test_an_explanation_knows_of_a_grant(port):
    question = policy.Explain("open", "dataset/patients", Purpose.PREPARE, "nobody")
    assert not port.ask(question).allowed
    grant(port)
    found = port.ask(question)
    assert (found.allowed, found.policies) == (True, ("granted-access",))


def test_somebody_else_is_judged_at_the_level_at_which_they_are_served(world, port):
    def judged(action, **more):
        line = port.ask(policy.Explain(action, "dataset/patients", Purpose.PREPARE, **more)).lines[0]
        return line.rpartition("[")[2].rstrip("]")

    me = local_id(world.domain, os.geteuid())
    assert judged("open") == judged("open", principal=me) == "cooperative"
    assert judged("open", principal="nobody") == "separated"
    assert judged("open", principal="nobody", enforcement=Enforcement.SERVICE) == "service"
    assert judged("open", enforcement=Enforcement.SEPARATED) == "separated"
    port.ask(EnrolIdentity("ana", "person", ("auditor",), "works here"))
    assert judged("open", principal="ana") == "service"
    ana = Vouched(f"spiffe://{world.domain}/person/ana", enforcement=Enforcement.SERVICE)
    assert port.ask_as(ana, policy.Explain("read-log", "", None, me)).lines[0].endswith("[cooperative]")


def test_what_depends_on_the_level_is_told_as_it_would_be_decided(port):
    w.enrol(port, "nobody", ["ml-engineer"])
    apart = 'forbid (principal, action in Action::"release", resource) when { context.enforcement == Enforcement::"cooperative" };'
    w.change_cedar(port, "apart.cedar", f'@id("apart") {apart}')
    question = policy.Explain("open", "dataset/patients", Purpose.PREPARE)
    assert port.ask(question).policies == ("apart",)
    assert port.ask(replace(question, principal="nobody")).allowed
    assert port.ask(replace(question, principal="nobody", enforcement=Enforcement.COOPERATIVE)).policies == ("apart",)


def test_an_explanation_without_a_purpose_is_refused_as_opening_would_be(port):
    with pytest.raises(PolicyDenied, match="declared purpose"):
        port.ask(policy.Explain("open", "dataset/patients"))
    assert port.ask(policy.Explain("rename", "dataset/patients")).allowed
    assert port.ask(policy.Explain("seal", "dataset/patients")).allowed


def test_a_grant_ends_to_the_millisecond(world, port, other):
    grant(port)
    world.clock.now = w.START + w.HOUR - 1
    lease = w.open_(other).released[0].lease
    world.clock.now += 1
    with pytest.raises(PolicyDenied):
        w.open_(other)
    assert w.ended(other, lease) == "the policy in force no longer allows it"


def test_revoking_ends_leases_too(port, other):
    given = grant(port)
    lease = w.open_(other).released[0].lease
    port.ask(policy.RevokeGrant(given.id, "no longer needed"))
    assert w.ended(other, lease) == "the policy in force no longer allows it"
    with pytest.raises(PolicyDenied):
        w.open_(other)


def test_the_last_use_gives_a_lease_that_holds(port, other):
    given = grant(port, uses=2)
    leases = [w.open_(other).released[0].lease for _ in range(2)]
    assert uses_left(port, given) == 0
    with pytest.raises(PolicyDenied):
        w.open_(other)
    assert [w.ended(other, lease) for lease in leases] == [None, None]
    with pytest.raises(HermeticError):
        port.ask(policy.RevokeGrant(given.id, "it is over already"))


def test_a_batch_takes_a_use_for_each(port, other):
    w.seal(port)
    given = grant(port, uses=1)
    with pytest.raises(PolicyDenied):
        w.open_(other, "dataset/patients@1", "dataset/patients@2")
    assert uses_left(port, given) == 1
    assert w.kinds(port)[-1] == "release.denied"
    assert w.open_(other, "dataset/patients@1")


def test_two_that_race_for_one_use(world, port, monkeypatch):
    """Both have decided before either takes the use."""
    given = grant(port, uses=1)
    ports = [world.port(uid=OTHER), CodecPort(world.port(uid=OTHER))]
    gate, got, met = threading.Barrier(2, timeout=60), [], threading.local()
    real = release.prepare

    def prepare(call, session, request):
        prepared = real(call, session, request)
        if not hasattr(met, "once"):
            met.once = True
            gate.wait()
        return prepared

    def ask(mine):
        try:
            got.append(w.open_(mine))
        except PolicyDenied as refused:
            got.append(refused)

    monkeypatch.setattr(release, "prepare", prepare)
    threads = [threading.Thread(target=ask, args=(mine,)) for mine in ports]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(type(item).__name__ for item in got) == ["Opened", "PolicyDenied"]
    assert uses_left(port, given) == 0
    assert "release.denied" in w.kinds(port)


def test_uses_count_for_every_action(port, other):
    given = grant(port, "read-log", "**", purposes=(), uses=1)
    assert other.ask(log.ReadLog()).rows
    assert uses_left(port, given) == 0
    with pytest.raises(PolicyDenied):
        other.ask(log.ReadLog())
    facts = next(facts for kind, facts, _ in w.leaves(port) if kind == "grant.used")
    assert facts == {"grant": given.id, "action": "read-log"}


def test_uses_of_seal_and_sign_count(port, other):
    seal, sign = (grant(port, action, "features/*", purposes=(Purpose.INGEST,), uses=1) for action in ("seal", "sign"))
    w.seal(other, "features/x", DataClass.INTERNAL)
    assert (uses_left(port, seal), uses_left(port, sign)) == (0, 0)
    with pytest.raises(PolicyDenied):
        w.begin(other, "features/x", DataClass.INTERNAL)


def test_no_grant_gets_past_a_guard(port, other):
    grant(port, purposes=(Purpose.DEBUG,))
    with pytest.raises(PolicyDenied) as refused:
        w.open_(other, purpose=Purpose.DEBUG)
    assert any("no-restricted-debug" in reason for reason in refused.value.reasons)


# the clock, forward and back


def test_once_seen_over_it_stays_over_when_the_clock_goes_back(world, port, other):
    given = grant(port)
    world.clock.now = w.START + w.YEAR
    with pytest.raises(PolicyDenied):
        w.open_(other)
    world.clock.now = w.START
    with pytest.raises(PolicyDenied):
        w.open_(other)
    (row,) = port.ask(policy.ListGrants(ended=True)).grants
    assert row.state == "expired"
    ended = [facts for kind, facts, _ in w.leaves(port) if kind == "grant.revoked"]
    assert ended == [{"grant": given.id, "expired": True}]
    grant(port)
    assert w.open_(other)


def test_a_new_connection_looks_too(world, port, other):
    grant(port)
    world.clock.now = w.START + w.YEAR
    port.ask(Hello())
    world.clock.now = w.START
    with pytest.raises(PolicyDenied):
        w.open_(other)


def test_a_clock_that_goes_back_is_a_finding(world, port):
    world.clock.now = w.START + w.YEAR
    w.open_(port, purpose=Purpose.PREPARE)
    world.clock.now = w.START
    w.open_(port, purpose=Purpose.PREPARE)
    assert "log-clock-went-back" in {pair.name for pair in port.ask(log.VerifyLog()).findings}


def test_a_clock_far_back_gives_no_lasting_grant(world, port, other):
    world.clock.now = w.START - w.YEAR
    with pytest.raises(UsageError):
        grant(port, until=w.START + w.YEAR)
    grant(port, until=world.clock.now + w.HOUR)
    world.clock.now = w.START
    with pytest.raises(PolicyDenied):
        w.open_(other)


@pytest.mark.parametrize(
    "request_",
    [
        policy.GiveGrant("nobody", "fly", "dataset/*", (Purpose.PREPARE,), w.START + 1, "x"),
        policy.GiveGrant("nobody", "administer-keys", "**", (), w.START + 1, "x"),
        policy.GiveGrant("nobody", "open", "dataset/*", (), w.START + 1, "x"),
        policy.GiveGrant("nobody", "open", "dataset/*", (Purpose.PREPARE,), w.START, "x"),
        policy.GiveGrant("nobody", "open", "dataset/*", (Purpose.PREPARE,), w.START + 1, ""),
        policy.GiveGrant("nobody", "open", "dataset/*", (Purpose.PREPARE,), w.START + 1, "x", 0),
        policy.GiveGrant("nobody", "open", "patients", (Purpose.PREPARE,), w.START + 1, "x"),
    ],
)
def test_terms_that_no_grant_has(port, request_):
    with pytest.raises(UsageError):
        port.ask(request_)


def test_somebody_unknown_gets_none(port):
    with pytest.raises(NotFound):
        port.ask(policy.GiveGrant("stranger", "open", "dataset/*", (Purpose.PREPARE,), w.START + 1, "x"))


def test_who_may_not_grant_does_not(other):
    with pytest.raises(PolicyDenied):
        other.ask(policy.GiveGrant("root", "open", "dataset/*", (Purpose.PREPARE,), w.START + 1, "x"))
