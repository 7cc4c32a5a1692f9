"""How often somebody failed in a row to show a second factor, and until when no attempt is taken.

So many attempts may fail in a row: `FREE`, then after ever longer waits, and at `MOST` none until somebody who enrols people has
removed the factor. A clock that is set forward does shorten a wait; it does not make a code good twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hermetic.db import tables
from hermetic.errors import Denied

if TYPE_CHECKING:
    from hermetic.db.rows import ReadSession, Session

FREE: Final = 5  # attempts that may fail in a row
MOST: Final = 100  # the same, at which nothing more is taken (NIST SP 800-63B section 5.2.2)
FIRST_WAIT_MS: Final = 30_000
LONGEST_WAIT_MS: Final = 3_600_000
FOR_EVER: Final = 1 << 52


def check(session: ReadSession, principal_id: str, *, now_ms: int) -> None:
    """Return if the principal may try now. Raises Denied."""
    row = session.get(tables.factor_attempts, principal_id)
    if row is None or now_ms >= row["until_ms"]:
        return
    if row["failed"] >= MOST:
        raise Denied(
            f"{row['failed']} attempts failed in a row: nothing more is taken",
            hint="have your factor removed by whoever enrols people, and a new one invited",
        )
    raise Denied(
        f"{row['failed']} attempts failed in a row",
        hint=f"wait {-(-(row['until_ms'] - now_ms) // 1000)} seconds, then try again",
    )


def failed(session: Session, principal_id: str, *, now_ms: int) -> tuple[int, int]:
    """Count an attempt that failed; return how many did in a row, and until when none is taken."""
    row = session.get(tables.factor_attempts, principal_id)
    count = 1 if row is None else int(row["failed"]) + 1
    until = FOR_EVER if count >= MOST else now_ms + _wait_ms(count)
    if row is None:
        session.insert(tables.factor_attempts, principal_id=principal_id, failed=count, until_ms=until)
    else:
        session.update(tables.factor_attempts, principal_id, row["revision"], failed=count, until_ms=until)
    return count, until


def forget(session: Session, principal_id: str) -> None:
    """Begin to count anew: something right was shown, or somebody who enrols people lets them begin again."""
    row = session.get(tables.factor_attempts, principal_id)
    if row is not None and row["failed"]:
        session.update(tables.factor_attempts, principal_id, row["revision"], failed=0, until_ms=0)


def _wait_ms(count: int) -> int:
    return 0 if count < FREE else min(FIRST_WAIT_MS << (count - FREE), LONGEST_WAIT_MS)
