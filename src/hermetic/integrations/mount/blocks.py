"""Decrypted pieces of the files that are open in one mount: one mebibyte each, in memory that is used again, wiped at the end.

A read of a whole piece is decrypted into a buffer of the thread that answers it. Smaller reads (the kernel reads ahead 128 KiB at a
time where it is not told otherwise) share pieces, and the next piece of a file that is read in order is decrypted before it is asked
for. What is lent to an answer is not used again before the answer is sent.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from hermetic.formats.suites import MIB

if TYPE_CHECKING:
    from hermetic.domain.leases import LeasedKey
    from hermetic.sealed.reader import ObjectReader

KEPT = 24  # pieces of one mount
AHEAD = 2  # pieces decrypted before they are asked for
_ZEROS = bytes(MIB)


class Piece:
    """One piece of a file. `users` counts answers that are being sent from it; `ready` is set once it is filled or has failed."""

    __slots__ = ("buffer", "error", "key", "length", "ready", "users")

    def __init__(self, key: tuple[int, int], buffer: memoryview) -> None:
        self.key, self.buffer = key, buffer
        self.length, self.users = 0, 1
        self.ready = threading.Event()
        self.error: BaseException | None = None


class _Own:
    """A thread's buffer for whole pieces: of which file it holds some, and whether that is being sent."""

    __slots__ = ("buffer", "busy", "file")

    def __init__(self) -> None:
        self.buffer = memoryview(bytearray(MIB))
        self.file, self.busy = -1, False

    def wipe(self) -> None:
        """Forget what was read."""
        self.buffer[:] = _ZEROS
        self.file = -1


class OpenFile:
    """A file that is open somewhere in the mount; `number` tells files apart."""

    __slots__ = ("ahead", "closing", "last", "leased", "number", "reader")

    def __init__(self, number: int, reader: ObjectReader, leased: LeasedKey) -> None:
        self.number, self.reader, self.leased = number, reader, leased
        self.last = -1  # piece that was last read
        self.ahead = 0  # pieces being decrypted before they are asked for
        self.closing = False


