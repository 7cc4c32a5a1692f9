"""Policies about the time, the network, the second factor and attestation, at their borders; what is absent is never in favour."""

from __future__ import annotations

import datetime as dt
from functools import cache
from typing import TYPE_CHECKING

import pytest

from hermetic.errors import ConfigError
from hermetic.ids import DataClass, Kind, Purpose
from hermetic.policy import defaults
from hermetic.policy.request import Action
from tests.unit.policy.values import asset, request, rulebook

if TYPE_CHECKING:
    from hermetic.policy.rulebook import Rulebook

POLICY = """
@id("working-hours")
forbid (principal, action in Action::"release", resource)
when { resource.class == Class::"restricted" }
unless { context.now.toTime() >= duration("7h") && context.now.toTime() < duration("19h") };

@id("an-hour-east-before-noon")
forbid (principal, action == Action::"seal", resource)
unless { context.now.offset(duration("1h")).toTime() < duration("12h") };

@id("from-the-clinic")
forbid (principal, action in Action::"release", resource)
when { resource.class == Class::"confidential" }
unless {
  context has network &&
  (context.network.isInRange(ip("10.20.0.0/16")) || context.network.isInRange(ip("fd00:20::/32")))
};

@id("fresh-factor")
forbid (principal, action in Action::"release", resource)
when { resource.class == Class::"internal" }
unless { context has mfa_age && context.mfa_age <= duration("10m") };

@id("attested-only")
forbid (principal, action in Action::"release", resource)
when { resource.class == Class::"public" }
unless { context has attestation && context.attestation == "known" };
"""


@cache
def rules() -> Rulebook:
    return rulebook("", {**defaults.cedar_texts(), "policies/circumstances.cedar": POLICY})


def decides(data_class: DataClass, action: Action = Action.OPEN, **circumstances: object) -> tuple[bool, tuple[str, ...]]:
    asked = request(action, "domain-owner", on=asset(data_class=data_class), purpose=Purpose.PREPARE, **circumstances)
    decision = rules().engine.decide(asked)
    assert decision.errors == ()
    return decision.allowed, decision.policies


def at(text: str) -> int:
    return round(dt.datetime.fromisoformat(text).timestamp() * 1000)


@pytest.mark.parametrize(
    ("moment", "allowed"),
    [
        ("2026-03-29T06:59:59.999+00:00", False),
        ("2026-03-29T07:00:00.000+00:00", True),
        ("2026-03-29T18:59:59.999+00:00", True),
        ("2026-03-29T19:00:00.000+00:00", False),
        ("2026-03-29T00:00:00.000+00:00", False),
        ("2026-03-29T09:30:00.000+02:00", True),  # an instant, wherever it is said
        ("2026-03-29T08:59:59.999+02:00", False),
    ],
)
def test_a_time_window_ends_to_the_millisecond(moment: str, allowed: bool) -> None:
    assert decides(DataClass.RESTRICTED, now_ms=at(moment)) == (allowed, ("owner-opens",) if allowed else ("working-hours",))


@pytest.mark.parametrize(("moment", "allowed"), [("2026-01-01T10:59:59.999+00:00", True), ("2026-01-01T11:00:00+00:00", False)])
def test_a_zone_is_an_offset(moment: str, allowed: bool) -> None:
    assert decides(DataClass.PUBLIC, Action.SEAL, now_ms=at(moment))[0] is allowed


@pytest.mark.parametrize(
    ("network", "allowed"),
    [
        (None, False),
        ("10.20.0.0", True),
        ("10.20.255.255", True),
        ("10.21.0.0", False),
        ("10.19.255.255", False),
        ("fd00:20::1", True),
        ("fd00:21::1", False),
    ],
)
def test_a_network_that_is_demanded(network: str | None, allowed: bool) -> None:
    assert decides(DataClass.CONFIDENTIAL, network=network)[0] is allowed


@pytest.mark.parametrize("network", ["", "10.20.0.1.5", "clinic", "10.20.0.1; true", "10.20.0.1%eth0"])
def test_an_address_that_is_none_is_a_refusal(network: str) -> None:
    asked = request(Action.OPEN, "domain-owner", on=asset(data_class=DataClass.CONFIDENTIAL), network=network)
    decision = rules().engine.decide(asked)
    assert not decision.allowed
    assert decision.errors


