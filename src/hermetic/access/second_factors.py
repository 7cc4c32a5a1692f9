"""Second factors on record: what people hold besides what authenticates them, when they last showed it, how often they failed.

What must hold:

1. A factor is its principal's, and is looked for among theirs only. A code counts once: the last counter is kept, and only later ones
   are taken. An authenticator's count only grows, its user handle is the principal's.
2. When a factor was shown is kept by principal and credential: who authenticates with another certificate has not shown it there.
3. A challenge is for one principal, one credential, one use and one page, for five minutes, and goes with the first answer to it.
4. The first factor of a person is by invitation (`custody.second_factors` says why). An invitation is for one person, once.

Rows only; who may do what is custody's to decide.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from hermetic.access import factor_attempts
from hermetic.crypto import authenticator, totp
from hermetic.crypto.authenticator import Assertion, Party, Registered
from hermetic.crypto.secret import Secret
from hermetic.db import tables
from hermetic.errors import Conflict, Denied, NotFound, SignatureError, UsageError
from hermetic.formats import canonical
from hermetic.formats.binary_text import from_base64url, to_base64url
from hermetic.formats.fields import Fields
from hermetic.ids import id_from_bytes

if TYPE_CHECKING:
    from hermetic.db.rows import ReadSession, Session

TOTP, WEBAUTHN, INVITATION = "totp", "webauthn", "invitation"
PENDING, ACTIVE, REMOVED = "pending", "active", "removed"
Use: TypeAlias = Literal["add", "confirm"]

FRESH_MS: Final = 900_000  # how lately one's own factor was shown before one changes one's factors
PENDING_MS: Final = 900_000
CHALLENGE_MS: Final = 300_000
INVITED_MS: Final = 86_400_000
FACTORS: Final = 8  # of one person
LABEL_LIMIT: Final = 60

_FORMAT: Final = "hermetic/webauthn-factor/v1"
_FIELDS: Final = {"credential", "format", "public"}
_LIMIT: Final = 16_384
_USER: Final = b"hermetic/v1/webauthn-user\n"
_INVITED: Final = b"hermetic/v1/factor-invitation\n"


@dataclass(frozen=True, slots=True)
class Factor:
    """A second factor of a principal. `material` is the secret of a code app, the public half of an authenticator, or a digest."""

    id: str
    principal_id: str
    kind: str
    label: str
    material: Secret = field(repr=False, compare=False)
    counter: int
    state: str
    created_ms: int
    used_ms: int | None
    revision: int


def user_handle(domain: str, principal_id: str) -> bytes:
    """Return what authenticators know a principal by: nothing of a person's name is in it."""
    return hashlib.sha256(_USER + f"{domain}\n{principal_id}".encode()).digest()


# What there is


def of(session: ReadSession, principal_id: str, *states: str) -> tuple[Factor, ...]:
    """Return the factors of a principal in these states, oldest first; active ones unless told otherwise."""
    found = (_factor(row) for row in session.find(tables.second_factor, principal_id=principal_id))
    kept = [item for item in found if item.state in (states or (ACTIVE,))]
    return tuple(sorted(kept, key=lambda item: (item.created_ms, item.id)))


def active(session: ReadSession, principal_id: str, kind: str) -> tuple[Factor, ...]:
    """Return the active factors of a principal that are of one kind. Raises NotFound where there is none."""
    found = tuple(item for item in of(session, principal_id) if item.kind == kind)
    if not found:
        how = "totp" if kind == TOTP else "webauthn"
        raise NotFound("you have no second factor of this kind", hint=f"`hermetic identity factor add {how}` adds one")
    return found


def find(session: ReadSession, factor_id: str) -> Factor:
    """Return a factor. Raises NotFound, RowTampered."""
    row = session.get(tables.second_factor, factor_id)
    if row is None:
        raise NotFound("no such second factor", hint="`hermetic identity factor ls` lists yours")
    return _factor(row)


def public_of(item: Factor) -> tuple[bytes, bytes]:
    """Return credential id and public key of an authenticator."""
    fields = Fields(canonical.decode(bytes(item.material.view()), limit=_LIMIT), "authenticator", _FIELDS)
    fields.constant("format", _FORMAT)
    credential, public = (from_base64url(fields.text(name, limit=_LIMIT)) for name in ("credential", "public"))
    return credential, public


# Adding and removing


def begin_totp(session: Session, principal_id: str, label: str, secret: Secret, *, now_ms: int) -> Factor:
    """Keep the secret of a code app that waits for its first code; what waited before goes."""
    for item in of(session, principal_id, PENDING):
        if item.kind == TOTP:
            remove(session, item)
    return _insert(
        session, (principal_id, TOTP, PENDING), (_checked(session, principal_id, label), bytes(secret.view())), now_ms=now_ms
    )


