"""Decrypted segments kept for small reads, wiped when they are dropped; their memory serves the next ones."""

from __future__ import annotations

import threading
from collections import OrderedDict

from hermetic.formats.suites import MIB
from hermetic.sealed import _spare

_ZEROS = bytes(MIB)


def wipe(view: memoryview) -> None:
    """Overwrite with zeros."""
    for start in range(0, view.nbytes, MIB):
        part = view[start : start + MIB]
        part[:] = _ZEROS[: part.nbytes]


class SegmentCache:
    """The segments used last, `limit` bytes of them, each in a memory of `size` bytes. Thread safe."""

    def __init__(self, size: int, limit: int) -> None:
        self._size, self._count = size, max(1, limit // max(1, size))
        self._kept: OrderedDict[int, memoryview] = OrderedDict()
        self._free: list[memoryview] = []
        self._lock = threading.Lock()
        self._open = True

    def copy(self, segment: int, inside: int, out: memoryview) -> bool:
        """Copy a part of a segment into `out` and return True, or return False if the segment is not here."""
        with self._lock:
            plain = self._kept.get(segment)
            if plain is None:
                return False
            self._kept.move_to_end(segment)
            out[:] = plain[inside : inside + out.nbytes]
            return True

    def memory(self) -> memoryview:
        """Return memory for one segment."""
        with self._lock:
            return self._free.pop() if self._free else _spare.take(self._size)

    def keep(self, segment: int, plain: memoryview) -> None:
        """Take a segment in `memory()` over; one that is here already, or comes after `close`, is wiped."""
        with self._lock:
            if not self._open or segment in self._kept:
                self._drop(plain)
                return
            self._kept[segment] = plain
            while len(self._kept) > self._count:
                self._drop(self._kept.popitem(last=False)[1])

    def _drop(self, plain: memoryview) -> None:
        wipe(plain)
        if self._open:
            self._free.append(plain)

    def close(self) -> None:
        """Wipe everything and keep nothing more."""
        with self._lock:
            self._open = False
            for plain in self._kept.values():
                wipe(plain)
            for plain in (*self._kept.values(), *self._free):
                _spare.give(plain)
            self._kept.clear()
            self._free.clear()
