"""Break glass: in an emergency somebody gets to open one asset, for one purpose and some hours, because others agreed; and it is loud.

It is a grant and an approval, no way around either:

1. The policy says who may ask, for what, on which assets (action `break-glass`); guards and obligations of the class hold for every
   release under it as for any other. Two purposes there are: recover and debug.
2. Two people beside each other: who asks, and either one approver whom the policy permits `approve` on this asset, or two approvers
   who merely have keys. Their yes is signed, for this request, and used up (spec/approval.md). How many they were counts as approvals
   of what is opened under the grant, so that what the policy allows "with an approval" is allowed.
3. The grant is for who asked, `open` only, this asset only (or this version), one purpose, at most four hours, and ends by the clock.
   When the asset is renamed, the grant and whatever was asked under the name end: another asset may get it.
4. It is on the log under kinds of its own, and a finding from the first moment until somebody else has reviewed it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from hermetic.access import approvals, broken_glass, grants, identity
from hermetic.access.grants import Terms
from hermetic.audit.leaf import Entry, Hidden, Leaf
from hermetic.custody import approved, asking, callers, environments
from hermetic.custody.callers import Caller
from hermetic.custody.decide import Question, allowed_caller, decide, still_the_same
from hermetic.custody.people import grant_row
from hermetic.custody.resolve import as_resource
from hermetic.custody.work import unit
from hermetic.db import tables
from hermetic.errors import Conflict, FormatError, PolicyDenied, Unsupported, UsageError
from hermetic.formats import codec
from hermetic.formats.messages.access import GrantReviewed
from hermetic.ids import Purpose, Ref
from hermetic.policy.request import Action

if TYPE_CHECKING:
    from hermetic.access.approvals import Approver
    from hermetic.access.grants import Grant
    from hermetic.catalog.values import Asset, Version
    from hermetic.custody.call import Call
    from hermetic.custody.work import Work
    from hermetic.db.rows import ReadSession
    from hermetic.formats.messages.access import BreakGlass, ReviewGrant
    from hermetic.formats.messages.policy import GrantRow
    from hermetic.ids import AssetName
    from hermetic.policy.request import AssetResource

PURPOSES: Final = (Purpose.RECOVER, Purpose.DEBUG)
SHORTEST: Final = 60  # seconds
_APART: Final = 2  # approvers where none of them is one by the policy


def break_glass(call: Call, request: BreakGlass) -> GrantRow:
    """Open a way in for the caller. Raises UsageError, NotFound, PolicyDenied, ApprovalNeeded, Conflict."""
    _check(request)
    with call.custodian.database.read(call.custodian.row_keys) as session:
        callers.require(call, session)
        _, resource = _named(call, session, request)
    caller = allowed_caller(call, Action.BREAK_GLASS, resource, purpose=request.purpose)
    with call.custodian.database.read(call.custodian.row_keys) as session:
        needed = _needed(call, session, caller, resource)
    asking.demand(call, caller, needed, Action.BREAK_GLASS.value)
    with unit(call.custodian, "custody.glass.broken", call.now_ms) as work:
        (asset, version), now = _named(call, work.session, request)
        if _needed(call, work.session, caller, now) > needed:
            raise Conflict("who may approve this changed meanwhile", hint="run the command again")
        agreed = approved.in_favour(call, work.session, caller)
        still_the_same(call, work.session, caller, now, approvals=needed)
        terms = _terms(call, request, caller, (asset, version))
        grant = broken_glass.break_glass(work.session, terms, approvals=len(agreed), now_ms=call.now_ms)
        work.log(_entry(request, caller, (grant, resource), agreed))
        return grant_row(work.session, grant, call.now_ms)


def _check(request: BreakGlass) -> None:
    if request.purpose not in PURPOSES:
        raise UsageError("glass is broken to recover or to debug", hint="--purpose recover, or --purpose debug")
    if not SHORTEST <= request.seconds <= broken_glass.LONGEST_MS // 1000:
        raise UsageError("it stays open for a minute to four hours", hint="--for 1h; when that is over it may be asked for again")
    if not 0 < len(request.reason.strip()) <= grants.REASON_LIMIT:
        raise UsageError("say why, for those who are asked and who review it", hint="--reason TEXT goes on record")


def _named(call: Call, session: ReadSession, request: BreakGlass) -> tuple[tuple[Asset, Version | None], AssetResource]:
    """Return the asset, the version if the reference has a number, and what the policy is asked about."""
    policy = call.custodian.policy.current(session)
    asset, version = environments.find(session, policy, request.ref, request.environment)
    named = None if Ref.parse(request.ref).number is None else version
    return (asset, named), as_resource(asset, named, policy)


def _terms(call: Call, request: BreakGlass, caller: Caller, what: tuple[Asset, Version | None]) -> Terms:
    asset, version = what
    number = "" if version is None else f"@{version.number}"
    return Terms(
        principal_id=caller.id,
        action=Action.OPEN,
        pattern=f"{asset.environment.value}:{asset.name}{number}",
        purposes=(request.purpose,),
        expires_ms=call.now_ms + request.seconds * 1000,
        reason=request.reason,
    )


def _needed(call: Call, session: ReadSession, caller: Caller, resource: AssetResource) -> int:
    """Return how many approvals it takes: one by an approver whom the policy permits to approve this, else two."""
    voices = approved.in_favour(call, session, caller)
    return 1 if any(_by_role(call, session, who, resource) for who in voices) else _APART


def _by_role(call: Call, session: ReadSession, who: Approver, resource: AssetResource) -> bool:
    """Whether the policy permits an approver `approve` on this asset; a second factor is theirs to show when they sign."""
    known = identity.by_name(session, who.name) if who.principal_id is None else identity.find(session, who.principal_id)
    if known is None or not known.active:
        return False
    policy = call.custodian.policy.current(session)
    return decide(call, session, Question(Caller(known.principal), Action.APPROVE, resource, policy)).judged.decision.allowed


def _entry(request: BreakGlass, caller: Caller, what: tuple[Grant, AssetResource], agreed: tuple[Approver, ...]) -> Entry:
    grant, resource = what
    subject = f"principal:{caller.id}"
    hidden = {
        "principal": caller.hidden(),
        "pattern": Hidden(grant.pattern, subject),
        "reason": Hidden(request.reason, subject),
    }
    facts = {
        "grant": grant.id,
        "asset": resource.id,
        "class": resource.data_class.value,
        "environment": resource.environment.value,
        "purpose": request.purpose.value,
        "expires_ms": grant.expires_ms,
        "approvers": [who.key_id for who in agreed],
    }
    return Entry("break-glass.opened", {**facts}, hidden)


def review_grant(call: Call, request: ReviewGrant) -> GrantReviewed:
    """Close the case of a broken glass. Raises NotFound, Conflict (open, or reviewed already), UsageError, PolicyDenied."""
    if not 0 < len(request.finding.strip()) <= grants.REASON_LIMIT:
        raise UsageError("say what you found", hint="--finding TEXT goes on record")
    caller = allowed_caller(call, Action.READ_LOG)
    with unit(call.custodian, "custody.glass.reviewed", call.now_ms) as work:
        still_the_same(call, work.session, caller)
        grant = grants.require(work.session, request.grant)
        if grant.principal_id == caller.id:
            raise PolicyDenied(
                "nobody reviews what they did themselves", hint="ask somebody else who reads the log", reasons=("own-review",)
            )
        done = broken_glass.review(work.session, grant, now_ms=call.now_ms)
        releases = _releases(work.session, done)
        hidden = {"principal": caller.hidden(), "finding": Hidden(request.finding, f"principal:{grant.principal_id}")}
        work.log(Entry("break-glass.reviewed", {"grant": done.id, "releases": releases}, hidden))
        return GrantReviewed(grant_row(work.session, done, call.now_ms), releases)


def _asked_about(request: bytes) -> AssetName | None:
    """Return the asset's name in a kept request to break the glass, None for one of a newer release, which may be about any."""
    try:
        return Ref.parse(codec.decode_kept(request).ref).name
    except (FormatError, Unsupported):
        return None


