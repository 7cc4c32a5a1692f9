"""Step 3 of a release: put a question to the policy in force. One place for every action that asks it.

A decision is made in one of two moods. *Asking*: may this begin? Budgets count, grants need a use left. *Holding*: may what was
released go on? The use was taken and the release counted when it began, so neither counts again; everything else does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hermetic.access import grants
from hermetic.access.grants import Wanted
from hermetic.audit.leaf import Entry
from hermetic.catalog import usage
from hermetic.custody import approved, asking, callers, denial, factor_age, seen
from hermetic.custody.call import Moved
from hermetic.custody.work import TrackedSession, unit
from hermetic.errors import ApprovalNeeded, Conflict
from hermetic.ids import Environment
from hermetic.keys import kek as keks
from hermetic.policy import obligations
from hermetic.policy.request import AssetResource, Context, DecisionRequest, DomainResource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hermetic.access.grants import Grant
    from hermetic.catalog.values import Run
    from hermetic.custody.call import Call
    from hermetic.custody.callers import Caller
    from hermetic.custody.inforce import InForce
    from hermetic.custody.seen import Seen
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
    taken: int = 0  # keys of the same asset that the same request takes before this one: budgets count them
    scope: str = ""  # of a campaign: approvals that its first step used cover it too
    length: int = 0  # bytes of plaintext that it releases: grants may be good for so many


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to one question. `grant` is the grant that mattered, if one did; `saw` are the circumstances it is an answer in.

    Of a refusal, `past_grant` says what became of one that would have covered it.
    """

    question: Question
    judged: Judged
    grant: Grant | None
    saw: Context
    past_grant: str | None = None

    @property
    def allowed(self) -> bool:
        """Whether policies permit it and nothing is due."""
        return self.judged.allowed

    @property
    def policies(self) -> tuple[str, ...]:
        """The ids of the policies that decided."""
        return self.judged.policies

    @property
    def seen(self) -> Seen:
        """What the log says of the circumstances."""
        return seen.of(self.saw, self.question.caller.id)


@dataclass(frozen=True, slots=True)
class Taken:
    """What a release took of a grant."""

    grant: str
    length: int


def as_request(call: Call, question: Question, *, granted: bool, approvals: int = 0) -> DecisionRequest:
    """Return what the rulebook is asked."""
    return DecisionRequest(
        principal=question.caller.principal,
        action=question.action,
        resource=question.resource,
        context=Context(
            now_ms=call.now_ms,
            enforcement=call.enforcement,
            purpose=question.purpose,
            run=question.run is not None,
            granted=granted,
            approvals=approvals,
            network=call.network,
            mfa_age_ms=factor_age.known(call, question.caller.id),
        ),
    )


def decide(call: Call, session: ReadSession, question: Question, *, holding: bool = False) -> Verdict:
    """Judge one question. Never raises for what policy says; RowTampered for rows it reads.

    A grant counts only where roles alone would not do: what may be done anyway takes no use of it.
    """
    factor_age.look(call, session)
    rulebook, request = question.policy.rulebook, as_request(call, question, granted=False)
    used = None
    if obligations.needs_usage(rulebook.document, request):
        used = obligations.Usage(0 if holding else _used(call, session, question))

    def judge(*, granted: bool, approvals: int) -> tuple[Judged, Context]:
        request = as_request(call, question, granted=granted, approvals=approvals)
        return rulebook.judge(request, used), request.context

    judged, saw = judge(granted=False, approvals=0)
    voices = _voices(call, session, question) if judged.by_people else 0
    if voices:
        judged, saw = judge(granted=False, approvals=voices)
    first = Verdict(question, judged, None, saw)
    if judged.allowed:
        return first
    found = first
    for grant in matching_grants(call, session, question, holding=holding):
        agreed = max(voices, grant.approvals)
        judged, saw = judge(granted=True, approvals=agreed)
        if judged.by_people and not voices and (voices := _voices(call, session, question)) > agreed:
            judged, saw = judge(granted=True, approvals=voices)
        tried = Verdict(question, judged, grant if "granted-access" in judged.policies else None, saw)
        if tried.allowed:
            return tried
        found = tried if found is first else found
    return found if holding else replace(found, past_grant=_past_grant(call, session, question))


