"""Grants: one principal, one action, matching assets, some purposes, until a moment, so many times, so many bytes.

The pattern is `[ENVIRONMENT:]GLOB[@NUMBER[-NUMBER]]` over asset names: `dataset/patients*`, `model/risk@3`, `dataset/scans@3-5`,
`production:model/risk`. Without an environment it matches in development and staging; production is never opened by a pattern that
does not say so. With a number it matches that version and no other. Actions on the domain, such as read-log, are granted with `**`.

Bytes are those of plaintext, as custody has them of the published version: a release takes them whole and once, whatever the holder
goes on to read; a version that is longer than what is left is not released under the grant.

A grant of kind `break-glass` (`broken_glass`) is one that other people agreed to, for who asked them: how many they were counts as
approvals for what it covers, and it waits for a review after its end.

A grant permits; it never overrides a `forbid` of the policies nor an obligation. Whether it is over is decided from the clock at
every use, not by somebody tidying up, so that an expired grant is refused at once.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hermetic import ids
from hermetic.access import identity
from hermetic.db import tables
from hermetic.errors import Conflict, IntegrityError, NotFound, PolicyDenied, UsageError
from hermetic.ids import Environment, Kind, Purpose
from hermetic.policy import globs
from hermetic.policy.request import DATA_ACTIONS, GRANTABLE, RELEASES, Action

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hermetic.db.rows import ReadSession, Session
    from hermetic.policy.request import Principal

LONGEST_MS = 366 * 86_400_000
BREAK_GLASS = "break-glass"
BYTES_LIMIT = 2**53 - 1
REASON_LIMIT = 500  # characters
ACTIVE, REVOKED, EXPIRED = "active", "revoked", "expired"

_PATTERN = re.compile(r"(?:(?P<environment>[a-z]+):)?(?P<glob>[^@:]+)(?:@(?P<number>[1-9][0-9]{0,9})(?:-(?P<last>[1-9][0-9]{0,9}))?)?")


@dataclass(frozen=True, slots=True)
class Terms:
    """What is granted. `purposes` are what the grantee may declare; `uses` None is any number of times."""

    principal_id: str
    action: Action
    pattern: str
    purposes: tuple[Purpose, ...]
    expires_ms: int
    reason: str
    uses: int | None = None
    length: int | None = None  # bytes of plaintext; None is any number


@dataclass(frozen=True, slots=True)
class Grant:
    """A grant on record. `state` is active, revoked or expired as stored; `ended` says whether it still counts."""

    id: str
    principal_id: str
    action: Action
    pattern: str
    purposes: tuple[Purpose, ...]
    expires_ms: int
    uses_left: int | None
    state: str
    created_ms: int
    reason: str
    revision: int
    bytes_left: int | None = None
    kind: str | None = None
    approvals: int = 0
    reviewed_ms: int | None = None

    @property
    def counted(self) -> bool:
        """Whether what it covers takes something of it."""
        return self.uses_left is not None or self.bytes_left is not None

    def ended(self, now_ms: int) -> str | None:
        """Return why it counts no more: revoked, expired or used up; None while it counts."""
        if self.state != ACTIVE:
            return EXPIRED if self.state == EXPIRED else REVOKED
        if now_ms >= self.expires_ms:
            return EXPIRED
        nothing_left = any(left is not None and left < 1 for left in (self.uses_left, self.bytes_left))
        return "used up" if nothing_left else None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody wants to do. `name` is None for actions on the domain, `number` None for a version not there yet.

    `length` is how many bytes of plaintext it would release.
    """

    principal_id: str
    action: Action
    name: str | None = None
    environment: Environment | None = None
    number: int | None = None
    purpose: Purpose | None = None
    length: int = 0


# Pure matching


def matches(grant: Grant, wanted: Wanted, *, now_ms: int) -> bool:
    """Whether the grant covers what is wanted, now."""
    return _short_of(grant, wanted, now_ms) is None and _is_about(grant, wanted)


def past(grants: Iterable[Grant], wanted: Wanted, *, now_ms: int) -> str | None:
    """Return why the newest grant about what is wanted does not cover it: it is over, or too few bytes are left; None without one."""
    found = [grant for grant in grants if _short_of(grant, wanted, now_ms) is not None and _is_about(grant, wanted)]
    newest = max(found, key=lambda grant: (grant.created_ms, grant.id), default=None)
    return None if newest is None else f"your grant for this {_short_of(newest, wanted, now_ms)}"


def _is_about(grant: Grant, wanted: Wanted) -> bool:
    same = (grant.principal_id, grant.action) == (wanted.principal_id, wanted.action)
    return same and _purpose_fits(grant, wanted) and pattern_matches(grant.pattern, wanted)


def _short_of(grant: Grant, wanted: Wanted, now_ms: int) -> str | None:
    if ended := grant.ended(now_ms):
        return {EXPIRED: "has expired", REVOKED: "was revoked"}.get(ended, f"is {ended}")
    if grant.bytes_left is not None and wanted.length > grant.bytes_left:
        return f"has {grant.bytes_left} bytes left, and this has {wanted.length}"
    return None


