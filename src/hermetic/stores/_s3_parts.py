"""Bytes that come in pieces, collected into the parts of an upload, in a few buffers however long the object.

A part is sent as soon as all of it is there, by a few threads that end with the upload. A writer that is more than SLOTS parts ahead
of the oldest unsent one waits. Of a length that is not known, later parts grow, since an upload has 10,000 at most; those over
IN_MEMORY lie in anonymous files, where only ciphertext ever comes.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hermetic.errors import HermeticError, StorageError, UsageError
from hermetic.stores._s3_buffers import MIB, FileBuffer, MemoryBuffer

if TYPE_CHECKING:
    from collections.abc import Callable

    from hermetic.stores._s3_buffers import Body, Buffer

PARTS: Final = 10_000
SMALLEST: Final = 8 * MIB
IN_MEMORY: Final = 8 * MIB
SLOTS: Final = 4
SENDERS: Final = 3
_GROWTH: Final = 4  # every fifth of the parts is that much larger than the one before: 5 TiB in all
_STAGE: Final = PARTS // 5


class Plan:
    """Where the parts of an object begin, and how long they are. Raises StorageError for a place that no part can have."""

    def __init__(self, length: int | None) -> None:
        self._same = None if length is None else max(SMALLEST, -(-length // PARTS // MIB) * MIB)
        self.length = length

    @property
    def single(self) -> bool:
        """Whether the object is known to be one part."""
        return self.length is not None and self.length <= SMALLEST

    def locate(self, offset: int) -> tuple[int, int, int]:
        """Return (number from 0, start, length) of the part that the byte at `offset` lies in."""
        if self._same is not None and self.length is not None:
            number = offset // self._same
            start = number * self._same
            if offset >= self.length:
                raise StorageError("the object is longer than was announced")
            return number, start, min(self._same, self.length - start)
        first, start, size = 0, 0, SMALLEST
        while offset >= start + _STAGE * size:
            first, start, size = first + _STAGE, start + _STAGE * size, size * _GROWTH
            if first >= PARTS:
                raise StorageError("the object is too long for one upload", hint="seal it as several objects")
        number = (offset - start) // size
        return first + number, start + number * size, size


@dataclass(slots=True)
class Part:
    """One part: where it starts, how much of it is there."""

    start: int
    size: int
    buffer: Buffer
    filled: int = 0


class Parts:
    """Collects parts and has them sent. `send(number from 0, body, crc)` is called from several threads."""

    def __init__(self, plan: Plan, send: Callable[[int, Body, int], None]) -> None:
        self._plan, self._send = plan, send
        self._open: dict[int, Part] = {}  # not sent yet, by number
        self._spare: list[MemoryBuffer] = []  # used again: what sent them may hold on to them for a while
        self._sent: set[int] = set()  # sent, though one before it is not
        self._oldest = 0  # every part before it is sent
        self._end = 0  # of what was written
        self._error: HermeticError | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._changed = threading.Condition()
        self._ending = threading.Lock()

    def add(self, view: memoryview, offset: int) -> None:
        """Take bytes. Waits while they are too far ahead. Raises StorageError, also for a part that could not be sent."""
        while view:
            number, start, size = self._plan.locate(offset)
            part = self._part(number, start, size)
            count = min(view.nbytes, start + size - offset)
            part.buffer.put(view[:count], offset - start)
            self._added(number, part, count, offset + count)
            view, offset = view[count:], offset + count

    def whole(self) -> tuple[Body, int] | None:
        """Return body and CRC-32 of an object of which nothing was sent, None if parts were. Raises UsageError for a hole."""
        with self._changed:
            self._check()
            if self._pool is not None:
                return None
            last = self._last()
            return (b"", 0) if last is None else self._open[last].buffer.body(self._end)

    def finish(self) -> None:
        """Send what is left and wait until all is sent. Raises StorageError, UsageError for a hole."""
        with self._changed:
            self._check()
            last = self._last()
            if last is not None:
                self._submit(last, self._open[last])
            while self._open and self._error is None:
                self._changed.wait()
            self._check()
        self._stop_senders()

    def _last(self) -> int | None:
        """Return the number of the part that is not full, if there is one; it must be the last."""
        short = [number for number, part in self._open.items() if part.filled < part.size or self._plan.single]
        if len(short) > 1 or any(self._open[number].start + self._open[number].filled != self._end for number in short):
            raise UsageError("a part of the object was never written")
        if self._plan.length not in (None, self._end):
            raise UsageError("the object is shorter than was announced")
        return short[0] if short else None

    def stop(self, why: HermeticError) -> None:
        """Send no more, wake who waits, and return once no thread is left. Any thread but a sender, as often as wanted."""
        with self._changed:
            self._error = self._error or why
            self._changed.notify_all()
        self._stop_senders()

    def _stop_senders(self) -> None:
        with self._ending:
            if self._pool is not None:
                self._pool.shutdown(wait=True, cancel_futures=True)
        with self._changed:
            for part in self._open.values():
                part.buffer.close()
            self._open.clear()
            self._spare.clear()

    def _part(self, number: int, start: int, size: int) -> Part:
        with self._changed:
            while number >= self._oldest + SLOTS and self._error is None:
                self._changed.wait()
            self._check()
            if number < self._oldest or number in self._sent:
                raise UsageError("a place of the object is written twice")
            if number not in self._open:
                self._open[number] = Part(start, size, self._buffer(size))
            return self._open[number]

    def _buffer(self, size: int) -> Buffer:
        if size > IN_MEMORY:
            return FileBuffer()
        spare = self._spare.pop() if self._spare else None
        return spare if spare is not None and spare.size == size else MemoryBuffer(size)

    def _added(self, number: int, part: Part, count: int, end: int) -> None:
        with self._changed:
            self._check()
            part.filled += count
            self._end = max(self._end, end)
            if part.filled == part.size and not self._plan.single:
                self._submit(number, part)

    def _submit(self, number: int, part: Part) -> None:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(SENDERS, thread_name_prefix="hermetic-s3")
        self._pool.submit(self._send_part, number, part)

    def _send_part(self, number: int, part: Part) -> None:
        """Send a part; runs in a thread of the pool."""
        if self._error is not None:
            return
        try:
            body, crc = part.buffer.body(part.filled)
            self._send(number, body, crc)
        except HermeticError as error:
            self._failed(error)
        except BaseException as error:
            self._failed(StorageError(f"cannot send a part: {type(error).__name__}"))
            raise
        else:
            with self._changed:
                del self._open[number]
                self._give_back(part.buffer)
                self._sent.add(number)
                while self._oldest in self._sent:
                    self._sent.remove(self._oldest)
                    self._oldest += 1
                self._changed.notify_all()

    def _give_back(self, buffer: Buffer) -> None:
        if isinstance(buffer, MemoryBuffer):
            self._spare.append(buffer)
        else:
            buffer.close()

    def _failed(self, error: HermeticError) -> None:
        with self._changed:
            self._error = self._error or error
            self._changed.notify_all()

    def _check(self) -> None:
        if self._error is not None:
            raise type(self._error)(self._error.message, hint=self._error.hint) from self._error
