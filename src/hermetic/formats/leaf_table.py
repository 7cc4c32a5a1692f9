"""The leaf table: the digest of every stored segment, in order, 32 bytes each (spec/sealed-object.md section 4)."""

from __future__ import annotations

from hermetic.errors import FormatError, IntegrityError
from hermetic.formats.suites import DIGEST


class LeafTable:
    """Leaves by segment position. A writer fills it in any order, a reader compares against it."""

    __slots__ = ("_leaves",)

    def __init__(self, raw: bytes = b"") -> None:
        if len(raw) % DIGEST:
            raise FormatError("leaf table ends inside a leaf")
        self._leaves = bytearray(raw)

    def __len__(self) -> int:
        return len(self._leaves) // DIGEST

    def set(self, position: int, leaf: bytes) -> None:
        """Record the leaf of a segment; grows the table as needed. Not for two threads without `reserve`."""
        self.reserve(position + 1)
        self._leaves[position * DIGEST : (position + 1) * DIGEST] = leaf

    def reserve(self, segments: int) -> None:
        """Make room for that many leaves, after which threads may `set` different positions at once."""
        missing = segments * DIGEST - len(self._leaves)
        if missing > 0:
            self._leaves.extend(bytes(missing))

    def check(self, position: int, leaf: bytes) -> None:
        """Raise IntegrityError unless `leaf` is the recorded one."""
        if self._leaves[position * DIGEST : (position + 1) * DIGEST] != leaf:
            raise IntegrityError(f"segment {position} is not what was sealed")

    def encode(self) -> bytes:
        """Return the table as stored."""
        return bytes(self._leaves)