def end_with_name(work: Work, asset: Asset, hidden: dict[str, Hidden]) -> None:
    """End what was asked for and agreed to under the name of an asset that is about to get another one, and log it as `hidden`'s."""
    for item in approvals.requests(work.session, state=approvals.OPEN):
        if item.action == Action.BREAK_GLASS and _asked_about(item.request) in {asset.name, None}:
            approvals.close(work.session, item, approvals.EXPIRED, now_ms=work.now_ms)
            work.log(Entry("approval.expired", {"request": item.id, "renamed": True}, hidden))
    for row in work.session.find(tables.grant_, kind=grants.BREAK_GLASS, state=grants.ACTIVE):
        if row["asset"].partition("@")[0] == f"{asset.environment.value}:{asset.name}":
            work.session.update(tables.grant_, row["id"], row["revision"], state=grants.REVOKED)
            work.log(Entry("grant.revoked", {"grant": row["id"], "renamed": True}, hidden))


def _releases(session: ReadSession, grant: Grant) -> int:
    """Return how many keys went out under a grant, as the log says it."""
    leaf = tables.log_leaf
    query = sa.select(leaf.c.leaf).where(leaf.c.kind == "release.intent", leaf.c.at_ms >= grant.created_ms)
    found = (Leaf.parse(bytes(raw)).facts for (raw,) in session.connection.execute(query))
    return sum(
        len(versions) for facts in found if grant.id in _list(facts.get("grants")) and (versions := _list(facts.get("versions")))
    )


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