@pytest.mark.parametrize(("age", "allowed"), [(None, False), (0, True), (600_000, True), (600_001, False)])
def test_a_second_factor_of_some_age(age: int | None, allowed: bool) -> None:
    assert decides(DataClass.INTERNAL, mfa_age_ms=age)[0] is allowed


@pytest.mark.parametrize(
    ("action", "purpose", "kind", "allowed"),
    [
        (Action.OPEN, Purpose.SERVE, Kind.DATASET, False),
        (Action.OPEN, Purpose.TRAIN, Kind.DATASET, True),
        (Action.OPEN, Purpose.SERVE, Kind.MODEL, True),
        (Action.OPEN, Purpose.PREPARE, Kind.MODEL, False),
        (Action.OPEN, Purpose.PREPARE, Kind.FEATURES, True),
        (Action.SHARE, Purpose.PREPARE, Kind.MODEL, True),
        (Action.OPEN, Purpose.AUDIT, Kind.MODEL, True),
    ],
)
def test_a_stage_of_the_pipeline(action: Action, purpose: Purpose, kind: Kind, allowed: bool) -> None:
    """Data stays out of inference, models out of preparation; sharing is the registry's, whatever it is for."""
    stages = """
        @id("all") permit (principal, action in Action::"release", resource);
        @id("no-data-in-inference") forbid (principal, action in Action::"release", resource)
        when { context.stage == Stage::"inference" && resource.kind == Kind::"dataset" };
        @id("no-models-in-preparation") forbid (principal, action in Action::"release", resource)
        when { context.stage == Stage::"preparation" && resource.kind != Kind::"dataset" };
    """
    book = rulebook("", {"policies/stages.cedar": stages})
    asked = request(action, "research-lead", on=asset(kind=kind, name=f"{kind}/a"), purpose=purpose)
    decision = book.engine.decide(asked)
    assert (decision.allowed, decision.errors) == (allowed, ())


def test_a_stage_that_may_be_absent_is_asked_for_first() -> None:
    unguarded = '@id("x") permit (principal, action == Action::"rename", resource) when { context.stage == Stage::"training" };'
    with pytest.raises(ConfigError, match="stage"):
        rulebook("", {"policies/x.cedar": unguarded})
    guarded = unguarded.replace("when { ", "when { context has stage && ")
    asked = request(Action.RENAME, "data-steward", purpose=None)
    assert not rulebook("", {"policies/x.cedar": guarded}).engine.decide(asked).allowed
    asked = request(Action.RENAME, "data-steward", purpose=Purpose.EVALUATE)
    assert rulebook("", {"policies/x.cedar": guarded}).engine.decide(asked).allowed


def test_attestation_that_nothing_gives() -> None:
    assert decides(DataClass.PUBLIC) == (False, ("attested-only",))


def test_a_class_that_requires_attestation_is_refused() -> None:
    strict = rulebook("classes:\n  public: {require_attestation: true}\n  internal: {require_attestation: true}\n")
    asked = request(Action.OPEN, "domain-owner", on=asset(data_class=DataClass.INTERNAL), mfa_age_ms=0)
    verdict = strict.judge(asked)
    assert verdict.decision.allowed
    assert not verdict.allowed
    assert [item.code for item in verdict.unmet] == ["attestation"]


def test_the_shipped_examples_are_policies_once_their_comment_marks_go() -> None:
    guards = defaults.cedar_texts()["policies/guards.cedar"]
    examples = guards[guards.index("// @id(") :].replace("// ", "").replace("//", "")
    loaded = rulebook("", {**defaults.cedar_texts(), "policies/examples.cedar": examples})
    named = {policy.id for policy in loaded.engine.policies} - {policy.id for policy in rules().engine.policies}
    assert named == {
        "restricted-in-working-hours",
        "restricted-from-the-clinic",
        "confidential-with-fresh-factor",
        "datasets-stay-out-of-inference",
    }
