"""One approval for work that takes several transactions or requests: moving data keys, adding a root, dropping one.

The first transaction uses the approvals up, as everywhere, and begins a *campaign*: a row of `setting` that names the used request and
the *scope* it was for. What follows in the same scope rests on those approvals. A campaign is bounded:

- its scope says what may go on, and no more: `rewrap/KEK/NUMBER`, the one version that data keys move to, `add-root/…` one root
- it is the requester's, and nobody else's
- it ends when the request would have ended, when the work is done, when the domain is restored, and when too few of those who
  approved are approvers still; by the clock and by the log (`lateness`), and whoever sees that it is over ends it for good

The statements are verified anew whenever they are counted, as those of an open request are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hermetic.access import approvals
from hermetic.custody.lateness import late_ms
from hermetic.db import tables
from hermetic.errors import NotFound

if TYPE_CHECKING:
    from hermetic.access.approvals import Approver, Asked
    from hermetic.custody.call import Call
    from hermetic.custody.callers import Caller
    from hermetic.db.rows import ReadSession

PREFIX = "campaign/"


def covering(call: Call, session: ReadSession, caller: Caller, scope: str) -> tuple[Approver, ...]:
    """Return the approvers whose yes, used before, still covers what the caller does in this scope."""
    item = _begun(session, scope) if scope else None
    if item is None or item.state != approvals.USED or call.now_ms < item.created_ms - approvals.SKEW_MS:
        return ()
    late = late_ms(call.custodian, session, call.now_ms)
    return approvals.voices(session, item, caller.principal, late) if late < item.expires_ms else ()


def _begun(session: ReadSession, scope: str) -> Asked | None:
    row = session.get(tables.setting, PREFIX + scope)
    if row is None:
        return None
    try:
        return approvals.asked(session, str(row["value"].get("request")))
    except NotFound:
        return None


def begin(session: Any, scope: str, item: Asked) -> None:
    """Let a request that was just used cover what follows in its scope."""
    row, value = session.get(tables.setting, PREFIX + scope), {"request": item.id}
    if row is None:
        session.insert(tables.setting, key=PREFIX + scope, value=value)
    else:
        session.update(tables.setting, PREFIX + scope, row["revision"], value=value)


def end(session: Any, scope: str) -> None:
    """End a campaign, in the transaction that finishes its work."""
    if session.get(tables.setting, PREFIX + scope) is not None:
        session.delete(tables.setting, PREFIX + scope)


def overdue(session: ReadSession, now_ms: int) -> tuple[tuple[str, Asked], ...]:
    """Return the campaigns, by scope, whose request would have ended."""
    rows = session.scan(tables.setting, tables.setting.c.key.like(f"{PREFIX}%"))
    scopes = [str(row["key"]).removeprefix(PREFIX) for row in rows]
    begun = [(scope, item) for scope in scopes if (item := _begun(session, scope)) is not None]
    return tuple((scope, item) for scope, item in begun if now_ms >= item.expires_ms)


def end_all(session: Any) -> None:
    """End every campaign: a restore does, since their ends may be among what was lost."""
    for row in list(session.scan(tables.setting, tables.setting.c.key.like(f"{PREFIX}%"))):
        session.delete(tables.setting, row["key"])
