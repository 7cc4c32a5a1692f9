"""How late it is at least: what approvals covered stays over when somebody sets the clock back.

People set the wall clock. The log's newest entry says how late it was before that, and the later of the two ends approvals and what
they cover. The next entry is dated by the clock as it is then, so whoever connects or is refused first ends them for good
(`denial.sweep`). A clock that was ahead by mistake ends some early, and they are asked for anew. What a process that stays connected
appends right after the clock was set back hides how late it was, from itself and from others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from hermetic.db import tables

if TYPE_CHECKING:
    from hermetic.custody.custodian import Custodian
    from hermetic.db.rows import ReadSession


def late_ms(custodian: Custodian, session: ReadSession, now_ms: int) -> int:
    """Return the clock's time or that of the log's newest entry, whichever is later, Unix milliseconds."""
    leaf = tables.log_leaf
    newest = sa.select(leaf.c.at_ms).where(leaf.c.generation == custodian.generation).order_by(leaf.c.idx.desc()).limit(1)
    logged = session.connection.execute(newest).scalar_one_or_none()
    return max(now_ms, 0 if logged is None else int(logged))
