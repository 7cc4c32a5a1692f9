"""Refusals: on the log first, then to the caller. A flood of them is counted, not written one by one: equal ones at once, others of
one caller beyond a measure, in which the first about each thing that exists keeps its entry (`audit.floods`, `concerned`).

Two roads lead here. `refuse_unless` logs what the policy said, in full. `note` is the net under every handler: a request for a key,
or one that would change keys or who decides about them, is logged when it fails for any reason; any other when it is refused or meets
changed bytes. An entry says who asked, what and why (as far as the request says so), what was the matter, the policy in force and the
ids of policies that had a part in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import sqlalchemy as sa

from hermetic.access import approvals, grants
from hermetic.audit.leaf import Entry, Hidden
from hermetic.audit.tables_store import TablesStore
from hermetic.custody import campaigns, concerned, seen
from hermetic.custody.lateness import late_ms
from hermetic.custody.work import TrackedSession
from hermetic.db import tables
from hermetic.errors import ApprovalNeeded, Denied, HermeticError, IntegrityError, InvalidName, LogTampered
from hermetic.formats import codec
from hermetic.formats.binary_text import to_base64url
from hermetic.ids import check_id

if TYPE_CHECKING:
    from hermetic.custody.call import Call
    from hermetic.custody.callers import Caller
    from hermetic.custody.custodian import Custodian
    from hermetic.custody.decide import Verdict
    from hermetic.db.rows import ReadSession, Session
    from hermetic.formats.canonical import JsonValue

ABOUT_KEYS = frozenset(
    {
        "share-version",
        "promote-version",
        "roll-back",
        "rotate-key",
        "rewrap-key",
        "change-key-state",
        "change-key-schedule",
        "rotate-signing-key",
        "change-signing-care",
        "add-root",
        "extend-root",
        "set-root-state",
        "drop-root",
        "rewrap-root",
        "check-roots",
        "announce-destruction",
        "cancel-destruction",
        "destroy-due",
        "shred-versions",
        "record-copies-destroyed",
        "record-package-destroyed",
        "record-recovery",
        "apply-policy",
        "begin-totp",
        "finish-totp",
        "begin-webauthn",
        "finish-webauthn",
        "confirm-totp",
        "confirm-webauthn",
        "remove-factor",
        "invite-factor",
        "enrol-approver",
        "remove-approver",
        "add-statement",
        "withdraw-request",
        "give-grant",
        "revoke-grant",
        "set-roles",
        "enrol-identity",
        "issue-certificate",
        "renew-certificate",
        "revoke-credential",
        "create-authority",
        "rotate-authority",
        "retire-authority",
        "trust-authority",
        "disable-principal",
        "break-glass",
        "review-grant",
    }
)
"""Requests that hand out no key to the caller, and change keys or who decides about them: a refusal of any kind is on record."""

REASONS = 8
REASON_LENGTH = 200
ASKED = 8  # references of a refused request that the log keeps, each cut at REASON_LENGTH
_ABOUT = (
    *("ref", "name", "old", "new", "run", "version", "kek", "key", "root", "provider"),
    *("verb", "principal", "grant", "package", "subject"),
)
SWEPT = 100  # grants marked as expired at a time


def refuse_unless(call: Call, caller: Caller, verdict: Verdict) -> Verdict:
    """Return an allowing verdict; else log the denial, then raise PolicyDenied or ApprovalNeeded."""
    if verdict.allowed:
        call.noted.policies = verdict.policies
        return verdict
    question = verdict.question
    codes = (*verdict.policies, *(item.code for item in verdict.judged.unmet), *verdict.judged.decision.errors)
    facts: dict[str, JsonValue] = {
        "action": question.action.value,
        "resource": question.resource.id,
        "purpose": None if question.purpose is None else question.purpose.value,
        "policy": to_base64url(question.policy.digest),
        "reasons": [code[:REASON_LENGTH] for code in (codes or ("no-policy-permits",))[:REASONS]],
        "policies": list(verdict.policies),
        **verdict.seen.facts,
    }
    record(call, facts, {"principal": caller.hidden(), **verdict.seen.hidden} | _said(call))
    verdict.judged.require(also=verdict.past_grant)
    return verdict


def note(call: Call, error: HermeticError) -> None:
    """Log a refusal that no handler has logged yet. That the log itself is not what it was cannot stand in that log."""
    if isinstance(error, LogTampered):
        return
    serious = isinstance(error, Denied | ApprovalNeeded | IntegrityError)
    if call.noted.refusal or not (serious or asks_for_key(call) or _asks(call) in ABOUT_KEYS):
        return
    hidden = {"principal": Hidden(call.caller, _subject(call))} | _said(call)
    hidden["message"] = Hidden(_text(error.message), _subject(call))
    hidden |= seen.network_of(call.network, call.caller)
    facts: dict[str, JsonValue] = {"action": None, "resource": None, "reasons": [type(error).__name__], "at": call.now_ms}
    record(call, {**facts, "policy": _in_force(call), "policies": list(call.noted.policies)}, hidden)


def _asks(call: Call) -> str:
    return codec.name_of(type(call.request))


def _in_force(call: Call) -> str | None:
    """Return the digest of the policy in force; None where it cannot be read, which is what may have been refused for."""
    try:
        with call.custodian.database.read(call.custodian.row_keys) as session:
            return to_base64url(call.custodian.policy.current(session).digest)
    except HermeticError:
        return None


def _subject(call: Call) -> str:
    return f"principal:{call.caller}"[:255]


def _said(call: Call) -> dict[str, Hidden]:
    """Return what the request is about, and why it was made, as far as it says so."""
    hidden = {}
    if asked := _asked(call):
        hidden["asked"] = Hidden(asked, _subject(call))
    if isinstance(reason := getattr(call.request, "reason", None), str) and reason:
        hidden["reason"] = Hidden(_text(reason), _subject(call))
    return hidden


def asks_for_key(call: Call) -> bool:
    """Whether the request is one for a key: those have a recipient."""
    return hasattr(call.request, "recipient")


def _asked(call: Call) -> list[JsonValue]:
    """Return what the request is about, as far as it says so: untrusted text, cut and made encodable."""
    request = call.request
    said = getattr(request, "refs", None) or [getattr(request, name, None) for name in _ABOUT]
    texts = [item for item in said if isinstance(item, str) and item]
    return [_text(text) for text in texts[:ASKED]]


def _text(text: str) -> str:
    """Return untrusted text as the log keeps it: cut, and made encodable."""
    return text[:REASON_LENGTH].encode("utf-8", "replace").decode("utf-8")


def record(call: Call, facts: dict[str, JsonValue], hidden: dict[str, Hidden]) -> None:
    """Append a denial, or count it with others (`audit.floods`); durable on return."""
    about_key = asks_for_key(call)
    facts = {**facts, "asks": _asks(call), "enforcement": call.enforcement.value}
    if about_key:
        facts["request"] = _request_id(call)
    entry = Entry("release.denied" if about_key else "access.denied", facts, hidden)
    custodian, about = call.custodian, concerned.things(call, facts.get("resource"))
    call.noted.refusal = True
    with custodian.database.write(custodian.row_keys, step="custody.release.denied") as session:
        store = TablesStore(session.connection)
        told = _expire(custodian, session, call.now_ms)
        custodian.log.append_denial(store, entry, now_ms=custodian.clock(), things=about)
    custodian.committed()
    if told:
        custodian.outbox.wake.set()


def close_overdue(call: Call) -> None:
    """Mark grants and requests that are over by the clock; at the start of a connection, so that every process looks once."""
    sweep(call.custodian, call.now_ms)


def sweep(custodian: Custodian, now_ms: int) -> None:
    """Mark grants and requests that are over by the clock, and write counts of refusals that are due."""
    with custodian.database.write(custodian.row_keys, step="custody.grant.expired") as session:
        told = _expire(custodian, session, now_ms)
        custodian.log.flush(TablesStore(session.connection), now_ms=custodian.clock())
    custodian.committed()
    if told:
        custodian.outbox.wake.set()


def _expire(custodian: Custodian, session: Session, now_ms: int) -> bool:
    """Do so in a transaction; tell whether somebody is to be told."""
    late = late_ms(custodian, session, now_ms)
    expired = [*expire_grants(session, now_ms), *expire_requests(session, late), *expire_campaigns(session, late)]
    if not expired:
        return False
    custodian.log.append(TablesStore(session.connection), expired, now_ms=custodian.clock())
    return custodian.outbox.put(session, expired, domain=custodian.domain, now_ms=now_ms)


def _request_id(call: Call) -> str | None:
    """Return the request's id if it is one: it is a visible fact for ever."""
    try:
        return check_id(getattr(call.request, "request", ""))
    except InvalidName:
        return None


