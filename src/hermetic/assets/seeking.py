"""A buffered reader for programs that seek and read one file from several threads without taking turns.

DuckDB does: it seeks to where it wants to read, gives up the interpreter, and reads, on one handle from all its threads; with any
ordinary file it then gets another thread's bytes. Here a read follows the seek of its own thread:

    thread A seeks to 4 · thread B seeks to 9000 · A reads: from 4 · B reads: from 9000

Everything else is as with any file: there is one position, and a thread that reads without having sought goes on from there, which
ends what other threads had sought. Where nobody has sought since the last read, nothing is locked or looked up.
"""

from __future__ import annotations

import io
import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Buffer


class _Token:
    """Stands for one thread, as long as it lives."""

    __slots__ = ("__weakref__",)


class TurnTakingReader(io.BufferedReader):
    """See the module's text."""

    def __init__(self, raw: io.RawIOBase, buffer_size: int) -> None:
        super().__init__(raw, buffer_size)
        # A thread's token to the position that its next read begins at. The token ends with its thread, whose number is used again.
        self._sought: WeakKeyDictionary[_Token, int] = WeakKeyDictionary()
        self._own = threading.local()
        self._turn = threading.RLock()

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move; the next read of this thread begins there, whatever other threads do."""
        with self._turn:
            position = super().seek(offset, whence)
            self._sought[self._token()] = position
            return position

    def tell(self) -> int:
        """Return where the next read of this thread begins."""
        sought = self._sought.get(self._token())
        return super().tell() if sought is None else sought

    def read(self, size: int | None = -1, /) -> bytes:
        """Return up to `size` bytes, everything up to the end by default."""
        if not self._sought:
            return super().read(size)
        with self._taken():
            return super().read(size)

    def read1(self, size: int = -1, /) -> bytes:
        """Return some bytes, at most `size`."""
        if not self._sought:
            return super().read1(size)
        with self._taken():
            return super().read1(size)

    def readinto(self, buffer: Buffer, /) -> int:
        """Fill `buffer`; the count is short only at the end."""
        if not self._sought:
            return super().readinto(buffer)
        with self._taken():
            return super().readinto(buffer)

    def readinto1(self, buffer: Buffer, /) -> int:
        """Fill some of `buffer`."""
        if not self._sought:
            return super().readinto1(buffer)
        with self._taken():
            return super().readinto1(buffer)

    def readline(self, size: int | None = -1, /) -> bytes:
        """Return one line."""
        if not self._sought:
            return super().readline(size)
        with self._taken():
            return super().readline(size)

    def peek(self, size: int = 0, /) -> bytes:
        """Return some bytes without moving."""
        if not self._sought:
            return super().peek(size)
        with self._taken():
            return super().peek(size)

    def _token(self) -> _Token:
        try:
            token: _Token = self._own.token
        except AttributeError:
            token = self._own.token = _Token()
        return token

    @contextmanager
    def _taken(self) -> Iterator[None]:
        with self._turn:
            wanted = self._sought.pop(self._token(), None)
            if wanted is None:
                self._sought.clear()
            elif wanted != super().tell():
                super().seek(wanted)
            yield
