"""End what a principal may do and holds, at once and in one transaction: roles, grants, credentials, leases, open requests.

What has to hold:

1. From the commit on nothing is released to them: step 1 of every request looks them up. Who holds a key asks at the latest when the
   lease is due, which is the class's `check`, and is told that it has ended.
2. What ended stays ended when they are given a role again: grants and certificates are asked for anew.
3. As approvers they have no voice while they are disabled, also in what they signed before. They stay approvers, or whoever enrols
   people could make approvals cheaper by disabling those who give them; ending an approver needs approvals (`enrolling`).

Plaintext that they were shown or exposed is theirs; the answer counts exposures that are open.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermetic.access import approvals, grants, identity
from hermetic.audit.leaf import Entry, Hidden
from hermetic.catalog import exposures
from hermetic.custody.decide import allowed_caller, still_the_same
from hermetic.custody.work import unit
from hermetic.db import tables
from hermetic.errors import NotFound, UsageError
from hermetic.formats.messages.access import DisablePrincipal, PrincipalDisabled
from hermetic.formats.messages.policy import PrincipalRow
from hermetic.policy.request import Action

if TYPE_CHECKING:
    from hermetic.access.identity import Enrolled
    from hermetic.custody.call import Call
    from hermetic.custody.callers import Caller
    from hermetic.custody.work import Work
    from hermetic.db.rows import ReadSession, Session

_ACTIVE, _REVOKED, _ENDED = "active", "revoked", "ended"


def disable_principal(call: Call, request: DisablePrincipal) -> PrincipalDisabled:
    """Disable a principal. Raises NotFound, UsageError, PolicyDenied, Conflict for the last owner."""
    if not request.reason.strip():
        raise UsageError("say why", hint="--reason TEXT goes on record")
    caller = allowed_caller(call, Action.ENROL)
    with unit(call.custodian, "custody.principal.disabled", call.now_ms) as work:
        still_the_same(call, work.session, caller)
        return end(call, work, caller, (_known(work.session, request.principal), request.reason))


def _known(session: ReadSession, text: str) -> Enrolled:
    found = identity.by_name(session, text) or identity.find(session, text)
    if found is None:
        raise NotFound(f"no principal {text!r}", hint="`hermetic access roles` lists those the domain knows")
    return found


def end(call: Call, work: Work, caller: Caller, about: tuple[Enrolled, str]) -> PrincipalDisabled:
    """Disable a principal for a reason in a unit of work, and log it. Raises as `identity.disable`."""
    known, reason = about
    gone = identity.disable(work.session, known.principal.id, by=caller.principal)
    who = gone.principal
    ended = grants.end_all(work.session, who.id, now_ms=call.now_ms)
    credentials = _credentials(work.session, who.id, call.now_ms)
    _forget_factors(work.session, who.id)
    leases = _leases(work.session, who.id)
    asked = [item for item in approvals.requests(work.session, state=approvals.OPEN) if item.requester_id == who.id]
    for item in asked:
        approvals.close(work.session, item, approvals.EXPIRED, now_ms=call.now_ms)
    counts = {"grants": len(ended), "credentials": len(credentials), "leases": leases, "requests": len(asked)}
    hidden = {
        "principal": caller.hidden(),
        "subject": Hidden(who.name, f"principal:{who.id}"),
        "reason": Hidden(reason, f"principal:{caller.id}"),
    }
    work.log(Entry("principal.state", {"principal": who.id, "state": gone.state, **counts}, hidden))
    for grant in ended:
        work.log(Entry("grant.revoked", {"grant": grant.id, "disabled": True}, {"principal": caller.hidden()}))
    for item in asked:
        work.log(Entry("approval.expired", {"request": item.id, "disabled": True}))
    row = PrincipalRow(who.id, who.name, who.kind.value, who.roles, gone.state)
    plain = sum(item.owner == who.name for item in exposures.list_open(work.session))
    return PrincipalDisabled(row, len(ended), len(credentials), leases, len(asked), plain)


def _credentials(session: Session, principal_id: str, now_ms: int) -> list[str]:
    """Revoke certificates and devices; return their ids."""
    found = session.find(tables.credential, principal_id=principal_id, state=_ACTIVE)
    for row in found:
        session.update(tables.credential, row["id"], row["revision"], state=_REVOKED, ended_ms=now_ms)
    return [row["id"] for row in found]


def _forget_factors(session: Session, principal_id: str) -> None:
    """A second factor that was shown counts no more; the factors themselves stay theirs."""
    for row in session.find(tables.factor_session, principal_id=principal_id):
        session.delete(tables.factor_session, (row["principal_id"], row["credential_id"]))


def _leases(session: Session, principal_id: str) -> int:
    found = session.find(tables.lease, principal_id=principal_id, state=_ACTIVE)
    for row in found:
        session.update(tables.lease, row["id"], row["revision"], state=_ENDED)
    return len(found)
