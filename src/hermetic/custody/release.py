"""The release of keys to existing versions: spec/port.md section 3, whose step numbers the code repeats.

Invariants:
1. No key leaves before an entry that says so is durable. The intent is written first; if anything fails after it, the outcome says
   that nothing was handed over, and if even that cannot be written the intent stands alone and counts as released.
2. Steps 1 to 3 read one snapshot. Step 4 reads what they relied on again inside the transaction that writes the intent, and
   step 5 once more right before unwrapping. If anything moved, the request starts again, a few times, then is refused.
3. All references of a request are released, or none is.

A worked example. `open-versions` for dataset/patients@3, purpose prepare: the caller is os:1000, known as ana (1); the version is
restricted, its KEK active at epoch 4 (2); policy `owner-opens` permits it, nothing is due (3); the intent is leaf 117, durable (4);
the epoch is still 4 and the data key unwraps (5); ana gets lease and receipt (6); leaf 118 says that one key was handed over (7).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermetic.audit.leaf import Entry, Hidden
from hermetic.catalog import exposures, runs
from hermetic.custody import callers, denial, leasing
from hermetic.custody.call import receipt, recipient_hash
from hermetic.custody.decide import Question, consume_grant, decide
from hermetic.custody.resolve import Memo, Resolved, again, as_resource, resolve
from hermetic.custody.views import members_of, openings_of
from hermetic.custody.work import unit
from hermetic.errors import Conflict, FormatError, HermeticError, UsageError
from hermetic.formats.binary_text import to_base64url
from hermetic.formats.messages.versions import Opened, OpenVersions, Released
from hermetic.ids import RunId, check_id
from hermetic.policy.request import Action
from hermetic.steps import reached

if TYPE_CHECKING:
    from hermetic.catalog.values import Exposure, Run
    from hermetic.crypto.secret import Secret
    from hermetic.custody.call import Call
    from hermetic.custody.callers import Caller
    from hermetic.custody.decide import Verdict
    from hermetic.custody.inforce import InForce
    from hermetic.custody.work import Work
    from hermetic.db.rows import ReadSession
    from hermetic.formats.messages.base import Receipt
    from hermetic.formats.messages.versions import Lease
    from hermetic.ids import Purpose

BATCH = 1000  # references in one request
TRIES = 5


@dataclass(frozen=True, slots=True)
class Prepared:
    """What steps 1 to 3 found in one snapshot."""

    caller: Caller
    policy: InForce
    run: Run | None
    purpose: Purpose
    versions: tuple[Resolved, ...]
    verdicts: tuple[Verdict, ...]

    def fixed_points(self) -> tuple[object, ...]:
        """Everything that has to be the same in steps 4 and 5."""
        return (self.caller.fixed_points(), self.policy.digest, *(item.fixed_points() for item in self.versions))


def open_versions(call: Call, request: OpenVersions) -> Opened:
    """Release the keys of versions. Raises NotFound, PolicyDenied, ApprovalNeeded, KeyUnusable, RowTampered, WrongKey."""
    _check(request)
    for _ in range(TRIES):
        with denial.recorded(call), call.custodian.database.read(call.custodian.row_keys) as session:
            prepared = prepare(call, session, request)
        for verdict in prepared.verdicts:
            denial.refuse_unless(call, prepared.caller, verdict)
        try:
            return _release(call, request, prepared)
        except _Moved:
            continue
    raise Conflict("keys or policy changed while this was decided", hint="try again")


class _Moved(HermeticError):
    """Something that the decision relied on changed; the request starts again."""


def _check(request: OpenVersions) -> None:
    check_id(request.request)
    if not 0 < len(request.refs) <= BATCH:
        raise UsageError(f"a request names 1 to {BATCH} versions", hint="send several requests")
    if request.exposure is not None and len(request.refs) != 1:
        raise UsageError("one version is exposed at a time")


def prepare(call: Call, session: ReadSession, request: OpenVersions) -> Prepared:
    """Steps 1 to 3, in one snapshot. A refusal by policy is in the verdicts; anything else raises."""
    # 1. Authenticate.
    caller = callers.require(call, session)
    # 2. Resolve.
    policy = call.custodian.policy.current(session)
    run = None if request.run is None else runs.get(session, RunId(check_id(request.run)))
    memo: Memo = {}
    found = tuple(resolve(session, text, policy.document.environment, memo) for text in request.refs)
    purpose = leasing.purpose_of(request.purpose, run, policy, tuple(item.version.data_class for item in found))
    # 3. Decide.
    action = Action.OPEN if request.exposure is None else Action.EXPOSE
    verdicts = tuple(
        decide(call, session, Question(caller, action, as_resource(item.asset, item.version, policy), policy, purpose, run))
        for item in found
    )
    return Prepared(caller, policy, run, purpose, found, verdicts)


def _release(call: Call, request: OpenVersions, prepared: Prepared) -> Opened:
    custodian = call.custodian
    # 4. Record the intent, in one transaction with what it consumes; leaving the block makes it durable.
    with unit(custodian, "custody.release.intent", call.now_ms) as work:
        _still(call, work.session, request, prepared)
        for verdict in prepared.verdicts:
            consume_grant(call, work.session, verdict)
        leases = tuple(leasing.issue(call, work, prepared, item) for item in prepared.versions)
        exposure = _expose(call, work, request, prepared)
        leasing.note_inputs(work, prepared)
        work.log(_intent(call, request, prepared, exposure))
    proof = receipt(custodian.generation, work.logged())
    # 5. Check the epoch once more; unwrap.
    keys: list[Secret] = []
    try:
        with custodian.database.read(custodian.row_keys) as session:
            _still(call, session, request, prepared)
            loaded: dict[tuple[str, int], Secret] = {}
            keys = [leasing.unwrap(call, session, item, loaded) for item in prepared.versions]
    except HermeticError as error:
        _outcome(call, request, proof, handed=0, failure=type(error).__name__)
        raise
    reached("custody.release.unwrapped")
    # 6. Hand over: the handles are good once, and only in this process.
    handed = tuple(leasing.hand_over(call, lease, key) for lease, key in zip(leases, keys, strict=True))
    # 7. Record the outcome. If that fails nothing is returned, and the intent stands.
    _outcome(call, request, proof, handed=len(handed), failure=None)
    return _answer(call, prepared, handed, (exposure, proof))


def _still(call: Call, session: ReadSession, request: OpenVersions, prepared: Prepared) -> None:
    """Compare what the decision relied on with what stands now. Raises _Moved."""
    memo: Memo = {}
    now = (
        callers.require(call, session).fixed_points(),
        call.custodian.policy.current(session).digest,
        *(again(session, item, memo).fixed_points() for item in prepared.versions),
    )
    if now != prepared.fixed_points():
        raise _Moved("something moved")
    if request.run is not None and runs.get(session, RunId(request.run)).ended_ms is not None:
        raise Conflict("the run has ended", hint="start another run")


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


def _intent(call: Call, request: OpenVersions, prepared: Prepared, exposure: Exposure | None) -> Entry:
    recipient = recipient_hash(request.recipient)
    return Entry(
        "release.intent",
        {
            "request": request.request,
            "request_hash": to_base64url(call.request_hash),
            "action": "open" if exposure is None else "expose",
            "versions": [item.version.id for item in prepared.versions],
            "purpose": prepared.purpose.value,
            "run": request.run,
            "policy": to_base64url(prepared.policy.digest),
            "policies": sorted({name for verdict in prepared.verdicts for name in verdict.policies}),
            "enforcement": call.custodian.enforcement.value,
            "recipient": None if recipient is None else to_base64url(recipient),
        },
        {"principal": prepared.caller.hidden()},
    )


def _outcome(call: Call, request: OpenVersions, proof: Receipt, *, handed: int, failure: str | None) -> None:
    with unit(call.custodian, "custody.release.outcome", call.now_ms) as work:
        work.log(Entry("release.outcome", {"request": request.request, "intent": proof.index, "handed": handed, "failure": failure}))


def _answer(call: Call, prepared: Prepared, leases: tuple[Lease, ...], said: tuple[Exposure | None, Receipt]) -> Opened:
    exposure, proof = said
    return Opened(
        released=tuple(_released(item, lease) for item, lease in zip(prepared.versions, leases, strict=True)),
        purpose=prepared.purpose,
        enforcement=call.custodian.enforcement.value,
        exposure=None if exposure is None else exposure.id,
        receipt=proof,
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
    )
