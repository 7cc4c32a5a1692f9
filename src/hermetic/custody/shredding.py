"""Crypto-shredding: the wrapped data keys of versions are overwritten, and with them goes what only they opened.

1. Versions are named with their numbers, and with the ids of what those names mean: approvals are for the ids, so that a rename
   between asking, approving and doing shreds nothing else.
2. One transaction overwrites every wrap, marks the versions as deleted, ends their leases and logs each of them.
3. Then the database, its free pages and its write-ahead log are searched for the wraps; a certificate says what was found and what
   is missing until the data is gone everywhere (`certifying`).

Sealed objects stay where they are, as bytes that nothing opens, until `hermetic gc` removes them. What a process holds in memory ends
at its next check of the lease; versions that were derived from these still hold what was derived.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermetic.audit.leaf import Entry, Hidden
from hermetic.catalog import decisions, versions
from hermetic.catalog.values import Because, VersionState
from hermetic.custody import approved, blast, callers, certifying, environments, forgetting, gathering, remains, unfinished
from hermetic.custody.call import receipt
from hermetic.custody.decide import allowed_caller, recheck
from hermetic.custody.finishing import certify
from hermetic.custody.resolve import SHREDDED, as_resource, gone
from hermetic.custody.work import unit
from hermetic.db import tables
from hermetic.errors import Conflict, KeyUnusable, NotFound, UsageError
from hermetic.formats.certificate import Certificate
from hermetic.formats.messages.destruction import PlanShred, Shredded, ShredPlan, ShredVersions
from hermetic.ids import Ref, VersionId
from hermetic.policy.request import Action

if TYPE_CHECKING:
    from hermetic.catalog.values import Asset, Version
    from hermetic.custody.call import Call
    from hermetic.custody.callers import Caller
    from hermetic.custody.work import Work
    from hermetic.db.rows import ReadSession
    from hermetic.policy.request import AssetResource

    Asked = list[tuple[Caller, AssetResource]]

BATCH = 1000  # versions in one request


def plan_shred(call: Call, request: PlanShred) -> ShredPlan:
    """Show what shredding would concern. Raises NotFound, UsageError, PolicyDenied."""
    allowed_caller(call, Action.READ_CATALOG)
    with call.custodian.database.read(call.custodian.row_keys) as session:
        policy = call.custodian.policy.current(session)
        found = _of_refs(call, session, request)
        more, notes = gathering.gather(session, policy, request)
        named = {version.id for _, version in found}
        found += [pair for pair in more if pair[1].id not in named]
        if request.derived:
            found, left = gathering.with_derived(session, request.environment or policy.document.environment, found)
            notes += left
        if not found:
            raise NotFound("nothing to shred", hint="`hermetic ls` lists what there is")
        found.sort(key=lambda pair: (str(pair[0].name), pair[1].number or 0))
        ids = [item for _, item in found]
        radius = blast.radius(call, session, ids, data_keys=sum(len(_live(session, item.id)) for item in ids))
        refs = tuple(f"{asset.name}@{item.number}" for asset, item in found)
        return ShredPlan(refs, tuple(item.id for item in ids), radius, tuple(notes))


def _meant(call: Call, session: ReadSession, request: ShredVersions) -> list[tuple[Asset, Version]]:
    """Return the versions of a request. Raises UsageError for a name without a number, Conflict for one that means another version."""
    for text in request.refs:
        if Ref.parse(text).number is None:
            raise UsageError(f"{text} names no version", hint=f"write {text}@NUMBER; `hermetic ls {text}` lists them")
    found = _of_refs(call, session, request)
    for text, (_, version), version_id in zip(request.refs, found, request.versions, strict=True):
        if version.id != version_id:
            raise Conflict(
                f"{text} means another version than when this was asked: its name was given to something else",
                hint="look at `hermetic key shred --dry-run`, then run the command again: approvals are asked for anew",
            )
    return found


def _of_refs(call: Call, session: ReadSession, request: PlanShred | ShredVersions) -> list[tuple[Asset, Version]]:
    policy = call.custodian.policy.current(session)
    found = []
    for text in dict.fromkeys(request.refs):
        asset, version = environments.find(session, policy, text, request.environment, deleted=True)
        if version.state is VersionState.DELETED:
            raise KeyUnusable(gone(session, asset, version), hint="`hermetic key certificate` shows the certificate")
        found.append((asset, version))
    return found


def _live(session: ReadSession, version_id: VersionId) -> list[dict[str, object]]:
    return [row for row in session.find(tables.data_key, version_id=version_id) if row["wrapped"] is not None]


def shred_versions(call: Call, request: ShredVersions) -> Shredded:
    """Shred. Raises NotFound, UsageError, PolicyDenied, ApprovalNeeded, KeyUnusable (shredded already), Conflict."""
    if not 0 < len(request.refs) <= BATCH:
        raise UsageError(f"a request names 1 to {BATCH} versions", hint="shred in several steps")
    if len(request.versions) != len(request.refs) or len(set(request.refs)) != len(request.refs):
        raise UsageError("a request names each version once, and its id", hint="`hermetic key shred` looks the ids up")
    certifying.check_reason(request.reason)
    asked = _allowed(call, request)
    caller = asked[0][0]
    with unit(call.custodian, "custody.shred.committed", call.now_ms) as work:
        voices = approved.in_favour(call, work.session, caller)
        found = _meant(call, work.session, request)
        _still(call, work, asked, found)
        ids = tuple(item.id for _, item in found)
        radius = blast.radius(call, work.session, [item for _, item in found], data_keys=len(found))
        wraps = [wrap for asset, item in found for wrap in _overwrite(call, work, caller, (asset, item, request.reason, len(voices)))]
        at = len(work.entries) - len(found)
        made = Certificate(
            domain=call.custodian.domain,
            kind="shred",
            subjects=tuple(f"{asset.name}@{item.number} {item.id}" for asset, item in found),
            state="deleted",
            relies=(),
            missing=(),
            reason=request.reason,
            requester=caller.name,
            approvers=tuple(voice.name for voice in voices),
            done_ms=call.now_ms,
            made_ms=call.now_ms,
            log=unfinished.NOWHERE,
            remains=remains.told(radius, call.now_ms),
        )
        unfinished.begin(work.session, made, ids)
        forgetting.note(work.session)
        older = _wrapped_before(work.session, ids)
    whole, certificate = certify(call, certifying.durable(call, made, work.logged(), at), ids, wraps, older=older)
    return Shredded(
        refs=radius.versions,
        state=whole.state,
        relies=whole.relies,
        missing=whole.missing,
        derived=radius.derived,
        exposures=radius.exposures,
        certificate=certificate,
        receipt=receipt(call.custodian.generation, work.logged(), at),
        remains=whole.remains,
    )


def _wrapped_before(session: ReadSession, ids: tuple[VersionId, ...]) -> bool:
    """Whether a data key may have had another wrap, under an earlier version of its KEK."""
    return any(row["kek_number"] > 1 for version_id in ids for row in session.find(tables.data_key, version_id=version_id))


def _allowed(call: Call, request: ShredVersions) -> Asked:
    """Ask the policy about each version; what the strictest demands counts for all. Raises as `allowed_caller`."""
    with call.custodian.database.read(call.custodian.row_keys) as session:
        callers.require(call, session)
        policy = call.custodian.policy.current(session)
        resources = [as_resource(asset, item, policy) for asset, item in _meant(call, session, request)]
    return [(allowed_caller(call, Action.DELETE, resource), resource) for resource in resources]


def _still(call: Call, work: Work, asked: Asked, found: list[tuple[Asset, Version]]) -> None:
    """Look once more at every version, then use up the approvals, which are for all of them together. Raises Conflict."""
    policy = call.custodian.policy.current(work.session)
    if [as_resource(asset, item, policy) for asset, item in found] != [resource for _, resource in asked]:
        raise Conflict("the versions changed while this was decided", hint="try again")
    for caller, resource in asked:
        recheck(call, work.session, caller, resource)
    approved.use(call, work.session, asked[0][0])


def _overwrite(call: Call, work: Work, caller: Caller, what: tuple[Asset, Version, str, int]) -> list[bytes]:
    """Overwrite the wraps of one version, which are returned; mark it, end its leases, log it."""
    asset, version, reason, voices = what
    session = work.session
    wraps = []
    for row in session.find(tables.data_key, version_id=version.id):
        if row["wrapped"] is not None:
            wraps.append(row["wrapped"])
            session.update(tables.data_key, row["id"], row["revision"], wrapped=None, state="destroyed")
    for row in session.find(tables.lease, version_id=version.id, state="active"):
        session.update(tables.lease, row["id"], row["revision"], state="ended")
    versions.mark_deleted(session, version)
    decisions.record(session, SHREDDED, Because(reason, caller.name, call.now_ms), version_id=version.id)
    subject = f"asset:{asset.id}"
    hidden = {
        "principal": caller.hidden(),
        "name": Hidden(f"{asset.name}@{version.number}", subject),
        "reason": Hidden(reason, f"principal:{caller.id}"),
    }
    work.log(Entry("version.deleted", {"version": version.id, "asset": asset.id, "how": "shredded", "approvals": voices}, hidden))
    return wraps
