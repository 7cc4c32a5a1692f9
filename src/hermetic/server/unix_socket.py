"""Answers on a Unix socket: one message in, one message out, as long as a caller stays.

Who calls is what the kernel says of the process that connected (SO_PEERCRED), and nothing that a message says. Every user of the
machine may connect; custody answers those that the domain knows. Limits keep one caller from standing in the way of others:

    in all, for each user     so many connections; users that the domain does not know share a few, however many user ids they have
    at once, for each user    so many requests are taken in, answered and collected: who sends slowly or never reads holds up
                              nobody else, and so much memory is all that one user gets
    in time                   a frame has to come whole, an answer has to be read, and a connection that says nothing is closed

A message that is none ends its connection: after it, nothing says where the next one begins. What goes wrong inside is answered as
`refusal` with a number that stands in the service's own log, and tells nothing else.

`stop` lets what has begun be answered, for a while, then closes. Nothing is lost by a kill: what is on record was durable before.
Of two services that start at one place one is told, and one that ends removes its own socket only.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import socket
import threading
import time
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final, Protocol

from hermetic.domain import framing
from hermetic.domain.refusals import refusal_of
from hermetic.domain.unix_port import peer_user
from hermetic.errors import FormatError, HermeticError, KeyServiceUnavailable, Unsupported
from hermetic.formats import codec
from hermetic.formats.messages.base import Refusal, Request
from hermetic.server.listening import listening, which
from hermetic.telemetry.watching import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import TracebackType
    from typing import Any, Self

CONNECTIONS: Final = 512
OF_A_USER: Final = 64
OF_STRANGERS: Final = 32  # all users together that the domain does not know
AT_ONCE: Final = 8  # requests of one user
TURN_S: Final = 120.0  # how long one waits for that
IDLE_S: Final = 600.0
STRANGE_S: Final = 10.0  # the same for strangers
STOP_S: Final = 20.0
_log = logging.getLogger("hermetic.server")


class Custody(Protocol):
    """Who answers: the embedded port, asked in somebody's name."""

    def ask_for(self, user: int, request: Request[Any]) -> object:
        """Answer a request of the operating-system user `user`. Raises HermeticError."""

    def knows(self, user: int) -> bool:
        """Whether the domain knows this user. Permits nothing: it only tells whose connections count as strangers'."""


