"""How long ago the caller showed a second factor: `context.mfa_age` of policies, and nothing else sets it.

The age is by principal and credential. It goes by the clock that runs on while the machine does (`Custodian.steady`), so that a wall
clock which is set back makes nothing fresh again; a time before the newest entries of the log, or before the factor was shown, is a
clock that is wrong, and then nothing was shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from hermetic.access import second_factors
from hermetic.db import tables

if TYPE_CHECKING:
    from hermetic.custody.call import Call
    from hermetic.db.rows import ReadSession

SKEW_MS: Final = 300_000  # how far the clocks of processes that share a log may differ
_NEWEST: Final = (
    sa.select(tables.log_leaf.c.at_ms).order_by(tables.log_leaf.c.generation.desc(), tables.log_leaf.c.idx.desc()).limit(1)
)


def now_ms(call: Call) -> int:
    """Return the time that second factors go by."""
    return max(call.now_ms, call.custodian.steady())


def look(call: Call, session: ReadSession) -> None:
    """Read when the caller showed a factor, once for each session, for `known`. Raises RowTampered."""
    if call.noted.shown is None or call.noted.shown[0] is not session:
        at_ms = second_factors.shown_ms(session, call.caller, call.credential or "")
        call.noted.shown = (session, age_of(call, session, at_ms))


def known(call: Call, principal_id: str) -> int | None:
    """Return the age that was read, None where none was shown; somebody else's is nobody's to use."""
    return call.noted.shown[1] if call.noted.shown is not None and principal_id == call.caller else None


def age_of(call: Call, session: ReadSession, at_ms: int | None) -> int | None:
    """Return how long ago `at_ms` is, None where the clock cannot be believed."""
    if at_ms is None:
        return None
    now, newest = now_ms(call), session.connection.execute(_NEWEST).scalar()
    if now < at_ms or (newest is not None and now + SKEW_MS < newest):
        return None
    return now - at_ms
