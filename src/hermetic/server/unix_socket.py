"""Answers on a Unix socket: one message in, one message out, as long as a caller stays.

Who calls is what the kernel says of the process that connected (SO_PEERCRED), and nothing that a message says. Every user of the
machine may connect; custody answers those that the domain knows. Limits keep one caller from standing in the way of others: so many
connections in all and for each user, a frame has to come whole in time, and a connection that says nothing is closed.

A message that is none ends its connection: after it, nothing says where the next one begins. What goes wrong inside is answered as
`refusal` with a number that stands in the service's own log, and tells nothing else.

`stop` lets what has begun be answered, for a while, then closes. Nothing is lost by a kill: what is on record was durable before.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import socket
import stat
import threading
from collections import Counter
from typing import TYPE_CHECKING, Final, Protocol

from hermetic.domain import framing
from hermetic.domain.refusals import refusal_of
from hermetic.domain.remote import peer_user
from hermetic.errors import Conflict, FormatError, HermeticError, KeyServiceUnavailable, StorageError
from hermetic.formats import codec
from hermetic.formats.messages.base import Refusal, Request

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType
    from typing import Any, Self

CONNECTIONS: Final = 256
OF_A_USER: Final = 64
IDLE_S: Final = 600.0
STOP_S: Final = 20.0
_log = logging.getLogger("hermetic.server")


class Custody(Protocol):
    """Who answers: the embedded port, asked in somebody's name."""

    def ask_for(self, user: int, request: Request[Any]) -> object:
        """Answer a request of the operating-system user `user`. Raises HermeticError."""


class UnixServer:
    """Listens on `path`. Use it in a `with`; `serve` returns after `stop`."""

    def __init__(self, custody: Custody, path: Path, *, mode: int = 0o666) -> None:
        """Bind and listen; a socket that nobody answers any more is replaced. Raises Conflict, StorageError."""
        self._custody, self._path = custody, path
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._open: dict[socket.socket, int] = {}
        self._workers: set[threading.Thread] = set()
        self._listener = _listening(path, mode)

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

    def close(self) -> None:
        """Stop, let begun requests be answered for `STOP_S`, hang up, remove the socket."""
        self.stop()
        self._listener.close()
        with self._lock:
            for peer in self._open:
                with contextlib.suppress(OSError):
                    peer.shutdown(socket.SHUT_RD)  # who waits for a next message stops; answers still go out
            workers = list(self._workers)
        for worker in workers:
            worker.join(STOP_S)
        with contextlib.suppress(OSError):
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
        if full:
            _refuse(peer, KeyServiceUnavailable("custody has too many connections now", hint="close some, or try again later"))
            peer.close()
            return
        worker = threading.Thread(target=self._attend, args=(peer, user), name=f"custody-{user}", daemon=True)
        with self._lock:
            self._workers.add(worker)
        worker.start()

    def _attend(self, peer: socket.socket, user: int) -> None:
        try:
            with contextlib.suppress(KeyServiceUnavailable):  # it went away, or stalled
                while not self._stopping.is_set() and (raw := framing.receive(peer, wait_s=IDLE_S)) is not None:
                    framing.send(peer, self._answer(user, raw))
        except FormatError as error:
            _refuse(peer, error)
        finally:
            peer.close()
            with self._lock:
                del self._open[peer]
                self._workers.discard(threading.current_thread())

    def _answer(self, user: int, raw: bytes) -> bytes:
        """Return the answer to one message. Raises FormatError for what is no message."""
        request = codec.decode(raw)
        if not isinstance(request, Request):
            raise FormatError("this message asks nothing")
        try:
            return codec.encode(self._custody.ask_for(user, request))
        except HermeticError as error:
            return codec.encode(refusal_of(error))
        except Exception:  # noqa: BLE001 - a defect must not end the service, nor tell a caller what custody holds
            number = secrets.token_hex(4)
            _log.exception("defect %s in answering %s", number, codec.name_of(type(request)))
            return codec.encode(Refusal("HermeticError", f"custody failed; its log has it under {number}", None, ()))


def _refuse(peer: socket.socket, error: HermeticError) -> None:
    with contextlib.suppress(KeyServiceUnavailable):
        framing.send(peer, codec.encode(refusal_of(error)))


def _listening(path: Path, mode: int) -> socket.socket:
    """Return a listening socket at `path`. It is bound under a private umask and opened to others once it is whole."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        _clear(path)
        before = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(before)
        path.chmod(mode)
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise StorageError(
            f"cannot listen at {path}: {error.strerror or error}", hint="the folder is to be there, and yours"
        ) from error
    except BaseException:
        listener.close()
        raise
    return listener


def _clear(path: Path) -> None:
    """Remove a socket that a killed service left. Raises Conflict when somebody answers there, or it is no socket."""
    try:
        facts = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(facts.st_mode):
        raise Conflict(f"{path} is there and is not a socket", hint="choose another path")
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
            return
    raise Conflict(f"somebody serves at {path} already", hint="stop that one first")
