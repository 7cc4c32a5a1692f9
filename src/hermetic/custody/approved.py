"""How many approvals a request has, and their use: read by decisions, closed in the transaction of what they were given for.

A request that hands out a key carries an id of its own each time, so that no two are equal; this release collects no approvals for
those. What takes several transactions is covered by the approvals that its first one used (`campaigns`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from hermetic.access import approvals
from hermetic.audit.leaf import Entry, Leaf
from hermetic.custody import campaigns
from hermetic.custody.lateness import late_ms
from hermetic.db import tables
from hermetic.errors import Conflict, RowTampered
from hermetic.formats.messages.base import request_hash

if TYPE_CHECKING:
    from hermetic.access.approvals import Approver, Asked
    from hermetic.custody.call import Call
    from hermetic.custody.callers import Caller
    from hermetic.db.rows import ReadSession
    from hermetic.formats.canonical import JsonValue


_CLOSING = ("approval.used", "approval.refused", "approval.expired", "approval.withdrawn")
_REMOVED = "approver.removed"


def can_be_asked(call: Call) -> bool:
    """Whether approvals can be collected for this request: it names no recipient of a key."""
    return not hasattr(call.request, "recipient")


def waiting(call: Call, session: ReadSession, caller: Caller) -> Asked | None:
    """Return the caller's newest request for exactly this, unless its time is over; a denied one counts until then."""
    found = approvals.newest(session, request_hash(call.request), caller.principal)
    if found is None or found.state not in {approvals.OPEN, approvals.DENIED}:
        return None
    return found if _late(call, session) < found.expires_ms else None


def _late(call: Call, session: ReadSession) -> int:
    return late_ms(call.custodian, session, call.now_ms)


def in_favour(call: Call, session: ReadSession, caller: Caller, scope: str = "") -> tuple[Approver, ...]:
    """Return the approvers whose yes counts for this request now, or who agreed to what it goes on with."""
    if not can_be_asked(call):  # a key of what was approved before, in steps
        return campaigns.covering(call, session, caller, scope)
    item = waiting(call, session, caller)
    voices = () if item is None else _voices(call, session, caller, item)
    return max(campaigns.covering(call, session, caller, scope), voices, key=len)


def _voices(call: Call, session: ReadSession, caller: Caller, item: Asked) -> tuple[Approver, ...]:
    """Return who is in favour: a clock before the request's making is wrong, one that was set back brings nothing back."""
    return () if item.over(call.now_ms) else approvals.in_favour(session, item, caller.principal, _late(call, session))


def use(call: Call, session: Any, caller: Caller, needed: int = 0) -> int:
    """Close the open request, in the transaction of what it was for; return how many approved.

    `needed` are those that rules of custody ask for beyond the policy. Raises Conflict when there are fewer: somebody was faster, or
    an approver was removed meanwhile. Raises RowTampered when the log says that request or approver ended before.
    """
    scope = "" if caller.asked is None else caller.asked.scope
    if not needed and (agreed := campaigns.covering(call, session, caller, scope)):
        return len(agreed)
    item = waiting(call, session, caller) if can_be_asked(call) else None
    if item is None or item.state != approvals.OPEN:
        if needed:
            raise Conflict("the approvals were used or ended meanwhile", hint="run the command again: it asks anew")
        return 0
    voices = _voices(call, session, caller, item)
    if len(voices) < max(needed, 1):
        if needed:
            raise Conflict("the approvals were used or ended meanwhile", hint="run the command again: it asks anew")
        return 0
    _check_not_put_back(session, item, voices)
    approvals.close(session, item, approvals.USED, now_ms=call.now_ms)
    if scope:
        campaigns.begin(session, scope, item)
    facts: dict[str, JsonValue] = {"request": item.id, "approvers": [voice.key_id for voice in voices], "needed": item.needed}
    if scope:
        facts["campaign"] = scope
    session.entries.append(Entry("approval.used", facts, {"principal": caller.hidden()}))
    return len(voices)


def _check_not_put_back(session: ReadSession, item: Asked, voices: tuple[Approver, ...]) -> None:
    """An older row that somebody put back is authentic. What is used here cannot be taken back, so the log is asked at once."""
    leaf, keys = tables.log_leaf, {voice.key_id for voice in voices}
    for (raw,) in session.connection.execute(sa.select(leaf.c.leaf).where(leaf.c.kind.in_((*_CLOSING, _REMOVED)))):
        found = Leaf.parse(bytes(raw))
        ended = found.facts.get("approver") in keys if found.kind == _REMOVED else found.facts.get("request") == item.id
        if ended:
            raise RowTampered("an approval that had ended was put back", hint="run `hermetic log verify`")