class UnixServer:
    """Listens on `path`. Use it in a `with`; `serve` returns after `stop`."""

    def __init__(self, custody: Custody, path: Path, *, mode: int = 0o666, watch: Watch | None = None) -> None:
        """Bind and listen; a socket that nobody answers any more is replaced. Raises Conflict, StorageError."""
        self._custody, self._path, self._watch = custody, path, watch or Watch()
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._open: dict[socket.socket, int] = {}
        self._strangers = 0
        self._turns: defaultdict[int, threading.BoundedSemaphore] = defaultdict(lambda: threading.BoundedSemaphore(AT_ONCE))
        self._workers: set[threading.Thread] = set()
        self._listener, self._made = listening(path, mode)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def serve(self, ready: Callable[[], None] = lambda: None) -> None:
        """Accept until `stop` is called, from a signal handler or another thread."""
        self._listener.settimeout(0.5)
        ready()
        while not self._stopping.is_set():
            try:
                peer, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError as error:
                if self._stopping.is_set():
                    break
                _log.warning("accept: %s", error.strerror)  # too many open files, say: those that are there end some day
                self._stopping.wait(0.5)
                continue
            self._take(peer)

    def stop(self) -> None:
        """Accept nobody any more. Safe in a signal handler."""
        self._stopping.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # `accept` returns at once

    def close(self) -> None:
        """Stop, let begun requests be answered for `STOP_S` in all, hang up, remove the socket."""
        self.stop()
        self._unlink()
        self._listener.close()
        with self._lock:
            for peer in self._open:
                with contextlib.suppress(OSError):
                    peer.shutdown(socket.SHUT_RD)  # who waits for a next message stops; answers still go out
            workers = list(self._workers)
        until = time.monotonic() + STOP_S
        for worker in workers:
            worker.join(max(0.0, until - time.monotonic()))

    def _unlink(self) -> None:
        """Remove the socket, unless another service has put its own there. Before the listener closes: after it, one may."""
        with contextlib.suppress(OSError):
            found = self._path.lstat()
            if which(found) == self._made:
                self._path.unlink()

    def _take(self, peer: socket.socket) -> None:
        try:
            user = peer_user(peer)
        except OSError:
            peer.close()
            return
        with self._lock:
            full = len(self._open) >= CONNECTIONS or Counter(self._open.values())[user] >= OF_A_USER
            if not full:
                self._open[peer] = user
        worker = threading.Thread(target=self._attend, args=(peer, user), name=f"custody-{user}", daemon=True)
        if not full:
            self._watch.measures.connected()
            try:
                with self._lock:  # `close` waits for workers: for none that has not begun
                    worker.start()
                    self._workers.add(worker)
            except RuntimeError as error:  # no more threads
                _log.warning("%s", error)
                self._leave(peer, worker)
            else:
                return
        self._turn_away(peer, _too_many())
        peer.close()

    def _attend(self, peer: socket.socket, user: int) -> None:
        try:
            with self._admitted(user) as idle_s, contextlib.suppress(KeyServiceUnavailable):  # it went away, or stalled
                while not self._stopping.is_set() and (length := framing.announced(peer, wait_s=idle_s)) is not None:
                    with self._turn(user):
                        framing.send(peer, self._answer(user, framing.body(peer, length)))
        except (FormatError, _Full) as error:
            self._turn_away(peer, error)
        except Exception:  # noqa: BLE001 - what is no message has to be FormatError; should it not be, this connection alone ends
            _log.exception("defect in reading a message")
        finally:
            self._leave(peer, threading.current_thread())
            peer.close()

    def _turn_away(self, peer: socket.socket, error: HermeticError) -> None:
        if isinstance(error, _Full):
            self._watch.measures.turned_away(error.why)
        _refuse(peer, error)

    def _leave(self, peer: socket.socket, worker: threading.Thread) -> None:
        self._watch.measures.left()
        with self._lock:
            user = self._open.pop(peer)
            self._workers.discard(worker)
            if user not in self._open.values():
                self._turns.pop(user, None)

    @contextlib.contextmanager
    def _admitted(self, user: int) -> Iterator[float]:
        """Yield how long the connection may say nothing. Raises _Full when too many strangers are there."""
        if self._known(user):
            yield IDLE_S
            return
        with self._lock:
            if self._strangers >= OF_STRANGERS:
                raise _too_many("strangers")
            self._strangers += 1
        try:
            yield STRANGE_S
        finally:
            with self._lock:
                self._strangers -= 1

    def _known(self, user: int) -> bool:
        try:
            return self._custody.knows(user)
        except HermeticError:  # the request will say what is wrong
            return False

    @contextlib.contextmanager
    def _turn(self, user: int) -> Iterator[None]:
        with self._lock:
            turns = self._turns[user]
        if not turns.acquire(timeout=TURN_S):
            raise _Full("turn", "custody is at work on as many of your requests as it takes at once", hint="try again later")
        try:
            yield
        finally:
            turns.release()

    def _answer(self, user: int, raw: bytes) -> bytes:
        """Return the answer to one message. Raises FormatError for what is no message."""
        try:
            request = codec.decode(raw)
        except Unsupported as error:  # a message all the same, of a newer release
            return codec.encode(refusal_of(error))
        if not isinstance(request, Request):
            raise FormatError("this message asks nothing")
        with self._watch.request(request, principal=f"os:{user}") as seen:
            try:
                return codec.encode(self._custody.ask_for(user, request))
            except HermeticError as error:
                seen.refused(error)
                return codec.encode(refusal_of(error))
            except Exception:  # noqa: BLE001 - a defect must not end the service, nor tell a caller what custody holds
                seen.failed()
                number = secrets.token_hex(4)
                _log.exception("defect %s in answering %s", number, codec.name_of(type(request)))
                return codec.encode(Refusal("HermeticError", f"custody failed; its log has it under {number}", None, ()))


class _Full(HermeticError):
    """Too much at once: `why` names the limit. Told as KeyServiceUnavailable; never leaves this module."""

    def __init__(self, why: str, message: str, *, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.why = why


def _too_many(why: str = "connections") -> _Full:
    return _Full(why, "custody has too many connections now", hint="close some, or try again later")


def _refuse(peer: socket.socket, error: HermeticError) -> None:
    told = KeyServiceUnavailable(error.message, hint=error.hint) if isinstance(error, _Full) else error
    with contextlib.suppress(KeyServiceUnavailable):
        framing.send(peer, codec.encode(refusal_of(told)))
