"""Rulebook, explanations and the separation of duties."""

from __future__ import annotations

import dataclasses

import pytest

from hermetic.errors import ApprovalNeeded, ConfigError, PolicyDenied, UsageError
from hermetic.ids import DataClass, Enforcement, Environment, Purpose
from hermetic.policy import bundle, defaults, duties, explain
from hermetic.policy.bundle import PolicyBundle
from hermetic.policy.request import Action, AssetResource
from hermetic.policy.rulebook import Rulebook
from tests.unit.policy.values import DOMAIN, HEAD, NOW, asset, principal, request, rulebook, shipped


def test_an_allowed_request_passes_and_names_its_policies() -> None:
    verdict = shipped().judge(request(Action.OPEN, "domain-owner"))
    verdict.require()
    assert verdict.allowed
    assert verdict.policies == ("owner-opens",)
    assert verdict.reasons == ()


def test_a_denied_request_raises_with_every_reason() -> None:
    verdict = shipped().judge(request(Action.OPEN, "auditor", on=asset(retention_ends_ms=NOW)))
    with pytest.raises(PolicyDenied) as caught:
        verdict.require()
    assert [reason.split(":")[0] for reason in caught.value.reasons] == ["no policy permits it", "purpose-of-role", "retention"]
    assert caught.value.exit_code == 3
    assert caught.value.hint


def test_a_permitted_request_with_an_unmet_obligation_is_refused() -> None:
    strict = "internal: {require_enforcement: separated}, confidential: {like: internal}, restricted: {require_enforcement: service}"
    book = rulebook(f"classes: {{{strict}}}")
    verdict = book.judge(request(Action.OPEN, "domain-owner", on=asset(data_class=DataClass.INTERNAL)))
    assert verdict.decision.allowed
    assert not verdict.allowed
    with pytest.raises(PolicyDenied):
        verdict.require()


def test_what_only_lacks_people_asks_for_them() -> None:
    """Both where the access policy forbids for want of approval, and where the class asks for it."""
    asked = request(Action.SHARE, "research-lead", purpose=Purpose.SHARE)
    verdict = shipped().judge(asked)
    assert not verdict.decision.allowed
    with pytest.raises(ApprovalNeeded) as caught:
        verdict.require()
    assert caught.value.exit_code == 5
    shipped().judge(request(Action.SHARE, "research-lead", purpose=Purpose.SHARE, approvals=1)).require()
    with pytest.raises(ApprovalNeeded):
        shipped().judge(request(Action.DESTROY_KEYS, "domain-owner")).require()
    with pytest.raises(ApprovalNeeded):
        shipped().judge(request(Action.ADMINISTER_KEYS, "security-engineer", enforcement=Enforcement.SEPARATED)).require()


def test_what_people_cannot_help_is_denied() -> None:
    for asked in (
        request(Action.SHARE, "auditor", purpose=Purpose.SHARE),
        request(Action.OPEN, "ml-engineer", purpose=Purpose.DEBUG),
        request(Action.SHARE, "research-lead", purpose=Purpose.SHARE, on=asset(retention_ends_ms=1)),
    ):
        with pytest.raises(PolicyDenied):
            shipped().judge(asked).require()


def test_nobody_is_sent_for_a_second_factor_or_approvals_that_would_not_help() -> None:
    """No policy lets an engineer enrol or promote, however many agree; where the policy would, the hint says how."""
    for asked in (
        request(Action.ENROL, "ml-engineer", enforcement=Enforcement.SEPARATED),
        request(Action.PROMOTE, "ml-engineer"),
    ):
        with pytest.raises(PolicyDenied) as denied:
            shipped().judge(asked).require()
        assert "no policy permits it" in str(denied.value)
        assert denied.value.hint == "`hermetic policy explain` says what would help"
    with pytest.raises(ApprovalNeeded) as needed:
        shipped().judge(request(Action.ADMINISTER_KEYS, "security-engineer", enforcement=Enforcement.SEPARATED)).require()
    assert "hermetic identity confirm" in str(needed.value.hint)


def test_a_rulebook_says_which_policy_it_is() -> None:
    assert shipped().digest == bundle.digest(defaults.document_text(DOMAIN, "risk"), defaults.cedar_texts())


def test_a_policy_about_to_be_applied_is_checked_more_than_one_in_force() -> None:
    late = "exceptions:\n- {id: e, finding: f, subject: s, reason: r, approver: a, expires: 2020-01-01}\n"
    files = bundle.of_texts(HEAD + late, defaults.cedar_texts())
    Rulebook.load(files)
    with pytest.raises(ConfigError, match="has expired"):
        Rulebook.load(files, now_ms=NOW)


ALL_POWERFUL = """
@id("too-much") permit (principal in Role::"ml-engineer", action, resource)
when { context.enforcement == Enforcement::"service" };
"""


