"""Broken glass: a grant for an emergency, to whoever asked for it, which other people agreed to; short, and reviewed afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hermetic.access import grants
from hermetic.access.grants import BREAK_GLASS
from hermetic.db import tables
from hermetic.errors import Conflict, UsageError

if TYPE_CHECKING:
    from hermetic.access.grants import Grant, Terms
    from hermetic.db.rows import ReadSession, Session

LONGEST_MS: Final = 4 * 3_600_000


def break_glass(session: Session, terms: Terms, *, approvals: int, now_ms: int) -> Grant:
    """Record a grant that `approvals` other people agreed to.

    Raises as `grants.give`, but for who grants to whom; UsageError over 4 hours, for several purposes, or without anybody's yes.
    """
    grants.check_terms(terms, now_ms=now_ms)
    if terms.expires_ms > now_ms + LONGEST_MS or len(terms.purposes) != 1 or approvals < 1:
        raise UsageError("glass is broken for one purpose, for at most 4 hours, and by somebody else's yes", hint="--for 1h")
    return grants.record(session, terms, now_ms, kind=BREAK_GLASS, approvals=approvals)


def broken(session: ReadSession) -> tuple[Grant, ...]:
    """Return the grants of broken glass that nobody has reviewed, oldest first."""
    found = (grants.of_row(row) for row in session.find(tables.grant_, kind=BREAK_GLASS))
    return tuple(sorted((item for item in found if item.reviewed_ms is None), key=lambda item: (item.created_ms, item.id)))


def review(session: Session, grant: Grant, *, now_ms: int) -> Grant:
    """Mark a grant of broken glass as reviewed. Raises Conflict if it is open, or reviewed already, UsageError for another kind."""
    if grant.kind != BREAK_GLASS:
        raise UsageError("nothing is to review about an ordinary grant", hint="`hermetic access ls --all` says which are break-glass")
    if grant.reviewed_ms is not None:
        raise Conflict("this was reviewed already", hint="`hermetic log ls` has who did, and what was found")
    if grant.ended(now_ms) is None:
        raise Conflict("it is still open", hint=f"wait for its end, or end it now: `hermetic access revoke {grant.id} --reason WHY`")
    return grants.of_row(session.update(tables.grant_, grant.id, grant.revision, reviewed_ms=now_ms))
