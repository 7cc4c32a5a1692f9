"""The port to custody on another machine: HTTPS with mutual TLS 1.3 (enforcement level `service`).

    port = HttpsPort(ServicePlace("custody.clinic.example", 8443), domain, paths)
    port.ask(Hello())

Connections are kept and used again, one for each thread that asks at the same time. The certificate is renewed in time; one that was
renewed on disk is shown on new connections, without a restart. The service's name is checked, and its certificate has to lead to an
authority that this user pinned.

Each request for keys carries a signature by the key of the certificate that this connection showed (`formats.recipient_proof`).
"Too much at once" (429, 503 with Retry-After) means that nothing was begun: it is tried again for a while, never together with others.
"""

from __future__ import annotations

import errno
import http.client
import random
import socket
import ssl
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TypeVar

from hermetic.domain import identity_files
from hermetic.domain.https_identity import present, version_of
from hermetic.domain.remote import Broken, RemotePort, away, stalled
from hermetic.domain.unix_port import still_open
from hermetic.errors import Denied, FormatError, HermeticError, KeyServiceUnavailable, NotAuthenticated
from hermetic.formats.codec import MESSAGE_LIMIT

if TYPE_CHECKING:
    from pathlib import Path

    from hermetic.domain.custody_place import ServicePlace
    from hermetic.domain.https_identity import Presented
    from hermetic.domain.identity_files import ClientIdentity
    from hermetic.domain.remote import Message
    from hermetic.formats.messages.base import Request

Answer = TypeVar("Answer")
DIAL_S: Final = 10.0
BUSY_S: Final = 30.0  # how long custody may be too busy
WAIT_S: Final = 5.0  # the longest wait between two tries
IDLE: Final = 8  # connections kept
NOT_THIS_NAME: Final = frozenset({62, 64})  # OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH
KEPT_S: Final = 60.0  # for how long: the service hangs up later than that
TEND_S: Final = 60.0  # how often the certificate is looked at
MEDIA: Final = "application/json"
SILENT: Final = (  # a network that says nothing for half a minute, while custody thinks or is told something, is gone
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 30_000),
)


class HttpsPort(RemotePort):
    """Custody behind HTTPS. Thread safe; useless in a forked child, which dials anew."""

    def __init__(self, place: ServicePlace, domain: str, paths: ClientIdentity, *, folder: Path | None = None) -> None:
        """Nothing is dialled yet. `folder` is where the certificate is renewed, None for not at all.

        Raises ConfigError, Denied, FormatError for an identity that cannot be used.
        """
        super().__init__(HttpsTransport(place, domain, paths), domain)
        self._folder, self._tended = folder, -TEND_S
        self._tending = threading.Lock()

    def ask(self, request: Request[Answer]) -> Answer:
        """Do as every port, and renew the certificate in time: while it is good, what fails is tried again later."""
        answer = super().ask(request)
        if self._folder is not None and time.monotonic() - self._tended >= TEND_S and self._tending.acquire(blocking=False):
            try:
                self._tended = time.monotonic()
                with suppress(HermeticError):
                    identity_files.tend(self._folder, super().ask, now_ms=int(time.time() * 1000))
            finally:
                self._tending.release()
        return answer


class _Line:
    """A connection, and what was shown on it."""

    def __init__(self, shown: Presented, connection: http.client.HTTPSConnection) -> None:
        self.shown, self.connection, self.used = shown, connection, time.monotonic()

    @property
    def open(self) -> bool:
        """Whether it is worth sending on."""
        channel: socket.socket | None = self.connection.sock
        return channel is not None and time.monotonic() - self.used < KEPT_S and still_open(channel)


