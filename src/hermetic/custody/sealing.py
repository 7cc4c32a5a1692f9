"""A key for a new version: making one is a release too, so the same seven steps hold.

The draft, its data key's wrap, the lease and the intent become durable in one transaction; only then does the key leave. A version
takes the strictest class of what it was made from, and none below the class of its asset or of the rule that matches its name,
unless a lower one is asked for with a reason, which becomes a decision on record.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hermetic.audit.leaf import Entry, Hidden
from hermetic.catalog import assets, decisions, lineage, versions
from hermetic.catalog.locations import PLACE
from hermetic.catalog.values import Asset, Because, NewAsset, NewDraft, Version
from hermetic.custody import callers, denial, environments, leasing, promoting, residency
from hermetic.custody.call import TRIES, Moved, receipt, recipient_hash
from hermetic.custody.decide import Question, Verdict, consume_grant, decide
from hermetic.custody.newkeys import NewKey, new_key
from hermetic.custody.resolve import as_resource
from hermetic.custody.work import unit
from hermetic.custody.workspaces import require_parents
from hermetic.errors import Conflict, NotFound, UsageError
from hermetic.formats.binary_text import to_base64url
from hermetic.formats.messages.versions import BeginVersion, Draft
from hermetic.ids import AssetName, DataClass, Environment, Kind, Purpose, Ref, VersionId, check_id
from hermetic.policy import rules
from hermetic.policy.request import Action, AssetResource

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hermetic.catalog.values import Run
    from hermetic.custody.call import Call
    from hermetic.custody.callers import Caller
    from hermetic.custody.inforce import InForce
    from hermetic.custody.promoting import Carried
    from hermetic.custody.work import Work
    from hermetic.db.rows import ReadSession
    from hermetic.formats.canonical import JsonValue
    from hermetic.keys.kek import Kek


@dataclass(frozen=True, slots=True)
class Plan:
    """What steps 1 to 3 found out about a version to be written."""

    asked: BeginVersion  # as it was sent
    request: BeginVersion  # completed by what its run was told to decide
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
    floor: DataClass | None  # the strictest class of inputs, asset and rule: a lower one needs a reason
    verdict: Verdict
    carried: Carried | None = None  # the promotion that this is the copy for

    @property
    def store(self) -> str:
        """Where the policy has objects of the environment go."""
        return self.policy.document.store_for(self.environment)

    @property
    def lowered(self) -> bool:
        """Whether the class is below what it would be without a decision."""
        return self.floor is not None and self.data_class.rank < self.floor.rank

    def fixed_points(self) -> tuple[object, ...]:
        """What must be the same inside the transaction of step 4."""
        asset = None if self.asset is None else (self.asset.id, self.asset.epoch, self.asset.state)
        decided = (self.data_class, self.request.decision, self.environment, self.owner, self.project, self.parents, self.floor)
        return (self.caller.fixed_points(), self.policy.digest, asset, decided, self.verdict.allowed)


def begin_version(call: Call, request: BeginVersion) -> Draft:
    """Start a version. Raises InvalidName, UsageError, PolicyDenied, ApprovalNeeded, KeyUnusable, Conflict, RowTampered."""
    for _ in range(TRIES):
        with call.custodian.database.read(call.custodian.row_keys) as session:
            plan = prepare(call, session, request)
        denial.refuse_unless(call, plan.caller, plan.verdict)
        residency.require_place(plan.policy.document, (plan.data_class, plan.environment), plan.store, request.place)
        try:
            return _release(call, plan)
        except Moved:
            continue
    raise Conflict("the asset, its key or the policy changed while this was decided", hint="try again")


def _release(call: Call, plan: Plan) -> Draft:
    request = plan.request
    # 4. Record the intent, with the draft and the wrap of its key.
    with unit(call.custodian, "custody.seal.intent", call.now_ms) as work:
        if prepare(call, work.session, plan.asked).fixed_points() != plan.fixed_points():
            raise Moved("something moved")
        consume_grant(call, work.session, plan.verdict)
        asset, version = _draft(call, work, plan)
        kek, key = new_key(call, work, (asset, version), plan.policy)
        lease = leasing.write(call, work, plan.policy, _holding(plan, asset, version, (kek, key)))
        position = work.log(_intent(call, plan, version))
    proof = receipt(call.custodian.generation, work.logged(), position)
    # 5. Nothing to unwrap: the key is new. 6. and 7. Hand over, and say so.
    handed = leasing.hand_over(call, lease, key.secret)
    try:
        with unit(call.custodian, "custody.seal.outcome", call.now_ms) as work:
            work.log(Entry("release.outcome", {"request": request.request, "intent": proof.index, "handed": 1, "failure": None}))
    except BaseException:
        call.custodian.handles.forget(handed.key.handle)
        raise
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
        enforcement=call.enforcement.value,
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
    if request.promotion is not None:
        return _promoted(call, session, request, (caller, policy))
    run = callers.live_run(session, caller, request.run)
    asked, located = request, request.data_class if request.place is not None and request.decision is None else None
    request = _decided(request if located is None else replace(request, data_class=None), run, name)
    said = rules.match_asset(policy.document, name)
    environment = environments.target_of(policy, name, run, request.environment)
    asset = assets.find(session, name, environment)
    named = (*named_parents(session, request.parents, environment), *_read_parents(session, request.read))
    parents = with_inputs(run, named)
    environments.require_own(session, parents, environment)
    require_parents(call, session, caller, named)
    own = strictest_of((), asset.data_class if asset else (said.data_class if said else None), located)
    floor = strictest_of(lineage.parent_classes(session, parents), own)
    try:
        data_class, flaw = _class_of(request, floor, own), None
    except UsageError as error:  # it tells whether there is such an asset, and its class: for those who may write it
        data_class, flaw = floor or DataClass.PUBLIC, error
    purpose = leasing.purpose_in(run, request.purpose) or Purpose.INGEST
    owner = request.owner or (asset.owner if asset else None) or (said.owner if said else None) or caller.name
    project = request.project or (asset.project if asset else None) or (said.project if said else None) or policy.document.project
    # 3. Decide.
    resource = _resource(asset, name, (data_class, environment), (owner, project, policy))
    verdict = decide(call, session, Question(caller, Action.SEAL, resource, policy, purpose, run))
    if flaw is not None and verdict.allowed:
        raise flaw
    return Plan(
        asked, request, caller, policy, run, purpose, name, asset, environment, data_class, owner, project, parents, floor, verdict
    )


def _promoted(call: Call, session: ReadSession, request: BeginVersion, who: tuple[Caller, InForce]) -> Plan:
    """Steps 2 and 3 for the copy that a promotion makes: all is as in its source, and the class at least as strict as there."""
    caller, policy = who
    carried = promoting.carried(session, caller, request.promotion or "")
    source = promoting.source_of(session, carried)
    promoting.check_beginning(request, source, carried)
    name, said = source.asset.name, rules.match_asset(policy.document, source.asset.name)
    asset = assets.find(session, name, carried.target)
    promoting.require_project(policy, source.asset, asset)
    known = (asset.data_class if asset else None, said.data_class if said else None)
    data_class = strictest_of((source.version.data_class,), *known) or source.version.data_class
    owner = (asset.owner if asset else None) or source.asset.owner or caller.name
    project = (asset.project if asset else None) or source.asset.project or policy.document.project
    request = replace(request, retention_days=source.asset.retention_days)
    verdict = decide(call, session, carried.question(caller, policy, source))
    return Plan(
        replace(request, retention_days=None),
        request,
        caller,
        policy,
        None,
        carried.purpose,
        name,
        asset,
        carried.target,
        data_class,
        owner,
        project,
        (source.version.id,),
        data_class,
        verdict,
        carried,
    )


def _decided(request: BeginVersion, run: Run | None, name: AssetName) -> BeginVersion:
    """Return the request with what the run was started to decide about this asset, unless the request decides itself."""
    known = {} if run is None else (run.details or {}).get("decisions", {})
    if str(name) not in known or request.data_class is not None or request.decision is not None:
        return request
    said = known[str(name)]
    return replace(request, data_class=DataClass(said["class"]), decision=said["reason"])


def strictest_of(classes: Iterable[DataClass], *more: DataClass | None) -> DataClass | None:
    """Return the strictest of some classes, None of none."""
    known = [*classes, *(item for item in more if item is not None)]
    return max(known, key=lambda item: item.rank, default=None)


def _class_of(request: BeginVersion, floor: DataClass | None, own: DataClass | None) -> DataClass:
    """Return the class of the new version; a reason without a class means `own`, that of asset or rule. Raises UsageError."""
    asked = request.data_class or (own if request.decision is not None else None)
    if asked is not None and floor is not None and asked.rank < floor.rank and not (request.decision or "").strip():
        raise UsageError(
            f"inputs, asset or the rule for the name are {floor.value}: it cannot be {asked.value} without a reason on record",
            hint=f"leave the class {floor.value}, or say why it may be lower: --decision 'de-identified, and how'; --decide for a run",
        )
    return lineage.derived_class(() if floor is None else (floor,), asked, request.decision)


def named_parents(session: ReadSession, refs: tuple[str, ...], environment: Environment) -> tuple[VersionId, ...]:
    """Return what references mean now, in the environment of what is made from them."""
    return tuple(versions.resolve(session, Ref.parse(text), environment)[1].id for text in refs)


def _read_parents(session: ReadSession, ids: tuple[str, ...]) -> tuple[VersionId, ...]:
    """Return the versions that a writer says to have read; one that was deleted since is a parent all the same. Raises NotFound."""
    found = [versions.get(session, VersionId(check_id(text))) for text in ids]
    if any(version.number is None for version in found):
        raise NotFound("nobody can have read a version that was never published")
    return tuple(version.id for version in found)


def with_inputs(run: Run | None, named: tuple[VersionId, ...]) -> tuple[VersionId, ...]:
    """Return what a version is made from: what its run has read so far, and what the caller names."""
    read = [] if run is None else [VersionId(item) for item in (run.details or {}).get("inputs", [])]
    return tuple(dict.fromkeys((*read, *named)))


def _resource(
    asset: Asset | None, name: AssetName, kind: tuple[DataClass, Environment], whose: tuple[str, str, InForce]
) -> AssetResource:
    if asset is not None:
        base = as_resource(asset, None, whose[2])
        return AssetResource(base.id, base.name, base.kind, kind[0], base.environment, base.project, base.owner)
    return AssetResource("new", str(name), name.kind, kind[0], kind[1], whose[1], whose[0])


def _draft(call: Call, work: Work, plan: Plan) -> tuple[Asset, Version]:
    asset = plan.asset or assets.create(
        work.session,
        NewAsset(
            name=plan.name,
            environment=plan.environment,
            data_class=plan.data_class,
            owner=plan.owner,
            project=plan.project,
            retention_days=plan.request.retention_days,
        ),
        now_ms=call.now_ms,
    )
    draft = NewDraft(
        data_class=plan.data_class,
        purpose=plan.purpose,
        writer=plan.caller.name,
        store=plan.store,
        run_id=None if plan.run is None else plan.run.id,
        details=_details(plan.request) if plan.carried is None else promoting.details_of(work.session, plan.carried),
    )
    version = versions.create_draft(work.session, asset, draft, now_ms=call.now_ms)
    lineage.add_parents(work.session, version, plan.parents, plan.carried.kind if plan.carried else "run" if plan.run else "declared")
    if plan.lowered:
        because = Because(plan.request.decision or "", plan.caller.name, call.now_ms)
        decisions.record(work.session, "class-lowered", because, version_id=version.id, details=_lowering(plan))
    return asset, version


def _details(request: BeginVersion) -> dict[str, JsonValue] | None:
    """Return what the draft says already: what it may be used for, and the place that it is sealed to."""
    details: dict[str, JsonValue] = {}
    if request.purposes is not None:
        details["purposes"] = [purpose.value for purpose in request.purposes]
    if request.place is not None:
        details[PLACE] = request.place
    return details or None


def _lowering(plan: Plan) -> dict[str, JsonValue]:
    """Return what the decision decided: it covers inputs up to the class that it was made about, and no stricter ones."""
    return {"class": plan.data_class.value, "from": None if plan.floor is None else plan.floor.value}


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


def _intent(call: Call, plan: Plan, version: Version) -> Entry:
    request = plan.request
    recipient = recipient_hash(request.recipient)
    facts: dict[str, JsonValue] = {
        "request": request.request,
        "request_hash": to_base64url(call.request_hash),
        "action": plan.verdict.question.action.value,
        "versions": [version.id],
        "purpose": plan.purpose.value,
        "class": plan.data_class.value,
        "lowered": plan.lowered,
        "run": request.run,
        "parents": list(plan.parents[:100]),
        "policy": to_base64url(plan.policy.digest),
        "policies": list(plan.verdict.policies),
        "grants": [] if plan.verdict.grant is None else [plan.verdict.grant.id],
        "recipient": None if recipient is None else to_base64url(recipient),
        **plan.verdict.seen.facts,
    }
    named = Hidden(str(plan.name), f"asset:{version.asset_id}")
    hidden = {"principal": plan.caller.hidden(), "name": named, **plan.verdict.seen.hidden}
    if plan.lowered:
        hidden["reason"] = Hidden(request.decision or "", f"principal:{plan.caller.id}")
    return Entry("release.intent", facts, hidden)
