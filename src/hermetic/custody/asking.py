"""Ask for approvals: a refused operation becomes a request that approvers can sign (spec/approval.md).

ask       what the policy refuses for want of approvals, unless too few approvers are enrolled
demand    the same for what rules of custody, not the policy, ask for: a change of approvers, a policy with fewer approvals
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from hermetic.access import approvals
from hermetic.audit.leaf import Entry, Hidden
from hermetic.custody import approved, callers
from hermetic.custody.work import unit
from hermetic.errors import ApprovalNeeded, PolicyDenied
from hermetic.formats import codec
from hermetic.formats.messages.base import request_hash

if TYPE_CHECKING:
    from hermetic.access.approvals import Asked
    from hermetic.custody.call import Call
    from hermetic.custody.callers import Caller
    from hermetic.custody.work import Work
    from hermetic.db.rows import ReadSession
    from hermetic.formats.canonical import JsonValue


def demand(call: Call, caller: Caller, needed: int, what: str) -> None:
    """Return if the request has so many approvals, else ask for them. Raises ApprovalNeeded, PolicyDenied (somebody said no)."""
    if not needed:
        return
    with call.custodian.database.read(call.custodian.row_keys) as session:
        have = len(approved.in_favour(call, session, caller))
    if have < needed:
        ask(call, caller, needed, what)


def ask(call: Call, caller: Caller, needed: int, what: str, *, data_class: str = "") -> NoReturn:
    """Put the request on record, if it is not yet, and say how to approve it. `data_class` is told to those who are notified.

    Raises ApprovalNeeded; PolicyDenied when an approver has said no; both leave the operation undone.
    """
    with unit(call.custodian, "custody.approval.asked", call.now_ms) as work:
        callers.require(call, work.session)
        item = approved.waiting(call, work.session, caller)
        if item is not None and item.state == approvals.DENIED:
            refuse_denied(work.session, item)
        others = approvals.others(work.session, caller.principal)
        if len(others) < needed:
            raise ApprovalNeeded(
                f"{what} needs the approval of {_people(needed)}, and {len(others)} could give it",
                hint="`hermetic approver enrol NAME --public-key FILE` makes approvers known",
            )
        if item is None:
            item = _ask(call, work, caller, (needed, what, data_class))
        have = len(approvals.in_favour(work.session, item, caller.principal, call.now_ms))
    raise ApprovalNeeded(
        f"{what} needs the approval of {_people(needed)}, and has {have}: request {item.id}",
        hint=f"an approver: `hermetic approve {item.id} --key FILE`; then run the same command again",
    )


def _ask(call: Call, work: Work, caller: Caller, about: tuple[int, str, str]) -> Asked:
    needed, what, data_class = about
    said = (what, request_hash(call.request), codec.encode(call.request))
    item = approvals.ask(work.session, caller.principal, said, needed=needed, now_ms=call.now_ms)
    facts: dict[str, JsonValue] = {"request": item.id, "action": what, "needed": needed, "expires_ms": item.expires_ms}
    hidden = {"principal": caller.hidden()}
    if data_class:
        hidden["class"] = Hidden(data_class, f"principal:{caller.id}")
    work.log(Entry("approval.asked", facts, hidden))
    return item


def refuse_denied(session: ReadSession, item: Asked) -> NoReturn:
    """Say who said no, and why. Raises PolicyDenied."""
    said = [(who.name, statement.reason) for who, statement in approvals.said_about(session, item) if statement.verdict == "deny"]
    who, why = said[0] if said else ("an approver", "no reason on record")
    raise PolicyDenied(
        f"{who} denied this request: {why}", hint="ask them; the same may be asked again when a day has passed", reasons=("denied",)
    )


def _people(count: int) -> str:
    return "1 other person" if count == 1 else f"{count} other people"
