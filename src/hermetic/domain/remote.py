"""The port to custody in another process of this machine, over a Unix socket (enforcement level `separated`).

    port = UnixPort(Path("/run/hermetic/clinic.sock"), domain)
    port.ask(Hello())

Each request for a key gets a key pair of its own: custody seals what it hands over to the public key (HPKE, X25519 with ML-KEM-768),
bound to domain, request, version, lease, recipient and log index. Here it is opened at once and kept behind a handle, as the embedded
port does, so that everything above is the same for both. The private key never leaves this call.

Connections are kept and used again, one for each thread that asks at the same time. A connection that custody closed meanwhile is
noticed before anything is sent on it. When it breaks later, whether custody did what was asked is not known: requests that change
nothing, or that may be repeated without harm (`AGAIN`), are sent once more on a new connection; others raise, and say so.

A request that custody does not answer in time is not sent again: it may be at work on it still.

The socket has to lie where other users cannot put one of their own (`socket_place`), and its peer has to be the user to whom the file
belongs; that custody is the one that was met before is what pins and receipts show, and that a key is from it what `addressed` does.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from hermetic.crypto import hpke
from hermetic.custody.handles import HandleTable
from hermetic.domain import framing
from hermetic.domain.addressed import check_addressed
from hermetic.domain.refusals import error_of
from hermetic.domain.socket_place import checked_place
from hermetic.errors import Denied, IntegrityError, KeyServiceUnavailable, LeaseEnded, UsageError
from hermetic.formats import codec, lease_key
from hermetic.formats.messages.base import KeyBlob, Refusal
from hermetic.formats.messages.runs import Scratch
from hermetic.formats.messages.versions import CheckLeases, Draft, EndLeases, Opened, OpenVersions
from hermetic.ids import id_from_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from hermetic.crypto.secret import Secret
    from hermetic.formats.messages.base import Request
    from hermetic.formats.messages.versions import Lease

Answer = TypeVar("Answer")
ANSWER_S: Final = 600.0  # how long custody may think about one request
LEASE_S: Final = 60.0  # the same about leases, which readers wait for
DIAL_S: Final = 5.0
IDLE: Final = 8  # connections kept
AGAIN: Final = frozenset(
    {
        "hello",
        "gather-facts",
        "open-versions",
        "check-leases",
        "end-leases",
        "recognise-digests",
        "list-assets",
        "show-version",
        "find-objects",
        "trace-lineage",
        "list-exposures",
        "show-run",
        "list-runs",
        "list-keys",
        "show-key",
        "list-roots",
        "show-policy",
        "explain",
        "list-grants",
        "list-principals",
        "list-approvers",
        "list-requests",
        "show-request",
        "plan-destruction",
        "plan-shred",
        "show-certificate",
        "read-log",
        "verify-log",
        "prove-entry",
        "export-log",
    }
)
_CREDENTIALS: Final = struct.Struct("3i")  # pid, uid, gid (socket(7), SO_PEERCRED)


def peer_user(connected: socket.socket) -> int:
    """Return the user id of the process at the other end, as the kernel vouches for it."""
    raw = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(raw)[1])


class UnixPort:
    """Custody behind a socket. Thread safe; useless in a forked child, which dials anew."""

    def __init__(self, path: Path, domain: str) -> None:
        """Nothing is dialled yet. Raises Denied for a place where others could put a socket."""
        self._path, self._domain = path, domain
        self._handles = HandleTable()
        self._idle: list[socket.socket] = []
        self._lock = threading.Lock()
        self._pid = os.getpid()

    def ask(self, request: Request[Answer]) -> Answer:
        """Send a request and return its answer. Raises HermeticError, KeyServiceUnavailable when custody is out of reach."""
        if os.getpid() != self._pid:
            raise UsageError("the connection to custody is the parent process's", hint="connect again after fork")
        if not hasattr(request, "recipient"):
            return cast("Answer", self._exchange(request))
        private = hpke.PrivateKey.generate()
        try:
            sent: Any = replace(cast("Any", request), recipient=private.public)
            try:
                return cast("Answer", self._opened(sent, self._exchange(sent), private))
            except _Broken as error:
                sent = replace(sent, request=id_from_bytes(os.urandom(16)))  # another release on record; each has an id of its own
                return cast("Answer", self._opened(sent, self._again(sent, error), private))
        finally:
            private.wipe()

    def redeem(self, blob: KeyBlob) -> Secret:
        """Return the key of a lease that came with an answer, once. Raises LeaseEnded."""
        if blob.handle is None or blob.sealed is not None:
            raise LeaseEnded("this key was not opened by the request that brought it")
        return self._handles.take(blob.handle)

    def close(self) -> None:
        """Wipe what nobody collected and hang up."""
        self._handles.wipe()
        with self._lock:
            idle, self._idle = self._idle, []
        for one in idle:
            one.close()

    # -- keys

    def _opened(self, request: Any, answer: object, private: hpke.PrivateKey) -> object:
        if isinstance(answer, Opened):
            check_addressed(answer.receipt, request.request, [one.version for one in answer.released], private.public)
            released = tuple(replace(one, lease=self._unsealed(request, one.lease, answer, private)) for one in answer.released)
            return replace(answer, released=released)
        if isinstance(answer, Draft | Scratch):
            check_addressed(answer.receipt, request.request, [answer.version], private.public)
            return replace(answer, lease=self._unsealed(request, answer.lease, answer, private))
        return answer

    def _unsealed(self, request: Any, lease: Lease, answer: Opened | Draft | Scratch, private: hpke.PrivateKey) -> Lease:
        if lease.key.sealed is None or lease.key.handle is not None:
            raise IntegrityError("custody sent a key that is not sealed to this process", hint="run `hermetic log verify`")
        info = lease_key.binding(self._domain, request.request, answer.receipt.index, lease, private.public)
        key = private.open(lease.key.sealed, info)
        return replace(lease, key=KeyBlob(handle=self._handles.put(key), sealed=None))

    # -- connections

    def _exchange(self, request: object) -> object:
        """Raises _Broken for a request for a key that may be made once more."""
        try:
            return self._answered(request)
        except _Broken as error:
            name = codec.name_of(type(request))
            if name not in AGAIN or (isinstance(request, OpenVersions) and request.exposure is not None):
                raise KeyServiceUnavailable(
                    f"custody went away while it was asked ({name}): whether it was done is not known",
                    hint="look before you ask again",
                ) from error
            if isinstance(request, OpenVersions):
                raise
            return self._again(request, error)

    def _again(self, request: object, broken: _Broken) -> object:
        try:
            return self._answered(request)
        except _Broken:
            raise _away(self._path, broken.message) from None

    def _answered(self, request: object) -> object:
        within = LEASE_S if isinstance(request, CheckLeases | EndLeases) else ANSWER_S
        answer = codec.decode(self._once(codec.encode(request), within))
        if isinstance(answer, Refusal):
            raise error_of(answer)
        return answer

    def _once(self, raw: bytes, within: float) -> bytes:
        """Raises _Broken when a connection that was there broke, KeyServiceUnavailable when none can be made, or custody stalls."""
        peer = self._taken() or self._dialled()
        try:
            framing.send(peer, raw)
            said = framing.receive(peer, wait_s=within)
        except framing.Stalled:
            peer.close()
            raise KeyServiceUnavailable(
                f"custody at {self._path} does not answer in time: whether it was done is not known",
                hint="it may be at work on it still; look before you ask again",
            ) from None
        except KeyServiceUnavailable as error:
            peer.close()
            raise _Broken(error.message) from None
        except BaseException:
            peer.close()
            raise
        if said is None:
            peer.close()
            raise _Broken("custody hung up")
        self._keep(peer)
        return said

    def _taken(self) -> socket.socket | None:
        """Return a kept connection that is still open."""
        while True:
            with self._lock:
                if not self._idle:
                    return None
                peer = self._idle.pop()
            now = select.poll()  # not select(), which takes no descriptor above 1,023
            now.register(peer, select.POLLIN)
            if not now.poll(0):  # readable now means closed, or an answer that nobody asked for
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
            raise _away(self._path, error.strerror or str(error)) from None
        peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            peer.settimeout(DIAL_S)
            peer.connect(str(self._path))
            user = peer_user(peer)
        except OSError as error:
            peer.close()
            raise _away(self._path, error.strerror or str(error)) from None
        if user not in {owner, 0}:
            peer.close()
            raise Denied(f"{self._path} belongs to user {owner}, and user {user} answers", hint="ask who runs custody here")
        return peer


class _Broken(KeyServiceUnavailable):
    """A connection broke after it was there. Never leaves this module."""


def _away(path: Path, why: str) -> KeyServiceUnavailable:
    return KeyServiceUnavailable(f"custody at {path} is out of reach: {why}", hint="is `hermetic serve` running?")
