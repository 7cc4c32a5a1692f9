"""The next copy of custody is written whole, without a chunk of earlier ones: they hold what was destroyed.

Copies share chunks (spec/backup.md section 3), so that a pack of before lives on as long as one chunk of it is the same. Who destroys
says so here, in the same transaction; whoever copies next writes everything anew and removes the rest. It is a number and no time: a
clock that is set back hides no destruction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from hermetic.db import tables
from hermetic.formats.fields import whole_number

if TYPE_CHECKING:
    from hermetic.db.rows import ReadSession

DESTRUCTIONS: Final = "destructions"  # row of `setting`: how many there were
COPIED: Final = "destructions"  # row of `backup_state`: how many of them the last whole copy came after


def note(session: Any) -> None:
    """Say that something was destroyed in this transaction."""
    row = session.get(tables.setting, DESTRUCTIONS)
    if row is None:
        session.insert(tables.setting, key=DESTRUCTIONS, value={"count": 1})
    else:
        session.update(tables.setting, DESTRUCTIONS, row["revision"], value={"count": _count(row) + 1})


def since_copy(session: ReadSession) -> int:
    """Return how many destructions there were, if the last whole copy is from before one of them; else 0."""
    row, copied = session.get(tables.setting, DESTRUCTIONS), session.get(tables.backup_state, COPIED)
    count = 0 if row is None else _count(row)
    return count if count > (0 if copied is None else whole_number(copied["value"]) or 0) else 0


def _count(row: dict[str, Any]) -> int:
    value = row["value"]
    found = value.get("count") if isinstance(value, dict) else None
    return found if isinstance(found, int) else 0