def test_a_policy_that_lets_one_role_read_and_administer_is_refused() -> None:
    files = bundle.of_texts(HEAD, {"mine.cedar": "// mine" + ALL_POWERFUL})
    with pytest.raises(ConfigError, match=r"'ml-engineer' may read data .* and administer keys") as caught:
        Rulebook.load(files, now_ms=NOW)
    assert (caught.value.file, caught.value.line) == ("policies/mine.cedar", 2)
    Rulebook.load(files)
    Rulebook.load(bundle.of_texts(HEAD, defaults.cedar_texts() | {"mine.cedar": ALL_POWERFUL}), now_ms=NOW)  # the guards hold it back


@pytest.mark.parametrize(
    "roles",
    [
        ("ml-engineer", "security-engineer"),
        ("security-engineer", "service@risk"),
        ("nobody",),
        ("auditor@",),
        ("",),
        ("auditor@a@b", "x"),
    ],
)
def test_roles_that_nobody_may_hold(roles: tuple[str, ...]) -> None:
    with pytest.raises(UsageError):
        duties.check_roles(shipped().document, roles)


@pytest.mark.parametrize(
    "roles", [(), ("domain-owner", "ml-engineer"), ("ml-engineer@risk", "approver"), ("security-engineer", "auditor")]
)
def test_roles_that_go_together(roles: tuple[str, ...]) -> None:
    duties.check_roles(shipped().document, roles)


def test_roles_of_ones_own_have_a_side_too() -> None:
    book = rulebook("roles: {keeper: {description: keeps keys, duty: keys, purposes: []}}")
    with pytest.raises(UsageError, match="nobody does both"):
        duties.check_roles(book.document, ("keeper", "data-steward"))


def test_explaining_an_allowed_request_names_the_policy_and_its_place() -> None:
    told = explain.explain(shipped(), request(Action.OPEN, "domain-owner"))
    assert told.verdict.allowed
    assert told.helps == ()
    assert told.lines[0] == "allowed: ana (domain-owner) open dataset/patients@3 (restricted, development) for prepare [cooperative]"
    assert told.lines[1].startswith("  permitted by owner-opens (policies/domain-owner.cedar:")


def test_explaining_a_default_denial_says_what_would_help() -> None:
    told = explain.explain(shipped(), request(Action.OPEN, "auditor", on=asset(data_class=DataClass.INTERNAL)))
    helps = {change.what: change.policies for change in told.helps}
    assert helps["a grant"] == ("granted-access",)
    assert helps["role ml-engineer"] == ("builder-opens",)
    assert "role security-engineer" not in helps
    assert "  no policy permits it" in told.lines


def test_explaining_a_forbidden_request_names_the_guard_and_the_purposes_that_would_do() -> None:
    told = explain.explain(shipped(), request(Action.OPEN, "ml-engineer", purpose=Purpose.DEBUG))
    assert any("forbidden by no-restricted-debug" in line for line in told.lines)
    assert {change.what for change in told.helps} == {"purpose prepare", "purpose train", "purpose evaluate"}


def test_explaining_says_how_many_approvals_are_enough() -> None:
    told = explain.explain(shipped(), request(Action.SHARE, "research-lead", purpose=Purpose.SHARE))
    assert [change.what for change in told.helps] == ["the approval of 1 other person"]
    assert any("`hermetic request ls` lists what waits" in line for line in told.lines)


def test_what_helps_does_help() -> None:
    """Each suggestion is made of a decision that was taken; no facts about the data are ever suggested."""
    told = explain.explain(shipped(), request(Action.OPEN, "ml-engineer", on=asset(environment=Environment.PRODUCTION)))
    for change in told.helps:
        assert change.policies
    assert not any("development" in change.what or "class" in change.what for change in told.helps)


def test_explaining_an_evaluation_error_suggests_nothing() -> None:
    asked = request(Action.OPEN, "domain-owner")
    broken = dataclasses.replace(asked, context=dataclasses.replace(asked.context, approvals="x"))  # type: ignore[arg-type]
    told = explain.explain(shipped(), broken)
    assert told.helps == ()
    assert "evaluation failed" in told.lines[1]


def test_reasons_hold_no_names() -> None:
    on = AssetResource(
        "id", "dataset/patients-of-ward-7", asset().kind, DataClass.RESTRICTED, Environment.DEVELOPMENT, "p", "owner-name"
    )
    verdict = shipped().judge(request(Action.OPEN, who=principal("auditor", name="person-name"), on=on))
    assert not any(word in str(verdict.reasons) for word in ("ward", "owner-name", "person-name"))


def test_a_broken_bundle_is_told_by_file() -> None:
    with pytest.raises(ConfigError) as caught:
        Rulebook.load(PolicyBundle({"hermetic.yaml": HEAD.encode() + b"x: \xff\n"}))
    assert (caught.value.file, caught.value.line) == ("hermetic.yaml", 4)
