"""The shipped access policies, case by case, and what holds for every case."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from hermetic.ids import DataClass, Enforcement, Environment, Kind, Purpose
from hermetic.policy.request import ASSET_ACTIONS, DATA_ACTIONS, RELEASES, Action, DecisionRequest, DomainResource, PrincipalKind
from tests.unit.policy.values import asset, principal, request, shipped

PERMIT, FORBID, NOBODY = "permit", "forbid", "nobody"
PROD = Environment.PRODUCTION

# role, the action and what differs from preparing restricted data in development and cooperative mode, outcome, who decides
CASES = [
    # the owner alone, custody in process
    ("domain-owner", "seal restricted", PERMIT, "owner-works"),
    ("domain-owner", "seal restricted ingest", PERMIT, "owner-works"),
    ("domain-owner", "sign", PERMIT, "owner-works"),
    ("domain-owner", "rename", PERMIT, "owner-works"),
    ("domain-owner", "delete", PERMIT, "owner-works"),
    ("domain-owner", "start-run", PERMIT, "owner-works"),
    ("domain-owner", "open restricted train", PERMIT, "owner-opens"),
    ("domain-owner", "expose restricted prepare", PERMIT, "owner-opens"),
    ("domain-owner", "open public debug", NOBODY, ""),
    ("domain-owner", "open restricted debug", FORBID, "no-restricted-debug"),
    ("domain-owner", "open public share", NOBODY, ""),
    ("domain-owner", "share internal share", NOBODY, ""),
    ("domain-owner", "share restricted share", FORBID, "restricted-sharing-needs-approval"),
    ("domain-owner", "share restricted share approved", PERMIT, "owner-shares-with-approval"),
    ("domain-owner", "promote internal approved", PERMIT, "owner-shares-with-approval"),
    ("domain-owner", "promote internal", NOBODY, ""),
    ("domain-owner", "administer-keys", PERMIT, "owner-administers"),
    ("domain-owner", "destroy-keys", PERMIT, "owner-administers"),
    ("domain-owner", "apply-policy", PERMIT, "owner-appoints"),
    ("domain-owner", "read-log", PERMIT, "owner-appoints"),
    ("domain-owner", "read-catalog", PERMIT, "owner-appoints owner-works"),
    ("domain-owner", "backup", PERMIT, "owner-administers"),
    ("domain-owner", "restore", PERMIT, "owner-administers"),
    ("domain-owner", "open secret confidential", PERMIT, "owner-opens"),
    ("domain-owner", "open backup", FORBID, "backups-only-for-recovery"),
    ("domain-owner", "open backup recover", PERMIT, "owner-opens"),
    # the owner of a separated domain only sets others up
    ("domain-owner", "open public separated", NOBODY, ""),
    ("domain-owner", "seal public service", NOBODY, ""),
    ("domain-owner", "administer-keys separated", NOBODY, ""),
    ("domain-owner", "enrol separated", PERMIT, "owner-appoints"),
    ("domain-owner", "apply-policy service", PERMIT, "owner-appoints"),
    # data stewards
    ("data-steward", "seal restricted production separated", PERMIT, "steward-manages-data"),
    ("data-steward", "sign restricted production separated", PERMIT, "steward-manages-data"),
    ("data-steward", "classify", PERMIT, "steward-manages-data"),
    ("data-steward", "grant", PERMIT, "steward-manages-data"),
    ("data-steward", "open restricted prepare", PERMIT, "steward-opens-data"),
    ("data-steward", "open restricted train", NOBODY, ""),
    ("data-steward", "open model prepare", NOBODY, ""),
    ("data-steward", "share public share", NOBODY, ""),
    ("data-steward", "administer-keys", FORBID, "data-apart-from-keys"),
    ("data-steward", "read-log", NOBODY, ""),
    # engineers
    ("ml-engineer", "seal confidential development", PERMIT, "builder-seals"),
    ("ml-engineer", "seal confidential production separated", NOBODY, ""),
    ("ml-engineer", "open restricted train", PERMIT, "builder-opens"),
    ("ml-engineer", "open restricted train production", NOBODY, ""),
    ("ml-engineer", "open internal debug", PERMIT, "builder-debugs"),
    ("ml-engineer", "open internal debug staging", NOBODY, ""),
    ("ml-engineer", "open confidential debug", NOBODY, ""),
    ("ml-engineer", "open restricted debug", FORBID, "no-restricted-debug"),
    ("ml-engineer", "expose internal", NOBODY, ""),
    ("ml-engineer", "share public share", NOBODY, ""),
    ("ml-engineer", "sign", PERMIT, "builder-seals"),
    ("ml-engineer", "sign production separated", NOBODY, ""),
    ("ml-engineer", "start-run", PERMIT, "builder-runs"),
    ("ml-engineer", "open secret train", FORBID, "secrets-stay-in-runs"),
    ("ml-engineer", "open secret train run", PERMIT, "builder-opens"),
    # leads
    ("research-lead", "sign production separated", PERMIT, "lead-signs"),
    ("research-lead", "share confidential share", PERMIT, "lead-shares"),
    ("research-lead", "share confidential train", NOBODY, ""),
    ("research-lead", "share restricted share", FORBID, "restricted-sharing-needs-approval"),
    ("research-lead", "share restricted share approved", PERMIT, "lead-shares"),
    ("research-lead", "promote internal", NOBODY, ""),
    ("research-lead", "promote internal approved", PERMIT, "lead-promotes-with-approval"),
    ("research-lead", "grant", PERMIT, "lead-grants"),
    ("research-lead", "destroy-keys", FORBID, "data-apart-from-keys"),
    # emergencies
    ("ml-engineer", "break-glass internal debug", NOBODY, ""),
    ("ml-engineer", "break-glass internal debug approved", PERMIT, "glass-is-broken-with-approval"),
    ("data-steward", "break-glass restricted recover production separated approved", PERMIT, "glass-is-broken-with-approval"),
    ("research-lead", "break-glass restricted debug approved", FORBID, "no-restricted-glass-to-debug"),
    ("research-lead", "break-glass internal train approved", NOBODY, ""),
    ("domain-owner", "break-glass internal debug approved", PERMIT, "owner-breaks-glass-with-approval"),
    ("domain-owner", "break-glass internal debug approved separated", NOBODY, ""),
    ("security-engineer", "break-glass internal recover approved separated", NOBODY, ""),
    ("service", "break-glass internal recover approved", NOBODY, ""),
    # services
    ("service", "open model serve production separated", PERMIT, "service-serves"),
    ("service", "open dataset serve", NOBODY, ""),
    ("service", "open secret serve", PERMIT, "service-serves"),
    ("service", "open train", NOBODY, ""),
    ("service", "open train run", PERMIT, "service-runs"),
    ("service", "seal payload serve", PERMIT, "service-works"),
    ("service", "sign payload serve", PERMIT, "service-signs-records"),
    ("service", "sign model serve", NOBODY, ""),
    ("service", "administer-keys", FORBID, "data-apart-from-keys"),
    # security and oversight read no data
    ("security-engineer", "administer-keys separated", PERMIT, "security-administers"),
    ("security-engineer", "apply-policy separated", PERMIT, "security-administers"),
    ("security-engineer", "seal secret", PERMIT, "security-seals-secrets"),
    ("security-engineer", "sign secret", PERMIT, "security-seals-secrets"),
    ("security-engineer", "seal", NOBODY, ""),
    ("security-engineer", "sign", NOBODY, ""),
    ("security-engineer", "open public", FORBID, "keys-apart-from-data"),
    ("security-engineer", "open public separated granted", FORBID, "keys-apart-from-data"),
    ("approver", "approve", PERMIT, "approver-approves"),
    ("approver", "open public", NOBODY, ""),
    ("auditor", "read-log", PERMIT, "auditor-reads-records"),
    ("auditor", "read-catalog", PERMIT, "auditor-reads-records"),
    ("auditor", "open public audit", NOBODY, ""),
    ("data-protection-officer", "delete", PERMIT, "protection-officer-watches"),
    ("data-protection-officer", "open audit", NOBODY, ""),
    # grants permit, guards still forbid
    ("auditor", "open internal granted", PERMIT, "granted-access"),
    ("auditor", "open restricted granted debug", FORBID, "no-restricted-debug"),
    ("auditor", "administer-keys granted", NOBODY, ""),
    ("ml-engineer", "open production internal debug granted separated", FORBID, "production-debug-needs-approval"),
]


def build(role: str, words: str) -> DecisionRequest:
    """`open public serve run` is a request to open public data for serving, inside a run."""
    action, *rest = words.split()
    facts: dict[str, Any] = {}
    circumstances: dict[str, Any] = {word: True for word in rest if word in ("run", "granted")} | {"approvals": rest.count("approved")}
    for word in rest:
        for name, kind in (("data_class", DataClass), ("environment", Environment), ("kind", Kind)):
            facts |= {name: kind(word)} if word in tuple(kind) else {}
        for name, enumeration in (("purpose", Purpose), ("enforcement", Enforcement)):
            circumstances |= {name: enumeration(word)} if word in tuple(enumeration) else {}
    on = asset(**facts) if action in ASSET_ACTIONS else None
    return request(Action(action), role, on=on, **circumstances)


@pytest.mark.parametrize(("role", "words", "outcome", "policies"), CASES, ids=[f"{row[0]}-{row[1]}" for row in CASES])
def test_case(role: str, words: str, outcome: str, policies: str) -> None:
    decision = shipped().engine.decide(build(role, words))
    assert decision.errors == ()
    assert " ".join(decision.policies) == policies
    assert outcome == (PERMIT if decision.allowed else FORBID if decision.policies else NOBODY)


def test_every_shipped_policy_decides_some_case() -> None:
    decided = {name for row in CASES for name in row[3].split()}
    untested = {policy.id for policy in shipped().engine.policies} - decided
    assert untested == {"builder-looks"}  # below


def test_builders_look_at_the_catalogue() -> None:
    for role in ("ml-engineer", "research-lead"):
        assert shipped().engine.decide(request(Action.READ_CATALOG, role)).policies == ("builder-looks",)


def test_nobody_without_a_role_may_anything() -> None:
    for action, enforcement in itertools.product(Action, Enforcement):
        assert not shipped().engine.decide(request(action, enforcement=enforcement)).allowed


def test_a_person_with_the_role_of_a_workload_may_nothing() -> None:
    who = principal("service", kind=PrincipalKind.PERSON)
    for action in DATA_ACTIONS:
        for purpose in Purpose:
            assert not shipped().engine.decide(request(action, who=who, purpose=purpose, run=True)).allowed


def test_restricted_data_is_released_for_debug_to_nobody() -> None:
    everything = principal(*shipped().document.roles, kind=PrincipalKind.WORKLOAD)
    for who, action, environment, enforcement in itertools.product(
        [everything, *(principal(role) for role in shipped().document.roles)], RELEASES, Environment, Enforcement
    ):
        on = asset(environment=environment)
        circumstances: dict[str, Any] = {"run": True, "granted": True, "approvals": 9, "mfa_age_ms": 0}
        asked = request(action, who=who, on=on, purpose=Purpose.DEBUG, enforcement=enforcement, **circumstances)
        assert not shipped().engine.decide(asked).allowed


def test_restricted_data_is_shared_with_nobody_without_approval() -> None:
    for role, action, purpose in itertools.product(shipped().document.roles, RELEASES, Purpose):
        if action is Action.SHARE or purpose is Purpose.SHARE:
            asked = request(action, role, purpose=purpose, run=True, granted=True, approvals=0)
            assert not shipped().engine.decide(asked).allowed


def test_oversight_never_releases_by_itself() -> None:
    for role, action, data_class, purpose in itertools.product(
        ("approver", "auditor", "data-protection-officer", "security-engineer"), RELEASES, DataClass, Purpose
    ):
        asked = request(action, role, on=asset(data_class=data_class), purpose=purpose, run=True, approvals=9)
        assert not shipped().engine.decide(asked).allowed


def test_a_role_of_one_project_counts_in_that_project_only() -> None:
    who = principal("ml-engineer@risk")
    assert shipped().engine.decide(request(Action.OPEN, who=who, purpose=Purpose.TRAIN)).allowed
    assert not shipped().engine.decide(request(Action.OPEN, who=who, purpose=Purpose.TRAIN, on=asset(project="other"))).allowed
    assert not shipped().engine.decide(request(Action.START_RUN, who=who)).allowed
    assert shipped().engine.decide(request(Action.START_RUN, who=who, on=DomainResource("d", project="risk"))).allowed
    assert (
        not shipped()
        .engine.decide(request(Action.START_RUN, who=principal("ml-engineer@"), on=DomainResource("d", project="")))
        .allowed
    )


def test_runs_in_production_are_started_by_services_only() -> None:
    on = DomainResource("d", environment=PROD)
    assert not shipped().engine.decide(request(Action.START_RUN, "ml-engineer", on=on)).allowed
    assert shipped().engine.decide(request(Action.START_RUN, "service", on=on)).allowed
