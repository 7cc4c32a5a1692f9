"""Runs and their scratch space.

A run's scratch is a version that is never published: an asset `scratch/<run id>`, one data key, sealed objects under it. Opening it is
a release with its own intent and outcome. When the run ends the wraps of that key are overwritten, so what was written there is gone
wherever copies of the ciphertext lie; the database's files are searched for the wraps and cleaned of them at once.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from hermetic.audit.leaf import Entry, Hidden
from hermetic.catalog import assets, runs, versions
from hermetic.catalog.values import Asset, NewAsset, NewDraft, RunState, Version, VersionState
from hermetic.custody import callers, denial, environments, leasing, publishing, unwrapping
from hermetic.custody.call import TRIES, Moved, receipt, recipient_hash
from hermetic.custody.cataloguing import ref_of
from hermetic.custody.decide import Question, allowed_caller, consume_grant, may, still_the_same
from hermetic.custody.newkeys import new_key
from hermetic.custody.paging import page
from hermetic.custody.resolve import again, resolve_version
from hermetic.custody.work import unit
from hermetic.custody.workspaces import decide_anywhere, run_places
from hermetic.db import tables
from hermetic.errors import Conflict, HermeticError, NotFound, UsageError
from hermetic.formats.binary_text import to_base64url
from hermetic.formats.messages.base import Pair
from hermetic.formats.messages.runs import FinishRun, ListRuns, OpenScratch, RunList, RunRow, RunStarted, Scratch, ShowRun, StartRun
from hermetic.ids import AssetName, DataClass, Kind, RunId, VersionId, check_id
from hermetic.policy.request import Action

if TYPE_CHECKING:
    from hermetic.catalog.values import Run
    from hermetic.crypto.secret import Secret
    from hermetic.custody.call import Call
    from hermetic.custody.decide import Verdict
    from hermetic.custody.resolve import Resolved
    from hermetic.custody.work import Work
    from hermetic.db.rows import ReadSession
    from hermetic.formats.canonical import JsonValue
    from hermetic.formats.messages.base import Receipt
    from hermetic.formats.messages.runs import ClassDecision
    from hermetic.formats.messages.versions import Lease

FACTS = 200
DECISIONS = 50
NAME_LIMIT = 200
TEXT_LIMIT = 16_384
STATES = {"finished": RunState.SUCCEEDED, "failed": RunState.FAILED}


def start_run(call: Call, request: StartRun) -> RunStarted:
    """Begin a run. Raises UsageError, PolicyDenied."""
    check_id(request.request)
    if not 0 < len(request.name) <= NAME_LIMIT or not request.name.isprintable():
        raise UsageError(f"a run's name has 1 to {NAME_LIMIT} printable characters")
    facts, decided = _facts(request.facts), _decisions(request.decisions)
    with call.custodian.database.read(call.custodian.row_keys) as session:
        caller = callers.require(call, session)
        policy = call.custodian.policy.current(session)
        works = request.environment or policy.document.environment
        environments.require_distance(call, policy, works)
        places = run_places(call, caller, works)
        verdict = decide_anywhere(
            call, session, (Question(caller, Action.START_RUN, place, policy, request.purpose) for place in places)
        )
    denial.refuse_unless(call, caller, verdict)
    caller = replace(caller, policies=verdict.policies, saw=verdict.saw)
    with unit(call.custodian, "custody.run.started", call.now_ms) as work:
        still_the_same(call, work.session, caller)
        consume_grant(call, work.session, verdict)
        run = runs.start(
            work.session,
            request.name,
            purpose=request.purpose,
            principal=caller.name,
            now_ms=call.now_ms,
            details={"facts": facts, "inputs": [], environments.KEPT: works.value, **({"decisions": decided} if decided else {})},
        )
        hidden = {"principal": caller.hidden(), "name": Hidden(request.name, f"principal:{caller.id}")}
        if decided:
            hidden["decisions"] = Hidden(decided, f"principal:{caller.id}")
        said = {"run": run.id, "purpose": run.purpose.value, "environment": works.value, "request": request.request}
        work.log(Entry("run.started", {**said}, hidden))
    return RunStarted(run.id, receipt(call.custodian.generation, work.logged()))


def _facts(pairs: tuple[Pair, ...]) -> dict[str, str]:
    if len(pairs) > FACTS or any(len(pair.value) > TEXT_LIMIT or len(pair.name) > NAME_LIMIT for pair in pairs):
        raise UsageError(f"a run has at most {FACTS} facts of {TEXT_LIMIT} characters")
    return {pair.name: pair.value for pair in pairs}


def _decisions(given: tuple[ClassDecision, ...]) -> dict[str, JsonValue]:
    if len(given) > DECISIONS or len({item.name for item in given}) != len(given):
        raise UsageError(f"a run has at most {DECISIONS} decisions, one for an asset")
    for item in given:
        if AssetName.parse(item.name).kind is Kind.SCRATCH:
            raise UsageError("scratch is restricted, and ends with its run")
        if not item.reason.strip() or len(item.reason) > TEXT_LIMIT:
            raise UsageError(f"a decision has a reason of 1 to {TEXT_LIMIT} characters", hint="for example: de-identified, and how")
    return {item.name: {"class": item.data_class.value, "reason": item.reason.strip()} for item in given}


def open_scratch(call: Call, request: OpenScratch) -> Scratch:
    """Release the key of a run's scratch space, making it the first time. Raises Conflict when the run has ended, KeyUnusable."""
    check_id(request.request)
    for _ in range(TRIES):
        with call.custodian.database.read(call.custodian.row_keys) as session:
            verdict = _judge(call, session, request)  # 1., 2., 3.
        denial.refuse_unless(call, verdict.question.caller, verdict)
        try:
            return _release(call, request, verdict)
        except Moved:
            continue
    raise Conflict("keys or policy changed while this was decided", hint="try again")


