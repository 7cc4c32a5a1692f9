"""A look at a file or at bytes without taking all of it."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from typing import Literal

State = Literal["plaintext", "sealed", "unknown"]

HEAD = 8192  # bytes read of every file
READ_LIMIT = 16 << 20  # bytes that one range read may ask for


@dataclass(frozen=True, slots=True)
class Guess:
    """What something is. `kind` is what it means (dataset, model, …), `format` how it is written, `reason` one line for people."""

    kind: str
    format: str
    state: State
    reason: str


class TooMuch(Exception):
    """A reader asked for more than READ_LIMIT bytes."""


class Sample:
    """Bytes by range. `size` is None for the start of something whose end is not known (a compressed stream)."""

    __slots__ = ("head", "size")

    def __init__(self, head: bytes, size: int | None) -> None:
        self.head, self.size = head, size

    @property
    def whole(self) -> bool:
        """True if `head` is everything."""
        return self.size == len(self.head)

    def at(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes from `offset`. Raises OSError, TooMuch."""
        return self.head[offset : offset + length]

    def tail(self, length: int) -> bytes | None:
        """Return the last `length` bytes (fewer if there are not as many), or None if the end is not at hand. Raises OSError."""
        return self.head[-length:] if self.whole else None

    def first(self, length: int) -> bytes:
        """Return up to `length` bytes from the start. Raises OSError, TooMuch."""
        return self.head[:length] if self.whole or length <= len(self.head) else self.at(0, length)


class FileSample(Sample):
    """A Sample of an open regular file."""

    __slots__ = ("_fd",)

    def __init__(self, fd: int, size: int) -> None:
        super().__init__(os.pread(fd, HEAD, 0), size)
        self._fd = fd

    def at(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes from `offset`. Raises OSError, TooMuch."""
        if length > READ_LIMIT or offset < 0:
            raise TooMuch
        if offset >= (self.size or 0):
            return b""
        if offset + length <= len(self.head):
            return self.head[offset : offset + length]
        return os.pread(self._fd, length, offset)

    def tail(self, length: int) -> bytes | None:
        """Return the last `length` bytes. Raises OSError."""
        size = self.size or 0
        return self.at(max(0, size - length), min(length, size))


class SampleFile(io.RawIOBase):
    """A Sample of known size as a seekable binary file, for readers of the standard library; a huge read raises TooMuch."""

    def __init__(self, sample: Sample) -> None:
        super().__init__()
        self._sample, self._size, self._position = sample, sample.size or 0, 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move; a position before the start raises ValueError."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError("position before the start")
        self._position = base + offset
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes. Raises OSError, TooMuch."""
        left = max(0, self._size - self._position)
        data = self._sample.at(self._position, left if size < 0 else min(size, left))
        self._position += len(data)
        return data