def finish_totp(session: Session, principal_id: str, factor_id: str, code: str, *, now_ms: int) -> Factor:
    """Make a code app count, once it shows a code. Raises NotFound (not begun, or too long ago), Denied for a wrong code."""
    item = next((item for item in of(session, principal_id, PENDING) if item.id == factor_id and item.kind == TOTP), None)
    if item is None or not 0 <= now_ms - item.created_ms < PENDING_MS:
        raise NotFound("no code app waits for its first code", hint="`hermetic identity factor add totp` begins again")
    counter = totp.counter_of(item.material, code, now_ms=now_ms, used=item.counter)
    return _factor(session.update(tables.second_factor, item.id, item.revision, state=ACTIVE, counter=counter, used_ms=now_ms))


def add_webauthn(session: Session, principal_id: str, label: str, made: Registered, *, now_ms: int) -> Factor:
    """Keep an authenticator's new credential. Raises Conflict for one that is known."""
    label = _checked(session, principal_id, label)
    for row in session.find(tables.second_factor, kind=WEBAUTHN, state=ACTIVE):
        if public_of(_factor(row))[0] == made.credential:
            raise Conflict("this credential is a second factor already", hint="use another authenticator")
    kept = {"credential": to_base64url(made.credential), "format": _FORMAT, "public": to_base64url(made.public)}
    what = (label, canonical.encode(dict(kept)))
    return _insert(session, (principal_id, WEBAUTHN, ACTIVE), what, now_ms=now_ms, counter=made.count)


def remove(session: Session, item: Factor) -> Factor:
    """End a factor: what it was made of is overwritten, and what was shown with any factor of this person counts no more."""
    for row in session.find(tables.factor_session, principal_id=item.principal_id):
        session.delete(tables.factor_session, (row["principal_id"], row["credential_id"]))
    return _factor(session.update(tables.second_factor, item.id, item.revision, state=REMOVED, material=b"\0"))


def invite(session: Session, principal_id: str, code: str, *, now_ms: int) -> Factor:
    """Let a principal add a first factor with this code; an earlier invitation ends. Raises Conflict where there is a factor."""
    if of(session, principal_id):
        raise Conflict("there is a second factor already", hint="`hermetic identity factor remove` it first, if it is lost")
    end_begun(session, principal_id)
    factor_attempts.forget(session, principal_id)
    return _insert(session, (principal_id, INVITATION, PENDING), ("", _digest(code)), now_ms=now_ms)


def take_invitation(session: Session, principal_id: str, code: str, *, now_ms: int) -> Factor:
    """Use an invitation up. Raises Denied where there is none, it is over, or the code is another."""
    for item in of(session, principal_id, PENDING):
        if item.kind == INVITATION and 0 <= now_ms - item.created_ms < INVITED_MS:
            if hmac.compare_digest(_digest(code), item.material.view()):
                return remove(session, item)
            raise Denied("this is not the code of your invitation", hint="type it as whoever invited you read it to you")
    raise Denied(
        "a first second factor takes an invitation, and you have none that is still good",
        hint="ask whoever enrols people here: `hermetic identity factor invite NAME --reason WHY`",
    )


def end_begun(session: Session, principal_id: str) -> None:
    """End what somebody began and did not finish: code apps, invitations, challenges."""
    for item in of(session, principal_id, PENDING):
        remove(session, item)
    for row in session.find(tables.factor_challenge, principal_id=principal_id):
        session.delete(tables.factor_challenge, (row["principal_id"], row["credential_id"], row["use"]))


def new_code() -> str:
    """Return the code of an invitation: 80 random bits in four groups."""
    text = base64.b32encode(secrets.token_bytes(10)).decode("ascii")
    return "-".join(text[at : at + 4] for at in range(0, 16, 4))


def _digest(code: str) -> bytes:
    plain = "".join(char for char in code.upper() if char.isalnum())
    return hashlib.sha256(_INVITED + plain.encode("utf-8", "replace")).digest()


# Showing


def show_totp(session: Session, principal_id: str, code: str, *, now_ms: int) -> Factor:
    """Take a code of one of the principal's code apps. Raises Denied for a wrong, old or used one."""
    failed: Denied | None = None
    for item in active(session, principal_id, TOTP):
        try:
            counter = totp.counter_of(item.material, code, now_ms=now_ms, used=item.counter)
        except Denied as error:
            failed = error if failed is None or "used" in error.message else failed
            continue
        return used(session, item, counter, now_ms=now_ms)
    raise failed or Denied("this code is not one of now")


