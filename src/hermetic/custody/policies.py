"""The policy in force: show, apply, explain. An edited file changes nothing until it is applied here, on record."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from hermetic.access import approvals, identity
from hermetic.audit.leaf import Entry
from hermetic.custody import asking, callers, environments, factor_age, keyhomes
from hermetic.custody.call import receipt
from hermetic.custody.callers import Caller
from hermetic.custody.decide import Question, allowed_caller, as_request, matching_grants, still_the_same, whole_domain
from hermetic.custody.inforce import InForce
from hermetic.custody.leasing import purpose_of
from hermetic.custody.resolve import as_resource
from hermetic.custody.work import unit
from hermetic.db import tables
from hermetic.errors import ConfigError, Conflict, NotFound, UsageError
from hermetic.formats.binary_text import to_base64url
from hermetic.formats.messages.policy import ApplyPolicy, Explain, Explanation, PolicyApplied, PolicyInForce, ShowPolicy
from hermetic.ids import Enforcement, Purpose
from hermetic.policy import duties, regions
from hermetic.policy import explain as explaining
from hermetic.policy.bundle import PolicyBundle
from hermetic.policy.obligations import loosened, most_approvals
from hermetic.policy.request import ASSET_ACTIONS, DATA_ACTIONS, RELEASES, Action
from hermetic.policy.rulebook import Rulebook

if TYPE_CHECKING:
    from hermetic.custody.call import Call
    from hermetic.db.rows import ReadSession
    from hermetic.ids import DataClass


def show_policy(call: Call, _request: ShowPolicy) -> PolicyInForce:
    """Return the bundle in force."""
    with call.custodian.database.read(call.custodian.row_keys) as session:
        callers.require(call, session)
        current = call.custodian.policy.current(session)
    return PolicyInForce(current.digest, current.bundle.to_bytes(), current.applied_ms, current.applied_by)


def apply_policy(call: Call, request: ApplyPolicy) -> PolicyApplied:
    """Put a bundle in force. Raises FormatError, ConfigError, PolicyDenied; then the old one stays."""
    bundle = PolicyBundle.from_bytes(request.bundle)
    rulebook = Rulebook.load(bundle, now_ms=call.now_ms)
    if rulebook.document.domain != call.custodian.domain:
        raise ConfigError("this policy names another domain", hint="restore the `domain:` line of hermetic.yaml", file="hermetic.yaml")
    caller = allowed_caller(call, Action.APPLY_POLICY)
    with call.custodian.database.read(call.custodian.row_keys) as session:
        for item in identity.listing(session):
            if item.active:
                duties.check_principal(rulebook.engine, rulebook.document, item.principal.name, item.principal.roles)
    new = InForce(rulebook, bundle, call.now_ms, caller.name)
    with call.custodian.database.read(call.custodian.row_keys) as session:
        keyhomes.require(call, session, rulebook.document)
        needed = _needed(call, session, caller, new)
    asking.demand(call, caller, needed, "a policy that asks for fewer approvals, or other rules of access")
    with unit(call.custodian, "custody.policy.applied", call.now_ms) as work:
        if _needed(call, work.session, caller, new) > needed:
            raise Conflict("another policy was applied meanwhile", hint="run the command again")
        still_the_same(call, work.session, caller, approvals=needed)
        previous = call.custodian.policy.current(work.session).digest
        for row in work.session.find(tables.policy, current=1):
            work.session.update(tables.policy, row["digest"], row["revision"], current=0)
        stored = work.session.get(tables.policy, rulebook.digest.hex())
        facts = {"applied_ms": call.now_ms, "applied_by": caller.name, "current": 1}
        if stored is None:
            work.session.insert(tables.policy, digest=rulebook.digest.hex(), content=bundle.to_bytes(), **facts)
        else:
            work.session.update(tables.policy, stored["digest"], stored["revision"], **facts)
        said = {"policy": to_base64url(rulebook.digest), "previous": to_base64url(previous)}
        work.log(Entry("policy.applied", said, {"principal": caller.hidden()}))
    return PolicyApplied(rulebook.digest, previous, receipt(call.custodian.generation, work.logged()))


def _needed(call: Call, session: ReadSession, caller: Caller, new: InForce) -> int:
    """Return how many approvals a policy needs: as many as the demands that it lowers, once there are approvers.

    Whoever may apply a policy would otherwise get around approvals by changing their number, or the Cedar rules that ask for some:
    what a changed rule lowers cannot be told, so it counts as the most that anything asks for.
    """
    old = call.custodian.policy.current(session)
    lowered = loosened(old.document, new.document)
    if _rules(old) != _rules(new):
        lowered = max(lowered, most_approvals(old.document, call.enforcement))
    if regions.widened(old.document, new.document):
        lowered = max(lowered, most_approvals(old.document, call.enforcement))
    return min(lowered, len(approvals.others(session, caller.principal)))


def _rules(policy: InForce) -> dict[str, bytes]:
    return {name: content for name, content in policy.bundle.files.items() if name.endswith(".cedar")}


def explain(call: Call, request: Explain) -> Explanation:
    """Say whether and why a request would be allowed; nothing is released or recorded.

    What others may do is for those who read the catalogue. It is judged at the level at which they are served, not the asker's.

    Raises UsageError, NotFound, PolicyDenied where a purpose has to be said and none is.
    """
    if request.action not in Action._value2member_map_:
        raise UsageError(f"unknown action {request.action!r}", hint=f"actions are {', '.join(Action)}")
    action = Action(request.action)
    with call.custodian.database.read(call.custodian.row_keys) as session:
        me = callers.require(call, session)
    if request.principal is not None and request.principal not in {me.name, me.id}:
        allowed_caller(call, Action.READ_CATALOG)
    with call.custodian.database.read(call.custodian.row_keys) as session:
        caller = me if request.principal is None else _other(session, request.principal)
        policy = call.custodian.policy.current(session)
        resource = whole_domain(call, session)
        factor_age.look(call, session)
        purpose, length = request.purpose, 0
        if action in ASSET_ACTIONS:
            asset, version = environments.find(session, policy, request.ref, request.environment)
            resource = as_resource(asset, version, policy)  # type: ignore[assignment]
            purpose, length = _purpose(action, purpose, policy, version.data_class), version.length or 0
        question = Question(caller, action, resource, policy, purpose, length=length)
        given = matching_grants(call, session, question)
        agreed = max((grant.approvals for grant in given), default=0)
        asked = as_request(call, question, granted=bool(given), approvals=agreed)
        level = request.enforcement or _served_at(call, caller)
        found = explaining.explain(policy.rulebook, replace(asked, context=replace(asked.context, enforcement=level)))
    return Explanation(
        allowed=found.verdict.allowed,
        policies=found.verdict.policies,
        obligations=tuple(f"{item.code}: {item.message}" for item in found.verdict.unmet),
        lines=found.lines,
    )


def _purpose(action: Action, asked: Purpose | None, policy: InForce, data_class: DataClass) -> Purpose | None:
    """Return the purpose that a request without one would have. Raises PolicyDenied where there is none."""
    if action in RELEASES:
        return purpose_of(asked, None, policy, (data_class,))
    return asked or (Purpose.INGEST if action in DATA_ACTIONS else policy.document.classes[data_class].default_purpose)


def _served_at(call: Call, caller: Caller) -> Enforcement:
    """Return the enforcement level of what somebody asks, who need not be asking now.

    A user of this machine comes over the socket, unless custody runs as that very user, who can open it in any process.
    """
    if caller.id == call.caller:
        return call.enforcement
    if not caller.id.startswith(f"os:{call.custodian.domain}:"):
        return Enforcement.SERVICE
    custodys_own = identity.local_id(call.custodian.domain, os.geteuid())
    return Enforcement.COOPERATIVE if caller.id == custodys_own else Enforcement.SEPARATED


def _other(session: ReadSession, name: str) -> Caller:
    found = identity.by_name(session, name) or identity.find(session, name)
    if found is None:
        raise NotFound(f"no principal {name!r}", hint="`hermetic access roles` lists those the domain knows")
    return Caller(found.principal)
