"""The port to custody in another process of this machine, over a Unix socket (enforcement level `separated`).

    port = UnixPort(Path("/run/hermetic/clinic.sock"), domain)
    port.ask(Hello())

Connections are kept and used again, one for each thread that asks at the same time. A connection that custody closed meanwhile is
noticed before anything is sent on it.

The socket has to lie where other users cannot put one of their own (`socket_place`), and its peer has to be the user to whom the file
belongs.
"""

from __future__ import annotations

import select
import socket
import struct
import threading
from typing import TYPE_CHECKING, Final

from hermetic.domain import framing
from hermetic.domain.remote import Broken, RemotePort, away, stalled
from hermetic.domain.socket_place import checked_place
from hermetic.errors import Denied, KeyServiceUnavailable

if TYPE_CHECKING:
    from pathlib import Path

    from hermetic.domain.remote import Message

DIAL_S: Final = 5.0
IDLE: Final = 8  # connections kept
_CREDENTIALS: Final = struct.Struct("3i")  # pid, uid, gid (socket(7), SO_PEERCRED)


def peer_user(connected: socket.socket) -> int:
    """Return the user id of the process at the other end, as the kernel vouches for it."""
    raw = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(raw)[1])


def still_open(connected: socket.socket) -> bool:
    """Whether an idle connection is worth sending on: readable now means closed, or an answer that nobody asked for."""
    now = select.poll()  # not select(), which takes no descriptor above 1,023
    now.register(connected, select.POLLIN)
    return not now.poll(0)


class UnixPort(RemotePort):
    """Custody behind a socket. Thread safe; useless in a forked child, which dials anew."""

    def __init__(self, path: Path, domain: str) -> None:
        """Nothing is dialled yet. The first use raises Denied for a place where others could put a socket."""
        super().__init__(UnixTransport(path), domain)


class UnixTransport:
    """Frames over a Unix socket. Thread safe."""

    keyed = False
    pauses: tuple[float, ...] = (0.0,)

    def __init__(self, path: Path) -> None:
        self._path, self.where = path, str(path)
        self._idle: list[socket.socket] = []
        self._lock = threading.Lock()

    def once(self, message: Message) -> bytes:
        """Raises Broken when a connection that was there broke, KeyServiceUnavailable when none can be made, or custody stalls."""
        peer = self._taken() or self._dialled()
        try:
            framing.send(peer, message.raw)
            said = framing.receive(peer, wait_s=message.within)
        except framing.Stalled:
            peer.close()
            raise stalled(self.where) from None
        except KeyServiceUnavailable as error:
            peer.close()
            raise Broken(error.message) from None
        except BaseException:
            peer.close()
            raise
        if said is None:
            peer.close()
            raise Broken("custody hung up")
        self._keep(peer)
        return said

    def close(self) -> None:
        """Hang up."""
        with self._lock:
            idle, self._idle = self._idle, []
        for one in idle:
            one.close()

    def _taken(self) -> socket.socket | None:
        """Return a kept connection that is still open."""
        while True:
            with self._lock:
                if not self._idle:
                    return None
                peer = self._idle.pop()
            if still_open(peer):
                return peer
            peer.close()

    def _keep(self, peer: socket.socket) -> None:
        with self._lock:
            if len(self._idle) < IDLE:
                self._idle.append(peer)
                return
        peer.close()

    def _dialled(self) -> socket.socket:
        try:
            owner = checked_place(self._path)
        except OSError as error:
            raise away(self.where, error.strerror or str(error)) from None
        peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            peer.settimeout(DIAL_S)
            peer.connect(str(self._path))
            user = peer_user(peer)
        except OSError as error:
            peer.close()
            raise away(self.where, error.strerror or str(error)) from None
        if user not in {owner, 0}:
            peer.close()
            raise Denied(f"{self._path} belongs to user {owner}, and user {user} answers", hint="ask who runs custody here")
        return peer