def any_overdue(call: Call, session: ReadSession) -> bool:
    """Whether `sweep` would find something."""
    late = late_ms(call.custodian, session, call.now_ms)
    counts = call.custodian.log.sums_due(TablesStore(session.connection), now_ms=call.custodian.clock())
    return bool(counts or overdue_grants(session, call.now_ms) or approvals.overdue(session, late) or campaigns.overdue(session, late))


def overdue_grants(session: ReadSession, now_ms: int) -> list[str]:
    """Return ids of grants that are over by the clock and not yet marked so."""
    table = tables.grant_
    query = sa.select(table.c.id).where(table.c.state == grants.ACTIVE, table.c.expires_ms <= now_ms).limit(SWEPT)
    return [str(row[0]) for row in session.connection.execute(query)]


def expire_grants(session: Session, now_ms: int) -> list[Entry]:
    """Mark grants whose time was seen to be over, and return the entries that say so.

    A grant ends by the clock at every use. Marking makes it stay over when the clock is set back afterwards.
    """
    entries = []
    for grant_id in overdue_grants(session, now_ms):
        tracked = TrackedSession(session)
        row = tracked.get(tables.grant_, grant_id)
        if row is not None and row["state"] == grants.ACTIVE and row["expires_ms"] <= now_ms:
            tracked.update(tables.grant_, grant_id, row["revision"], state=grants.EXPIRED)
            entries.append(Entry("grant.revoked", {"grant": grant_id, "expired": True}, rows=tracked.states()))
    return entries


def expire_requests(session: Session, now_ms: int) -> list[Entry]:
    """Mark requests for approval whose time was seen to be over, for the same reason."""
    entries = []
    for item in approvals.overdue(session, now_ms)[:SWEPT]:
        tracked = TrackedSession(session)
        approvals.close(cast("Session", tracked), item, approvals.EXPIRED, now_ms=now_ms)
        entries.append(Entry("approval.expired", {"request": item.id}, rows=tracked.states()))
    return entries


def expire_campaigns(session: Session, now_ms: int) -> list[Entry]:
    """End what approvals that were used go on to cover, once its time was seen to be over, for the same reason."""
    entries = []
    for scope, item in campaigns.overdue(session, now_ms)[:SWEPT]:
        tracked = TrackedSession(session)
        campaigns.end(tracked, scope)
        entries.append(Entry("approval.expired", {"request": item.id, "campaign": scope}, rows=tracked.states()))
    return entries
