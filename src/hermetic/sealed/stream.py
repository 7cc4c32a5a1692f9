"""SealedFile: a sealed object as a seekable, read-only binary file. Wrap it in io.BufferedReader for many small reads."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

from hermetic.errors import UsageError

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from hermetic.sealed.reader import ObjectReader


class SealedFile(io.RawIOBase):
    """Reads through an ObjectReader, verified range by range; closing it closes the reader."""

    def __init__(self, reader: ObjectReader) -> None:
        super().__init__()
        self._reader = reader
        self._position = 0

    @property
    def length(self) -> int:
        """Plaintext length in bytes."""
        return self._reader.length

    def readable(self) -> bool:
        """Say yes."""
        return True

    def seekable(self) -> bool:
        """Say yes."""
        return True

    def tell(self) -> int:
        """Return the position in the plaintext."""
        self._check_open()
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move, also past the end, where reads give nothing. Raises UsageError for a negative position."""
        self._check_open()
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.length}.get(whence)
        if start is None or start + offset < 0:
            raise UsageError("cannot seek to before the start, or from there")
        self._position = start + offset
        return self._position

    def readinto(self, buffer: Buffer, /) -> int:
        """Fill `buffer`; the count is short only at the end. Raises what `ObjectReader.readinto_at` does."""
        self._check_open()
        count = self._reader.readinto_at(self._position, memoryview(buffer).cast("B"))
        self._position += count
        return count

    def readall(self) -> bytes:
        """Return everything from the position on."""
        self._check_open()
        rest = bytearray(max(0, self.length - self._position))
        self.readinto(rest)
        return bytes(rest)

    def close(self) -> None:
        """Close the reader too."""
        if not self.closed:
            self._reader.close()
        super().close()

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file")  # what io promises its users
