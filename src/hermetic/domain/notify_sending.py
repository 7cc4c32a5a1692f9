"""Send one notification: a signed POST over HTTPS, or a mail. One try, bounded in time; what goes wrong is `Failed`.

Webhooks follow Standard Webhooks (standardwebhooks.com): `webhook-id`, `webhook-timestamp`, and `webhook-signature`, which is
`v1,` and base64 of HMAC-SHA-256 over `ID.TIMESTAMP.BODY`. Redirects are not followed, and certificates are verified, against the
system's authorities or the file that the settings name. No proxy is taken from the environment.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import http.client
import json
import smtplib
import socket
import ssl
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any, Final

from hermetic.crypto.mac import hmac_sha256
from hermetic.domain.notify_settings import Mail, Webhook
from hermetic.errors import HermeticError, IntegrityError
from hermetic.providers import private_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from hermetic.domain.notify_settings import Target

STEP_S: Final = 10.0  # for each step of a connection
WHOLE_S: Final = 30.0  # for all of it: who answers a byte at a time keeps nobody else waiting
KEY_LIMIT: Final = 1024
_PREFIX: Final = "whsec_"
_GREETS: Final = 220


class Failed(HermeticError):
    """The target did not take it. Never leaves the domain room."""


@dataclass(frozen=True, slots=True)
class Message:
    """One notification: an id that repetitions share, the event, when it happened, what is told of it."""

    id: str
    event: str
    at_ms: int
    about: Mapping[str, Any]

    def body(self) -> bytes:
        """Return the JSON that a webhook gets."""
        said = {"id": self.id, "event": self.event, "at_ms": self.at_ms, **self.about}
        return json.dumps(said, sort_keys=True, separators=(",", ":")).encode("utf-8")


def send(target: Target, message: Message) -> None:
    """Deliver to one target. Raises Failed."""
    try:
        if isinstance(target, Webhook):
            _post(target, message)
        else:
            _mail(target, message)
    except Failed:
        raise
    except HermeticError as error:  # a key file that is not there, or open to others
        raise Failed(error.message) from None
    except (OSError, http.client.HTTPException, smtplib.SMTPException, ValueError) as error:
        raise Failed(_said(error)) from None


def _said(error: Exception) -> str:
    """Say what went wrong without what the other side wrote."""
    if isinstance(error, smtplib.SMTPResponseException):
        return f"the mail server answered {error.smtp_code}"
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return str(error).rstrip(".")  # the library's own words: which extension the server lacks
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate does not verify: {error.verify_message}"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return f"{type(error).__name__}: {error.strerror}" if isinstance(error, OSError) and error.strerror else type(error).__name__


def _post(target: Webhook, message: Message) -> None:
    body, stamp = message.body(), str(int(time.time()))
    connection = http.client.HTTPSConnection(target.host, target.port, timeout=STEP_S, context=_tls(target.authority))
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "hermetic",
        "webhook-id": message.id,
        "webhook-timestamp": stamp,
        "webhook-signature": signature(key_of(target.key), message.id, stamp, body),
    }
    with contextlib.closing(connection), _bounded(lambda: connection.sock):
        connection.request("POST", target.path, body, headers)
        status = connection.getresponse().status
    if 300 <= status < 400:
        raise Failed(f"it answered {status}: redirects are not followed")
    if not 200 <= status < 300:
        raise Failed(f"it answered {status}")


def signature(key: bytes, notification: str, stamp: str, body: bytes) -> str:
    """Return the value of `webhook-signature`."""
    tag = hmac_sha256(key, f"{notification}.{stamp}.".encode("ascii") + body)
    return "v1," + base64.b64encode(tag).decode("ascii")


def key_of(path: Path) -> bytes:
    """Return the key in a private file. Raises IntegrityError for what is none, NotFound, StorageError."""
    text = private_file.read(path, KEY_LIMIT).strip()
    try:
        key = base64.b64decode(text.removeprefix(_PREFIX.encode("ascii")), validate=True)
    except binascii.Error:
        key = b""
    if not 24 <= len(key) <= 64:
        raise IntegrityError(f"{path} holds no key", hint="`whsec_` and base64 of 24 to 64 random bytes")
    return key


def _mail(target: Mail, message: Message) -> None:
    context = None if target.tls == "none" else _tls(target.authority)
    password = None if target.password is None else private_file.read(target.password, KEY_LIMIT).decode("utf-8").rstrip("\n")
    server = _Mailer(context if target.tls == "tls" else None, target.host)
    with _bounded(lambda: server.sock or server.met), contextlib.closing(server):
        code, _ = server.connect(target.host, target.port)
        if code != _GREETS:
            raise Failed(f"the mail server answered {code}")
        if target.tls == "starttls":
            server.starttls(context=context)  # raises where the server offers none
        if target.user is not None and password is not None:
            server.login(target.user, password)
        server.send_message(_letter(target, message), target.sender, list(target.to))
        with contextlib.suppress(smtplib.SMTPException, OSError):  # it was taken: how they part does not matter
            server.quit()


class _Mailer(smtplib.SMTP):
    """A connection that can be hung up from its first moment: the library's own class for TLS shows no socket before the greeting."""

    def __init__(self, context: ssl.SSLContext | None, host: str) -> None:
        self.met: socket.socket | None = None
        self._context = context
        super().__init__(timeout=STEP_S)
        self._host = host  # what a certificate is compared with, which the library would take from here too

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        self.met = socket.create_connection((host, port), timeout)
        if self._context is not None:
            self.met = secured = self._context.wrap_socket(self.met, server_hostname=host, do_handshake_on_connect=False)
            try:
                secured.do_handshake()
            except OSError:
                secured.close()
                raise
        return self.met


def _letter(target: Mail, message: Message) -> EmailMessage:
    letter = EmailMessage()
    action = message.about.get("action")
    letter["Subject"] = f"hermetic: {message.event}" + (f" ({action})" if action else "")
    letter["From"], letter["To"] = target.sender, ", ".join(target.to)
    letter["Date"] = format_datetime(datetime.fromtimestamp(message.at_ms / 1000, UTC))
    letter["Message-ID"] = f"<{message.id}@hermetic.invalid>"
    letter["Auto-Submitted"] = "auto-generated"
    letter["X-Hermetic-Notification"] = message.id
    letter.set_content("".join(f"{name}: {value}\n" for name, value in _lines(message)))
    return letter


def _lines(message: Message) -> Iterator[tuple[str, str]]:
    yield "event", message.event
    yield "at", _moment(message.at_ms)
    for name, value in sorted(message.about.items()):
        if name == "names" and isinstance(value, dict):
            yield from ((key, ascii(one)[1:-1] if isinstance(one, str) else "") for key, one in sorted(value.items()))
        elif name == "expires_ms" and isinstance(value, int):
            yield "expires", _moment(value)
        else:
            yield name, str(value)


def _moment(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M:%SZ}"


def _tls(authority: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=None if authority is None else str(authority))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


@contextlib.contextmanager
def _bounded(where: Callable[[], socket.socket | None]) -> Iterator[None]:
    """Hang up when the whole conversation takes too long."""

    def hang_up() -> None:
        found = where()
        if found is not None:
            with contextlib.suppress(OSError):
                found.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(WHOLE_S, hang_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
