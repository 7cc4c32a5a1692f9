"""What was read, to be compared later byte for byte, and to be asked for at once the next time.

    with database.read(keys, plan=("release", caller, ref)) as session:
        …                                       # queries that the last session of this plan asked come in one statement
        relied = session.relied()               # each query that was asked, with the stored rows that answered it
    with database.write(keys, …) as session:
        session.require_unchanged(relied)       # the same queries, in one statement: the same bytes, or Changed

Invariants:
1. What follows from verified rows alone follows again from the same bytes: nothing has to be verified, opened or decided again. So
   whoever repeats a look at rows may take equal answers to *all* its queries for the look, and else has to look anew.
2. Answers are compared whole: values and their types, every column, `mac` too, each row that a query finds now and none besides.
3. A record that is not complete (too many answers, too long ones) is None, and never equal to anything.
4. A plan says what will probably be asked. It answers nothing: every answer is read in the session that asks, in its own snapshot.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

from hermetic.errors import HermeticError

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence

    from hermetic.db.layout import Layout

    Query = tuple[Layout, tuple[str, ...], tuple[str, ...], tuple[Any, ...]]
    """Table, columns that equal the values, columns that are NULL, the values, as stored."""

    Stored = Sequence[Any]
    Relied = Mapping[Query, Sequence[Stored]]

ANSWERS: Final = 8192  # of one session that are remembered
ANSWER_ROWS: Final = 256  # of one answer
PLANS: Final = 2048
PLANNED: Final = 40  # queries of one plan
TOGETHER: Final = 100  # queries in one statement


class Changed(HermeticError):
    """A row that was relied on is not what it was. Whoever compares looks anew; it never leaves custody."""


def same(before: Sequence[Stored], now: Sequence[Stored]) -> bool:
    """Whether two answers are equal in value and type: 1, 1.0 and True are equal to Python, and not to a row MAC."""
    return len(before) == len(now) and all(
        tuple(old) == tuple(new) and [*map(type, old)] == [*map(type, new)] for old, new in zip(before, now, strict=True)
    )


class Plans:
    """Which queries sessions of one kind asked last. Threads may share it."""

    __slots__ = ("_known", "_lock")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[Hashable, tuple[Query, ...]] = {}

    def find(self, plan: Hashable) -> tuple[Query, ...]:
        """Return what will probably be asked."""
        return self._known.get(plan, ())

    def keep(self, plan: Hashable, asked: Iterable[Query]) -> None:
        """Remember what was asked, if it is little and not what is known."""
        queries = tuple(asked)
        if len(queries) > PLANNED or queries == self._known.get(plan):
            return
        with self._lock:
            if len(self._known) >= PLANS:
                del self._known[next(iter(self._known))]
            self._known[plan] = queries
