"""What is written to a mount, in memory until it is sealed: files as pieces that grow, under one limit."""

from __future__ import annotations

import errno
import threading
from pathlib import Path

from hermetic.formats.suites import MIB

_FIRST = 4096  # bytes of a small file's only piece; it grows fourfold
_GROWTH = 4
_UNKNOWN = 1024 * MIB  # limit where the kernel does not say how much memory there is
_KIB = 1024


class Budget:
    """How many bytes of memory all files of one mount may take: by default half of what was available at its start.

    The lengths of all files together have the same limit. A file may have holes, which take no memory here but are sealed as zeros.
    """

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit if limit is not None else _available() // 2
        self.used = 0
        self.length = 0
        self.exceeded = False
        self._lock = threading.Lock()

    def take(self, count: int) -> None:
        """Count bytes before they are allocated. Raises OSError(ENOSPC)."""
        with self._lock:
            if self.used + count > self.limit:
                self.exceeded = True
                raise OSError(errno.ENOSPC, "the files of this mount take too much memory")
            self.used += count

    def lengthen(self, count: int) -> None:
        """Count bytes that a file becomes longer by, or shorter. Raises OSError(ENOSPC)."""
        with self._lock:
            if count > 0 and self.length + count > self.limit:
                self.exceeded = True
                raise OSError(errno.ENOSPC, "the files of this mount are longer than there is memory")
            self.length += count

    def give_back(self, count: int) -> None:
        """Count bytes that were freed."""
        with self._lock:
            self.used -= count


class Content:
    """The bytes of one file. What was never written reads as zeros. The caller sees to it that one thread changes it at a time."""

    __slots__ = ("_budget", "_pieces", "size")

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._pieces: dict[int, bytearray] = {}
        self.size = 0

    def write(self, offset: int, data: memoryview) -> None:
        """Put `data` at `offset`. Raises OSError(ENOSPC)."""
        longer = max(0, offset + len(data) - self.size)
        self._budget.lengthen(longer)
        try:
            self._put(offset, data)
        except OSError:
            self._budget.lengthen(-longer)
            raise
        self.size += longer

    def _put(self, offset: int, data: memoryview) -> None:
        done = 0
        while done < len(data):
            number, inside = divmod(offset + done, MIB)
            count = min(len(data) - done, MIB - inside)
            self._room(number, inside + count)[inside : inside + count] = data[done : done + count]
            done += count

    def read(self, offset: int, size: int) -> list[bytes | memoryview]:
        """Return up to `size` bytes from `offset`, as views of what is there now."""
        parts: list[bytes | memoryview] = []
        end = min(offset + size, self.size)
        while offset < end:
            number, inside = divmod(offset, MIB)
            count = min(end - offset, MIB - inside)
            found = memoryview(self._pieces.get(number, b""))[inside : inside + count]
            parts += [found, bytes(count - len(found))]
            offset += count
        return parts

    def resize(self, size: int) -> None:
        """Cut or lengthen the file. Raises OSError(ENOSPC)."""
        self._budget.lengthen(size - self.size)
        if size < self.size:
            last, inside = divmod(size, MIB)
            for number in [number for number in self._pieces if number > last or (number == last and not inside)]:
                gone = self._pieces.pop(number)
                self._budget.give_back(len(gone))
                gone[:] = bytes(len(gone))
            kept = self._pieces.get(last)
            if kept is not None:
                kept[inside:] = bytes(max(0, len(kept) - inside))
        self.size = size

    def clear(self) -> None:
        """Free everything."""
        self.resize(0)

    def _room(self, number: int, wanted: int) -> bytearray:
        """Return a piece with at least `wanted` bytes. A longer one takes its place: views of the old one stay good."""
        piece = self._pieces.get(number)
        have = 0 if piece is None else len(piece)
        if piece is not None and have >= wanted:
            return piece
        length = max(have, _FIRST)
        while length < wanted:
            length = min(MIB, length * _GROWTH)
        self._budget.take(length - have)
        longer = bytearray(length)
        if piece is not None:
            longer[:have] = piece
        self._pieces[number] = longer
        return longer


def _available() -> int:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return _UNKNOWN
    found = [int(line.split()[1]) * _KIB for line in lines if line.startswith("MemAvailable:")]
    return found[0] if found else _UNKNOWN
