"""Approvals on record: who may approve (by key), what waits for it, what was said. Rows only; custody decides what needs them.

What must hold:

1. A key belongs to one name for ever; a name has one active key. So one person is one voice.
2. A statement counts for the request and the requester it names, while that is open, from when it was made until it or the request
   expires, if its key's holder is still an approver and is not who asks. Its signature is verified each time it is counted.
3. A request is used once: it is closed in the transaction of the operation. One no closes it too, and so does who asked, by taking it
   back. What is closed stays on record for good.
4. A request that was seen to be over is marked, so that a clock that is set back does not open it again.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from hermetic.access import identity
from hermetic.db import tables
from hermetic.errors import Conflict, Denied, IntegrityError, NotFound, SignatureError, UsageError
from hermetic.formats.approval import LIMIT, PAYLOAD_TYPE, Statement, parse_statement
from hermetic.formats.dsse import parse_envelope
from hermetic.ids import id_from_bytes
from hermetic.keys import approver_key, webauthn_approver

if TYPE_CHECKING:
    from hermetic.db.rows import ReadSession, Session
    from hermetic.policy.request import Principal

ACTIVE, REMOVED = "active", "removed"
OPEN, USED, DENIED, EXPIRED, WITHDRAWN = "open", "used", "denied", "expired", "withdrawn"
LIFE_MS: Final = 86_400_000  # of a request
SKEW_MS: Final = 300_000  # how far the clocks of approvers and custody may differ
NAME_LIMIT: Final = 120


@dataclass(frozen=True, slots=True)
class Approver:
    """Somebody who may approve. `principal_id` is None for one who has a key and nothing else in this domain."""

    key_id: str
    name: str
    principal_id: str | None
    public: bytes
    state: str
    created_ms: int
    alone: bool
    revision: int

    @property
    def active(self) -> bool:
        """Whether what it signs counts."""
        return self.state == ACTIVE

    def is_(self, principal: Principal) -> bool:
        """Whether this is that principal, by id or by name."""
        return self.principal_id == principal.id or self.name.casefold() == principal.name.casefold()


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that waits, or did. `request` are the canonical bytes that `hash` is of."""

    id: str
    hash: bytes
    request: bytes
    action: str
    requester_id: str
    requester: str
    needed: int
    created_ms: int
    expires_ms: int
    state: str
    revision: int

    def over(self, now_ms: int) -> bool:
        """Whether it no longer takes or uses approvals. A clock before its making is wrong, and counts as over."""
        return self.state != OPEN or not self.created_ms - SKEW_MS <= now_ms < self.expires_ms


# Approvers


def enrol(session: Session, name: str, public: bytes, key_id: str, *, principal_id: str | None, alone: bool, now_ms: int) -> Approver:
    """Pin a key to a name. Raises UsageError for a name that is none; Conflict when key or name is taken."""
    if not 0 < len(name.strip()) <= NAME_LIMIT or not name.isprintable() or name != name.strip():
        raise UsageError(f"{name[:60]!r} cannot be an approver's name", hint=f"up to {NAME_LIMIT} printable characters")
    known = session.get(tables.approver, key_id)
    if known is not None:
        raise Conflict(
            f"this key was enrolled for {known['name']!r} already", hint="every approver has a key of their own; make a new one"
        )
    for other in approvers(session):
        same = other.name.casefold() == name.casefold() or (principal_id is not None and other.principal_id == principal_id)
        if other.active and same:
            raise Conflict(f"{other.name!r} has a key already", hint=f"`hermetic approver remove {other.name}` first")
    session.insert(
        tables.approver,
        id=key_id,
        principal_id=principal_id,
        name=name,
        public=public,
        state=ACTIVE,
        created_ms=now_ms,
        alone=int(alone),
    )
    return approver(session, key_id)


def remove(session: Session, name: str, *, now_ms: int) -> Approver:
    """End an approver: what the key signed counts no more, and the key never again. Raises NotFound."""
    found = named(session, name)
    return _approver(session.update(tables.approver, found.key_id, found.revision, state=REMOVED, ended_ms=now_ms))


def named(session: ReadSession, name: str) -> Approver:
    """Return the active approver of this name. Raises NotFound."""
    for item in approvers(session):
        if item.active and item.name.casefold() == name.casefold():
            return item
    raise NotFound(f"no approver {name!r}", hint="`hermetic approver ls` lists them")


def approver(session: ReadSession, key_id: str) -> Approver:
    """Return the approver with this key, removed or not. Raises NotFound, RowTampered."""
    row = session.get(tables.approver, key_id)
    if row is None:
        raise NotFound("no approver has this key", hint="`hermetic approver ls` lists them; `hermetic approver enrol` makes one")
    return _approver(row)


