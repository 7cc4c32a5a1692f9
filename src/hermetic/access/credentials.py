"""Certificates and devices by which principals show who they are: rows, their states, and whether one may be used now.

`check` is part of step 1 of every request: what was revoked, or has expired, or hangs on an authority that is believed no more, acts
at the next request of a connection that is open already. A credential is known by the digest of its certificate (or of a device's
public key), never by a serial number, which others can choose.

A certificate that was renewed belongs to the *family* of the first one. Whoever stole one may have renewed it, so that revoking one
revokes its family.

Rows of what is over are removed `KEPT_MS` later, where that changes no answer: a certificate that the domain's own authority signed is
refused without a row too, and a token by its own end. Revoked ones stay, since their keys get no certificate again, and so do those of
external authorities, which would be met anew. The log keeps all of them, with their families.

A token is a credential too, by the digest of what is signed: it authenticates nobody, and is kept so that it is not used again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from hermetic.access import authorities
from hermetic.db import tables
from hermetic.errors import Conflict, NotAuthenticated, NotFound, UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from hermetic.db.rows import ReadSession, Session

CERTIFICATE, DEVICE, TOKEN = "certificate", "device", "token"
ACTIVE, REVOKED, EXPIRED, USED = "active", "revoked", "expired", "used"
PREFIX: Final = 4
KEPT_MS: Final = 30 * 86_400_000  # how long rows of what is over are kept
AGAIN: Final = "`hermetic identity request` makes a key and asks for a new certificate"


@dataclass(frozen=True, slots=True)
class Credential:
    """One credential. `about` holds what else there is to know: serial number, family, who issued it, the certificate."""

    id: str
    principal_id: str
    kind: str
    fingerprint: bytes
    public: bytes
    authority_id: str | None
    not_after_ms: int | None
    created_ms: int
    state: str = ACTIVE
    ended_ms: int | None = None
    about: Mapping[str, Any] = field(default_factory=dict)
    revision: int = 1

    def state_at(self, now_ms: int) -> str:
        """Return its state, expired where its time is over and nobody has marked it yet."""
        over = self.not_after_ms is not None and self.not_after_ms <= now_ms
        return EXPIRED if over and self.state == ACTIVE else self.state

    @property
    def family(self) -> str:
        """The id of the first of its family."""
        return str(self.about.get("family", self.id))


def add(session: Session, made: Credential) -> Credential:
    """Keep a credential. Raises Conflict when its fingerprint is known."""
    session.insert(
        tables.credential,
        id=made.id,
        principal_id=made.principal_id,
        kind=made.kind,
        fingerprint=made.fingerprint,
        public=made.public,
        authority_id=made.authority_id,
        not_after_ms=made.not_after_ms,
        state=made.state,
        created_ms=made.created_ms,
        about=dict(made.about),
    )
    return made


def check(session: ReadSession, credential_id: str, principal_id: str, *, now_ms: int) -> Credential:
    """Return the credential that authenticated a principal if it may still do so.

    Raises NotAuthenticated for one that is unknown, somebody else's, revoked, expired, or of a retired authority; RowTampered.
    """
    row = session.get(tables.credential, credential_id)
    if row is None or row["principal_id"] != principal_id:
        raise NotAuthenticated("this credential is not known to the domain", hint=AGAIN)
    found = _credential(row)
    state = found.state_at(now_ms)
    if state != ACTIVE:
        raise NotAuthenticated(f"this {found.kind} {'was revoked' if state == REVOKED else 'has expired'}", hint=AGAIN)
    if found.authority_id is not None:
        above = session.get(tables.authority, found.authority_id)
        if above is None or above["state"] == authorities.RETIRED:
            raise NotAuthenticated(f"the authority of this {found.kind} is trusted no more", hint=AGAIN)
    return found


def by_fingerprint(session: ReadSession, fingerprint: bytes) -> Credential | None:
    """Return the credential with this fingerprint, or None. Raises RowTampered."""
    row = session.first(tables.credential, fingerprint=fingerprint)
    return None if row is None else _credential(row)


def by_public(session: ReadSession, public: bytes) -> tuple[Credential, ...]:
    """Return every credential for one key, oldest first."""
    return _sorted(session.find(tables.credential, public=public))


def of_principal(session: ReadSession, principal_id: str) -> tuple[Credential, ...]:
    """Return every credential of a principal, oldest first."""
    return _sorted(session.find(tables.credential, principal_id=principal_id))


def named(session: ReadSession, text: str) -> Credential | None:
    """Return the credential whose id starts with `text`, or whose fingerprint it is (hexadecimal); None where there is none.

    The id of a family's first one, whose row is gone, names a good one of that family. Raises UsageError when several ids start so.
    """
    try:
        raw = bytes.fromhex(text.replace(":", ""))
    except ValueError:
        raw = b""
    if len(raw) == 32:
        return by_fingerprint(session, raw)
    if len(text) < PREFIX:
        return None
    table = tables.credential
    found = [_credential(row) for row in session.scan(table, table.c.id.startswith(text, autoescape=True), limit=2)]
    found = [item for item in found if item.id.startswith(text)] or _of_family(session, text)
    if len(found) > 1:
        raise UsageError(f"{text!r} names several credentials", hint="write more of the id")
    return found[0] if found else None


def _of_family(session: ReadSession, text: str) -> list[Credential]:
    """Return one credential that is good for each family whose id starts with `text`."""
    good = map(_credential, session.find(tables.credential, state=ACTIVE))
    return list({item.family: item for item in good if item.family.startswith(text)}.values())


def get(session: ReadSession, credential_id: str) -> Credential:
    """Return a credential. Raises NotFound, RowTampered."""
    row = session.get(tables.credential, credential_id)
    if row is None:
        raise NotFound("no such credential", hint="`hermetic identity show NAME` lists those of a principal")
    return _credential(row)


def family_of(session: ReadSession, item: Credential) -> tuple[Credential, ...]:
    """Return a credential and all that are renewals of each other with it."""
    return tuple(one for one in of_principal(session, item.principal_id) if one.family == item.family)


def end(session: Session, item: Credential, state: str, *, now_ms: int) -> None:
    """Revoke a credential, or mark it as expired. Raises Conflict when it is over already, or when the row has moved on."""
    if item.state != ACTIVE:
        raise Conflict(f"this {item.kind} is {item.state} already")
    session.update(tables.credential, item.id, item.revision, state=state, ended_ms=now_ms)


def revoke_all(session: Session, principal_id: str, *, now_ms: int) -> tuple[Credential, ...]:
    """Revoke every credential of a principal that is good now; return them. The caller logs it."""
    ended = tuple(item for item in of_principal(session, principal_id) if item.state == ACTIVE)
    for item in ended:
        end(session, item, REVOKED, now_ms=now_ms)
    return ended


def overdue(session: ReadSession, now_ms: int, *, limit: int) -> tuple[Credential, ...]:
    """Return some that are over by the clock and not marked so: marking keeps them over when the clock is set back."""
    table = tables.credential
    where = (table.c.state == ACTIVE) & (table.c.not_after_ms <= now_ms)
    found = map(_credential, session.scan(table, where, limit=limit))
    return tuple(item for item in found if item.state_at(now_ms) == EXPIRED and item.state == ACTIVE)


def forgotten(session: ReadSession, now_ms: int, own: Collection[str], *, limit: int) -> tuple[Credential, ...]:
    """Return some that were over long ago, and that nothing hangs on: certificates of authorities of our `own`, and tokens."""
    table, before = tables.credential, now_ms - KEPT_MS
    expired = (table.c.kind == CERTIFICATE) & (table.c.state == EXPIRED) & table.c.authority_id.in_(own)
    where = (expired | ((table.c.kind == TOKEN) & (table.c.state == USED))) & (table.c.not_after_ms <= before)
    found = map(_credential, session.scan(table, where, limit=limit))
    return tuple(item for item in found if _is_long_over(item, before, own))


def _is_long_over(item: Credential, before: int, own: Collection[str]) -> bool:
    """Ask the row itself: an index may have been changed by hand."""
    over = item.not_after_ms is not None and item.not_after_ms <= before
    expired = item.state == EXPIRED and item.ended_ms is not None and item.ended_ms <= before and item.authority_id in own
    return over and (expired if item.kind == CERTIFICATE else (item.kind, item.state) == (TOKEN, USED))


def forget(session: Session, item: Credential) -> None:
    """Remove the row of a credential, and when a second factor was shown with it. The caller logs it."""
    for row in session.find(tables.factor_session, principal_id=item.principal_id, credential_id=item.id):
        session.delete(tables.factor_session, (row["principal_id"], row["credential_id"]))
    session.delete(tables.credential, item.id)


def _sorted(rows: list[dict[str, Any]]) -> tuple[Credential, ...]:
    return tuple(sorted(map(_credential, rows), key=lambda item: (item.created_ms, item.id)))


def _credential(row: dict[str, Any]) -> Credential:
    return Credential(
        id=row["id"],
        principal_id=row["principal_id"],
        kind=row["kind"],
        fingerprint=row["fingerprint"],
        public=row["public"],
        authority_id=row["authority_id"],
        not_after_ms=row["not_after_ms"],
        created_ms=row["created_ms"],
        state=row["state"],
        ended_ms=row["ended_ms"],
        about=row["about"] or {},
        revision=row["revision"],
    )
