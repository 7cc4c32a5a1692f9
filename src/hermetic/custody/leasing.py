"""Leases: issue, hand over, confirm, end.

A lease row says who holds which version's key, for what, and the epochs at the time. `check` confirms it without a log entry: it
repeats steps 1 to 3 of the release for the rows as they are now, so that whatever would refuse a new release also ends a lease; only
what the release itself took (a use of a grant, a place in a budget) is not asked for again. The longest life of a lease is counted by
a clock that nobody sets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermetic.catalog import assets, runs, versions
from hermetic.catalog.values import RunState, VersionState, fresh_id
from hermetic.custody import callers, promoting, unwrapping, workspaces
from hermetic.custody.decide import Question, decide
from hermetic.custody.resolve import Resolved, as_resource, resolve_version
from hermetic.db import tables
from hermetic.errors import Denied, NotFound, PolicyDenied, UsageError
from hermetic.formats.messages.base import Done, KeyBlob
from hermetic.formats.messages.versions import CheckLeases, EndLeases, Lease, LeaseState, LeaseStates
from hermetic.ids import DataClass, KeyState, Kind, Purpose, VersionId
from hermetic.policy.request import Action

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermetic.catalog.values import Run
    from hermetic.crypto.secret import Secret
    from hermetic.custody.call import Call
    from hermetic.custody.inforce import InForce
    from hermetic.custody.release import Prepared
    from hermetic.custody.work import Work
    from hermetic.db.rows import ReadSession

LONGEST_MS = 7 * 86_400_000  # a lease is renewed by asking again after a week, whatever it was confirmed in between
DRAFT_MS = 86_400_000  # a draft whose writer vanished is garbage after a day
BATCH = 1000  # leases in one request
ACTIVE, ENDED = "active", "ended"


def purpose_of(asked: Purpose | None, run: Run | None, policy: InForce, classes: tuple[DataClass, ...]) -> Purpose:
    """Return the purpose that counts: what was asked, else the run's, else the default of the strictest class.

    A run has one purpose; asking for another inside it is refused. Raises PolicyDenied when there is none.
    """
    said = purpose_in(run, asked)
    if said is not None:
        return said
    strictest = max(classes, key=lambda item: item.rank)
    default = policy.document.classes[strictest].default_purpose
    if default is None:
        choices = ", ".join(item.value for item in Purpose)
        raise PolicyDenied(
            f"{strictest.value} data is opened for a declared purpose only",
            hint="say --purpose, connect(purpose=…) or HERMETIC_PURPOSE, for a URL storage_options={'purpose': …} "
            f"(one of {choices}), or work inside `hermetic run`",
            reasons=("purpose-required",),
        )
    return default


def purpose_in(run: Run | None, asked: Purpose | None) -> Purpose | None:
    """Return the run's purpose, else what was asked. Raises PolicyDenied when a run is asked for another than its own."""
    if run is None:
        return asked
    if asked is not None and asked is not run.purpose:
        raise PolicyDenied(
            f"run {run.name!r} was started for {run.purpose.value}, not for {asked.value}",
            hint=f"start a run with --purpose {asked.value}",
            reasons=("purpose-of-run",),
        )
    return run.purpose


@dataclass(frozen=True, slots=True)
class Holding:
    """What a lease is written for."""

    version: str
    principal: str
    purpose: Purpose
    environment: str
    kek_epoch: int
    asset_epoch: int
    data_key: str
    data_class: DataClass
    lifetime_ms: int


def issue(call: Call, work: Work, prepared: Prepared, item: Resolved) -> Lease:
    """Write the lease row of one version being opened; the key is not in it yet."""
    holding = Holding(
        version=item.version.id,
        principal=prepared.caller.id,
        purpose=prepared.purpose,
        environment=item.asset.environment.value,
        kek_epoch=item.kek.epoch,
        asset_epoch=item.asset.epoch,
        data_key=item.data_key,
        data_class=item.version.data_class,
        lifetime_ms=LONGEST_MS,
    )
    return write(call, work, prepared.policy, holding)


def write(call: Call, work: Work, policy: InForce, holding: Holding) -> Lease:
    """Write a lease row and return its terms, with an empty blob."""
    lease_id = fresh_id()
    work.session.insert(
        tables.lease,
        id=lease_id,
        version_id=holding.version,
        principal_id=holding.principal,
        purpose=holding.purpose,
        environment=holding.environment,
        kek_epoch=holding.kek_epoch,
        asset_epoch=holding.asset_epoch,
        request_id=getattr(call.request, "request", ""),
        issued_ms=call.now_ms,
        expires_ms=call.custodian.steady() + holding.lifetime_ms,
        state=ACTIVE,
    )
    rules = policy.document.classes[holding.data_class]
    return Lease(
        id=lease_id,
        version=holding.version,
        data_key=holding.data_key,
        key=KeyBlob(None, None),
        kek_epoch=holding.kek_epoch,
        asset_epoch=holding.asset_epoch,
        check_ms=rules.lease_check_ms,
        offline_ms=rules.lease_offline_ms,
    )