def approvers(session: ReadSession) -> tuple[Approver, ...]:
    """Return all who are or were approvers, by name."""
    found = (_approver(row) for row in session.find(tables.approver))
    return tuple(sorted(found, key=lambda item: (item.name.casefold(), item.created_ms)))


def others(session: ReadSession, principal: Principal) -> tuple[Approver, ...]:
    """Return the active approvers who are not this principal."""
    return tuple(item for item in approvers(session) if item.active and not item.is_(principal))


# Requests


def ask(session: Session, principal: Principal, what: tuple[str, bytes, bytes], *, needed: int, now_ms: int) -> Asked:
    """Put a request on record; `what` is action, hash and canonical bytes."""
    action, request_hash, request = what
    request_id = id_from_bytes(secrets.token_bytes(16))
    session.insert(
        tables.approval_request,
        id=request_id,
        hash=request_hash,
        request=request,
        action=action,
        requester_id=principal.id,
        requester=principal.name,
        needed=needed,
        created_ms=now_ms,
        expires_ms=now_ms + LIFE_MS,
        state=OPEN,
    )
    return asked(session, request_id)


def asked(session: ReadSession, request_id: str) -> Asked:
    """Return a request. Raises NotFound, RowTampered."""
    row = session.get(tables.approval_request, request_id)
    if row is None:
        raise NotFound("no such request", hint="`hermetic request ls` lists them")
    return _asked(row)


def requests(session: ReadSession, *, state: str | None = None) -> tuple[Asked, ...]:
    """Return requests, oldest first."""
    rows = session.find(tables.approval_request) if state is None else session.find(tables.approval_request, state=state)
    return tuple(sorted((_asked(row) for row in rows), key=lambda item: (item.created_ms, item.id)))


def newest(session: ReadSession, request_hash: bytes, principal: Principal) -> Asked | None:
    """Return the request of a principal for exactly this that is open, else the newest."""
    rows = session.find(tables.approval_request, hash=request_hash)
    mine = (_asked(row) for row in rows if row["requester_id"] == principal.id)
    return max(mine, key=lambda item: (item.state == OPEN, item.created_ms, item.id), default=None)


def close(session: Session, item: Asked, state: str, *, now_ms: int) -> Asked:
    """Close an open request. Raises Conflict when it is closed already."""
    current = asked(session, item.id)
    if current.state != OPEN:
        raise Conflict(f"this request is {current.state} already", hint="run the command again: it asks anew")
    return _asked(session.update(tables.approval_request, item.id, current.revision, state=state, closed_ms=now_ms))


def overdue(session: ReadSession, now_ms: int) -> tuple[Asked, ...]:
    """Return open requests whose time is over by the clock."""
    return tuple(item for item in requests(session, state=OPEN) if now_ms >= item.expires_ms)


# Statements


def add(session: Session, raw: bytes, *, domain: str, now_ms: int) -> tuple[Asked, Approver, Statement]:
    """Take a signed statement to its request.

    Raises FormatError, SignatureError (forged, changed, or by a key that is no approver's), Denied (the requester's own, another
    domain's or requester's, stale, not yet made), Conflict (the request is closed, or this approver has spoken).
    """
    # 1. The envelope names a key; it is an approver's, and signed these bytes.
    who, said = _verified(session, raw)
    if not who.active:
        raise Denied(f"{who.name} is no approver any more", hint="ask another approver")
    if identity.silenced(session, who.principal_id, who.name):
        raise Denied(f"{who.name} is disabled in this domain", hint="ask another approver")
    # 2. It is about a request of this domain, as that stands, and of now.
    if said.domain != domain:
        raise Denied("this approval is for another domain")
    item = asked(session, said.request)
    if said.request_hash != item.hash:
        raise Denied("this approval is for something else than the request asks", hint="show the request again, and sign that")
    if not says_who(said, item):
        raise Denied("this approval is for somebody else's request", hint="show the request again, and sign that")
    if item.over(now_ms):
        raise Conflict(f"the request is {item.state if item.state != OPEN else EXPIRED}", hint="run the command again: it asks anew")
    _in_time(said, item, now_ms)
    # 3. It is somebody else's, and this approver's first word.
    if who.principal_id == item.requester_id or who.name.casefold() == item.requester.casefold():
        raise Denied("nobody approves their own request", hint="ask another approver")
    if session.get(tables.approval, (item.id, who.key_id)) is not None:
        raise Conflict(f"{who.name} has answered this request already")
    if approver_key.is_authenticator(who.public):
        _counted_on(session, who, raw)
    session.insert(
        tables.approval,
        request_id=item.id,
        approver_id=who.key_id,
        verdict=said.verdict,
        statement=raw,
        made_ms=said.made_ms,
        expires_ms=said.expires_ms,
    )
    return item, who, said


