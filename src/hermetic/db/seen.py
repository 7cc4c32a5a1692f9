"""Rows that were verified and opened before, to be known again byte for byte.

A release reads what it relies on three times, and a batch the same keys a thousand times; verifying and opening a row costs more than
reading it. What `protect.reveal` returns depends on table, stored bytes and keys alone, so for the same bytes the answer is the same.
A row that anybody has changed has other bytes, and is verified like one that was never seen.

What is kept is no key: names, reasons, labels, in the memory of a process that may read them. Large rows are not kept, old ones go.
"""

from __future__ import annotations

import copy
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hermetic.db.layout import Layout

ROWS = 4096
ROW_BYTES = 8192  # of texts and bytes, as stored

Row = dict[str, Any]
Mark = tuple[object, ...]


class Seen:
    """The rows that one set of row keys has verified. Threads may share it."""

    __slots__ = ("_lock", "_rows")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: dict[Mark, Row] = {}

    def find(self, shape: Layout, stored: Sequence[Any]) -> Row | None:
        """Return a copy of what these very bytes were found to say, None if they were not seen."""
        row = self._rows.get(_mark(shape, stored))
        return None if row is None else _copied(shape, row)

    def keep(self, shape: Layout, stored: Sequence[Any], row: Row) -> None:
        """Remember what a verified row says."""
        if sum(len(value) for value in stored if isinstance(value, str | bytes)) > ROW_BYTES:
            return
        with self._lock:
            if len(self._rows) >= ROWS:
                del self._rows[next(iter(self._rows))]
            self._rows[_mark(shape, stored)] = _copied(shape, row)


def _mark(shape: Layout, stored: Sequence[Any]) -> Mark:
    """Return what tells rows apart: types too, since 1, 1.0 and True are equal to Python and not to a row MAC."""
    return (shape.name, *stored, *map(type, stored))


def _copied(shape: Layout, row: Row) -> Row:
    """Return a copy that may be changed without changing what is kept."""
    made = dict(row)
    for name in shape.nested:
        made[name] = copy.deepcopy(made[name])
    return made
