"""HTTP to one OpenBao or HashiCorp Vault server, with nothing but the standard library.

No redirect is followed. Answers are bounded in size and time. Connections are kept for the next call, a few at a time, and never
shared with a child process.

What is repeated: a request that met nobody (connection refused, kept connection that had died) or that the server put off (412, 429,
502, 503, 504), at most `TRIES` times with growing, jittered pauses; every request of this provider may be repeated. A certificate
that is not accepted, a silence and a strange answer are not asked twice.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import re
import ssl
import time
import weakref
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from hermetic.errors import KeyServiceUnavailable
from hermetic.providers import openbao_server

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from socket import socket

    from hermetic.providers.openbao_server import Server

ANSWER_LIMIT: Final = 16 << 20  # bytes
ANSWER_S: Final = 30.0
TRIES: Final = 4
_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 2.0
_PUT_OFF: Final = {412, 429, 502, 503, 504}
_IDLE: Final = 4  # connections kept
_LONG: Final = re.compile(r"[A-Za-z0-9+/=_.-]{20,}")
_LOOK: Final = "is it running, and is the setting `address` right? `bao status` tells"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; `body` is {} where there is none."""

    status: int
    body: dict[str, Any] = field(repr=False)

    @property
    def problem(self) -> str:
        """What the server says is wrong, in one printable line; "" where it says nothing."""
        errors = self.body.get("errors")
        return printable(" ".join(item for item in errors if isinstance(item, str)) if isinstance(errors, list) else "")


def printable(text: str) -> str:
    """Return what a server said as one short line, without what could be a token or a key that it says back."""
    line = " ".join("".join(char if " " <= char <= "~" else " " for char in text).split())
    return _LONG.sub("...", line)[:300]


class _Request(NamedTuple):
    method: str
    target: str
    body: bytes | None
    headers: dict[str, str]


class _Again(Exception):
    """The request may be repeated after a pause of at least `after` seconds; `error` is what to say if that does not help."""

    def __init__(self, error: KeyServiceUnavailable, after: float = 0.0) -> None:
        super().__init__(str(error))
        self.error, self.after = error, after


class Client:
    """Calls to one server. `pause` and `answer_s` are for tests."""

    def __init__(self, server: Server, *, pause: Callable[[float], None] = time.sleep, answer_s: float = ANSWER_S) -> None:
        self._idle: deque[http.client.HTTPConnection] = deque()
        weakref.finalize(self, _close, self._idle)  # unlike __del__, comes before the sockets' own end when a cycle is collected
        self.server, self._pause, self._answer_s = server, pause, answer_s
        self._tls: ssl.SSLContext | None = None
        self._pid = os.getpid()

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None, *, token: str | None = None) -> Answer:
        """Send one request to /v1/`path` and return the answer, whatever it says.

        Raises KeyServiceUnavailable when there is none: nobody there, too slow, put off too often, redirected, not OpenBao.
        """
        headers = {"X-Vault-Request": "true", "Content-Type": "application/json"}
        if token is not None:
            headers["X-Vault-Token"] = token
        if self.server.namespace:
            headers["X-Vault-Namespace"] = self.server.namespace
        data = None if body is None else json.dumps(body, separators=(",", ":")).encode("ascii")
        request = _Request(method, f"/v1/{path}", data, headers)
        for pause in (*(_PAUSE_S * 3**attempt for attempt in range(TRIES - 1)), None):
            try:
                return self._once(request)
            except _Again as again:
                if pause is None:
                    raise again.error from None
                spread = pause * random.uniform(0.5, 1.5)  # noqa: S311 - so that many clients do not come back at once
                self._pause(min(max(spread, again.after), _LONGEST_PAUSE_S))
        raise AssertionError("the last try returns or raises")

    def close(self) -> None:
        """Close the connections that are kept."""
        _close(self._idle)

    def _once(self, request: _Request) -> Answer:
        address = self.server.address
        try:
            return _judged(f"OpenBao at {address}", *self._exchange(request))
        except ssl.SSLError as error:
            raise openbao_server.tls_trouble(self.server, error) from None
        except TimeoutError:
            raise KeyServiceUnavailable(f"OpenBao at {address} does not answer in time", hint=_LOOK) from None
        except ConnectionError as error:
            raise _Again(_unreachable(address, error)) from None
        except OSError as error:
            raise _unreachable(address, error) from None
        except (http.client.HTTPException, ValueError, RecursionError) as error:
            raise KeyServiceUnavailable(
                f"what answers at {address} is not OpenBao ({type(error).__name__})", hint="check the setting `address`"
            ) from None

    def _exchange(self, request: _Request) -> tuple[http.client.HTTPResponse, bytes]:
        """Send and read whole; over a kept connection that turns out to be dead, once more over another one."""
        while (kept := self._kept()) is not None:
            try:
                return self._over(kept, request)
            except (ConnectionError, ssl.SSLEOFError):
                continue
        if self._tls is None:
            self._tls = openbao_server.tls(self.server)
        return self._over(openbao_server.connect(self.server, self._tls), request)

    def _over(self, connection: http.client.HTTPConnection, request: _Request) -> tuple[http.client.HTTPResponse, bytes]:
        try:
            sock: socket = connection.sock
            sock.settimeout(self._answer_s)
            deadline = time.monotonic() + self._answer_s
            connection.request(*request)
            response = connection.getresponse()
            raw = _read(response, sock, deadline)
        except BaseException:
            connection.close()
            raise
        if connection.sock is not None and len(self._idle) < _IDLE:
            self._idle.append(connection)
        else:
            connection.close()
        return response, raw

    def _kept(self) -> http.client.HTTPConnection | None:
        if os.getpid() != self._pid:  # after a fork the connections are the parent's; closing sends nothing over them
            self._pid = os.getpid()
            self.close()
        try:
            return self._idle.pop()
        except IndexError:
            return None