def _voices(call: Call, session: ReadSession, question: Question) -> int:
    """Return how many have approved this very request; those of somebody else do not help."""
    return len(approved.in_favour(call, session, question.caller, question.scope)) if question.caller.id == call.caller else 0


def _used(call: Call, session: ReadSession, question: Question) -> int:
    since = call.now_ms - DAY_MS
    return question.taken + usage.releases_since(session, question.resource.id, question.caller.id, since)


def matching_grants(call: Call, session: ReadSession, question: Question, *, holding: bool = False) -> tuple[Grant, ...]:
    """Return the grants that cover the question, in the order in which they are to be tried."""
    wanted = _wanted(question, length=0 if holding else question.length)
    given = grants.listing(session, now_ms=call.now_ms, principal_id=wanted.principal_id, ended=holding)
    return grants.fitting(map(_with_its_use, given) if holding else given, wanted, now_ms=call.now_ms)


def _past_grant(call: Call, session: ReadSession, question: Question) -> str | None:
    """Return what became of a grant that would have helped, for whoever is refused."""
    wanted = _wanted(question, length=question.length)
    given = grants.listing(session, now_ms=call.now_ms, principal_id=wanted.principal_id, ended=True)
    return grants.past(given, wanted, now_ms=call.now_ms)


def _wanted(question: Question, *, length: int) -> Wanted:
    resource = question.resource
    on_asset = isinstance(resource, AssetResource)
    return Wanted(
        question.caller.id,
        question.action,
        name=resource.name if isinstance(resource, AssetResource) else None,
        environment=resource.environment,
        number=resource.version if isinstance(resource, AssetResource) else None,
        purpose=question.purpose if on_asset else None,
        length=length,
    )


def _with_its_use(grant: Grant) -> Grant:
    """Return a grant as it was when its last use, or its last bytes, were taken."""
    uses, length = (None if left is None else max(left, 1) for left in (grant.uses_left, grant.bytes_left))
    return replace(grant, uses_left=uses, bytes_left=length)


def domain_resource(call: Call) -> DomainResource:
    """Return the domain as something that actions are about."""
    return DomainResource(call.custodian.domain)


def whole_domain(call: Call, session: ReadSession) -> DomainResource:
    """Return the domain with the environments that it has keys of: what concerns all of them asks what the strictest one asks."""
    held = {Environment(kek.environment) for kek in keks.ls(session)}
    usual = call.custodian.policy.current(session).document.environment
    return DomainResource(call.custodian.domain, holds=tuple(sorted(held or {usual})))


def allowed_caller(
    call: Call,
    action: Action,
    resource: AssetResource | DomainResource | None = None,
    *,
    purpose: Purpose | None = None,
    scope: str = "",
    length: int = 0,
    before_asking: Callable[[ReadSession], None] | None = None,
) -> Caller:
    """Authenticate the caller and ask the policy about an action that releases no key; log a refusal and raise it.

    `scope` names work of several steps that one approval is for (`campaigns`). `before_asking` raises for what is refused anyhow,
    so that nobody is asked to approve it; called only where nothing but approvals is missing.
    A use of a grant that is good for so many times is taken here, on record, whatever becomes of the action.
    """
    with call.custodian.database.read(call.custodian.row_keys) as session:
        caller = callers.require(call, session)
        policy = call.custodian.policy.current(session)
        question = Question(caller, action, resource or domain_resource(call), policy, purpose, scope=scope, length=length)
        verdict = decide(call, session, question)
    _refuse_or_ask(call, caller, verdict, before_asking)
    if verdict.grant is not None and verdict.grant.counted:
        with unit(call.custodian, "custody.grant.used", call.now_ms) as work:
            consume_grant(call, work.session, verdict)
            work.log(Entry("grant.used", {"grant": verdict.grant.id, "action": action.value}, {"principal": caller.hidden()}))
    return replace(caller, asked=question, policies=verdict.policies, saw=verdict.saw)


