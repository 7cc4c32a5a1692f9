"""Who may approve: enrol, remove, list.

The first approvers are enrolled by the domain owner alone: there is nobody else yet. That is on record with each of them, and a
finding.
Once there have been as many as the strictest operation needs, every change of them needs approvals itself: as many as that, or
as many others as there are. Enrol one more than operations need: with exactly as many, losing one key lets one voice decide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermetic.access import approvals, identity
from hermetic.audit.leaf import Entry, Hidden
from hermetic.custody import asking
from hermetic.custody.call import receipt
from hermetic.custody.decide import allowed_caller, still_the_same
from hermetic.custody.work import unit
from hermetic.errors import Conflict, UsageError
from hermetic.formats.messages.approvals import (
    ApproverChanged,
    ApproverList,
    ApproverRow,
    EnrolApprover,
    ListApprovers,
    RemoveApprover,
)
from hermetic.keys import approver_key
from hermetic.policy.obligations import most_approvals
from hermetic.policy.request import Action

if TYPE_CHECKING:
    from hermetic.access.approvals import Approver
    from hermetic.custody.call import Call
    from hermetic.custody.callers import Caller
    from hermetic.db.rows import ReadSession


def enrol_approver(call: Call, request: EnrolApprover) -> ApproverChanged:
    """Pin a key to a name. Raises FormatError, SignatureError, UsageError, Conflict, PolicyDenied, ApprovalNeeded."""
    public = approver_key.parse_public(request.public)
    _because(request.reason)
    caller = allowed_caller(call, Action.ENROL)
    needed = _needed(call, caller, removing=False)
    asking.demand(call, caller, needed, "enrolling an approver")
    with unit(call.custodian, "custody.approver.enrolled", call.now_ms) as work:
        still_the_same(call, work.session, caller, approvals=needed)
        _recheck(call, work.session, caller, needed, removing=False)
        known = identity.by_name(work.session, request.name)
        made = approvals.enrol(
            work.session,
            request.name,
            public,
            approver_key.key_id_of(public),
            principal_id=None if known is None else known.principal.id,
            alone=not needed,
            now_ms=call.now_ms,
        )
        entry = Entry("approver.enrolled", {"approver": made.key_id, "alone": made.alone}, _hidden(caller, made, request.reason))
        at = work.log(entry)
    return ApproverChanged(_row(made), receipt(call.custodian.generation, work.logged(), at))


def remove_approver(call: Call, request: RemoveApprover) -> ApproverChanged:
    """End an approver. Raises NotFound, PolicyDenied, ApprovalNeeded."""
    _because(request.reason)
    caller = allowed_caller(call, Action.ENROL)
    with call.custodian.database.read(call.custodian.row_keys) as session:
        approvals.named(session, request.name)
    needed = _needed(call, caller, removing=True)
    asking.demand(call, caller, needed, "removing an approver")
    with unit(call.custodian, "custody.approver.removed", call.now_ms) as work:
        still_the_same(call, work.session, caller, approvals=needed)
        _recheck(call, work.session, caller, needed, removing=True)
        gone = approvals.remove(work.session, request.name, now_ms=call.now_ms)
        at = work.log(Entry("approver.removed", {"approver": gone.key_id}, _hidden(caller, gone, request.reason)))
    return ApproverChanged(_row(gone), receipt(call.custodian.generation, work.logged(), at))


def list_approvers(call: Call, _request: ListApprovers) -> ApproverList:
    """List approvers. Raises PolicyDenied."""
    allowed_caller(call, Action.READ_CATALOG)
    with call.custodian.database.read(call.custodian.row_keys) as session:
        rows = tuple(_row(item) for item in approvals.approvers(session))
        return ApproverList(rows, _most(call, session))


def _because(reason: str) -> None:
    if not reason.strip():
        raise UsageError("say why", hint="--reason TEXT goes on record")


_ALONE = 2  # approvers that the owner enrols without anybody's approval


def _most(call: Call, session: ReadSession) -> int:
    return most_approvals(call.custodian.policy.current(session).document, call.enforcement)


def _needed(call: Call, caller: Caller, *, removing: bool) -> int:
    with call.custodian.database.read(call.custodian.row_keys) as session:
        return changes_need(call, session, caller, removing=removing)


def changes_need(call: Call, session: ReadSession, caller: Caller, *, removing: bool) -> int:
    """Return how many approvals a change of approvers needs now; 0 while the owner may still do it alone.

    Alone means: the first two. A policy that asks for more later opens no second time in which the owner enrols whom she likes.
    A removal counts those who stay, or one whose key is lost could never be removed.
    """
    most = _most(call, session)
    ever, there = len(approvals.approvers(session)), len(approvals.others(session, caller.principal))
    if not most or ever < min(most, _ALONE) or not there:
        return 0
    return min(most, max(1, there - 1) if removing else there)


def _recheck(call: Call, session: ReadSession, caller: Caller, needed: int, *, removing: bool) -> None:
    """Two processes may enrol at once: what needed nobody a moment ago may need somebody now. Raises Conflict."""
    if changes_need(call, session, caller, removing=removing) > needed:
        raise Conflict("somebody else changed the approvers meanwhile", hint="run the command again")


def _hidden(caller: Caller, item: Approver, reason: str) -> dict[str, Hidden]:
    subject = f"approver:{item.key_id}"
    return {"principal": caller.hidden(), "approver": Hidden(item.name, subject), "reason": Hidden(reason, f"principal:{caller.id}")}


def _row(item: Approver) -> ApproverRow:
    return ApproverRow(
        name=item.name,
        key=item.key_id,
        public=item.public,
        principal=item.principal_id or "",
        state=item.state,
        created_ms=item.created_ms,
        alone=item.alone,
    )
