"""Cedar skips a policy that it cannot evaluate; a `forbid` that meets a wrong type would then not forbid. Here it refuses.

The first test shows the trap with the library alone. The rest put every kind of wrong or missing value through the engine.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import cedarpy
import pytest

from hermetic.ids import Purpose
from hermetic.policy.cedar import Engine
from hermetic.policy.request import Action, Context, DecisionRequest, DomainResource, Principal
from tests.unit.policy.values import ASSET, asset, context, principal, request, shipped

FORBID_STALE = """
@id("all") permit (principal, action, resource);
@id("fresh") forbid (principal, action, resource) when { context.mfa_age > 600 };
"""


def test_the_library_alone_allows_what_its_forbid_could_not_read() -> None:
    question = {"principal": 'U::"a"', "action": 'Action::"open"', "resource": 'R::"r"', "context": {"mfa_age": "old"}}
    answer = cedarpy.is_authorized(question, FORBID_STALE, "[]")
    assert answer.decision is cedarpy.Decision.Allow
    assert answer.diagnostics.errors


GUARDED = Engine(
    {
        "guarded.cedar": """
@id("all") permit (principal, action == Action::"open", resource);
@id("fresh") forbid (principal, action == Action::"open", resource) when { context has mfa_age && context.mfa_age > duration("10m") };
@id("home") forbid (principal, action == Action::"open", resource)
when { context has network && !context.network.isInRange(ip("10.0.0.0/8")) };
@id("sum") forbid (principal, action == Action::"open", resource) when { context.approvals + 9223372036854775800 < 0 };
"""
    }
)


def open_with(**changes: Any) -> DecisionRequest:
    return DecisionRequest(principal("auditor"), Action.OPEN, ASSET, dataclasses.replace(context(), **changes))


def test_the_guarded_policy_allows_and_forbids_as_written() -> None:
    assert GUARDED.decide(open_with()).policies == ("all",)
    assert GUARDED.decide(open_with(mfa_age_ms=1000, network="10.1.2.3")).allowed
    assert GUARDED.decide(open_with(mfa_age_ms=3_600_000)).policies == ("fresh",)
    assert GUARDED.decide(open_with(network="192.168.0.1")).policies == ("home",)


WRONG: list[dict[str, Any]] = [
    {"mfa_age_ms": "old"},
    {"mfa_age_ms": 1.5},
    {"mfa_age_ms": [1]},
    {"mfa_age_ms": 10**30},
    {"network": "somewhere"},
    {"network": 10},
    {"network": "10.0.0.1/8 or so"},
    {"approvals": "3"},
    {"approvals": None},
    {"approvals": 1.0},
    {"approvals": True},
    {"approvals": 10**30},
    {"approvals": 100},  # the addition in `sum` overflows while it is evaluated
    {"run": "yes"},
    {"run": None},
    {"granted": 1},
    {"now_ms": None},
    {"now_ms": "now"},
    {"now_ms": 10**30},
    {"purpose": "fun"},
    {"purpose": None},
    {"purpose": 3},
    {"purpose": b"train"},
    {"enforcement": "total"},
    {"enforcement": None},
    {"attestation": 5},
]


@pytest.mark.parametrize("changes", WRONG, ids=str)
def test_a_circumstance_of_a_wrong_type_refuses(changes: dict[str, Any]) -> None:
    decision = GUARDED.decide(open_with(**changes))
    assert not decision.allowed
    assert decision.errors
    assert decision.reasons
    assert decision.policies == ()


@pytest.mark.parametrize(
    "changes",
    [{"kind": "novel"}, {"data_class": "secret"}, {"data_class": None}, {"environment": "moon"}, {"owner": None}, {"project": 3},
     {"version": "3"}, {"version": 1.5}, {"name": None}, {"id": None}, {"id": 5}],
    ids=str,
)  # fmt: skip
def test_an_asset_with_a_wrong_attribute_refuses(changes: dict[str, Any]) -> None:
    decision = GUARDED.decide(request(Action.OPEN, "auditor", on=asset(**changes)))
    assert not decision.allowed
    assert decision.errors


WHO: list[dict[str, Any]] = [
    *({"roles": roles} for roles in (("king",), (5,), None, 5)),
    *({"name": name} for name in (None, 5, "\ud800")),
    *({"id": name} for name in (None, 5, "\ud800")),
    {"kind": "ghost"},
]


@pytest.mark.parametrize("changes", WHO, ids=ascii)
def test_a_principal_with_a_wrong_attribute_refuses(changes: dict[str, Any]) -> None:
    decision = GUARDED.decide(request(Action.OPEN, who=principal("auditor", **changes)))
    assert not decision.allowed


@pytest.mark.parametrize("action", ["opn", "release", "", None, 5, [], "open\x00"], ids=str)
def test_an_unknown_action_refuses(action: Any) -> None:
    decision = GUARDED.decide(dataclasses.replace(open_with(), action=action))
    assert not decision.allowed
    assert decision.errors


def test_an_action_on_the_wrong_kind_of_resource_refuses() -> None:
    engine = shipped().engine
    for action, on in ((Action.OPEN, DomainResource("d")), (Action.READ_LOG, ASSET), (Action.ENROL, ASSET)):
        decision = engine.decide(request(action, "domain-owner", on=on))
        assert not decision.allowed
        assert decision.errors


def test_nothing_at_all_refuses() -> None:
    nothing: Any = None
    assert GUARDED.decide(DecisionRequest(nothing, nothing, nothing, nothing)).errors
    assert GUARDED.decide(DecisionRequest(Principal("", ""), Action.OPEN, ASSET, Context(0, nothing))).errors


def test_errors_do_not_repeat_entity_data() -> None:
    """They go into the log, which holds no names."""
    on = asset(name="dataset/very-secret-name", owner="someone-in-person", kind="novel")
    decision = GUARDED.decide(request(Action.OPEN, "auditor", on=on))
    assert "very-secret-name" not in str(decision)
    assert "someone-in-person" not in str(decision)


def test_a_wrong_request_is_refused_by_the_rulebook_too_and_not_repaired_by_people() -> None:
    verdict = shipped().judge(open_with(approvals="9"))
    assert not verdict.allowed
    assert not verdict.by_people


def test_what_is_refused_stays_refused_after_a_good_request_of_the_same_name() -> None:
    """Parsed entities are cached by their exact text; a wrong one never takes the place of a checked one."""
    assert GUARDED.decide(open_with()).allowed
    for _ in range(2):
        assert not GUARDED.decide(request(Action.OPEN, "auditor", on=asset(owner=None))).allowed
    assert GUARDED.decide(open_with(purpose=Purpose.TRAIN)).allowed


@pytest.mark.parametrize("decision", list(cedarpy.Decision))
def test_only_allow_with_a_policy_to_name_allows(decision: cedarpy.Decision) -> None:
    from hermetic.policy import cedar

    assert cedar._decision(decision, ("some-policy",)).allowed is (decision is cedarpy.Decision.Allow)
    assert not cedar._decision(decision, ()).allowed
