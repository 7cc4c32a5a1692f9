"""What a request must bring beyond the access policy: the obligations of class, environment, operation, role and budget.

They come after Cedar, in this order, and all that are unmet are told at once, so that nobody fixes one only to meet the next:
enforcement level, way of a promotion, attestation, purpose, retention, retired suites, budget, second factor, approvals.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermetic.errors import InvalidName
from hermetic.ids import AssetName, Enforcement, Environment, Purpose
from hermetic.policy import globs, rules
from hermetic.policy._units import spell_ms
from hermetic.policy.model import Operation
from hermetic.policy.request import DATA_ACTIONS, PART_OF, RELEASES, Action, AssetResource, DomainResource, effective_roles

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermetic.policy.model import Budget, PolicyDocument
    from hermetic.policy.request import DecisionRequest


@dataclass(frozen=True, slots=True)
class Usage:
    """What has been taken so far, which budgets count: releases of the asset to the principal in the last 24 hours."""

    releases_today: int


@dataclass(frozen=True, slots=True)
class Unmet:
    """One obligation that the request does not meet. `by_people`: another person or a fresh second factor would meet it."""

    code: str
    message: str
    remedy: str
    by_people: bool = False


def unmet(document: PolicyDocument, request: DecisionRequest, usage: Usage | None = None) -> tuple[Unmet, ...]:
    """Return every obligation that `request` does not meet; empty if it meets all. Does no access control of its own."""
    found: list[Unmet] = []
    if isinstance(request.resource, AssetResource) and request.action in DATA_ACTIONS:
        found += _enforcement(document, request, request.resource)
        found += _way(document, request, request.resource)
        found += _attestation(document, request, request.resource)
        found += _purposes(document, request, request.resource)
        found += _retention(request, request.resource)
        found += _suites(document, request, request.resource)
        found += _budget(document, request, request.resource, usage)
    found += _second_factor(document, request)
    found += _approvals(document, request)
    return tuple(found)


def _enforcement(document: PolicyDocument, request: DecisionRequest, asset: AssetResource) -> Iterator[Unmet]:
    places = (asset.environment,) if asset.target is None else (asset.environment, asset.target)
    where = max(places, key=lambda place: document.enforcement_for(asset.data_class, place).rank)
    least = document.enforcement_for(asset.data_class, where)
    if request.context.enforcement.rank < least.rank:
        remedy = "start `hermetic serve` under another user id, or lower `require_enforcement` in hermetic.yaml"
        if least is Enforcement.SERVICE:
            remedy = "use a service on another machine, or lower `require_enforcement` in hermetic.yaml"
        message = f"{asset.data_class} data in {where} needs {least} enforcement, this is {request.context.enforcement}"
        yield Unmet("enforcement", message, remedy)


def _way(document: PolicyDocument, request: DecisionRequest, asset: AssetResource) -> Iterator[Unmet]:
    """A promotion has a target, and comes from where the target says that it may come from."""
    if request.action is not Action.PROMOTE or asset.target is asset.environment:
        return
    sources = None if asset.target is None else document.environments[asset.target].sources
    if sources is not None and asset.environment not in sources:
        message = f"{asset.target} takes versions from {' and '.join(sources) or 'nowhere'}, not from {asset.environment}"
        first = f"promote it there first, and then from there (`--environment {sources[0]}`), or " if sources else ""
        yield Unmet("way", message, f"{first}change `from` of {asset.target} in hermetic.yaml")


def _attestation(document: PolicyDocument, request: DecisionRequest, asset: AssetResource) -> Iterator[Unmet]:
    if document.classes[asset.data_class].require_attestation and request.context.attestation is None:
        remedy = f"run on attested hardware, or remove `require_attestation` from class {asset.data_class}"
        yield Unmet("attestation", f"{asset.data_class} data needs attested hardware, and nothing attests this process", remedy)


def _purposes(document: PolicyDocument, request: DecisionRequest, asset: AssetResource) -> Iterator[Unmet]:
    purpose = request.context.purpose
    if purpose is None:
        remedy = f"declare one: --purpose {'|'.join(purpose for purpose in Purpose)}"
        yield Unmet("purpose-missing", f"no purpose is declared, and {asset.data_class} data has no default", remedy)
        return
    if request.action in RELEASES:
        for limit, source in _limits(document, asset):
            if purpose not in limit:
                allowed = ", ".join(limit) or "nothing"
                message = f"{source} is for {allowed}, not for {purpose}"
                yield Unmet("purpose", message, "declare what it really is for, or have `purposes` of its rule changed")
    yield from _role_purposes(document, request, purpose)


def _limits(document: PolicyDocument, asset: AssetResource) -> Iterator[tuple[tuple[Purpose, ...], str]]:
    """Limits recorded when the version was sealed, and those of the rules as they are now; both hold."""
    if asset.purposes is not None:
        yield asset.purposes, "this version"
    try:
        resolution = rules.match_asset(document, AssetName.parse(asset.name))
    except InvalidName:
        yield (), "an asset with a name that is none"
        return
    if resolution is not None and resolution.purposes is not None:
        yield resolution.purposes, "this asset"


def _role_purposes(document: PolicyDocument, request: DecisionRequest, purpose: Purpose) -> Iterator[Unmet]:
    """Roles limit what may be declared. A matching grant names its purposes itself."""
    held = effective_roles(request.principal, request.resource.project)
    if request.context.granted or any(purpose in document.roles[role].purposes for role in held if role in document.roles):
        return
    roles = ", ".join(held) or "no role here"
    remedy = "declare another purpose, or have `roles:` in hermetic.yaml changed"
    yield Unmet("purpose-of-role", f"{roles} may not declare the purpose {purpose}", remedy)


def _retention(request: DecisionRequest, asset: AssetResource) -> Iterator[Unmet]:
    ends = asset.retention_ends_ms
    if request.action in RELEASES and ends is not None and request.context.now_ms >= ends:
        remedy = "seal what is still needed as a new version with a new decision, or change `retention` of its class"
        yield Unmet("retention", "the retention of this version has ended; it waits to be deleted", remedy)


def _suites(document: PolicyDocument, request: DecisionRequest, asset: AssetResource) -> Iterator[Unmet]:
    """What a retired suite sealed is opened up to a day, and to seal it anew."""
    if request.action not in RELEASES or request.context.purpose is Purpose.RECOVER:
        return
    closed = [item for item in document.retired(asset.suites) if item.closed(request.context.now_ms)]
    if closed:
        message = f"this version is sealed with {closed[0].suite}, which is retired: {closed[0].reason}"
        yield Unmet("suite-retired", message, "seal it anew: `hermetic reseal` does that for everything on retired suites")


def _budget(document: PolicyDocument, request: DecisionRequest, asset: AssetResource, usage: Usage | None) -> Iterator[Unmet]:
    if request.action not in RELEASES:
        return
    for budget in budgets_for(document, asset.name):
        limit = budget.releases_per_day
        if limit is not None and (usage is None or usage.releases_today >= limit):
            taken = "an unknown number" if usage is None else str(usage.releases_today)
            message = f"{taken} of {limit} releases in 24 hours are used up"
            remedy = f"wait, or raise the budget in line {budget.place.line} of hermetic.yaml"
            yield Unmet("budget", message, remedy)


def budgets_for(document: PolicyDocument, name: str) -> tuple[Budget, ...]:
    """Return the budgets that count for an asset; all of them hold."""
    return tuple(budget for budget in document.budgets if any(globs.matches(glob, name) for glob in budget.assets))


def needs_usage(document: PolicyDocument, request: DecisionRequest) -> bool:
    """Whether `unmet` needs a Usage: a budget counts releases of this asset. Without one such a request is refused."""
    return (
        isinstance(request.resource, AssetResource)
        and request.action in RELEASES
        and any(budget.releases_per_day is not None for budget in budgets_for(document, request.resource.name))
    )


def _demands(document: PolicyDocument, request: DecisionRequest) -> tuple[int, int | None]:
    """How many approvals, and how fresh a second factor in milliseconds, the class or the operation asks for."""
    if isinstance(request.resource, AssetResource) and request.action in DATA_ACTIONS:
        rules_ = document.classes[request.resource.data_class]
        return rules_.approvals.get(request.action, 0), rules_.mfa_ms.get(request.action)
    found = [_demanded(document, request, action) for action in (request.action, PART_OF.get(request.action)) if action is not None]
    return max(count for count, _ in found), min((age for _, age in found if age is not None), default=None)


def _demanded(document: PolicyDocument, request: DecisionRequest, action: Action) -> tuple[int, int | None]:
    operation, resource = document.operations.get(action), request.resource
    if operation is None or request.context.enforcement.rank < operation.enforced_from.rank:
        return 0, None
    if action is Action.DELETE and not isinstance(resource, AssetResource):
        return 0, operation.mfa  # collecting garbage takes nothing that was published
    if isinstance(resource, DomainResource) and resource.environment is None and resource.holds:
        return max(operation.approvals_for(environment) for environment in resource.holds), operation.mfa
    return operation.approvals_for(resource.environment), operation.mfa


def approvals_needed(document: PolicyDocument, request: DecisionRequest) -> int:
    """Return how many people other than the requester must agree."""
    return _demands(document, request)[0]


def most_approvals(document: PolicyDocument, enforcement: Enforcement) -> int:
    """Return the largest number of approvals that any operation asks for at this enforcement level, in any environment."""
    asked = [item for item in document.operations.values() if item.enforced_from.rank <= enforcement.rank]
    return max((count for item in asked for count in (item.approvals, *item.approvals_in.values())), default=0)


def second_factor_for(document: PolicyDocument, action: Action, enforcement: Enforcement) -> int | None:
    """Return how old a second factor may be for an operation on the domain at this enforcement level, None if none is asked."""
    operation = document.operations.get(action)
    return None if operation is None or enforcement.rank < operation.enforced_from.rank else operation.mfa


def loosened(old: PolicyDocument, new: PolicyDocument) -> int:
    """Return how many approvals the strictest demand asks for that `old` makes and `new` would lower; 0 if none is lowered."""
    pairs = [
        (before.approvals_for(environment), after.approvals_for(environment) if not_later else 0)
        for action, before in old.operations.items()
        if action is not Action.RESTORE  # nothing asks it
        for after in [new.operations.get(action, Operation())]
        for not_later in [after.enforced_from.rank <= before.enforced_from.rank]
        for environment in (None, *Environment)
    ]
    pairs += [
        (count, new.classes[name].approvals.get(action, 0))
        for name, rules_ in old.classes.items()
        for action, count in rules_.approvals.items()
    ]
    return max((before for before, after in pairs if after < before), default=0)


def _second_factor(document: PolicyDocument, request: DecisionRequest) -> Iterator[Unmet]:
    _, oldest = _demands(document, request)
    age = request.context.mfa_age_ms
    if oldest is not None and (age is None or not 0 <= age <= oldest):
        message = f"{request.action} needs a second factor from the last {spell_ms(oldest)}"
        yield Unmet("second-factor", message, "show your second factor with `hermetic identity confirm`, then repeat", by_people=True)


def _approvals(document: PolicyDocument, request: DecisionRequest) -> Iterator[Unmet]:
    needed, _ = _demands(document, request)
    if request.context.approvals < needed:
        others = "1 other person" if needed == 1 else f"{needed} other people"
        message = f"{request.action} needs the approval of {others}, and has {request.context.approvals}"
        yield Unmet(
            "approvals", message, "`hermetic request ls` lists what waits; repeat the command once it is approved", by_people=True
        )
