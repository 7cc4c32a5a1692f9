"""A small server on loopback for tests of clients: answers by a function, and does what it is told to do wrong.

    with Front(answer) as front:            answer(Asked) -> Answer
        front.faults += [FAIL, CUT]         the next two requests fail, then all is well again
        front.faults.always = slow          every request

Faults change an answer, or take its place. `front.asked` are the requests that came.
"""

from __future__ import annotations

import http.client
import json
import threading
from collections import deque
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable


@dataclass(frozen=True)
class Asked:
    """A request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes = field(repr=False)

    def json(self):
        return json.loads(self.body)


@dataclass(frozen=True)
class Answer:
    """What goes back; None as status drops the connection."""

    status: int | None
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, status, value, **headers):
        return cls(status, json.dumps(value).encode(), {"Content-Type": "application/json", **headers})


def unavailable(front, asked):
    return Answer(503, b"<html>busy</html>")


def dropped(front, asked):
    return Answer(None)


def cut(front, asked):
    """Half of a JSON document, whole by its length."""
    answer = front.answer(asked)
    return replace(answer, body=answer.body[: len(answer.body) // 2])


def torn(front, asked):
    """The connection ends in the middle of the body."""
    answer = front.answer(asked)
    return replace(answer, headers={**answer.headers, "Content-Length": str(len(answer.body) + 10)})


def listed(front, asked):
    """JSON, but a list."""
    return Answer.of(200, [])


def nothing(front, asked):
    """JSON without anything that was asked for."""
    return Answer.of(200, {})


def page(front, asked):
    """The login page of some network."""
    return Answer(200, b"<html>log in first</html>", {"Content-Type": "text/html"})


def silent(front, asked):
    """No answer until the client is gone and the test ends."""
    front.ended.wait()
    return Answer(None)


class _Faults(deque):
    always = None

    def next(self):
        return self.popleft() if self else self.always


class Front:
    """The server; listens as long as the block runs."""

    def __init__(self, answer: Callable[[Asked], Answer], *, tls: ssl.SSLContext | None = None) -> None:
        self.answer, self._tls = answer, tls
        self.faults, self.asked, self.ended = _Faults(), [], threading.Event()

    def __enter__(self):
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        if self._tls is not None:
            self._server.socket = self._tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self):
        return f"http{'s' if self._tls else ''}://127.0.0.1:{self._server.server_port}"

    def reply(self, asked):
        self.asked.append(asked)
        fault = self.faults.next()
        return self.answer(asked) if fault is None else fault(self, asked)


def forward(url: str) -> Callable[[Asked], Answer]:
    """Return an answer function that asks another server."""
    parts = urlsplit(url)

    def answer(asked: Asked) -> Answer:
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
        try:
            connection.request(asked.method, asked.path, asked.body, {**asked.headers, "Connection": "close"})
            got = connection.getresponse()
            kept = {name: value for name, value in got.getheaders() if name.lower() in {"content-type", "x-amzn-requestid"}}
            return Answer(got.status, got.read(), kept)
        finally:
            connection.close()

    return answer


def _handler(front: Front) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body at once: else the second waits for the first to be acknowledged
        disable_nagle_algorithm = True

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            answer = front.reply(Asked(self.command, self.path, {name.title(): value for name, value in self.headers.items()}, body))
            if answer.status is None:
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)
            self.close_connection = self.close_connection or answer.headers.get("Content-Length") is not None

        do_GET = do_POST = do_PUT = _serve  # noqa: N815 - names of the library

        def handle(self) -> None:
            try:
                super().handle()
            except OSError:  # a client that went away, or did not trust the certificate
                self.close_connection = True

        def log_message(self, *words: object) -> None:
            """Say nothing."""

    return Handler