def _counted_on(session: ReadSession, who: Approver, raw: bytes) -> None:
    """An authenticator's count of signatures grows from statement to statement. Raises SignatureError."""

    def count(statement: bytes) -> int:
        return webauthn_approver.count_of(who.public, parse_envelope(statement, limit=LIMIT).signature)

    seen = max((count(row["statement"]) for row in session.find(tables.approval, approver_id=who.key_id)), default=0)
    new = count(raw)
    if (new or seen) and new <= seen:
        raise SignatureError(
            "the authenticator's count of signatures went back: this answer is an old one, or the authenticator was copied",
            hint=f"if {who.name} did not hand it in late, `hermetic approver remove {who.name}`",
        )


def says_who(said: Statement, item: Asked) -> bool:
    """Whether a statement names who asks: id and name, as they were when this was asked."""
    return (said.requester, said.requester_name) == (item.requester_id, item.requester)


def _in_time(said: Statement, item: Asked, now_ms: int) -> None:
    if not item.created_ms - SKEW_MS <= said.made_ms <= now_ms + SKEW_MS:
        raise Denied(
            "this approval was not made while the request was open", hint="look at the clocks of both machines, then sign again"
        )
    if now_ms >= said.expires_ms:
        raise Denied("this approval has expired", hint="sign again")


def _verified(session: ReadSession, raw: bytes) -> tuple[Approver, Statement]:
    envelope = parse_envelope(raw, limit=LIMIT)
    if envelope.payload_type != PAYLOAD_TYPE:
        raise SignatureError(f"signed document is {envelope.payload_type!r}, no approval")
    try:
        who = approver(session, envelope.key_id)
    except NotFound as error:
        raise SignatureError("signed with a key that is no approver's", hint=error.hint) from None
    approver_key.verify(who.public, envelope.signature, envelope.signed_bytes())
    said = parse_statement(envelope.payload)
    if said.approver != who.key_id:
        raise SignatureError("the approval names another key than signed it")
    return who, said


def said_about(session: ReadSession, item: Asked) -> tuple[tuple[Approver, Statement], ...]:
    """Return who said what about a request, each verified anew. Raises IntegrityError for a row that is not what it says."""
    found = []
    for row in session.find(tables.approval, request_id=item.id):
        who, said = _verified(session, row["statement"])
        if (who.key_id, said.request, said.request_hash, said.verdict) != (row["approver_id"], item.id, item.hash, row["verdict"]):
            raise IntegrityError("an approval on record is not the one that was signed", hint="run `hermetic log verify`")
        found.append((who, said))
    return tuple(sorted(found, key=lambda pair: (pair[1].made_ms, pair[0].name)))


def in_favour(session: ReadSession, item: Asked, principal: Principal, now_ms: int) -> tuple[Approver, ...]:
    """Return the approvers whose yes counts now for a request of `principal`."""
    return () if item.over(now_ms) else voices(session, item, principal, now_ms)


def voices(session: ReadSession, item: Asked, principal: Principal, now_ms: int) -> tuple[Approver, ...]:
    """Return as `in_favour` does, whatever became of the request itself."""
    if item.requester_id != principal.id:
        return ()
    return tuple(
        who
        for who, said in said_about(session, item)
        if said.verdict == "approve"
        and says_who(said, item)
        and who.active
        and not who.is_(principal)
        and now_ms < said.expires_ms
        and not identity.silenced(session, who.principal_id, who.name)
    )


def _approver(row: dict[str, Any]) -> Approver:
    return Approver(
        key_id=row["id"],
        name=row["name"],
        principal_id=row["principal_id"],
        public=row["public"],
        state=row["state"],
        created_ms=row["created_ms"],
        alone=bool(row["alone"]),
        revision=row["revision"],
    )


def _asked(row: dict[str, Any]) -> Asked:
    return Asked(
        id=row["id"],
        hash=row["hash"],
        request=row["request"],
        action=row["action"],
        requester_id=row["requester_id"],
        requester=row["requester"],
        needed=row["needed"],
        created_ms=row["created_ms"],
        expires_ms=row["expires_ms"],
        state=row["state"],
        revision=row["revision"],
    )