def _purpose_fits(grant: Grant, wanted: Wanted) -> bool:
    """Over data the purpose must be named by the grant; elsewhere purposes limit only if there are any."""
    if wanted.action in DATA_ACTIONS or (grant.purposes and wanted.purpose is not None):
        return wanted.purpose in grant.purposes
    return True


def pattern_matches(pattern: str, wanted: Wanted) -> bool:
    """Whether the pattern covers asset, environment and version. A pattern that does not parse covers nothing."""
    found = _PATTERN.fullmatch(pattern)
    if found is None:
        return False
    environment, number = found["environment"], found["number"]
    if wanted.name is None:
        return found["glob"] == "**" and number is None and _environment_fits(environment, wanted.environment)
    if number is not None and not _number_fits(int(number), int(found["last"] or number), wanted.number):
        return False
    return _environment_fits(environment, wanted.environment) and globs.matches(found["glob"], wanted.name)


def covers_name(pattern: str, name: str, environment: Environment) -> bool:
    """Whether the pattern covers some version of an asset of this name, also one that is not there yet."""
    found = _PATTERN.fullmatch(pattern)
    return found is not None and _environment_fits(found["environment"], environment) and globs.matches(found["glob"], name)


def _number_fits(first: int, last: int, wanted: int | None) -> bool:
    return wanted is not None and first <= wanted <= last


def _environment_fits(named: str | None, wanted: Environment | None) -> bool:
    return named == wanted if named is not None else wanted is not Environment.PRODUCTION


def fitting(grants: Iterable[Grant], wanted: Wanted, *, now_ms: int) -> tuple[Grant, ...]:
    """Return the grants that match, in the order in which they are to be tried.

    Ordinary ones come before those of broken glass, those that nothing is taken of before those that are counted, then by their end.
    """
    found = [grant for grant in grants if matches(grant, wanted, now_ms=now_ms)]
    return tuple(sorted(found, key=lambda grant: (grant.kind is not None, grant.counted, grant.expires_ms, grant.id)))


def best(grants: Iterable[Grant], wanted: Wanted, *, now_ms: int) -> Grant | None:
    """Return the first of those that match, None if none does."""
    return next(iter(fitting(grants, wanted, now_ms=now_ms)), None)


def check_terms(terms: Terms, *, now_ms: int) -> None:
    """Raise UsageError for terms that no grant may have."""
    if terms.action not in GRANTABLE:
        hint = f"grantable actions are: {', '.join(sorted(GRANTABLE))}"
        raise UsageError(f"{str(terms.action)[:40]!r} cannot be granted", hint=hint)
    found = _PATTERN.fullmatch(terms.pattern)
    if found is None or globs.flaw(found["glob"]) or not _begins_with_kind(found["glob"]):
        hint = "write [ENVIRONMENT:]KIND/GLOB[@NUMBER[-NUMBER]], for example dataset/patients* or production:model/risk@3"
        raise UsageError(f"{terms.pattern[:100]!r} is not a pattern over asset names", hint=hint)
    if found["last"] is not None and int(found["last"]) < int(found["number"]):
        raise UsageError(f"{terms.pattern[:100]!r} ends before it begins", hint="write the lower number first: @3-5")
    if found["environment"] is not None and found["environment"] not in tuple(Environment):
        raise UsageError(f"unknown environment {found['environment']!r}", hint=f"use one of: {', '.join(Environment)}")
    if not now_ms < terms.expires_ms <= now_ms + LONGEST_MS:
        raise UsageError("a grant ends in the future, within a year", hint="say how long, for example --for 8h")
    if terms.uses is not None and terms.uses < 1:
        raise UsageError("a grant is good for one use or more", hint="leave the number out for any number of uses")
    if terms.length is not None and not (terms.action in RELEASES and 0 < terms.length <= BYTES_LIMIT):
        raise UsageError("bytes are counted of what is released", hint=f"--bytes goes with {', '.join(sorted(RELEASES))}")
    if not terms.purposes and terms.action in DATA_ACTIONS:
        raise UsageError("a grant over data names its purposes", hint=f"purposes are: {', '.join(Purpose)}")
    if not 0 < len(terms.reason.strip()) <= REASON_LIMIT:
        raise UsageError("a grant has a reason", hint="say in a sentence why, for those who review it")


def _begins_with_kind(glob: str) -> bool:
    head, slash, _ = glob.partition("/")
    return head == "**" or (bool(slash) and (head == "*" or head in tuple(Kind)))


# On record


def give(session: Session, terms: Terms, *, by: Principal, now_ms: int) -> Grant:
    """Record a grant.

    Raises UsageError as `check_terms`; NotFound if the grantee is not enrolled; Conflict if it is disabled; PolicyDenied if `by`
    grants to itself.
    """
    check_terms(terms, now_ms=now_ms)
    if terms.principal_id == by.id:
        raise PolicyDenied("nobody grants to themselves", hint="ask somebody else who may grant", reasons=("own-grant",))
    return record(session, terms, now_ms)