def _judge(call: Call, session: ReadSession, request: OpenScratch) -> Verdict:
    caller = callers.require(call, session)
    policy = call.custodian.policy.current(session)
    run = callers.live_run(session, caller, check_id(request.run))
    purpose = None if run is None else run.purpose
    places = run_places(call, caller, environments.of_run(policy, run))
    return decide_anywhere(call, session, (Question(caller, Action.START_RUN, place, policy, purpose, run) for place in places))


def _release(call: Call, request: OpenScratch, verdict: Verdict) -> Scratch:
    question = verdict.question
    # 4. The intent; with it, the first time, the space and its key.
    with unit(call.custodian, "custody.scratch.intent", call.now_ms) as work:
        _still(call, work.session, request, verdict)
        consume_grant(call, work.session, verdict)
        asset, version, fresh = _space(call, work, question)
        item = resolve_version(work.session, asset, version)
        item.kek.check(item.kek_number, "unwrap")
        lease = leasing.write(call, work, question.policy, _holding(question, item))
        position = work.log(_intent(call, request, verdict, version))
    proof = receipt(call.custodian.generation, work.logged(), position)
    # 5. Unwrap, unless it was made just now.
    key = fresh if fresh is not None else _unwrap(call, request, verdict, (item, lease, proof))
    # 6., 7. Hand over, and say so.
    handed = leasing.hand_over(call, lease, key)
    try:
        _outcome(call, request, proof, None)
    except BaseException:
        call.custodian.handles.forget(handed.key.handle)
        raise
    return Scratch(
        domain=call.custodian.domain,
        asset=asset.id,
        version=version.id,
        suite=question.policy.document.classes[version.data_class].suite,
        store=version.store,
        lease=handed,
        receipt=proof,
    )


def _still(call: Call, session: ReadSession, request: OpenScratch, verdict: Verdict) -> None:
    """Judge again: in step 4, and once more before the unwrap. Raises Moved, and Conflict once the run has ended."""
    again = _judge(call, session, request)
    before, now = verdict.question, again.question
    if now.caller != before.caller or now.policy.digest != before.policy.digest:
        raise Moved("something moved")


def _unwrap(call: Call, request: OpenScratch, verdict: Verdict, intent: tuple[Resolved, Lease, Receipt]) -> Secret:
    item, lease, proof = intent
    try:
        with call.custodian.database.read(call.custodian.row_keys) as session:
            _still(call, session, request, verdict)
            now = again(session, item)
            if now.fixed_points() != item.fixed_points():
                raise Moved("something moved")
            return unwrapping.unwrap(call, session, now)
    except HermeticError as error:
        _outcome(call, request, proof, (type(error).__name__, lease))
        call.noted.refusal = True
        raise


def _outcome(call: Call, request: OpenScratch, proof: Receipt, failed: tuple[str, Lease] | None) -> None:
    with unit(call.custodian, "custody.scratch.outcome", call.now_ms) as work:
        if failed is not None:
            work.session.delete(tables.lease, failed[1].id)
        said = {"handed": 0 if failed else 1, "failure": failed[0] if failed else None}
        work.log(Entry("release.outcome", {"request": request.request, "intent": proof.index, **said}))


def _holding(question: Question, item: Resolved) -> leasing.Holding:
    return leasing.Holding(
        version=item.version.id,
        principal=question.caller.id,
        purpose=item.version.purpose,
        environment=item.asset.environment.value,
        kek_epoch=item.kek.epoch,
        asset_epoch=item.asset.epoch,
        data_key=item.data_key,
        data_class=item.version.data_class,
        lifetime_ms=leasing.LONGEST_MS,
    )


