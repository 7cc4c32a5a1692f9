"""Processes that work out what a rewrap campaign writes, beside the one that reads and writes.

Python runs one thread at a time, and most of what a data key costs is computing. A helper is a fresh process of the same interpreter
(no fork: nothing of ours is in it) that gets rows and gives back what is to be written, for one request at a time:

    custody                                helper
      Job, three keys  ---------------->     keeps them for this request
                       <----------------     READY
      rows             ---------------->     RowMover.moved
                       <----------------     parameters, or None: "do this one yourself"
      None             ---------------->     wipes the keys, waits for the next job; ends when custody hangs up or is gone

What holds:
1. A helper never decides, reads nothing and writes nothing: the database, the log and every check of a request stay with custody.
2. It gets keys over a socket pair that nobody else has, never by environment or arguments; it has no core dumps; it wipes them after
   each request, and when the other end closes. It ends when custody is gone, also where a child that custody forked keeps the line.
3. Nothing depends on it. What it does not answer (it could not start, was killed, stands still, or met an error) is worked out in
   custody's own process, where the same error has its own words. What failed once, however, is ended: what it might say later would
   be taken for the answer to something else.
4. It is of the same release as custody, which it says before it gets anything to do: the one on disk may be newer than the one that
   runs. It imports from no places that custody's interpreter was told to leave out.

Messages are pickles, as between any two processes of `multiprocessing`: both ends are ours, and each could do to the other what it
likes anyway.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import queue
import resource
import socket
import struct
import sys
import threading
from typing import TYPE_CHECKING, Any, Final

from hermetic.crypto.secret import Secret
from hermetic.errors import HermeticError
from hermetic.formats.release import RELEASE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from multiprocessing.connection import Connection

    from hermetic.custody.rewrap_rows import Job, RowMover
    from hermetic.db.bulk import Stored

    Keys = tuple[Secret, Secret, Secret]
    """Of row codes, of the KEK's old version, of its new one."""

KEY: Final = 32
IDLE_S: Final = 20.0  # how long a helper is kept for the next job
ANSWER_S: Final = 30.0  # how long custody waits for a page: it takes milliseconds
MOST: Final = 2  # helpers of one process; beyond, whoever writes is the limit
LOOK_S: Final = 5.0  # how often a helper looks whether custody is there
READY: Final = ("ready", RELEASE)
CODE: Final = "from hermetic.custody.rewrap_helper import main; main()"
logger = logging.getLogger("hermetic")


class Gone(Exception):
    """A helper does not answer. Never leaves custody."""


class Helper:
    """One process, and our end of the line to it. One thread at a time."""

    def __init__(self) -> None:
        """Start it. Raises OSError."""
        import subprocess  # noqa: PLC0415 - commands that rewrap nothing start without
        from multiprocessing.connection import Pipe  # noqa: PLC0415 - as above

        command = interpreter()
        self._line, theirs = Pipe()
        limit_waiting(self._line.fileno())
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter, a constant and numbers
                [*command, "-c", CODE, str(theirs.fileno()), str(os.getpid())],
                env={name: value for name, value in os.environ.items() if not name.startswith("HERMETIC_")},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,  # whoever stops the campaign from a terminal stops custody, which hangs up
            )

    def begin(self, job: Job, keys: Keys) -> None:
        """Give it a job. Raises Gone."""
        with self._or_gone():
            self._line.send(job)
            for key in keys:
                os.write(self._line.fileno(), key.view())  # `send_bytes` would leave a copy
            if self._answer() != READY:
                raise Gone

    def moved(self, rows: Sequence[Stored]) -> list[Any] | None:
        """Return what `RowMover.moved` does, None where it raises. Raises Gone."""
        with self._or_gone():
            self._line.send(rows)
            answer: list[Any] | None = self._answer()
            return answer

    def end(self) -> None:
        """Have it wipe its keys. Raises Gone."""
        with self._or_gone():
            self._line.send(None)

    def close(self) -> None:
        """End it, whatever it does. Can be repeated."""
        self._line.close()
        self._process.kill()
        self._process.wait()

    @contextlib.contextmanager
    def _or_gone(self) -> Iterator[None]:
        """End a helper that failed once, in whichever way (3)."""
        try:
            yield
        except (OSError, EOFError, Gone):
            self.close()
            raise Gone from None
        except BaseException:
            self.close()
            raise

    def _answer(self) -> Any:
        if self._line.poll(ANSWER_S):
            return self._line.recv()
        raise Gone


