"""One mount's descriptor: questions of the kernel in, answers out, by a few threads.

Invariants:
1. Every question that wants an answer gets one, whatever happens in its handler: an unanswered one would leave its process waiting
   where no signal reaches it.
2. What a handler raises becomes an error number: an OSError its own, an error of ours EACCES or EIO, after it was told to `failed`.
3. When this process dies the kernel closes the descriptor, and every waiting process gets ENOTCONN; nobody else may hold a copy.
"""

from __future__ import annotations

import errno
import os
import select
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from hermetic.errors import Denied, HermeticError
from hermetic.integrations.mount import protocol
from hermetic.integrations.mount.protocol import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Parts = Sequence[bytes | memoryview]

_AGAIN = {errno.EINTR, errno.ENOENT}  # the question was taken back before it was read
LONG = 64 * 1024  # bytes of a read or write
_GONE = {errno.ENODEV, errno.ECONNABORTED}  # unmounted, or aborted


class Served(Protocol):
    """What a mount shows."""

    wanted: int  # what to agree on with the kernel
    largest_write: int

    @property
    def handlers(self) -> Mapping[int, Callable[[Request], Parts]]:
        """Operation to what answers it, called by several threads."""

    def sent(self) -> None:
        """Say that the answer of this thread is on its way: what it lent may be used again."""


class MountConnection:
    """Serves one descriptor until the last process that sees the mount has gone, or `stop`."""

    def __init__(self, fd: int, served: Served, failed: Callable[[int, HermeticError], None], *, threads: int) -> None:
        self._fd, self._served, self._failed = fd, served, failed
        self._handlers = served.handlers
        self._turn = threading.Lock()
        self._ending = os.eventfd(0, os.EFD_CLOEXEC)
        self._poll = select.poll()
        for readable in (fd, self._ending):
            self._poll.register(readable, select.POLLIN)
        self._stopping = False
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        for _ in range(threads):
            self._begin()

    def invalidate(self, node: int) -> None:
        """Have the kernel forget what it keeps of a file; later reads ask again, and maps of it too.

        Not to be called by a handler: the kernel waits for reads of that file which are under way.
        """
        self._notify(protocol.INVALIDATE_NODE, protocol.INVALIDATE_OUT.pack(node, 0, -1))

    def stop(self) -> None:
        """End the threads and close the descriptor: whoever still sees the mount gets errors from now on."""
        with self._lock:
            if self._stopping:
                return
            self._stopping = True
        os.eventfd_write(self._ending, 1)
        while (thread := self._one_left()) is not None:
            thread.join()
        with self._lock:
            for fd in (self._fd, self._ending):
                if fd >= 0:
                    os.close(fd)
            self._fd = self._ending = -1

    def _notify(self, code: int, body: bytes) -> None:
        with self._lock, suppress(OSError):  # unmounted meanwhile, or the kernel does not know that file
            if self._fd >= 0:
                os.writev(self._fd, [protocol.ANSWER.pack(protocol.ANSWER.size + len(body), code, 0), body])

    def _begin(self) -> None:
        thread = threading.Thread(target=self._serve_to_the_end, name="hermetic-mount", daemon=True)
        with self._lock:  # who stops must not find a thread that has not started, nor miss one that does
            if not self._stopping:
                thread.start()
                self._threads.append(thread)

    def _one_left(self) -> threading.Thread | None:
        with self._lock:
            return self._threads.pop() if self._threads else None

    def _serve_to_the_end(self) -> None:
        """Serve, and leave a successor if a defect of ours ends this thread: the command must not wait for ever."""
        over = False
        try:
            self._serve()
            over = True
        finally:
            if not over and not self._stopping:
                self._begin()

    def _serve(self) -> None:
        """Answer until the end. Whoever has the turn reads and answers; for what takes longer it passes the turn on first."""
        room = max(protocol.SMALLEST_BUFFER, self._served.largest_write + protocol.PAGE)
        buffer = bytearray(room)
        whole = memoryview(buffer)
        while True:
            with self._turn:
                while True:
                    if not self._next(buffer):
                        return
                    length, operation, unique, node, _, _, process, _, _ = protocol.HEADER.unpack_from(buffer)
                    request = Request(operation, node, process, whole[protocol.HEADER.size : length])
                    if _is_long(request):
                        break
                    self._answer(unique, request)
            self._answer(unique, request)

    def _next(self, buffer: bytearray) -> bool:
        """Wait for a question; return False when there will be none any more."""
        while not self._stopping:
            try:
                os.readv(self._fd, [buffer])
            except BlockingIOError:
                self._poll.poll()
            except OSError as error:
                if error.errno in _GONE:
                    return False
                if error.errno not in _AGAIN:
                    raise
            else:
                return True
        return False

    def _answer(self, unique: int, request: Request) -> None:
        parts: Parts = protocol.EMPTY
        code = errno.EIO  # what is sent if the handler has a defect
        if request.operation in protocol.UNANSWERED:
            return
        try:
            parts = self._handle(request)
            code = 0
        except OSError as error:
            code = error.errno or errno.EIO
        except HermeticError as error:
            code = errno.EACCES if isinstance(error, Denied) else errno.EIO
            self._failed(request.node, error)
        finally:
            header = protocol.ANSWER.pack(protocol.ANSWER.size + protocol.length_of(parts), -code, unique)
            with suppress(OSError):  # ENOENT: nobody waits for it any more
                os.writev(self._fd, [header, *parts])
            self._served.sent()

    def _handle(self, request: Request) -> Parts:
        handler = self._handlers.get(request.operation)
        if handler is not None:
            return handler(request)
        if request.operation == protocol.INIT:
            answer = protocol.answer_init(request.body, wanted=self._served.wanted, largest_write=self._served.largest_write)
            if answer is None:
                raise OSError(errno.EPROTO, "kernel too old")
            return (answer,)
        raise OSError(errno.ENOTTY if request.operation == protocol.IOCTL else errno.ENOSYS, "not offered")


def _is_long(request: Request) -> bool:
    """Tell whether an answer takes so long that another thread should read the next question meanwhile."""
    if request.operation not in {protocol.READ, protocol.WRITE}:
        return False
    _, _, size = protocol.READ_IN.unpack_from(request.body)
    return bool(size >= LONG)