def _intent(call: Call, request: OpenScratch, verdict: Verdict, version: Version) -> Entry:
    recipient = recipient_hash(request.recipient)
    facts: dict[str, JsonValue] = {
        "request": request.request,
        "request_hash": to_base64url(call.request_hash),
        "action": "scratch",
        "versions": [version.id],
        "purpose": version.purpose.value,
        "run": request.run,
        "policy": to_base64url(verdict.question.policy.digest),
        "policies": list(verdict.policies),
        "recipient": None if recipient is None else to_base64url(recipient),
        **verdict.seen.facts,
    }
    return Entry("release.intent", facts, {"principal": verdict.question.caller.hidden(), **verdict.seen.hidden})


def _space(call: Call, work: Work, question: Question) -> tuple[Asset, Version, Secret | None]:
    """Return a run's scratch asset and draft, and the key if it was made now. Scratch is always restricted. Raises NotFound."""
    caller, policy, run = question.caller, question.policy, question.run
    if run is None:
        raise NotFound("scratch belongs to a run")
    name, works = AssetName(Kind.SCRATCH, run.id), environments.of_run(policy, run) or policy.document.environment
    asset = assets.find(work.session, name, works)
    if asset is not None:
        return asset, versions.list_versions(work.session, asset, numbered=False)[-1], None
    asset = assets.create(
        work.session,
        NewAsset(
            name=name,
            environment=works,
            data_class=DataClass.RESTRICTED,
            owner=caller.name,
            project=policy.document.project,
        ),
        now_ms=call.now_ms,
    )
    draft = NewDraft(
        data_class=DataClass.RESTRICTED,
        purpose=run.purpose,
        writer=caller.name,
        store=policy.document.store_for(asset.environment),
        run_id=run.id,
    )
    version = versions.create_draft(work.session, asset, draft, now_ms=call.now_ms)
    _, key = new_key(call, work, (asset, version), policy)
    return asset, version, key.secret


def finish_run(call: Call, request: FinishRun) -> RunRow:
    """End a run and destroy its scratch key. Raises Conflict when it has ended already, UsageError for another state."""
    if request.state not in STATES:
        raise UsageError(f"a run ends as {' or '.join(STATES)}")
    facts = _facts(request.facts)
    with unit(call.custodian, "custody.run.ended", call.now_ms) as work:
        caller = callers.require(call, work.session)
        run = callers.own_run(work.session, caller, request.run)
        details: dict[str, Any] = dict(run.details or {})
        details["facts"] = {**details.get("facts", {}), **facts}
        run = runs.end(work.session, run, STATES[request.state], now_ms=call.now_ms, details=details)
        shredded = _end_drafts(work, run)
        facts_ = {"run": run.id, "state": run.state.value, "scratch_destroyed": len(shredded)}
        work.log(Entry("run.ended", facts_, {"principal": caller.hidden()}))
    call.custodian.scrub(shredded)
    with call.custodian.database.read(call.custodian.row_keys) as session:
        return run_row(session, run)


def _end_drafts(work: Work, run: Run) -> list[bytes]:
    """Abandon what the run left unpublished, scratch included, one entry each; return the wraps that went."""
    gone: list[bytes] = []
    for version in versions.of_run(work.session, run.id):
        if version.state is VersionState.DRAFT:
            gone += publishing.abandon(work, version)
            work.log(Entry("version.abandoned", {"version": version.id, "run": run.id}))
    return gone


def show_run(call: Call, request: ShowRun) -> RunRow:
    """Show a run: one's own, or any for those who may read the catalogue. Raises NotFound, PolicyDenied."""
    with call.custodian.database.read(call.custodian.row_keys) as session:
        caller = callers.require(call, session)
        run = runs.get(session, RunId(check_id(request.run)))
        if run.principal == caller.name:
            return run_row(session, run)
    allowed_caller(call, Action.READ_CATALOG)
    with call.custodian.database.read(call.custodian.row_keys) as session:
        return run_row(session, run)


def list_runs(call: Call, request: ListRuns) -> RunList:
    """List runs, latest first: all, or the caller's own where the catalogue is closed to it."""
    with call.custodian.database.read(call.custodian.row_keys) as session:
        caller = callers.require(call, session)
        everything = may(call, session, caller, Action.READ_CATALOG)
        listed = [run for run in runs.list_runs(session) if everything or run.principal == caller.name]
        found, follows = page(listed, request.after, partial(run_row, session), name=lambda run: run.id, most=max(1, request.limit))
        return RunList(found, follows)


def run_row(session: ReadSession, run: Run) -> RunRow:
    """Return a run as the port tells it."""
    details = run.details or {}
    outputs = [item for item in versions.of_run(session, run.id) if item.state is VersionState.PUBLISHED]
    return RunRow(
        run=run.id,
        name=run.name,
        purpose=run.purpose,
        principal=run.principal,
        state=run.state.value,
        started_ms=run.started_ms,
        ended_ms=run.ended_ms,
        facts=tuple(Pair(name, str(value)) for name, value in sorted(details.get("facts", {}).items())),
        inputs=tuple(ref_of(session, VersionId(item)) for item in details.get("inputs", [])),
        outputs=tuple(ref_of(session, item.id) for item in outputs),
    )