class HttpsTransport:
    """Messages by POST. Thread safe."""

    keyed = True
    pauses: tuple[float, ...] = (0.1, 0.5)

    def __init__(self, place: ServicePlace, domain: str, paths: ClientIdentity) -> None:
        self._place, self._domain, self._paths = place, domain, paths
        self.where = str(place)
        self._lock = threading.Lock()
        self._idle: list[_Line] = []
        self._shown = present(paths)

    def once(self, message: Message) -> bytes:
        """Raises Broken when a connection that was there broke, KeyServiceUnavailable when none can be made, or custody is too busy.

        Raises NotAuthenticated when the service does not take the certificate, Denied when its own is not one of the domain's.
        """
        until = time.monotonic() + BUSY_S
        while True:
            answer, retry_after = self._sent(message)
            if retry_after is None:
                return answer
            if time.monotonic() + retry_after > until:
                raise KeyServiceUnavailable(f"custody at {self.where} is too busy; nothing was begun", hint="try again later")
            time.sleep(min(retry_after, WAIT_S) * random.uniform(0.5, 1.5))  # noqa: S311 - spreads those who wait

    def close(self) -> None:
        """Hang up."""
        with self._lock:
            idle, self._idle = self._idle, []
        for line in idle:
            line.connection.close()

    def _sent(self, message: Message) -> tuple[bytes, float | None]:
        """Return the answer, and after how many seconds to try again where there was none."""
        kept = self._taken()
        line, keep = kept or self._dialled(), False
        try:
            channel = line.connection.sock
            channel.settimeout(message.within)
            line.connection.request("POST", f"/v1/{message.name}", message.raw, self._headers(message, line.shown))
            said = line.connection.getresponse()
            body = said.read(MESSAGE_LIMIT + 1)
            if said.length and len(body) <= MESSAGE_LIMIT:  # read(amount) says nothing of an answer that ends too early
                raise Broken("the connection broke in the middle of an answer")
            keep = not said.will_close and said.isclosed()
        except TimeoutError as error:
            if error.errno == errno.ETIMEDOUT:  # the kernel gave the connection up: the network is gone, not custody slow
                raise Broken("the network is silent") from None
            raise stalled(self.where) from None
        except (OSError, http.client.HTTPException) as error:  # of TLS too
            over = line.shown.over(time.time()) if kept is None else None  # the alert that says so may be lost (TLS 1.3)
            raise self._alert(error) or over or Broken(f"the connection broke ({_reason(error) or type(error).__name__})") from None
        finally:
            if keep:
                self._keep(line)
            else:
                line.connection.close()
        return self._understood(said, body)

    def _understood(self, said: http.client.HTTPResponse, body: bytes) -> tuple[bytes, float | None]:
        if said.status in {429, 503} and (after := said.headers.get("Retry-After", "")).isdecimal():
            return b"", min(float(after), BUSY_S)
        if said.headers.get_content_type() != MEDIA:
            raise KeyServiceUnavailable(
                f"what answers at {self.where} is not custody (HTTP {said.status})", hint="does something stand in front of it?"
            )
        if len(body) > MESSAGE_LIMIT:
            raise FormatError(f"an answer of custody has at most {MESSAGE_LIMIT} bytes")
        return body, None

    def _headers(self, message: Message, shown: Presented) -> dict[str, str]:
        headers = {"Content-Type": MEDIA, "Accept": MEDIA}
        if message.key is not None:
            headers["Idempotency-Key"] = message.key
        if message.recipient is not None and message.request is not None:
            headers["Hermetic-Recipient-Proof"] = shown.proof(self._domain, message.request, message.recipient)
        return headers

    # -- connections

    def _presented(self) -> Presented:
        """Return what to show now; connections that showed something else are not used again."""
        version = version_of(self._paths)
        with self._lock:
            if version != self._shown.version:
                self._shown = present(self._paths)
            return self._shown

    def _taken(self) -> _Line | None:
        """Return a kept connection that is still open, and showed the certificate of now."""
        shown = self._presented()
        while True:
            with self._lock:
                if not self._idle:
                    return None
                line = self._idle.pop()
            if line.shown is shown and line.open:
                return line
            line.connection.close()

    def _keep(self, line: _Line) -> None:
        line.used = time.monotonic()
        with self._lock:
            if len(self._idle) < IDLE:
                self._idle.append(line)
                return
        line.connection.close()

    def _dialled(self) -> _Line:
        shown = self._presented()
        connection = http.client.HTTPSConnection(self._place.host, self._place.port, timeout=DIAL_S, context=shown.context)
        try:
            connection.connect()
        except ssl.SSLCertVerificationError as error:
            connection.close()
            raise Denied(
                f"what answers at {self.where} has no certificate that you believe: {error.verify_message}", hint=_unbelieved(error)
            ) from None
        except ssl.SSLError as error:
            connection.close()
            if error.reason == "WRONG_VERSION_NUMBER":
                raise KeyServiceUnavailable(f"what answers at {self.where} does not speak TLS", hint="is the port right?") from None
            raise self._alert(error) or away(self.where, f"TLS failed ({_reason(error) or type(error).__name__})") from None
        except OSError as error:
            connection.close()
            raise away(self.where, error.strerror or str(error)) from None
        _notice_silence(connection.sock)
        return _Line(shown, connection)

    def _alert(self, error: Exception) -> NotAuthenticated | None:
        """Return the service's no to this certificate, where an error of TLS is that."""
        reason = _reason(error) or ""
        if "ALERT" not in reason or not ("CERT" in reason or "UNKNOWN_CA" in reason):
            return None
        return NotAuthenticated(f"custody at {self.where} does not take your certificate ({reason.lower()})", hint="is it in date?")


def _reason(error: Exception) -> str | None:
    """Return what TLS calls an error; it has no word for a peer that is gone."""
    return getattr(error, "reason", None) if isinstance(error, ssl.SSLError) else None


def _unbelieved(error: ssl.SSLCertVerificationError) -> str:
    """Return what to do about a service's certificate: a name that it is not for is most often a slip in the address."""
    if error.verify_code in NOT_THIS_NAME:
        return "HERMETIC_URL needs a name that `hermetic serve --name` was given; if it has one, ask who runs custody before you go on"
    return "ask who runs custody; do not go on before you know"


def _notice_silence(channel: socket.socket) -> None:
    """Have the kernel end the connection when the other side's machine or the network is gone without a word."""
    for level, option, value in SILENT:
        channel.setsockopt(level, option, value)