class Pieces:
    """The pieces of one mount. Thread safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pieces: OrderedDict[tuple[int, int], Piece] = OrderedDict()
        self._free: list[memoryview] = []
        self._threads: list[_Own] = []
        self._forgotten: set[int] = set()  # files to be wiped from whole pieces that are being sent
        self._own = threading.local()
        self._ahead = ThreadPoolExecutor(1, thread_name_prefix="hermetic-mount-ahead")

    def read(self, file: OpenFile, offset: int, size: int) -> list[memoryview]:
        """Return up to `size` bytes from `offset` as views, good until `sent` is called by the same thread.

        Raises LeaseEnded, IntegrityError, StorageError.
        """
        file.leased.guard()
        length = file.reader.length
        size = max(0, min(size, length - offset))
        if size == 0:
            return []
        if offset % MIB == 0 and (size == MIB or (offset + size == length and size <= MIB)):
            own = self._thread_buffer(file.number)[:size]
            file.reader.readinto_at(offset, own)
            return [own]
        first, last = offset // MIB, (offset + size - 1) // MIB
        views = []
        for number in range(first, last + 1):
            piece = self._piece(file, number)
            start, end = max(0, offset - number * MIB), min(piece.length, offset + size - number * MIB)
            views.append(piece.buffer[start:end])
        self._read_on(file, last)
        return views

    def sent(self) -> None:
        """Give back what this thread was lent."""
        whole: _Own | None = getattr(self._own, "whole", None)
        if whole is not None and whole.busy:
            with self._lock:
                whole.busy, number = False, whole.file
                if number in self._forgotten:
                    whole.wipe()
                    if not any(own.busy and own.file == number for own in self._threads):
                        self._forgotten.discard(number)
        lent: list[Piece] | None = getattr(self._own, "lent", None)
        if lent:
            with self._lock:
                for piece in lent:
                    piece.users -= 1
            lent.clear()

    def forget(self, file: OpenFile) -> None:
        """Wipe the pieces of a file that are not being sent just now; a whole one that is, once it was sent."""
        with self._lock:
            for own in self._threads:
                if own.file == file.number and own.busy:
                    self._forgotten.add(file.number)
                elif own.file == file.number:
                    own.wipe()
            for key in [key for key, piece in self._pieces.items() if key[0] == file.number and not piece.users]:
                self._recycle(self._pieces.pop(key))

    def retire(self, file: OpenFile) -> None:
        """Wipe the pieces of a file that nobody has open any more, and close its reader once nothing uses it."""
        self.forget(file)
        with self._lock:
            file.closing = True
            idle = file.ahead == 0
        if idle:
            file.reader.close()

    def close(self) -> None:
        """Wipe everything."""
        self._ahead.shutdown(wait=True, cancel_futures=True)
        with self._lock:
            for buffer in (*(piece.buffer for piece in self._pieces.values()), *(own.buffer for own in self._threads)):
                buffer[:] = _ZEROS
            self._pieces.clear()
            self._free.clear()

    def _thread_buffer(self, number: int) -> memoryview:
        """Return this thread's buffer, in use until `sent` for the file with this number."""
        whole: _Own | None = getattr(self._own, "whole", None)
        if whole is None:
            whole = self._own.whole = _Own()
            with self._lock:
                self._threads.append(whole)
        with self._lock:
            whole.file, whole.busy = number, True
            self._forgotten.discard(number)
        return whole.buffer

    def _read_on(self, file: OpenFile, number: int) -> None:
        """Decrypt ahead in a file that is read in order."""
        in_order, file.last = number - file.last == 1, number
        if in_order and number:
            for later in range(number + 1, number + 1 + AHEAD):
                if later * MIB < file.reader.length and (file.number, later) not in self._pieces:
                    with self._lock:
                        file.ahead += 1
                    self._ahead.submit(self._prepare, file, later)

    def _prepare(self, file: OpenFile, number: int) -> None:
        """Fill a piece. An error stays with the piece's future: whoever reads the piece meets it again."""
        try:
            if not file.closing:
                self._piece(file, number)
        finally:
            self.sent()
            with self._lock:
                file.ahead -= 1
                last = file.closing and file.ahead == 0
            if last:
                self.forget(file)
                file.reader.close()

    def _piece(self, file: OpenFile, number: int) -> Piece:
        key = (file.number, number)
        with self._lock:
            piece = self._pieces.get(key)
            mine = piece is None
            if piece is None:
                piece = self._pieces[key] = Piece(key, self._buffer())
            else:
                piece.users += 1
                self._pieces.move_to_end(key)
        self._lend(piece)
        if mine:
            self._fill(file, number, piece)
        else:
            piece.ready.wait()
        if piece.error is not None:
            raise piece.error
        return piece

    def _fill(self, file: OpenFile, number: int, piece: Piece) -> None:
        try:
            room = min(MIB, file.reader.length - number * MIB)
            piece.length = file.reader.readinto_at(number * MIB, piece.buffer[:room])
        except BaseException as error:
            piece.error = error
            with self._lock:
                self._pieces.pop(piece.key, None)
            raise
        finally:
            piece.ready.set()

    def _lend(self, piece: Piece) -> None:
        try:
            self._own.lent.append(piece)
        except AttributeError:
            self._own.lent = [piece]

    def _buffer(self) -> memoryview:
        """Return a buffer to fill: a free one, that of the piece which was unused for longest, or a new one."""
        if self._free:
            return self._free.pop()
        if len(self._pieces) >= KEPT:
            for key, piece in self._pieces.items():
                if not piece.users:
                    del self._pieces[key]
                    return piece.buffer
        return memoryview(bytearray(MIB))

    def _recycle(self, piece: Piece) -> None:
        piece.buffer[:] = _ZEROS
        if len(self._free) < KEPT:
            self._free.append(piece.buffer)