def record(session: Session, terms: Terms, now_ms: int, **more: Any) -> Grant:
    """Write the row of a grant, for who may give it. Raises NotFound, Conflict if the grantee is disabled."""
    if not identity.require(session, terms.principal_id).active:
        raise Conflict("this principal is disabled", hint="give it a role first, or grant to somebody else")
    grant_id = ids.id_from_bytes(secrets.token_bytes(16))
    session.insert(
        tables.grant_,
        id=grant_id,
        principal_id=terms.principal_id,
        action=str(terms.action),
        asset=terms.pattern,
        purposes=[str(purpose) for purpose in terms.purposes],
        expires_ms=terms.expires_ms,
        uses_left=terms.uses,
        state=ACTIVE,
        created_ms=now_ms,
        reason=terms.reason.strip(),
        bytes_left=terms.length,
        **({"kind": None, "approvals": None, "reviewed_ms": None} | more),
    )
    return require(session, grant_id)


def require(session: ReadSession, grant_id: str) -> Grant:
    """Return a grant by id. Raises NotFound, RowTampered."""
    row = session.get(tables.grant_, grant_id)
    if row is None:
        raise NotFound("no such grant", hint="`hermetic access ls` lists grants")
    return of_row(row)


def revoke(session: Session, grant_id: str, *, now_ms: int) -> Grant:
    """End a grant at once. Raises NotFound; Conflict if it has ended already."""
    grant = require(session, grant_id)
    if ended := grant.ended(now_ms):
        raise Conflict(f"this grant is over: {ended}", hint="nothing is left to revoke")
    return of_row(session.update(tables.grant_, grant_id, grant.revision, state=REVOKED))


def listing(session: ReadSession, *, now_ms: int, principal_id: str | None = None, ended: bool = False) -> tuple[Grant, ...]:
    """Return grants in order of creation, of everybody or of one principal; `ended` includes those that are over."""
    rows = session.find(tables.grant_) if principal_id is None else session.find(tables.grant_, principal_id=principal_id)
    grants = (grant for grant in map(of_row, rows) if ended or grant.ended(now_ms) is None)
    return tuple(sorted(grants, key=lambda grant: (grant.created_ms, grant.id)))


def find_match(session: ReadSession, wanted: Wanted, *, now_ms: int) -> Grant | None:
    """Return the grant that covers what is wanted, or None."""
    return best(listing(session, now_ms=now_ms, principal_id=wanted.principal_id), wanted, now_ms=now_ms)


def consume(session: Session, grant: Grant, *, now_ms: int, length: int = 0) -> Grant:
    """Take one use of a grant, and `length` bytes, in the transaction that records the release; returns it as it now is.

    Raises PolicyDenied if it has ended since it was matched: revoked, expired, or used up by somebody faster.
    """
    current = require(session, grant.id)
    if ended := current.ended(now_ms):
        raise PolicyDenied(f"the grant is over: {ended}", hint="ask for a new one", reasons=(f"grant-{ended.replace(' ', '-')}",))
    if current.bytes_left is not None and length > current.bytes_left:
        message = f"{length:,} bytes are more than the {current.bytes_left:,} that are left of the grant"
        raise PolicyDenied(message, hint="open fewer versions at once, or ask for a new grant", reasons=("grant-bytes",))
    return _counted(session, current, -1, -length)


def give_back(session: Session, grant_id: str, *, length: int = 0) -> Grant:
    """Undo `consume` for a release that handed nothing over."""
    return _counted(session, require(session, grant_id), 1, length)


def _counted(session: Session, grant: Grant, uses: int, length: int) -> Grant:
    if not grant.counted:
        return grant
    left = {"uses_left": (grant.uses_left, uses), "bytes_left": (grant.bytes_left, length)}
    changes = {name: value + change for name, (value, change) in left.items() if value is not None}
    return of_row(session.update(tables.grant_, grant.id, grant.revision, **changes))


def end_all(session: Session, principal_id: str, *, now_ms: int) -> tuple[Grant, ...]:
    """End every grant of a principal that still counts; return them."""
    return tuple(revoke(session, grant.id, now_ms=now_ms) for grant in listing(session, now_ms=now_ms, principal_id=principal_id))


def of_row(row: dict[str, Any]) -> Grant:
    """Return a grant as its row has it. Raises IntegrityError."""
    try:
        action, purposes = Action(row["action"]), tuple(Purpose(purpose) for purpose in row["purposes"])
    except ValueError:
        raise IntegrityError("a grant holds words this release does not know", hint="it was written by a newer release") from None
    return Grant(
        id=row["id"],
        principal_id=row["principal_id"],
        action=action,
        pattern=row["asset"],
        purposes=purposes,
        expires_ms=row["expires_ms"] or 0,
        uses_left=row["uses_left"],
        state=row["state"],
        created_ms=row["created_ms"],
        reason=row["reason"] or "",
        revision=row["revision"],
        bytes_left=row["bytes_left"],
        kind=row["kind"],
        approvals=row["approvals"] or 0,
        reviewed_ms=row["reviewed_ms"],
    )