def show_webauthn(
    session: Session, principal_id: str, said: Assertion, asked: tuple[bytes, str], *, user: bytes, now_ms: int
) -> Factor:
    """Take an authenticator's answer to a challenge made at an origin. Raises SignatureError, FormatError, Denied."""
    challenge, origin = asked
    for item in active(session, principal_id, WEBAUTHN):
        credential, public = public_of(item)
        if credential == said.credential:
            party = Party(origin=origin)
            count = authenticator.asserted(said, public, challenge=challenge, party=party, count=item.counter, user=user)
            return used(session, item, count, now_ms=now_ms)
    raise SignatureError("this authenticator is none of yours", hint="`hermetic identity factor ls` lists them")


def used(session: Session, item: Factor, counter: int, *, now_ms: int) -> Factor:
    """Note the last counter of a factor. Raises Conflict when another process was faster."""
    return _factor(session.update(tables.second_factor, item.id, item.revision, counter=counter, used_ms=now_ms))


def refresh(session: Session, principal_id: str, credential: str, kind: str, *, now_ms: int) -> None:
    """Note that a factor was shown now, by this principal with this credential."""
    row = session.get(tables.factor_session, (principal_id, credential))
    if row is None:
        session.insert(tables.factor_session, principal_id=principal_id, credential_id=credential, kind=kind, at_ms=now_ms)
    else:
        session.update(tables.factor_session, (principal_id, credential), row["revision"], kind=kind, at_ms=now_ms)


def shown_ms(session: ReadSession, principal_id: str, credential: str) -> int | None:
    """Return when a factor was last shown, by this principal with this credential. Raises RowTampered."""
    row = session.get(tables.factor_session, (principal_id, credential))
    return None if row is None else int(row["at_ms"])


def last_shown_ms(session: ReadSession, principal_id: str) -> int | None:
    """Return when a factor was last shown by this principal, with whatever credential."""
    found = [int(row["at_ms"]) for row in session.find(tables.factor_session, principal_id=principal_id)]
    return max(found, default=None)


# Challenges


def challenge(session: Session, whose: tuple[str, str], use: Use, *, port: int, now_ms: int) -> tuple[bytes, int]:
    """Make a challenge for a principal with a credential (`whose`), in place of the last one; return it and when it is over."""
    made, expires_ms = secrets.token_bytes(32), now_ms + CHALLENGE_MS
    drop_challenge(session, whose, use)
    session.insert(
        tables.factor_challenge,
        principal_id=whose[0],
        credential_id=whose[1],
        use=use,
        challenge=made,
        origin=f"http://localhost:{port}",
        expires_ms=expires_ms,
    )
    return made, expires_ms


def asked(session: ReadSession, whose: tuple[str, str], use: Use, *, now_ms: int) -> tuple[bytes, str]:
    """Return the challenge that waits, and its origin. Raises Denied where none does."""
    row = session.get(tables.factor_challenge, (*whose, use))
    if row is None or not row["expires_ms"] - CHALLENGE_MS <= now_ms < row["expires_ms"]:
        raise Denied("this answers no question that custody asked of late", hint="start again from the command line")
    return row["challenge"], row["origin"]


def drop_challenge(session: Session, whose: tuple[str, str], use: Use) -> None:
    """End a challenge: each is for one answer, right or wrong."""
    if session.get(tables.factor_challenge, (*whose, use)) is not None:
        session.delete(tables.factor_challenge, (*whose, use))


def _checked(session: ReadSession, principal_id: str, label: str) -> str:
    if len(label) > LABEL_LIMIT or not label.isprintable():
        raise UsageError(f"a factor's label is up to {LABEL_LIMIT} printable characters")
    if len(of(session, principal_id)) >= FACTORS:
        raise Conflict(f"you have {FACTORS} second factors", hint="`hermetic identity factor remove` one that you do not use")
    return label


def _insert(session: Session, what: tuple[str, str, str], holds: tuple[str, bytes], *, now_ms: int, counter: int = 0) -> Factor:
    (principal_id, kind, state), (label, material) = what, holds
    factor_id = id_from_bytes(secrets.token_bytes(16))
    session.insert(
        tables.second_factor,
        id=factor_id,
        principal_id=principal_id,
        kind=kind,
        label=label,
        material=material,
        counter=counter,
        state=state,
        created_ms=now_ms,
    )
    return find(session, factor_id)


def _factor(row: dict[str, Any]) -> Factor:
    return Factor(
        id=row["id"],
        principal_id=row["principal_id"],
        kind=row["kind"],
        label=row["label"],
        material=Secret(row["material"]),
        counter=row["counter"],
        state=row["state"],
        created_ms=row["created_ms"],
        used_ms=row["used_ms"],
        revision=row["revision"],
    )