def _close(idle: deque[http.client.HTTPConnection]) -> None:
    while idle:
        idle.pop().close()


def _read(response: http.client.HTTPResponse, sock: socket, deadline: float) -> bytes:
    """Return the whole body. Raises TimeoutError, KeyServiceUnavailable (too long), HTTPException (cut short)."""
    raw = bytearray()
    while piece := response.read1(1 << 16):
        raw += piece
        if len(raw) > ANSWER_LIMIT:
            raise KeyServiceUnavailable(f"the answer has over {ANSWER_LIMIT >> 20} MiB", hint="check the setting `address`")
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        sock.settimeout(left)
    if response.length:
        raise http.client.IncompleteRead(b"", response.length)
    response.close()
    return bytes(raw)


def _judged(where: str, response: http.client.HTTPResponse, raw: bytes) -> Answer:
    status, after = response.status, response.headers.get("Retry-After", "")
    if 300 <= status < 400:
        raise KeyServiceUnavailable(f"{where} redirects, which is not followed", hint="name the active node or its load balancer")
    if status in _PUT_OFF:
        raise _Again(_put_off(where, status, raw), float(after) if after.isascii() and after.isdigit() else 0.0)
    body = json.loads(raw) if raw.strip() else {}
    if not isinstance(body, dict):
        raise ValueError("not an object")  # noqa: TRY004 - told like any other answer that is not OpenBao's
    return Answer(status, body)


def _put_off(where: str, status: int, raw: bytes) -> KeyServiceUnavailable:
    if b"sealed" in raw:
        return KeyServiceUnavailable(f"{where} is sealed", hint="whoever holds its unseal keys runs `bao operator unseal`")
    if status == 429:
        return KeyServiceUnavailable(f"{where} takes no more requests now (429)", hint="its rate limit is spent: try again later")
    return KeyServiceUnavailable(f"{where} is not ready ({status})", hint=_LOOK)


def _unreachable(address: str, error: Exception) -> KeyServiceUnavailable:
    why = getattr(error, "strerror", None) or type(error).__name__
    return KeyServiceUnavailable(f"OpenBao at {address} cannot be reached: {why}", hint=_LOOK)
