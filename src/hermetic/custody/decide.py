"""Step 3 of a release: put a question to the policy in force. One place for every action that asks it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermetic.access import grants
from hermetic.access.grants import Wanted
from hermetic.catalog import usage
from hermetic.custody import callers, denial
from hermetic.policy import obligations
from hermetic.policy.request import AssetResource, Context, DecisionRequest, DomainResource

if TYPE_CHECKING:
    from hermetic.access.grants import Grant
    from hermetic.catalog.values import Run
    from hermetic.custody.call import Call
    from hermetic.custody.callers import Caller
    from hermetic.custody.inforce import InForce
    from hermetic.db.rows import ReadSession, Session
    from hermetic.ids import Purpose
    from hermetic.policy.request import Action
    from hermetic.policy.rulebook import Verdict as Judged

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Question:
    """Who wants to do what to which thing, for which purpose, in which run."""

    caller: Caller
    action: Action
    resource: AssetResource | DomainResource
    policy: InForce
    purpose: Purpose | None = None
    run: Run | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to one question. `grant` is the grant that mattered, if one did."""

    question: Question
    judged: Judged
    grant: Grant | None

    @property
    def allowed(self) -> bool:
        """Whether policies permit it and nothing is due."""
        return self.judged.allowed

    @property
    def policies(self) -> tuple[str, ...]:
        """The ids of the policies that decided."""
        return self.judged.policies


def as_request(call: Call, question: Question, *, granted: bool) -> DecisionRequest:
    """Return what the rulebook is asked."""
    return DecisionRequest(
        principal=question.caller.principal,
        action=question.action,
        resource=question.resource,
        context=Context(
            now_ms=call.now_ms,
            enforcement=call.custodian.enforcement,
            purpose=question.purpose,
            run=question.run is not None,
            granted=granted,
        ),
    )


def decide(call: Call, session: ReadSession, question: Question) -> Verdict:
    """Judge one question. Never raises for what policy says; RowTampered for rows it reads."""
    grant = _matching_grant(call, session, question)
    request = as_request(call, question, granted=grant is not None)
    rulebook = question.policy.rulebook
    used = None
    if obligations.needs_usage(rulebook.document, request):
        used = obligations.Usage(usage.releases_since(session, question.resource.id, question.caller.id, call.now_ms - DAY_MS))
    judged = rulebook.judge(request, used)
    return Verdict(question, judged, grant if "granted-access" in judged.policies else None)


def _matching_grant(call: Call, session: ReadSession, question: Question) -> Grant | None:
    resource = question.resource
    on_asset = isinstance(resource, AssetResource)
    wanted = Wanted(
        question.caller.id,
        question.action,
        name=resource.name if isinstance(resource, AssetResource) else None,
        environment=resource.environment,
        number=resource.version if isinstance(resource, AssetResource) else None,
        purpose=question.purpose if on_asset else None,
    )
    return grants.find_match(session, wanted, now_ms=call.now_ms)


def domain_resource(call: Call) -> DomainResource:
    """Return the domain as something that actions are about."""
    return DomainResource(call.custodian.domain)


def allowed_caller(call: Call, action: Action, resource: AssetResource | DomainResource | None = None) -> Caller:
    """Authenticate the caller and ask the policy about an action that releases no key; log a refusal and raise it."""
    with call.custodian.database.read(call.custodian.row_keys) as session:
        caller = callers.require(call, session)
        policy = call.custodian.policy.current(session)
        verdict = decide(call, session, Question(caller, action, resource or domain_resource(call), policy))
    denial.refuse_unless(call, caller, verdict)
    return caller


def consume_grant(call: Call, session: Session, verdict: Verdict) -> None:
    """Take one use of the grant that mattered, in the transaction that records the release. Raises PolicyDenied."""
    if verdict.grant is not None:
        grants.consume(session, verdict.grant, now_ms=call.now_ms)
