"""What a class, an operation, a role and a budget ask for, beyond the access policy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hermetic.ids import DataClass, Enforcement, Environment, Purpose
from hermetic.policy import document, obligations
from hermetic.policy.model import Operation, PolicyDocument
from hermetic.policy.obligations import Usage
from hermetic.policy.request import Action, DecisionRequest, DomainResource
from tests.unit.policy.values import HEAD, NOW, asset, principal, request

STRICT = document.parse(
    HEAD
    + """\
classes:
  restricted:
    require_enforcement: separated
    approvals: {share: 2}
    mfa: {open: 10m}
rules:
  - {asset: dataset/limited/**, class: internal, purposes: [train]}
budgets:
  - {asset: dataset/counted, releases_per_day: 5}
  - {asset: dataset/*, epsilon: 1}
"""
)
PLAIN = document.parse(HEAD)


def codes(asked: DecisionRequest, parsed: Any = STRICT, usage: Usage | None = None) -> list[str]:
    return [entry.code for entry in obligations.unmet(parsed, asked, usage)]


def internal(**changes: Any) -> Any:
    return asset(**({"data_class": DataClass.INTERNAL} | changes))


def test_an_ordinary_request_meets_everything() -> None:
    assert codes(request(Action.OPEN, "domain-owner", on=internal())) == []


def test_all_that_is_unmet_is_told_at_once_in_a_fixed_order() -> None:
    on = asset(purposes=(Purpose.SERVE,), retention_ends_ms=NOW, name="dataset/counted")
    asked = request(Action.OPEN, "auditor", on=on, purpose=Purpose.TRAIN)
    assert codes(asked) == ["enforcement", "purpose", "purpose-of-role", "retention", "budget", "second-factor"]


@pytest.mark.parametrize("action", [Action.OPEN, Action.SEAL, Action.SIGN, Action.EXPOSE, Action.SHARE, Action.PROMOTE])
def test_enforcement_of_the_class_holds_for_everything_that_uses_a_key(action: Action) -> None:
    assert "enforcement" in codes(request(action, "domain-owner"))
    assert "enforcement" not in codes(request(action, "domain-owner", enforcement=Enforcement.SEPARATED))


def test_production_needs_separated_custody_whatever_the_class() -> None:
    on = internal(environment=Environment.PRODUCTION)
    assert codes(request(Action.SEAL, "domain-owner", on=on), PLAIN) == ["enforcement"]
    assert codes(request(Action.SEAL, "domain-owner", on=on, enforcement=Enforcement.SEPARATED), PLAIN) == []


def test_attestation_is_never_there_so_requiring_it_refuses() -> None:
    parsed = document.parse(HEAD + "classes: {internal: {require_attestation: true}}")
    for enforcement in Enforcement:
        assert codes(request(Action.OPEN, "domain-owner", on=internal(), enforcement=enforcement), parsed) == ["attestation"]


def test_a_purpose_is_needed_when_the_class_has_none() -> None:
    assert codes(request(Action.OPEN, "domain-owner", purpose=None), PLAIN) == ["purpose-missing"]


@pytest.mark.parametrize(("purpose", "expected"), [(Purpose.TRAIN, []), (Purpose.SERVE, ["purpose"]), (Purpose.PREPARE, ["purpose"])])
def test_purposes_of_the_rules_limit_releases(purpose: Purpose, expected: list[str]) -> None:
    assert codes(request(Action.OPEN, "domain-owner", on=internal(name="dataset/limited/x"), purpose=purpose)) == expected


def test_purposes_recorded_at_sealing_limit_releases_after_the_rules_have_changed() -> None:
    on = internal(purposes=(Purpose.TRAIN,))
    assert codes(request(Action.OPEN, "domain-owner", on=on, purpose=Purpose.SERVE)) == ["purpose"]
    assert codes(request(Action.OPEN, "domain-owner", on=on, purpose=Purpose.TRAIN)) == []
    assert codes(request(Action.OPEN, "domain-owner", on=internal(purposes=()), purpose=Purpose.TRAIN)) == ["purpose"]


def test_sealing_for_ingest_is_allowed_whatever_the_asset_may_be_used_for() -> None:
    assert codes(request(Action.SEAL, "domain-owner", on=internal(name="dataset/limited/x"), purpose=Purpose.INGEST)) == []


def test_a_name_that_is_none_is_for_nothing() -> None:
    assert codes(request(Action.OPEN, "domain-owner", on=internal(name="no name at all"))) == ["purpose"]


def test_roles_limit_the_purposes_that_may_be_declared() -> None:
    assert codes(request(Action.OPEN, "ml-engineer", on=internal(), purpose=Purpose.SERVE)) == ["purpose-of-role"]
    assert codes(request(Action.OPEN, "ml-engineer", "service", on=internal(), purpose=Purpose.SERVE)) == []
    assert codes(request(Action.OPEN, on=internal(), purpose=Purpose.SERVE)) == ["purpose-of-role"]
    assert codes(request(Action.OPEN, on=internal(), purpose=Purpose.SERVE, granted=True)) == []
    elsewhere = request(Action.OPEN, who=principal("ml-engineer@other"), on=internal(), purpose=Purpose.TRAIN)
    assert codes(elsewhere) == ["purpose-of-role"]


def test_what_a_retired_suite_sealed_opens_up_to_its_day_and_to_recover() -> None:
    day = 1_800_230_400_000  # 2027-01-18, 00:00 UTC
    parsed = document.parse(HEAD + "retired_suites: [{suite: FLOE-AES256-GCM-1M-BLAKE3, reason: weak, opens_until: 2027-01-18}]")
    sealed = internal(suites=("FLOE-AES256-GCM-1M-BLAKE3", "FLOE-AES256-GCM-64K-BLAKE3"))

    def told(action: Action, on: Any = sealed, **given: Any) -> list[str]:
        return codes(request(action, "domain-owner", on=on, **given), parsed)

    assert told(Action.OPEN, now_ms=day - 1) == []
    assert told(Action.OPEN, now_ms=day) == ["suite-retired"]
    assert told(Action.SHARE, now_ms=day) == ["suite-retired"]
    assert told(Action.OPEN, now_ms=day, purpose=Purpose.RECOVER) == []
    assert told(Action.SEAL, now_ms=day) == []
    assert told(Action.OPEN, internal(suites=("FLOE-AES256-GCM-1M-SHA256",)), now_ms=day) == []


def test_after_its_retention_a_version_is_released_no_more() -> None:
    over, left = internal(retention_ends_ms=NOW), internal(retention_ends_ms=NOW + 1)
    assert codes(request(Action.OPEN, "domain-owner", on=over)) == ["retention"]
    assert codes(request(Action.OPEN, "domain-owner", on=left)) == []
    assert codes(request(Action.DELETE, "domain-owner", on=over)) == []
    assert codes(request(Action.SEAL, "domain-owner", on=over)) == []


def test_a_budget_counts_and_refuses_when_nobody_counted() -> None:
    asked = request(Action.OPEN, "domain-owner", on=internal(name="dataset/counted"))
    assert obligations.needs_usage(STRICT, asked)
    assert codes(asked, usage=Usage(4)) == []
    assert codes(asked, usage=Usage(5)) == ["budget"]
    assert codes(asked, usage=None) == ["budget"]
    other = request(Action.OPEN, "domain-owner", on=internal(name="dataset/other"))
    assert not obligations.needs_usage(STRICT, other)
    assert codes(other) == []


@pytest.mark.parametrize(("age", "met"), [(None, False), (0, True), (600_000, True), (600_001, False), (-1, False)])
def test_a_second_factor_must_be_fresh(age: int | None, met: bool) -> None:
    asked = request(Action.OPEN, "domain-owner", enforcement=Enforcement.SEPARATED, mfa_age_ms=age)
    assert codes(asked) == ([] if met else ["second-factor"])


@pytest.mark.parametrize(("count", "met"), [(0, False), (1, False), (2, True), (3, True)])
def test_approvals_are_counted(count: int, met: bool) -> None:
    asked = request(Action.SHARE, "research-lead", purpose=Purpose.SHARE, enforcement=Enforcement.SEPARATED, approvals=count)
    assert codes(asked) == ([] if met else ["approvals"])


def test_operations_ask_from_an_enforcement_level_upwards() -> None:
    assert codes(request(Action.ADMINISTER_KEYS, "domain-owner"), PLAIN) == []
    separated = request(Action.ADMINISTER_KEYS, "security-engineer", enforcement=Enforcement.SEPARATED)
    assert codes(separated, PLAIN) == ["second-factor"]
    assert codes(request(Action.DESTROY_KEYS, "domain-owner"), PLAIN) == ["approvals"]
    assert codes(request(Action.DESTROY_KEYS, "domain-owner", approvals=1), PLAIN) == ["approvals"]
    assert codes(request(Action.DESTROY_KEYS, "domain-owner", approvals=2), PLAIN) == []


@pytest.mark.parametrize(
    ("environment", "needed"), [(Environment.DEVELOPMENT, 0), (Environment.STAGING, 1), (Environment.PRODUCTION, 2)]
)
def test_operations_ask_by_environment(environment: Environment, needed: int) -> None:
    for action, resource in (
        (Action.DESTROY_KEYS, DomainResource("d", environment, "clinic", DataClass.RESTRICTED)),
        (Action.DELETE, asset(environment=environment)),
    ):
        asked = request(action, "domain-owner", on=resource)
        assert obligations.approvals_needed(PLAIN, asked) == needed
        assert codes(asked, PLAIN) == (["approvals"] if needed else [])
    garbage = request(Action.DELETE, "domain-owner", on=DomainResource("d"))
    assert codes(garbage, PLAIN) == []


def test_a_policy_that_asks_for_less_is_noticed() -> None:
    def with_(**operation: object) -> PolicyDocument:
        return replace(PLAIN, operations=dict(PLAIN.operations) | {Action.DELETE: Operation(**operation)})  # type: ignore[arg-type]

    strict = with_(approvals=3)
    assert obligations.loosened(strict, strict) == 0
    assert obligations.loosened(strict, with_(approvals=4)) == 0
    assert obligations.loosened(strict, with_(approvals=2)) == 3
    assert obligations.loosened(strict, with_(approvals=3, approvals_in={Environment.DEVELOPMENT: 0})) == 3
    assert obligations.loosened(strict, with_(approvals=3, enforced_from=Enforcement.SERVICE)) == 3
    assert obligations.most_approvals(strict, Enforcement.COOPERATIVE) == 3
    classes = dict(PLAIN.classes)
    classes[DataClass.RESTRICTED] = replace(classes[DataClass.RESTRICTED], approvals={Action.SHARE: 0})
    assert obligations.loosened(PLAIN, replace(PLAIN, classes=classes)) == 1


def test_every_unmet_obligation_has_a_remedy_and_says_whether_people_can_help() -> None:
    on = asset(purposes=(Purpose.SERVE,), retention_ends_ms=NOW, name="dataset/counted")
    for entry in obligations.unmet(STRICT, request(Action.SHARE, "auditor", on=on)):
        assert len(entry.remedy) > 10
        assert entry.by_people == (entry.code in {"second-factor", "approvals"})
