"""Rows that were verified and opened before, to be known again byte for byte.

A release reads what it relies on three times, and a batch the same keys a thousand times; verifying and opening a row costs more than
reading it. What `protect.reveal` returns depends on table, stored bytes and keys alone, so for the same bytes the answer is the same.
A row that anybody has changed has other bytes, and is verified like one that was never seen.

What is kept is no key: names, reasons, labels, in the memory of a process that may read them. Very large rows are not kept, and when
there are many, or they take much room, old ones go. Nested values are kept as bytes, so that each caller gets values of its own.
"""

from __future__ import annotations

import marshal
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from hermetic.db.layout import Layout
    from hermetic.db.relied import Relied

ROWS = 4096
ROW_BYTES = 131_072  # of texts and bytes, as stored: a policy is one row
ALL_BYTES = 32 * 1024 * 1024
RESULTS = 256
RESULT_ROWS = 64  # questions that one result was worked out of

Row = dict[str, Any]
Mark = tuple[object, ...]


class Seen:
    """The rows that one set of row keys has verified. Threads may share it."""

    __slots__ = ("_bytes", "_lock", "_results", "_rows")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: dict[Mark, tuple[Row, int]] = {}
        self._results: dict[Hashable, tuple[Relied, Any]] = {}
        self._bytes = 0

    def remember(self, about: Hashable, relied: Relied | None, result: object) -> None:
        """Keep what was worked out of verified rows alone. Whoever recalls it changes nothing of it."""
        if relied is None or len(relied) > RESULT_ROWS:
            return
        with self._lock:
            if about not in self._results and len(self._results) >= RESULTS:
                del self._results[next(iter(self._results))]
            self._results[about] = relied, result

    def recall(self, about: Hashable) -> tuple[Relied, Any] | None:
        """Return it with the rows, which have to be the same still."""
        return self._results.get(about)

    def find(self, shape: Layout, stored: Sequence[Any]) -> Row | None:
        """Return a copy of what these very bytes were found to say, None if they were not seen."""
        kept = self._rows.get(_mark(shape, stored))
        if kept is None:
            return None
        row = kept[0].copy()
        for name in shape.nested:
            row[name] = marshal.loads(row[name])  # noqa: S302 - our own, and never out of this process
        return row

    def keep(self, shape: Layout, stored: Sequence[Any], row: Row) -> None:
        """Remember what a verified row says."""
        length = sum(len(value) for value in stored if isinstance(value, str | bytes))
        if length > ROW_BYTES:
            return
        kept, mark = row | {name: marshal.dumps(row[name]) for name in shape.nested}, _mark(shape, stored)
        with self._lock:
            self._bytes -= self._rows.pop(mark, (row, 0))[1]
            while self._rows and (len(self._rows) >= ROWS or self._bytes + length > ALL_BYTES):
                self._bytes -= self._rows.pop(next(iter(self._rows)))[1]
            self._rows[mark] = kept, length
            self._bytes += length


def _mark(shape: Layout, stored: Sequence[Any]) -> Mark:
    """Return what tells rows apart: types too, since 1, 1.0 and True are equal to Python and not to a row MAC."""
    return (shape.name, *stored, *map(type, stored))
