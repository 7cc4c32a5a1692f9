"""Documents of issuers over HTTPS: small, in time, from where they were asked for; a redirect is no answer.

Certificates are verified against the system's authorities, or the file that the settings name. No proxy is taken from the environment.
"""

from __future__ import annotations

import contextlib
import http.client
import logging
import socket
import ssl
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from hermetic.access.issuers import IssuerKeys
from hermetic.access.tokens import TokenDesk
from hermetic.errors import HermeticError, StorageError
from hermetic.providers import private_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from hermetic.domain.oidc_settings import Trusted

LIMIT: Final = 256 * 1024
STEP_S: Final = 5.0
WHOLE_S: Final = 15.0
_log = logging.getLogger("hermetic.oidc")


def desk(trusted: Sequence[Trusted]) -> TokenDesk | None:
    """Return what looks at tokens, None where nobody is trusted."""
    if not trusted:
        return None
    return TokenDesk(IssuerKeys(item.issuer, fetcher(item.authority), _steady_ms) for item in trusted)


def fetcher(authority: Path | None) -> Callable[[str], bytes]:
    """Return what gets a document; an absolute path is a file. It raises StorageError."""

    def fetch(place: str) -> bytes:
        try:
            return private_file.read(Path(place), LIMIT) if place.startswith("/") else exchange(place, authority)
        except HermeticError as error:
            _log.warning("%s: %s", place, error)
            raise

    return fetch


def exchange(url: str, authority: Path | None, form: bytes | None = None) -> bytes:
    """Return what is at a URL, or comes when a form is posted there. Raises StorageError."""
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname:
        raise StorageError(f"{url} is not https")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = {"Accept": "application/json", "User-Agent": "hermetic"}
    if form is not None:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    try:
        connection = http.client.HTTPSConnection(parts.hostname, parts.port or 443, timeout=STEP_S, context=_tls(authority))
        with contextlib.closing(connection), _bounded(connection):
            connection.request("GET" if form is None else "POST", path, form, headers)
            answer = connection.getresponse()
            body = answer.read(LIMIT + 1)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise StorageError(f"{parts.hostname} gave no answer: {_said(error)}", hint="is it there, and its certificate good?") from None
    if answer.status != 200:
        raise StorageError(f"{parts.hostname} answered {answer.status}", hint="redirects are not followed")
    if len(body) > LIMIT:
        raise StorageError(f"{parts.hostname} answered with more than {LIMIT} bytes")
    return body


def _steady_ms() -> int:
    return time.monotonic_ns() // 1_000_000


def _tls(authority: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=None if authority is None else str(authority))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _said(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate does not verify ({error.verify_message})"
    return error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__


@contextlib.contextmanager
def _bounded(connection: http.client.HTTPSConnection) -> Iterator[None]:
    """Hang up when the whole conversation takes too long: who answers a byte at a time keeps nobody waiting."""

    def hang_up() -> None:
        channel: socket.socket | None = connection.sock
        if channel is not None:
            with contextlib.suppress(OSError):
                channel.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(WHOLE_S, hang_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
