"""Runs and their scratch space.

A run's scratch is a version that is never published: an asset `scratch/<run id>`, one data key, sealed objects under it. Opening it is
a release with its own intent and outcome. When the run ends the wraps of that key are overwritten, so what was written there is gone
wherever copies of the ciphertext lie; the database's files are searched for the wraps and cleaned of them at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hermetic.audit.leaf import Entry, Hidden
from hermetic.catalog import assets, runs, versions
from hermetic.catalog.values import Asset, NewAsset, NewDraft, RunState, Version, VersionState
from hermetic.custody import callers, denial, leasing, publishing
from hermetic.custody.call import receipt
from hermetic.custody.cataloguing import ref_of
from hermetic.custody.decide import Question, decide, domain_resource
from hermetic.custody.newkeys import new_key
from hermetic.custody.resolve import resolve_version
from hermetic.custody.work import unit
from hermetic.errors import Conflict, Denied, UsageError
from hermetic.formats.messages.base import Pair
from hermetic.formats.messages.runs import FinishRun, ListRuns, OpenScratch, RunList, RunRow, RunStarted, Scratch, ShowRun, StartRun
from hermetic.ids import AssetName, DataClass, Kind, RunId, VersionId, check_id
from hermetic.policy.request import Action

if TYPE_CHECKING:
    from hermetic.catalog.values import Run
    from hermetic.crypto.secret import Secret
    from hermetic.custody.call import Call
    from hermetic.custody.callers import Caller
    from hermetic.custody.inforce import InForce
    from hermetic.custody.work import Work
    from hermetic.db.rows import ReadSession
    from hermetic.formats.messages.base import Receipt
    from hermetic.formats.messages.versions import Lease

FACTS = 200
NAME_LIMIT = 200
TEXT_LIMIT = 16_384
STATES = {"finished": RunState.SUCCEEDED, "failed": RunState.FAILED}


def start_run(call: Call, request: StartRun) -> RunStarted:
    """Begin a run. Raises UsageError, PolicyDenied."""
    check_id(request.request)
    if not 0 < len(request.name) <= NAME_LIMIT or not request.name.isprintable():
        raise UsageError(f"a run's name has 1 to {NAME_LIMIT} printable characters")
    facts = _facts(request.facts)
    with call.custodian.database.read(call.custodian.row_keys) as session:
        caller = callers.require(call, session)
        policy = call.custodian.policy.current(session)
        verdict = decide(call, session, Question(caller, Action.START_RUN, domain_resource(call), policy, request.purpose))
    denial.refuse_unless(call, caller, verdict)
    with unit(call.custodian, "custody.run.started", call.now_ms) as work:
        run = runs.start(
            work.session,
            request.name,
            purpose=request.purpose,
            principal=caller.name,
            now_ms=call.now_ms,
            details={"facts": facts, "inputs": []},
        )
        hidden = {"principal": caller.hidden(), "name": Hidden(request.name, f"principal:{caller.id}")}
        work.log(Entry("run.started", {"run": run.id, "purpose": run.purpose.value, "request": request.request}, hidden))
    return RunStarted(run.id, receipt(call.custodian.generation, work.logged()))


def _facts(pairs: tuple[Pair, ...]) -> dict[str, str]:
    if len(pairs) > FACTS or any(len(pair.value) > TEXT_LIMIT or len(pair.name) > NAME_LIMIT for pair in pairs):
        raise UsageError(f"a run has at most {FACTS} facts of {TEXT_LIMIT} characters")
    return {pair.name: pair.value for pair in pairs}


def _own(session: ReadSession, caller: Caller, run_id: str) -> Run:
    run = runs.get(session, RunId(check_id(run_id)))
    if run.principal != caller.name:
        raise Denied("this run belongs to somebody else")
    return run


def open_scratch(call: Call, request: OpenScratch) -> Scratch:
    """Release the key of a run's scratch space, making it the first time. Raises Conflict when the run has ended."""
    check_id(request.request)
    with denial.recorded(call), call.custodian.database.read(call.custodian.row_keys) as session:
        caller = callers.require(call, session)
        policy = call.custodian.policy.current(session)
        run = _own(session, caller, request.run)
        verdict = decide(call, session, Question(caller, Action.START_RUN, domain_resource(call), policy, run.purpose, run))
    denial.refuse_unless(call, caller, verdict)
    # 4. The intent; with it, the first time, the space and its key.
    with unit(call.custodian, "custody.scratch.intent", call.now_ms) as work:
        if runs.get(work.session, run.id).ended_ms is not None:
            raise Conflict("the run has ended", hint="start another run")
        asset, version, fresh = _space(call, work, (caller, run), policy)
        item = resolve_version(work.session, asset, version)
        holding = leasing.Holding(
            version=version.id,
            principal=caller.id,
            purpose=run.purpose,
            environment=asset.environment.value,
            kek_epoch=item.kek.epoch,
            asset_epoch=asset.epoch,
            data_key=item.data_key,
            data_class=version.data_class,
            lifetime_ms=leasing.LONGEST_MS,
        )
        lease = leasing.write(call, work, policy, holding)
        facts = {
            "request": request.request,
            "action": "scratch",
            "versions": [version.id],
            "run": run.id,
            "purpose": run.purpose.value,
        }
        work.log(Entry("release.intent", {**facts, "enforcement": call.custodian.enforcement.value}, {"principal": caller.hidden()}))
    proof = receipt(call.custodian.generation, work.logged())
    # 5. Unwrap, unless it was made just now.
    key = fresh
    if key is None:
        with call.custodian.database.read(call.custodian.row_keys) as session:
            key = leasing.unwrap(call, session, resolve_version(session, asset, version))
    # 6., 7. Hand over, and say so.
    return _handed(call, request, (asset, version, policy), leasing.hand_over(call, lease, key), proof)


