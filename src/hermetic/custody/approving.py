"""What waits for approval: list and show requests, take approvers' statements, take a request back (spec/approval.md).

A request is kept as its canonical bytes, so that approvers see what they sign. Who hands a statement in does not matter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hermetic.access import approvals, identity, second_factors
from hermetic.audit.leaf import Entry, Hidden
from hermetic.custody import callers, factor_age, naming
from hermetic.custody.call import receipt
from hermetic.custody.decide import allowed_caller
from hermetic.custody.work import unit
from hermetic.errors import ApprovalNeeded, Conflict, FormatError, NotFound, Unsupported, UsageError
from hermetic.formats import codec, readable
from hermetic.formats.messages.approvals import (
    AddStatement,
    ListRequests,
    RequestList,
    RequestRow,
    RequestWithdrawn,
    ShowRequest,
    StatementRow,
    WithdrawRequest,
)
from hermetic.formats.messages.base import Pair
from hermetic.keys import approver_key
from hermetic.policy.obligations import second_factor_for
from hermetic.policy.request import Action

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hermetic.access.approvals import Approver, Asked
    from hermetic.custody.call import Call
    from hermetic.db.rows import ReadSession
    from hermetic.formats.approval import Statement

PREFIX = 4  # shortest prefix of an id that names a request
LISTED = 200  # requests in one answer


def list_requests(call: Call, request: ListRequests) -> RequestList:
    """List the newest requests, or those before one. Raises PolicyDenied, NotFound."""
    allowed_caller(call, Action.READ_CATALOG)
    with call.custodian.database.read(call.custodian.row_keys) as session:
        found = approvals.requests(session, state=None if request.closed else approvals.OPEN)
        kept = [item for item in found if request.closed or not item.over(call.now_ms)]
        if request.before is not None:
            last = approvals.asked(session, request.before)
            kept = [item for item in kept if (item.created_ms, item.id) < (last.created_ms, last.id)]
        return RequestList(tuple(row(call, session, item) for item in kept[-LISTED:]), older=len(kept) > LISTED)


def show_request(call: Call, request: ShowRequest) -> RequestRow:
    """Show a request. Raises NotFound, UsageError, PolicyDenied."""
    allowed_caller(call, Action.READ_CATALOG)
    with call.custodian.database.read(call.custodian.row_keys) as session:
        return row(call, session, _find(approvals.requests(session), request.request))


def add_statement(call: Call, request: AddStatement) -> RequestRow:
    """Take an approver's statement. Raises as `access.approvals.add`."""
    with unit(call.custodian, "custody.approval.given", call.now_ms) as work:
        caller = callers.require(call, work.session)
        item, who, said = approvals.add(work.session, request.statement, domain=call.custodian.domain, now_ms=call.now_ms)
        if said.verdict == "approve":
            _second_factor(call, work.session, who)
        if said.verdict == "deny":
            item = approvals.close(work.session, item, approvals.DENIED, now_ms=call.now_ms)
        subject = f"approver:{who.key_id}"
        hidden = {"principal": caller.hidden(), "approver": Hidden(who.name, subject)}
        if said.reason:
            hidden["reason"] = Hidden(said.reason, subject)
        kind = "approval.given" if said.verdict == "approve" else "approval.refused"
        work.log(Entry(kind, {"request": item.id, "approver": who.key_id, "expires_ms": said.expires_ms}, hidden))
    with call.custodian.database.read(call.custodian.row_keys) as session:
        return row(call, session, approvals.asked(session, item.id))


def withdraw_request(call: Call, request: WithdrawRequest) -> RequestWithdrawn:
    """Close a request of the caller's own; others' are not there for them. Raises NotFound, UsageError, Conflict."""
    if not request.reason.strip():
        raise UsageError("say why", hint="--reason TEXT goes on record")
    with unit(call.custodian, "custody.approval.withdrawn", call.now_ms) as work:
        caller = callers.require(call, work.session)
        own = [item for item in approvals.requests(work.session) if item.requester_id == caller.id]
        item = _find(own, request.request)
        if item.state == approvals.OPEN and item.over(call.now_ms):
            raise Conflict("this request has expired already", hint="nothing is left to take back")
        gone = approvals.close(work.session, item, approvals.WITHDRAWN, now_ms=call.now_ms)
        hidden = {"principal": caller.hidden(), "reason": Hidden(request.reason, f"principal:{caller.id}")}
        at = work.log(Entry("approval.withdrawn", {"request": gone.id}, hidden))
    return RequestWithdrawn(gone.id, receipt(call.custodian.generation, work.logged(), at))


def _second_factor(call: Call, session: ReadSession, who: Approver) -> None:
    """Return if the policy asks no second factor for approving, or the approver showed one. Raises ApprovalNeeded.

    An authenticator is one: it verified the person for this very statement. For a key file its holder shows one to custody, as the
    principal they are here; a no is taken without.
    """
    oldest = second_factor_for(call.custodian.policy.current(session).document, Action.APPROVE, call.enforcement)
    if oldest is None or approver_key.is_authenticator(who.public):
        return
    shown = None if who.principal_id is None else second_factors.last_shown_ms(session, who.principal_id)
    age = factor_age.age_of(call, session, shown)
    if age is None or age > oldest:
        raise ApprovalNeeded(
            f"approving needs a second factor of {who.name} from the last {oldest // 60_000} minutes",
            hint="the approver: `hermetic identity confirm`, then repeat; or approve with an authenticator (`--webauthn`)",
        )


def _find(requests: Iterable[Asked], text: str) -> Asked:
    found = [item for item in requests if len(text) >= PREFIX and item.id.startswith(text)]
    if not found:
        raise NotFound(f"no request {text!r}", hint="`hermetic request ls` lists them; four letters of an id are enough")
    if len(found) > 1:
        raise UsageError(f"{text!r} names {len(found)} requests", hint="write more of the id")
    return found[0]


def row(call: Call, session: ReadSession, item: Asked) -> RequestRow:
    """Return a request as the port tells it."""
    over = item.state == approvals.OPEN and item.over(call.now_ms)
    return RequestRow(
        id=item.id,
        domain=call.custodian.domain,
        hash=item.hash,
        request=item.request,
        action=item.action,
        requester_id=item.requester_id,
        requester=item.requester,
        needed=item.needed,
        created_ms=item.created_ms,
        expires_ms=item.expires_ms,
        state=approvals.EXPIRED if over else item.state,
        asks=_asks(item.request),
        about=naming.about(call, session, item),
        statements=tuple(_statement((call, session), item, (who, said)) for who, said in approvals.said_about(session, item)),
    )


def _asks(raw: bytes) -> tuple[Pair, ...]:
    try:
        asked: Any = codec.decode_kept(raw)
    except (FormatError, Unsupported) as error:  # another service at this database may be of a newer release
        return (Pair("asks", f"what this custody cannot read: {readable.spelled(error.message)}"),)
    return (Pair("asks", codec.name_of(type(asked))), *readable.pairs(asked))


def _statement(where: tuple[Call, ReadSession], item: Asked, spoken: tuple[Approver, Statement]) -> StatementRow:
    (call, session), (who, said) = where, spoken
    why = "" if who.active else "is no approver any more"
    if identity.silenced(session, who.principal_id, who.name):
        why = "is disabled"
    if not approvals.says_who(said, item):
        why = "does not name who asks"
    if call.now_ms >= said.expires_ms:
        why = "has expired"
    return StatementRow(who.name, said.verdict, said.reason, said.made_ms, said.expires_ms, why)
