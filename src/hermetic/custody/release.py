"""The release of keys to existing versions: spec/port.md section 3, whose step numbers the code repeats.

Invariants:
1. No key leaves before an entry that says so is durable. The intent is written first; if anything fails after it, the outcome says
   that nothing was handed over, and if even that cannot be written the intent stands alone and counts as released.
2. Steps 1 to 3 read one snapshot. Step 4 reads what they relied on again inside the transaction that writes the intent, and
   step 5 once more right before unwrapping. If anything moved, the request starts again, a few times, then is refused.
   Both ask every question of steps 1 to 3 again. Where the stored bytes of all answers are the same, so is all that follows from
   them; where any differ, the caller and the versions are looked up and compared anew (`_still`). In the same way step 2 takes what it
   found for the last request of the same kind (`_resolved`). Who asks, and what may be, is asked of the rules each time.
3. All references of a request are released, or none is.

A worked example. `open-versions` for dataset/patients@3, purpose prepare: the caller is os:1000, known as ana (1); the version is
restricted, its KEK active at epoch 4 (2); policy `owner-opens` permits it, nothing is due (3); the intent is leaf 117, durable (4);
the epoch is still 4 and the data key unwraps (5); ana gets lease and receipt (6); leaf 118 says that one key was handed over (7).
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermetic.audit.leaf import Entry, Hidden
from hermetic.catalog import exposures
from hermetic.catalog.locations import place_of
from hermetic.custody import callers, denial, environments, leasing, promoting, residency, unwrapping
from hermetic.custody.call import TRIES, Moved, receipt, recipient_hash
from hermetic.custody.decide import Question, confirm, consume_grant, decide, give_back
from hermetic.custody.resolve import Memo, Resolved, again, as_resource
from hermetic.custody.views import members_of, openings_of
from hermetic.custody.work import unit
from hermetic.db import tables
from hermetic.db.relied import Changed
from hermetic.errors import Conflict, FormatError, HermeticError, UsageError
from hermetic.formats.binary_text import to_base64url
from hermetic.formats.messages.versions import Opened, OpenVersions, Released
from hermetic.ids import Purpose, check_id
from hermetic.policy.request import Action
from hermetic.steps import reached

if TYPE_CHECKING:
    from collections.abc import Hashable

    from hermetic.catalog.values import Exposure, Run
    from hermetic.crypto.secret import Secret
    from hermetic.custody.call import Call
    from hermetic.custody.callers import Caller
    from hermetic.custody.decide import Taken, Verdict
    from hermetic.custody.inforce import InForce
    from hermetic.custody.work import Work
    from hermetic.db.relied import Relied
    from hermetic.db.rows import ReadSession
    from hermetic.formats.messages.base import Receipt
    from hermetic.formats.messages.versions import Lease

BATCH = 1000  # references in one request
PLANNED = 4  # references in a request whose rows are asked for at once
PATH_LIMIT = 4096  # characters of an exposure's path


@dataclass(frozen=True, slots=True)
class Prepared:
    """What steps 1 to 3 found in one snapshot; `relied` are the rows that they found it in."""

    caller: Caller
    policy: InForce
    run: Run | None
    purpose: Purpose
    versions: tuple[Resolved, ...]
    verdicts: tuple[Verdict, ...]
    relied: Relied | None

    def fixed_points(self) -> tuple[object, ...]:
        """Everything that has to be the same in steps 4 and 5."""
        return (self.caller.fixed_points(), self.policy.digest, *(item.fixed_points() for item in self.versions))


@dataclass(frozen=True, slots=True)
class Intent:
    """What step 4 made durable: leases without keys, what it consumed, and the receipt of the entry that says so."""

    leases: tuple[Lease, ...]
    exposure: Exposure | None
    grants: tuple[Taken, ...]
    proof: Receipt


def open_versions(call: Call, request: OpenVersions) -> Opened:
    """Release the keys of versions. Raises NotFound, PolicyDenied, ApprovalNeeded, KeyUnusable, RowTampered, WrongKey."""
    _check(request)
    for _ in range(TRIES):
        with call.custodian.database.read(call.custodian.row_keys, plan=_plan(call, request)) as session:
            prepared = prepare(call, session, request)
        for verdict in prepared.verdicts:
            denial.refuse_unless(call, prepared.caller, verdict)
        for item in prepared.versions:
            residency.require_version(prepared.policy.document, item, None if request.promotion else prepared.purpose)
        try:
            return _release(call, request, prepared)
        except Moved:
            continue
    raise Conflict("keys or policy changed while this was decided", hint="try again")


def _check(request: OpenVersions) -> None:
    check_id(request.request)
    if not 0 < len(request.refs) <= BATCH:
        raise UsageError(f"a request names 1 to {BATCH} versions", hint="send several requests")
    if request.exposure is None:
        return
    if len(request.refs) != 1:
        raise UsageError("one version is exposed at a time")
    if not request.exposure.path.startswith("/") or len(request.exposure.path) > PATH_LIMIT:
        raise UsageError(f"an exposure has an absolute path of at most {PATH_LIMIT} characters")


def _plan(call: Call, request: OpenVersions, step: str = "decide") -> Hashable:
    """Return what requests have in common that read the same rows, as far as can be told; None for batches."""
    if len(request.refs) > PLANNED:
        return None
    return (step, call.caller, call.credential, request.refs, request.environment, request.run, request.promotion)


def prepare(call: Call, session: ReadSession, request: OpenVersions) -> Prepared:
    """Steps 1 to 3, in one snapshot. A refusal by policy is in the verdicts; anything else raises."""
    # 1. Authenticate.
    caller = callers.require(call, session)
    # 2. Resolve.
    policy, found = _resolved(call, session, caller, request)
    run = callers.live_run(session, caller, request.run)
    environments.require_one(found)
    carried = None if request.promotion is None else promoting.carried(session, caller, request.promotion)
    if carried is None:
        purpose = leasing.purpose_of(request.purpose, run, policy, tuple(item.version.data_class for item in found))
    else:
        promoting.check_opening(request, found, carried)
        purpose = carried.purpose
    for item in found:
        item.check_open(purpose)
        unwrapping.check_place(session, item, recovering=purpose is Purpose.RECOVER)
    # 3. Decide.
    action = Action.OPEN if request.exposure is None else Action.EXPOSE
    counted: Counter[str] = Counter()
    verdicts = []
    for item in found:
        resource = as_resource(item.asset, item.version, policy)
        length = item.version.length or 0
        question = Question(caller, action, resource, policy, purpose, run, counted[item.asset.id], length=length)
        question = question if carried is None else carried.question(caller, policy, item)
        counted[item.asset.id] += 1
        verdicts.append(decide(call, session, question))
    return Prepared(caller, policy, run, purpose, found, tuple(verdicts), session.relied())


def _resolved(call: Call, session: ReadSession, caller: Caller, request: OpenVersions) -> tuple[InForce, tuple[Resolved, ...]]:
    """Return the policy and what references mean: what was found last time, where all rows that say so are the same."""
    plan, seen = _plan(call, request), call.custodian.row_keys.seen
    known = None if plan is None else seen.recall(plan)
    if known is not None:
        with suppress(Changed):
            session.require_unchanged(known[0])
            found: tuple[InForce, tuple[Resolved, ...]] = known[1]
            return found
    policy = call.custodian.policy.current(session)
    run, memo = callers.live_run(session, caller, request.run), Memo()
    works = environments.declared(policy, run, request.environment)
    items = tuple(environments.open_in(session, policy, text, works, memo=memo) for text in request.refs)
    for item in items:  # by name so far; a name may be given to another
        session.rely(tables.version, item.version.id)
        session.rely(tables.asset, item.asset.id)
    if plan is not None:
        seen.remember(plan, session.relied(), (policy, items))
    return policy, items


def _release(call: Call, request: OpenVersions, prepared: Prepared) -> Opened:
    intent = _intend(call, request, prepared)  # 4
    keys = _unwrap(call, request, prepared, intent)  # 5
    reached("custody.release.unwrapped")
    # 6. Hand over: the handles are good once, and only in this process.
    handed = tuple(leasing.hand_over(call, lease, key) for lease, key in zip(intent.leases, keys, strict=True))
    # 7. Record the outcome. If that fails nothing is returned, and the intent stands.
    try:
        with unit(call.custodian, "custody.release.outcome", call.now_ms) as work:
            work.log(_outcome(request, intent.proof, handed=len(handed)))
    except BaseException:
        for lease in handed:
            call.custodian.handles.forget(lease.key.handle)
        raise
    return _answer(call, prepared, handed, intent)


def _intend(call: Call, request: OpenVersions, prepared: Prepared) -> Intent:
    """Step 4: one transaction with what the release consumes; leaving it makes the intent durable."""
    with unit(call.custodian, "custody.release.intent", call.now_ms) as work:
        _still(call, work.session, request, prepared)
        confirm(call, work.session, prepared.verdicts)
        taken = [consume_grant(call, work.session, verdict) for verdict in prepared.verdicts]
        leases = tuple(leasing.issue(call, work, prepared, item) for item in prepared.versions)
        exposure = _expose(call, work, request, prepared)
        leasing.note_inputs(work, prepared)
        position = work.log(_intent(call, request, prepared))
    proof = receipt(call.custodian.generation, work.logged(), position)
    return Intent(leases, exposure, tuple(grant for grant in taken if grant is not None), proof)


def _unwrap(call: Call, request: OpenVersions, prepared: Prepared, intent: Intent) -> list[Secret]:
    """Step 5: check the epoch once more; unwrap. Should that fail, everything that step 4 consumed is given back, on record."""
    custodian = call.custodian
    try:
        with custodian.database.read(custodian.row_keys, plan=_plan(call, request, "unwrap")) as session:
            found = _still(call, session, request, prepared)
            return unwrapping.unwrap_all(call, session, found, recovering=prepared.purpose is Purpose.RECOVER)
    except HermeticError as error:
        _take_back(call, request, intent, type(error).__name__.lstrip("_"))
        raise


def _take_back(call: Call, request: OpenVersions, intent: Intent, failure: str) -> None:
    with unit(call.custodian, "custody.release.outcome", call.now_ms) as work:
        give_back(work.session, intent.grants)
        for lease in intent.leases:  # a lease row stands for a key that was handed over, which budgets count
            work.session.delete(tables.lease, lease.id)
        work.log(_outcome(request, intent.proof, handed=0, failure=failure))
        if intent.exposure is not None:
            ended = exposures.end(work.session, exposures.get(work.session, intent.exposure.id), now_ms=call.now_ms)
            work.log(Entry("exposure.ended", {"exposure": ended.id, "version": ended.version_id}))
    call.noted.refusal = True


def _still(call: Call, session: ReadSession, request: OpenVersions, prepared: Prepared) -> tuple[Resolved, ...]:
    """Compare what the decision relied on with what stands now; return the versions as they stand.

    Raises Moved, and Conflict once the run has ended.
    """
    try:
        session.require_unchanged(prepared.relied)
    except Changed:  # which may be what no decision relies on: how often a key was used, what another release took along
        return _compared(call, session, request, prepared)
    return prepared.versions


def _compared(call: Call, session: ReadSession, request: OpenVersions, prepared: Prepared) -> tuple[Resolved, ...]:
    """Look up caller, policy, run and versions anew, and compare them. Raises as `_still`."""
    caller, memo = callers.require(call, session), Memo()
    found = tuple(again(session, item, memo) for item in prepared.versions)
    points = (caller.fixed_points(), call.custodian.policy.current(session).digest, *(item.fixed_points() for item in found))
    if points != prepared.fixed_points():
        raise Moved("something moved")
    callers.live_run(session, caller, request.run)
    return found


def _expose(call: Call, work: Work, request: OpenVersions, prepared: Prepared) -> Exposure | None:
    if request.exposure is None:
        return None
    made = exposures.start(
        work.session,
        prepared.versions[0].version.id,
        request.exposure.path,
        owner=prepared.caller.name,
        purpose=prepared.purpose,
        now_ms=call.now_ms,
        until_ms=request.exposure.until_ms,
    )
    work.log(
        Entry(
            "exposure.started",
            {"exposure": made.id, "version": made.version_id, "until_ms": made.until_ms, "purpose": prepared.purpose.value},
            {"principal": prepared.caller.hidden(), "path": Hidden(made.path, f"principal:{prepared.caller.id}")},
        )
    )
    return made


def _intent(call: Call, request: OpenVersions, prepared: Prepared) -> Entry:
    recipient, seen = recipient_hash(request.recipient), prepared.verdicts[0].seen
    return Entry(
        "release.intent",
        {
            "request": request.request,
            "request_hash": to_base64url(call.request_hash),
            "action": prepared.verdicts[0].question.action.value,
            "versions": [item.version.id for item in prepared.versions],
            "purpose": prepared.purpose.value,
            "run": request.run,
            "policy": to_base64url(prepared.policy.digest),
            "policies": sorted({name for verdict in prepared.verdicts for name in verdict.policies}),
            "grants": sorted({verdict.grant.id for verdict in prepared.verdicts if verdict.grant is not None}),
            "recipient": None if recipient is None else to_base64url(recipient),
            **seen.facts,
        },
        {"principal": prepared.caller.hidden(), **seen.hidden},
    )


def _outcome(request: OpenVersions, proof: Receipt, *, handed: int, failure: str | None = None) -> Entry:
    return Entry("release.outcome", {"request": request.request, "intent": proof.index, "handed": handed, "failure": failure})


def _answer(call: Call, prepared: Prepared, leases: tuple[Lease, ...], intent: Intent) -> Opened:
    return Opened(
        released=tuple(_released(item, lease) for item, lease in zip(prepared.versions, leases, strict=True)),
        purpose=prepared.purpose,
        enforcement=call.enforcement.value,
        exposure=None if intent.exposure is None else intent.exposure.id,
        receipt=intent.proof,
    )


def _released(item: Resolved, lease: Lease) -> Released:
    version = item.version
    if version.manifest is None or version.number is None:
        raise FormatError("a published version without a manifest")
    return Released(
        ref=item.ref,
        name=str(item.asset.name),
        asset=item.asset.id,
        version=version.id,
        number=version.number,
        data_class=version.data_class,
        environment=item.asset.environment,
        owner=item.asset.owner or "",
        store=version.store,
        manifest=version.manifest,
        openings=openings_of(version),
        members=members_of(version),
        lease=lease,
        place=place_of(version),
    )
