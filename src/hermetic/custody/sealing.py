"""A key for a new version: making one is a release too, so the same seven steps hold.

The draft, its data key's wrap, the lease and the intent become durable in one transaction; only then does the key leave. A version
takes the strictest class of what it was made from, unless a lower one is asked for with a reason, which becomes a decision on record.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermetic.audit.leaf import Entry, Hidden
from hermetic.catalog import assets, decisions, lineage, runs, versions
from hermetic.catalog.values import Asset, Because, NewAsset, NewDraft, Version
from hermetic.custody import callers, denial, leasing
from hermetic.custody.call import receipt, recipient_hash
from hermetic.custody.decide import Question, Verdict, consume_grant, decide
from hermetic.custody.newkeys import NewKey, new_key
from hermetic.custody.resolve import as_resource
from hermetic.custody.work import unit
from hermetic.errors import Conflict, UsageError
from hermetic.formats.binary_text import to_base64url
from hermetic.formats.messages.versions import BeginVersion, Draft
from hermetic.ids import AssetName, DataClass, Environment, Kind, Purpose, Ref, RunId, VersionId, check_id
from hermetic.policy import rules
from hermetic.policy.request import Action, AssetResource

if TYPE_CHECKING:
    from hermetic.catalog.values import Run
    from hermetic.custody.call import Call
    from hermetic.custody.callers import Caller
    from hermetic.custody.inforce import InForce
    from hermetic.custody.work import Work
    from hermetic.db.rows import ReadSession
    from hermetic.formats.canonical import JsonValue
    from hermetic.keys.kek import Kek


@dataclass(frozen=True, slots=True)
class Plan:
    """What steps 1 to 3 found out about a version to be written."""

    caller: Caller
    policy: InForce
    run: Run | None
    purpose: Purpose
    name: AssetName
    asset: Asset | None
    environment: Environment
    data_class: DataClass
    owner: str
    project: str
    parents: tuple[VersionId, ...]
    lowered: bool
    verdict: Verdict

    def fixed_points(self) -> tuple[object, ...]:
        """What must be the same inside the transaction of step 4."""
        epoch = None if self.asset is None else (self.asset.id, self.asset.epoch, self.asset.state)
        return (self.caller.fixed_points(), self.policy.digest, epoch)


def begin_version(call: Call, request: BeginVersion) -> Draft:
    """Start a version. Raises InvalidName, UsageError, PolicyDenied, ApprovalNeeded, KeyUnusable, Conflict, RowTampered."""
    with denial.recorded(call), call.custodian.database.read(call.custodian.row_keys) as session:
        plan = prepare(call, session, request)
    denial.refuse_unless(call, plan.caller, plan.verdict)
    # 4. Record the intent, with the draft and the wrap of its key.
    with unit(call.custodian, "custody.seal.intent", call.now_ms) as work:
        _still(call, work.session, request, plan)
        consume_grant(call, work.session, plan.verdict)
        asset, version = _draft(call, work, request, plan)
        kek, key = new_key(call, work, (asset, version), plan.policy)
        lease = leasing.write(call, work, plan.policy, _holding(plan, asset, version, (kek, key)))
        work.log(_intent(call, request, plan, version))
    proof = receipt(call.custodian.generation, work.logged())
    # 5. to 7. Nothing to unwrap: the key is new. Hand over, and say so.
    handed = leasing.hand_over(call, lease, key.secret)
    with unit(call.custodian, "custody.seal.outcome", call.now_ms) as work:
        work.log(Entry("release.outcome", {"request": request.request, "intent": proof.index, "handed": 1, "failure": None}))
    rules_ = plan.policy.document.classes[version.data_class]
    return Draft(
        domain=call.custodian.domain,
        asset=asset.id,
        version=version.id,
        data_class=version.data_class,
        environment=asset.environment,
        owner=asset.owner or "",
        suite=rules_.suite,
        padding=rules_.padding.value,
        store=version.store,
        lease=handed,
        enforcement=call.custodian.enforcement.value,
        receipt=proof,
    )


def prepare(call: Call, session: ReadSession, request: BeginVersion) -> Plan:
    """Steps 1 to 3."""
    check_id(request.request)
    name = AssetName.parse(request.name)
    if name.kind is Kind.SCRATCH:
        raise UsageError("scratch belongs to runs", hint="write to hermetic://scratch/NAME inside `hermetic run`")
    # 1. Authenticate.
    caller = callers.require(call, session)
    # 2. Resolve.
    policy = call.custodian.policy.current(session)
    run = None if request.run is None else runs.get(session, RunId(check_id(request.run)))
    if run is not None and run.ended_ms is not None:
        raise Conflict("the run has ended", hint="start another run")
    said = rules.match_asset(policy.document, name)
    environment = request.environment or (policy.document.environment if said is None else said.environment)
    asset = assets.find(session, name, environment)
    parents = parents_of(session, run, request.parents, policy.document.environment)
    classes = lineage.parent_classes(session, parents)
    asked = request.data_class or (asset.data_class if asset else None) or (said.data_class if said else None)
    reason = request.decision
    inherited = lineage.derived_class(classes, None, None) if classes else None
    if request.data_class is None and inherited is not None and asked is not None and inherited.rank > asked.rank and reason is None:
        asked = inherited  # nobody asked for a lower class in so many words: the strictest holds
    data_class = lineage.derived_class(classes, asked, reason)
    purpose = request.purpose or (run.purpose if run else Purpose.INGEST)
    owner = request.owner or (asset.owner if asset else None) or (said.owner if said else None) or caller.name
    project = request.project or (asset.project if asset else None) or (said.project if said else None) or policy.document.project
    # 3. Decide.
    resource = _resource(asset, name, (data_class, environment), (owner, project, policy))
    verdict = decide(call, session, Question(caller, Action.SEAL, resource, policy, purpose, run))
    lowered = inherited is not None and data_class.rank < inherited.rank
    return Plan(caller, policy, run, purpose, name, asset, environment, data_class, owner, project, parents, lowered, verdict)


def parents_of(session: ReadSession, run: Run | None, refs: tuple[str, ...], environment: Environment) -> tuple[VersionId, ...]:
    """Return what a version is made from: what its run has read so far, and what the caller names."""
    named = [versions.resolve(session, Ref.parse(text), environment)[1].id for text in refs]
    read = [] if run is None else [VersionId(item) for item in (run.details or {}).get("inputs", [])]
    return tuple(dict.fromkeys((*read, *named)))


def _resource(
    asset: Asset | None, name: AssetName, kind: tuple[DataClass, Environment], whose: tuple[str, str, InForce]
) -> AssetResource:
    if asset is not None:
        base = as_resource(asset, None, whose[2])
        return AssetResource(base.id, base.name, base.kind, kind[0], base.environment, base.project, base.owner)
    return AssetResource("new", str(name), name.kind, kind[0], kind[1], whose[1], whose[0])


def _still(call: Call, session: ReadSession, request: BeginVersion, plan: Plan) -> None:
    again = prepare(call, session, request)
    if again.fixed_points() != plan.fixed_points() or not again.verdict.allowed:
        raise Conflict("the asset, its key or the policy changed while this was decided", hint="try again")


def _draft(call: Call, work: Work, request: BeginVersion, plan: Plan) -> tuple[Asset, Version]:
    asset = plan.asset or assets.create(
        work.session,
        NewAsset(
            name=plan.name,
            environment=plan.environment,
            data_class=plan.data_class,
            owner=plan.owner,
            project=plan.project,
            retention_days=request.retention_days,
        ),
        now_ms=call.now_ms,
    )
    draft = NewDraft(
        data_class=plan.data_class,
        purpose=plan.purpose,
        writer=plan.caller.name,
        store=plan.policy.document.store_for(asset.environment),
        run_id=None if plan.run is None else plan.run.id,
        details=None if request.purposes is None else {"purposes": [purpose.value for purpose in request.purposes]},
    )
    version = versions.create_draft(work.session, asset, draft, now_ms=call.now_ms)
    lineage.add_parents(work.session, version, plan.parents, "run" if plan.run else "declared")
    if plan.lowered:
        because = Because(request.decision or "", plan.caller.name, call.now_ms)
        decisions.record(work.session, "class-lowered", because, version_id=version.id, details={"class": plan.data_class.value})
    return asset, version


def _holding(plan: Plan, asset: Asset, version: Version, made: tuple[Kek, NewKey]) -> leasing.Holding:
    kek, key = made
    return leasing.Holding(
        version=version.id,
        principal=plan.caller.id,
        purpose=plan.purpose,
        environment=asset.environment.value,
        kek_epoch=kek.epoch,
        asset_epoch=asset.epoch,
        data_key=key.id,
        data_class=version.data_class,
        lifetime_ms=leasing.DRAFT_MS,
    )


def _intent(call: Call, request: BeginVersion, plan: Plan, version: Version) -> Entry:
    recipient = recipient_hash(request.recipient)
    facts: dict[str, JsonValue] = {
        "request": request.request,
        "request_hash": to_base64url(call.request_hash),
        "action": "seal",
        "versions": [version.id],
        "purpose": plan.purpose.value,
        "class": plan.data_class.value,
        "lowered": plan.lowered,
        "run": request.run,
        "parents": list(plan.parents[:100]),
        "policy": to_base64url(plan.policy.digest),
        "policies": list(plan.verdict.policies),
        "enforcement": call.custodian.enforcement.value,
        "recipient": None if recipient is None else to_base64url(recipient),
    }
    hidden = {"principal": plan.caller.hidden(), "name": Hidden(str(plan.name), f"asset:{version.asset_id}")}
    if plan.lowered:
        hidden["reason"] = Hidden(request.decision or "", f"principal:{plan.caller.id}")
    return Entry("release.intent", facts, hidden)