class Helpers:
    """The helpers of one custodian. Thread safe; a forked child starts its own."""

    def __init__(self) -> None:
        self._lock, self._pid = threading.Lock(), os.getpid()
        self._idle: dict[Helper, threading.Timer] = {}
        self._lent = 0

    @contextlib.contextmanager
    def lent(self, job: Job, keys: Keys) -> Iterator[queue.SimpleQueue[Helper]]:
        """Lend helpers that have the keys of a job, one for each processor but ours; none where none starts, or others have them."""
        crew, ready, many = list[Helper](), queue.SimpleQueue[Helper](), self._room()
        try:
            for _ in range(many):
                helper = self._begun(job, keys)
                if helper is not None:
                    crew.append(helper)
                    ready.put(helper)
            yield ready
        finally:
            for helper in crew:
                with contextlib.suppress(Gone):
                    helper.end()
                    self._keep(helper)
            with self._lock:
                self._lent -= many

    def _room(self) -> int:
        """Return how many helpers there may be for one more request, and take note that it has them."""
        self._look_whose()
        with self._lock:
            many = max(0, min(MOST, len(os.sched_getaffinity(0)) - 1) - self._lent)
            self._lent += many
        return many

    def _look_whose(self) -> None:
        if self._pid != os.getpid():  # these are the parent's, and so is whoever had the lock
            self._lock, self._pid, self._idle, self._lent = threading.Lock(), os.getpid(), {}, 0

    def close(self) -> None:
        """End those that wait."""
        while (helper := self._taken()) is not None:
            helper.close()

    def _begun(self, job: Job, keys: Keys) -> Helper | None:
        while (helper := self._taken()) is not None:  # one that waited may have been killed
            with contextlib.suppress(Gone):
                helper.begin(job, keys)
                return helper
        try:
            helper = Helper()
            helper.begin(job, keys)
        except OSError as error:
            logger.warning("no helper process starts, keys are rewrapped without: %s", error.strerror)
            return None
        except Gone:
            logger.warning("a helper process ended at once, keys are rewrapped without")
            return None
        return helper

    def _taken(self) -> Helper | None:
        self._look_whose()
        with self._lock:
            if not self._idle:
                return None
            helper, timer = self._idle.popitem()
        timer.cancel()
        return helper

    def _keep(self, helper: Helper) -> None:
        timer = threading.Timer(IDLE_S, self._retire, (helper,))
        timer.daemon = True
        with self._lock:
            self._idle[helper] = timer
        try:
            timer.start()
        except RuntimeError:  # no more threads: then nobody would end it
            self._retire(helper)

    def _retire(self, helper: Helper) -> None:
        with self._lock:
            if self._idle.pop(helper, None) is None:
                return  # it was taken in the same moment
        helper.close()


def interpreter() -> list[str]:
    """Return the command of an interpreter like this one, without code. Raises OSError where this program is none."""
    if not sys.executable or getattr(sys, "frozen", False):
        raise OSError(errno.ENOEXEC, "this program is no Python interpreter")
    if sys.flags.isolated:
        return [sys.executable, "-I"]
    told = {"-E": sys.flags.ignore_environment, "-s": sys.flags.no_user_site}
    return [sys.executable, "-P", *(flag for flag, is_set in told.items() if is_set)]


def limit_waiting(descriptor: int) -> None:
    """Have a socket wait for no more than ANSWER_S, also to send, and in the middle of a message."""
    spent = struct.pack("ll", *(int(part) for part in (ANSWER_S // 1, ANSWER_S % 1 * 1_000_000)))
    with socket.socket(fileno=os.dup(descriptor)) as line:
        for what in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
            line.setsockopt(socket.SOL_SOCKET, what, spent)
    os.set_blocking(descriptor, True)


def main() -> None:
    """Be a helper; the arguments are the number of the file descriptor to talk over, and custody's process id."""
    from multiprocessing.connection import Connection  # noqa: PLC0415 - as above

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash must not write keys to a disk
    with Connection(int(sys.argv[1])) as line, contextlib.suppress(EOFError, OSError):  # custody is gone
        custody = int(sys.argv[2])
        while True:
            _serve(line, _heard(line, custody), custody)


def _heard(line: Connection, custody: int) -> Any:
    """Return the next message. Raises EOFError when custody hung up, or is gone."""
    while not line.poll(LOOK_S):
        if os.getppid() != custody:
            raise EOFError
    return line.recv()


def _serve(line: Connection, job: Job, custody: int) -> None:
    from hermetic.custody.rewrap_rows import RowMover  # noqa: PLC0415 - as above

    keys = [Secret(bytes(KEY)) for _ in range(3)]
    try:
        for at in range(len(keys)):
            keys[at] = _read_key(line)
        mac, old, new = keys
        with RowMover(job, mac, (old, new)) as mover:
            line.send(READY)
            while (rows := _heard(line, custody)) is not None:
                line.send(_answer(mover, rows))
    finally:
        for key in keys:
            key.wipe()


def _read_key(line: Connection) -> Secret:
    raw = bytearray(KEY)
    view, got = memoryview(raw), 0
    try:
        while got < KEY:
            more = os.readv(line.fileno(), [view[got:]])
            if not more:
                raise EOFError
            got += more
        return Secret(raw)
    finally:
        view[:] = bytes(KEY)


def _answer(mover: RowMover, rows: list[Stored]) -> list[Any] | None:
    try:
        return mover.moved(rows)
    except HermeticError:
        return None  # custody meets the same, and says so