def _handed(call: Call, request: OpenScratch, what: tuple[Asset, Version, InForce], lease: Lease, proof: Receipt) -> Scratch:  # noqa: PLR0917
    asset, version, policy = what
    with unit(call.custodian, "custody.scratch.outcome", call.now_ms) as work:
        work.log(Entry("release.outcome", {"request": request.request, "intent": proof.index, "handed": 1, "failure": None}))
    return Scratch(
        domain=call.custodian.domain,
        asset=asset.id,
        version=version.id,
        suite=policy.document.classes[version.data_class].suite,
        store=version.store,
        lease=lease,
    )


def _space(call: Call, work: Work, who: tuple[Caller, Run], policy: InForce) -> tuple[Asset, Version, Secret | None]:
    """Return a run's scratch asset and draft, and the key if it was made now. Scratch is always restricted."""
    caller, run = who
    name = AssetName(Kind.SCRATCH, run.id)
    asset = assets.find(work.session, name, policy.document.environment)
    if asset is not None:
        return asset, versions.list_versions(work.session, asset, numbered=False)[-1], None
    asset = assets.create(
        work.session,
        NewAsset(
            name=name,
            environment=policy.document.environment,
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
        run = _own(work.session, caller, request.run)
        details: dict[str, Any] = dict(run.details or {})
        details["facts"] = {**details.get("facts", {}), **facts}
        run = runs.end(work.session, run, STATES[request.state], now_ms=call.now_ms, details=details)
        shredded = _end_drafts(work, run)
        facts_ = {"run": run.id, "state": run.state.value, "scratch_destroyed": len(shredded)}
        work.log(Entry("run.ended", facts_, {"principal": caller.hidden()}))
    if shredded:
        call.custodian.database.scrub(shredded)
    with call.custodian.database.read(call.custodian.row_keys) as session:
        return run_row(session, run)


def _end_drafts(work: Work, run: Run) -> list[bytes]:
    """Abandon what the run left unpublished, scratch included; return the wraps that went."""
    drafts = [item for item in versions.of_run(work.session, run.id) if item.state is VersionState.DRAFT]
    return [wrapped for version in drafts for wrapped in publishing.abandon(work, version)]


def show_run(call: Call, request: ShowRun) -> RunRow:
    """Show a run. Raises NotFound."""
    with call.custodian.database.read(call.custodian.row_keys) as session:
        callers.require(call, session)
        return run_row(session, runs.get(session, RunId(check_id(request.run))))


def list_runs(call: Call, request: ListRuns) -> RunList:
    """List runs, latest first."""
    with call.custodian.database.read(call.custodian.row_keys) as session:
        callers.require(call, session)
        return RunList(tuple(run_row(session, run) for run in runs.list_runs(session)[: max(1, request.limit)]))


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