def allowed_everywhere(call: Call, action: Action, *, scope: str = "") -> Caller:
    """Do what `allowed_caller` does for an action that concerns every environment that the domain has keys of."""
    with call.custodian.database.read(call.custodian.row_keys) as session:
        callers.require(call, session)
        domain = whole_domain(call, session)
    return allowed_caller(call, action, domain, scope=scope)


def _refuse_or_ask(call: Call, caller: Caller, verdict: Verdict, before_asking: Callable[[ReadSession], None] | None = None) -> None:
    """Refuse on record. What lacks nothing but approvals becomes a request for them."""
    try:
        denial.refuse_unless(call, caller, verdict)
    except ApprovalNeeded:
        if {item.code for item in verdict.judged.unmet} - {"approvals"} or not approved.can_be_asked(call):
            raise  # a fresh second factor is nobody else's to give
        if before_asking is not None:
            with call.custodian.database.read(call.custodian.row_keys) as session:
                before_asking(session)
        question = verdict.question
        asked = as_request(call, question, granted=False)
        needed = obligations.approvals_needed(question.policy.document, asked)
        data_class = getattr(question.resource, "data_class", None)
        asking.ask(call, caller, max(needed, 1), question.action.value, data_class="" if data_class is None else data_class.value)


def may(call: Call, session: ReadSession, caller: Caller, action: Action) -> bool:
    """Whether an action on the domain would be allowed; nothing is logged or consumed."""
    policy = call.custodian.policy.current(session)
    return decide(call, session, Question(caller, action, domain_resource(call), policy)).allowed


def still_the_same(
    call: Call, session: ReadSession, caller: Caller, resource: AssetResource | None = None, *, approvals: int = 0
) -> None:
    """Look once more as `recheck` does, and use up the approvals: those that the answer rests on, and those that custody asks for."""
    recheck(call, session, caller, resource)
    approved.use(call, session, caller, approvals)


def recheck(call: Call, session: ReadSession, caller: Caller, resource: AssetResource | None = None) -> None:
    """Look once more, inside the transaction that changes something: is the caller who was asked about, is the answer still yes?

    `resource` is what will be changed, as it stands now. Raises Conflict: what was decided holds for what was asked only.
    """
    now = callers.require(call, session)
    if now.fixed_points() != caller.fixed_points():
        raise Conflict("your roles changed while this was decided", hint="try again")
    asked = caller.asked
    if isinstance(session, TrackedSession):
        session.permitted.update(caller.policies)
        session.saw = caller.seen
    if asked is None:
        return
    if resource is not None and resource.id != asked.resource.id:
        raise Conflict("the name means another asset than when this was decided", hint="try again")
    holding = isinstance(asked.resource, DomainResource) and asked.resource.holds
    what = resource or (whole_domain(call, session) if holding else asked.resource)
    again = replace(asked, policy=call.custodian.policy.current(session), resource=what)
    if not decide(call, session, again, holding=True).allowed:
        raise Conflict("rules, grants, approvals or what they are about changed while this was decided", hint="try again")


def consume_grant(call: Call, session: Session, verdict: Verdict) -> Taken | None:
    """Take one use of the grant that mattered, and its bytes, in the transaction that records the release. Raises PolicyDenied.

    Returns what was taken of a grant that is counted.
    """
    if verdict.grant is None:
        return None
    length = verdict.question.length
    now = grants.consume(session, verdict.grant, now_ms=call.now_ms, length=length)
    return Taken(now.id, length) if now.counted else None


def give_back(session: Session, taken: Iterable[Taken]) -> None:
    """Undo `consume_grant` for a release that handed nothing over, in the transaction that says so."""
    for item in taken:
        grants.give_back(session, item.grant, length=item.length)


def confirm(call: Call, session: ReadSession, verdicts: Iterable[Verdict]) -> None:
    """Count budgets again where there are any, inside the transaction that takes from them. Raises Moved."""
    for verdict in verdicts:
        question = verdict.question
        asked = as_request(call, question, granted=verdict.grant is not None)
        if obligations.needs_usage(question.policy.rulebook.document, asked) and not decide(call, session, question).allowed:
            raise Moved("a budget was used up meanwhile")
