"""The next copy of custody is written whole, without a chunk of earlier ones: they hold what was destroyed.

Copies share chunks (spec/backup.md section 3), so that a pack of before lives on as long as one chunk of it is the same. Who destroys
says so here, in the same transaction; whoever copies next writes everything anew and removes the rest. It is a number and no time: a
clock that is set back hides no destruction. Both numbers are rows of `setting`, which the log commits to; the second is written once
the whole copy is durable (`copied.written_anew`), so that a crash between them makes one more whole copy and never one too few.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from hermetic.db import tables

if TYPE_CHECKING:
    from hermetic.db.rows import ReadSession

DESTRUCTIONS: Final = "destructions"  # row of `setting`: how many there were
COPIED: Final = "destructions-copied"  # row of `setting`: how many of them the last whole copy came after


def note(session: Any) -> None:
    """Say that something was destroyed in this transaction."""
    _set(session, DESTRUCTIONS, _count(session, DESTRUCTIONS) + 1)


def since_copy(session: ReadSession) -> int:
    """Return how many destructions there were, if the last whole copy is from before one of them; else 0."""
    count = _count(session, DESTRUCTIONS)
    return count if count > _count(session, COPIED) else 0


def copied_after(session: Any, count: int) -> bool:
    """Say that a whole copy came after `count` destructions; return whether that is news."""
    news = count > _count(session, COPIED)
    if news:
        _set(session, COPIED, count)
    return news


def _count(session: ReadSession, key: str) -> int:
    row = session.get(tables.setting, key)
    value = None if row is None else row["value"]
    found = value.get("count") if isinstance(value, dict) else None
    return found if isinstance(found, int) else 0


def _set(session: Any, key: str, count: int) -> None:
    row = session.get(tables.setting, key)
    if row is None:
        session.insert(tables.setting, key=key, value={"count": count})
    else:
        session.update(tables.setting, key, row["revision"], value={"count": count})
