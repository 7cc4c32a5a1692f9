"""Why a request would be allowed or refused, by which policies, and which single change would turn a refusal into a yes.

Cedar names the policies that decided; when nothing permits, it names none. Then the request is asked again with one attribute
changed at a time, and what helps is told. Nothing is released or recorded by explaining.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hermetic.ids import Enforcement, Purpose
from hermetic.policy.request import GRANTABLE, AssetResource, DecisionRequest, effective_roles

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermetic.policy.rulebook import Rulebook, Verdict

_FRESH_MS = 0
_ENOUGH = 9


@dataclass(frozen=True, slots=True)
class Change:
    """One attribute that would help: what to change, as words, and the policies that would then permit."""

    what: str
    policies: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Explained:
    """The verdict, what would help, and the same as lines for people."""

    verdict: Verdict
    helps: tuple[Change, ...]
    lines: tuple[str, ...]


def explain(rulebook: Rulebook, request: DecisionRequest) -> Explained:
    """Judge `request` and say why. Costs some dozens of decisions when it is refused."""
    verdict = rulebook.judge(request)
    refused = not verdict.decision.allowed and not verdict.decision.errors
    helps = tuple(_helping(rulebook, request)) if refused else ()
    return Explained(verdict, helps, tuple(_lines(rulebook, request, verdict, helps)))


def _helping(rulebook: Rulebook, request: DecisionRequest) -> Iterator[Change]:
    for what, changed in _variants(rulebook, request):
        decision = rulebook.engine.decide(changed)
        if decision.allowed:
            yield Change(what, decision.policies)


def _variants(rulebook: Rulebook, request: DecisionRequest) -> Iterator[tuple[str, DecisionRequest]]:
    """The same request with one attribute changed; attributes of the data itself are facts and stay."""
    context = request.context
    for purpose in Purpose:
        if purpose is not context.purpose:
            yield f"purpose {purpose}", _in(request, purpose=purpose)
    for count in range(context.approvals + 1, _ENOUGH + 1):
        if rulebook.engine.decide(_in(request, approvals=count)).allowed:
            yield f"the approval of {count} other {'person' if count == 1 else 'people'}", _in(request, approvals=count)
            break
    if context.mfa_age_ms != _FRESH_MS:
        yield "a fresh second factor", _in(request, mfa_age_ms=_FRESH_MS)
    if not context.run:
        yield "a recorded run", _in(request, run=True)
    if not context.granted and request.action in GRANTABLE:
        yield "a grant", _in(request, granted=True)
    for level in Enforcement:
        if level is not context.enforcement:
            yield f"{level} enforcement", _in(request, enforcement=level)
    yield from _other_roles(rulebook, request)


def _other_roles(rulebook: Rulebook, request: DecisionRequest) -> Iterator[tuple[str, DecisionRequest]]:
    held = effective_roles(request.principal, request.resource.project)
    for role in rulebook.document.roles:
        if role not in held:
            principal = dataclasses.replace(request.principal, roles=(*request.principal.roles, role))
            yield f"role {role}", dataclasses.replace(request, principal=principal)


def _in(request: DecisionRequest, **changes: Any) -> DecisionRequest:
    return dataclasses.replace(request, context=dataclasses.replace(request.context, **changes))


def _lines(rulebook: Rulebook, request: DecisionRequest, verdict: Verdict, helps: tuple[Change, ...]) -> Iterator[str]:
    yield f"{'allowed' if verdict.allowed else 'refused'}: {_question(request)}"
    places = {policy.id: policy for policy in rulebook.engine.policies}
    for name in verdict.policies:
        policy = places[name]
        yield f"  {'permitted' if policy.effect == 'permit' else 'forbidden'} by {name} ({policy.file}:{policy.line})"
    if not verdict.decision.allowed and not verdict.policies:
        yield from (f"  {reason}" for reason in verdict.decision.reasons)
    for entry in verdict.unmet:
        yield f"  unmet: {entry.message}"
        yield f"    {entry.remedy}"
    for change in helps:
        yield f"  would be permitted with {change.what} (by {', '.join(change.policies)})"


def _question(request: DecisionRequest) -> str:
    resource, context = request.resource, request.context
    held = ", ".join(effective_roles(request.principal, resource.project)) or "no role here"
    words = [f"{request.principal.name} ({held}) {request.action}"]
    if isinstance(resource, AssetResource):
        version = "" if resource.version is None else f"@{resource.version}"
        words.append(f"{resource.name}{version} ({resource.data_class}, {resource.environment})")
    if context.purpose is not None:
        words.append(f"for {context.purpose}")
    return " ".join((*words, f"[{context.enforcement}]"))