def hand_over(call: Call, lease: Lease, key: Secret) -> Lease:
    """Step 6, in process: put the key behind a handle that is good once."""
    return Lease(
        id=lease.id,
        version=lease.version,
        data_key=lease.data_key,
        key=KeyBlob(handle=call.custodian.handles.put(key), sealed=None),
        kek_epoch=lease.kek_epoch,
        asset_epoch=lease.asset_epoch,
        check_ms=lease.check_ms,
        offline_ms=lease.offline_ms,
    )


def note_inputs(work: Work, prepared: Prepared) -> None:
    """Remember on the run which versions it read."""
    if prepared.run is None:
        return
    row = work.session.require(tables.run, prepared.run.id)
    details = dict(row["details"] or {})
    known = list(details.get("inputs", []))
    fresh = [item.version.id for item in prepared.versions if item.version.id not in known]
    if fresh:
        details["inputs"] = known + fresh
        work.session.update(tables.run, prepared.run.id, row["revision"], details=details)


def check_leases(call: Call, request: CheckLeases) -> LeaseStates:
    """Say for each lease whether it still holds. No log entry. Raises UsageError, RowTampered."""
    _check_count(request.leases)
    with call.custodian.database.read(call.custodian.row_keys) as session:
        return LeaseStates(tuple(LeaseState(lease, _ended(call, session, lease)) for lease in request.leases))


def _check_count(leases: tuple[str, ...]) -> None:
    if len(leases) > BATCH:
        raise UsageError(f"a request names at most {BATCH} leases", hint="send several requests")


def _ended(call: Call, session: ReadSession, lease_id: str) -> str | None:
    try:
        return _why_ended(call, session, lease_id)
    except NotFound:
        return "custody does not know it"
    except Denied as error:
        return error.message


def _why_ended(call: Call, session: ReadSession, lease_id: str) -> str | None:
    row = session.require(tables.lease, lease_id)
    caller = callers.require(call, session)
    if row["principal_id"] != caller.id:
        return "it belongs to somebody else"
    if row["state"] != ACTIVE:
        return "it was given back"
    if row["expires_ms"] is not None and row["expires_ms"] <= call.custodian.steady():
        return "it has run out"
    version = versions.get(session, VersionId(row["version_id"]))
    item = resolve_version(session, assets.get(session, version.asset_id), version)
    item.check_open(Purpose(row["purpose"]))  # KeyUnusable says why
    unwrapping.check_place(session, item, recovering=row["purpose"] == Purpose.RECOVER)
    if item.state is KeyState.COMPROMISED and item.kek.epoch != row["kek_epoch"]:
        return "its key was revoked"  # a recovery is asked for anew
    if item.asset.epoch != row["asset_epoch"]:
        return "the asset's protection was changed"
    policy = call.custodian.policy.current(session)
    holding = (caller, Purpose(row["purpose"]))
    questions = _questions(call, session, item, (holding, policy))
    allowed = any(decide(call, session, question, holding=True).allowed for question in questions)
    return None if allowed else "the policy in force no longer allows it"


def _questions(
    call: Call, session: ReadSession, item: Resolved, about: tuple[tuple[callers.Caller, Purpose], InForce]
) -> Iterator[Question]:
    """Yield what a release of this key would ask now; the lease holds if one of the answers is yes."""
    (caller, purpose), policy = about
    resource = as_resource(item.asset, item.version, policy)
    own = None if item.version.run_id is None else runs.get(session, item.version.run_id)
    if item.asset.name.kind is Kind.SCRATCH:
        for place in workspaces.run_places(call, caller, None):
            yield Question(caller, Action.START_RUN, place, policy, purpose, own)
    elif item.version.state is VersionState.DRAFT and (decision := promoting.of_draft(item.version)) is not None:
        carried = promoting.carried(session, caller, decision)
        yield carried.question(caller, policy, promoting.source_of(session, carried))
    elif item.version.state is VersionState.DRAFT:
        yield Question(caller, Action.SEAL, resource, policy, purpose, own)
    else:
        yield Question(caller, Action.OPEN, resource, policy, purpose)
        for run in _runs_reading(session, item, caller, purpose):
            yield Question(caller, Action.OPEN, resource, policy, purpose, run)
        for carried in promoting.open_about(session, caller, item):
            yield carried.question(caller, policy, item)


def _runs_reading(session: ReadSession, item: Resolved, caller: callers.Caller, purpose: Purpose) -> Iterator[Run]:
    """Yield the caller's live runs that were released this version; what only a run may read ends with the run."""
    for run in runs.list_runs(session, state=RunState.RUNNING):
        if run.principal == caller.name and run.purpose is purpose and item.version.id in (run.details or {}).get("inputs", []):
            yield run


def end_leases(call: Call, request: EndLeases) -> Done:
    """Mark leases as given back; unknown ones are passed over. Raises UsageError."""
    _check_count(request.leases)
    with call.custodian.database.write(call.custodian.row_keys, step="custody.lease.ended") as session:
        caller = callers.require(call, session)
        for lease_id in request.leases:
            row = session.get(tables.lease, lease_id)
            if row is not None and row["principal_id"] == caller.id and row["state"] == ACTIVE:
                session.update(tables.lease, lease_id, row["revision"], state=ENDED)
    return Done()
