"""Grants: one principal, one action, matching assets, some purposes, until a moment, so many times.

The pattern is `[ENVIRONMENT:]GLOB[@NUMBER]` over asset names: `dataset/patients*`, `model/risk@3`, `production:model/risk`. Without an
environment it matches in development and staging; production is never opened by a pattern that does not say so. Actions on the
domain, such as read-log, are granted with the pattern `**`.

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
from hermetic.policy.request import DATA_ACTIONS, GRANTABLE, Action

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hermetic.db.rows import ReadSession, Session
    from hermetic.policy.request import Principal

LONGEST_MS = 366 * 86_400_000
REASON_LIMIT = 500  # characters
ACTIVE, REVOKED, EXPIRED = "active", "revoked", "expired"

_PATTERN = re.compile(r"(?:(?P<environment>[a-z]+):)?(?P<glob>[^@:]+)(?:@(?P<number>[1-9][0-9]{0,9}))?")


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

    def ended(self, now_ms: int) -> str | None:
        """Return why it counts no more: revoked, expired or used up; None while it counts."""
        if self.state != ACTIVE:
            return EXPIRED if self.state == EXPIRED else REVOKED
        if now_ms >= self.expires_ms:
            return EXPIRED
        return "used up" if self.uses_left is not None and self.uses_left < 1 else None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody wants to do. `name` is None for actions on the domain, `number` None for a version not there yet."""

    principal_id: str
    action: Action
    name: str | None = None
    environment: Environment | None = None
    number: int | None = None
    purpose: Purpose | None = None


# Pure matching


def matches(grant: Grant, wanted: Wanted, *, now_ms: int) -> bool:
    """Whether the grant covers what is wanted, now."""
    if grant.ended(now_ms) or (grant.principal_id, grant.action) != (wanted.principal_id, wanted.action):
        return False
    return _purpose_fits(grant, wanted) and pattern_matches(grant.pattern, wanted)


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
    if number is not None and int(number) != wanted.number:
        return False
    return _environment_fits(environment, wanted.environment) and globs.matches(found["glob"], wanted.name)


def _environment_fits(named: str | None, wanted: Environment | None) -> bool:
    return named == wanted if named is not None else wanted is not Environment.PRODUCTION


def best(grants: Iterable[Grant], wanted: Wanted, *, now_ms: int) -> Grant | None:
    """Return the grant to use: one with unlimited uses first, then the one that ends soonest; None if none matches."""
    fitting = [grant for grant in grants if matches(grant, wanted, now_ms=now_ms)]
    return min(fitting, key=lambda grant: (grant.uses_left is not None, grant.expires_ms, grant.id), default=None)


def check_terms(terms: Terms, *, now_ms: int) -> None:
    """Raise UsageError for terms that no grant may have."""
    if terms.action not in GRANTABLE:
        hint = f"grantable actions are: {', '.join(sorted(GRANTABLE))}"
        raise UsageError(f"{str(terms.action)[:40]!r} cannot be granted", hint=hint)
    found = _PATTERN.fullmatch(terms.pattern)
    if found is None or globs.flaw(found["glob"]) or not _begins_with_kind(found["glob"]):
        hint = "write [ENVIRONMENT:]KIND/GLOB[@NUMBER], for example dataset/patients* or production:model/risk@3"
        raise UsageError(f"{terms.pattern[:100]!r} is not a pattern over asset names", hint=hint)
    if found["environment"] is not None and found["environment"] not in tuple(Environment):
        raise UsageError(f"unknown environment {found['environment']!r}", hint=f"use one of: {', '.join(Environment)}")
    if not now_ms < terms.expires_ms <= now_ms + LONGEST_MS:
        raise UsageError("a grant ends in the future, within a year", hint="say how long, for example --for 8h")
    if terms.uses is not None and terms.uses < 1:
        raise UsageError("a grant is good for one use or more", hint="leave the number out for any number of uses")
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
    )
    return require(session, grant_id)


def require(session: ReadSession, grant_id: str) -> Grant:
    """Return a grant by id. Raises NotFound, RowTampered."""
    row = session.get(tables.grant_, grant_id)
    if row is None:
        raise NotFound("no such grant", hint="`hermetic access review` lists grants")
    return _grant(row)


def revoke(session: Session, grant_id: str, *, now_ms: int) -> Grant:
    """End a grant at once. Raises NotFound; Conflict if it has ended already."""
    grant = require(session, grant_id)
    if ended := grant.ended(now_ms):
        raise Conflict(f"this grant is over: {ended}", hint="nothing is left to revoke")
    return _grant(session.update(tables.grant_, grant_id, grant.revision, state=REVOKED))


def listing(session: ReadSession, *, now_ms: int, principal_id: str | None = None, ended: bool = False) -> tuple[Grant, ...]:
    """Return grants in order of creation, of everybody or of one principal; `ended` includes those that are over."""
    rows = session.find(tables.grant_) if principal_id is None else session.find(tables.grant_, principal_id=principal_id)
    grants = (grant for grant in map(_grant, rows) if ended or grant.ended(now_ms) is None)
    return tuple(sorted(grants, key=lambda grant: (grant.created_ms, grant.id)))


def find_match(session: ReadSession, wanted: Wanted, *, now_ms: int) -> Grant | None:
    """Return the grant that covers what is wanted, or None."""
    return best(listing(session, now_ms=now_ms, principal_id=wanted.principal_id), wanted, now_ms=now_ms)


def consume(session: Session, grant: Grant, *, now_ms: int) -> Grant:
    """Take one use of a grant, in the transaction that records the release; returns it as it now is.

    Raises PolicyDenied if it has ended since it was matched: revoked, expired, or used up by somebody faster.
    """
    current = require(session, grant.id)
    if ended := current.ended(now_ms):
        raise PolicyDenied(f"the grant is over: {ended}", hint="ask for a new one", reasons=(f"grant-{ended.replace(' ', '-')}",))
    if current.uses_left is None:
        return current
    return _grant(session.update(tables.grant_, grant.id, current.revision, uses_left=current.uses_left - 1))


def _grant(row: dict[str, Any]) -> Grant:
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
    )
