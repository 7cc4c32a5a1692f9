"""One writer at a time, among threads and processes: a lock file in front of SQLite's own lock.

Waiting in flock(2) is a queue in the kernel, while SQLite's busy handler polls and may starve. flock cannot time out, so a wait that
is not over at once is done by a helper thread; whoever gives up leaves descriptor and helper behind, and the helper
closes the descriptor when its turn comes.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from typing import TYPE_CHECKING

from hermetic.db.faults import BUSY_HINT
from hermetic.db.files import storage_errors
from hermetic.errors import Conflict

if TYPE_CHECKING:
    from pathlib import Path


class WriterLock:
    """An exclusive lock on `path`. Not reentrant; `acquire` and `release` by the same thread."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        self._path = path
        self._timeout_s = timeout_s
        self._threads = threading.Lock()
        self._fd: int | None = None
        self._held = False

    def acquire(self) -> None:
        """Wait for our turn. Raises Conflict after the timeout, StorageError when the lock file cannot be opened."""
        deadline = time.monotonic() + self._timeout_s
        if not self._threads.acquire(timeout=self._timeout_s):
            raise _busy()
        try:
            fd = self._open()
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._wait(fd, deadline)
            self._held = True
        except BaseException:
            self._threads.release()
            raise

    def release(self) -> None:
        """Let the next one in."""
        self._held = False
        if self._fd is not None:
            fcntl.flock(self._fd, fcntl.LOCK_UN)
        self._threads.release()

    def close(self) -> None:
        """Close the lock file, unless a thread of this process holds the lock."""
        if not self._held:
            self.forget()

    def forget(self) -> None:
        """Close the lock file without a word to whoever holds the lock: for a forked child, whose parent may."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _open(self) -> int:
        if self._fd is None:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            with storage_errors("the writer lock cannot be opened"):
                self._fd = os.open(self._path, flags, 0o600)
        return self._fd

    def _wait(self, fd: int, deadline: float) -> None:
        turn = _Turn(fd)
        ours = False
        try:
            ours = turn.taken.wait(max(0.0, deadline - time.monotonic()))
        finally:  # also when interrupted
            if not ours:
                self._give_up(fd, turn)
        if not ours:
            raise _busy()

    def _give_up(self, fd: int, turn: _Turn) -> None:
        if turn.abandon():
            self._fd = None  # the helper closes it
        else:
            fcntl.flock(fd, fcntl.LOCK_UN)  # our turn came while giving up


class _Turn:
    """A helper thread that waits in flock; `abandon` tells it, unless it already has the lock, to close instead of keeping."""

    def __init__(self, fd: int) -> None:
        self.taken = threading.Event()
        self._fd = fd
        self._abandoned = False
        self._guard = threading.Lock()
        threading.Thread(target=self._run, name="hermetic-writer-lock", daemon=True).start()

    def abandon(self) -> bool:
        """Give up; False when the lock was taken after all."""
        with self._guard:
            self._abandoned = not self.taken.is_set()
            return self._abandoned

    def _run(self) -> None:
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        with self._guard:
            if self._abandoned:
                os.close(self._fd)
            else:
                self.taken.set()


def _busy() -> Conflict:
    return Conflict("the database is in use: no turn to write within the time allowed", hint=BUSY_HINT)
