"""A page on this machine's loopback that asks an authenticator, for as long as one command runs.

    http://localhost:PORT/TOKEN/        the page; TOKEN is 256 random bits
    …/page.js  …/page.css               what it is made of
    …/next                              the step that waits, by long poll; {"done": …} at the end
    …/answer                            what the authenticator said, by POST

What must hold: only this machine reaches it, by the name `localhost` (the header Host), with the token, from its own page (the headers
Origin and Sec-Fetch-Site); nothing from elsewhere is loaded or may frame it. It listens on both addresses that `localhost` may mean,
so that no other user of the machine answers on the other one. It holds no secret: what an authenticator signs is worth nothing for
any other question.
"""

from __future__ import annotations

import errno
import http.server
import json
import secrets
import socket
import threading
import webbrowser
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Self

from hermetic.cli.authenticator_assets import PAGE, SCRIPT, STYLE
from hermetic.errors import Conflict, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from hermetic.domain.authenticating import Step

WAIT_S: Final = 270.0  # for an answer; a challenge of custody is good for five minutes
POLL_S: Final = 10.0
LIMIT: Final = 65_536  # bytes of an answer
TRIES: Final = 20  # ports
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_FILES: Final = {"": ("text/html", PAGE), "page.js": ("text/javascript", SCRIPT), "page.css": ("text/css", STYLE)}


class AuthenticatorPage:
    """The page while it is there: `with AuthenticatorPage() as page: page.ask(step, tell)`."""

    def __init__(self, *, browser: bool = True) -> None:
        self._browser, self._shown = browser, False
        self._token = secrets.token_urlsafe(32)
        self._moved = threading.Condition()
        self._step: Step | None = None
        self._answer: dict[str, Any] | None = None
        self._done = ""
        self._told = threading.Event()
        self.servers = _listening(self)
        self.port: int = self.servers[0].server_address[1]
        self._threads = [threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True) for server in self.servers]

    @property
    def origin(self) -> str:
        """What browsers call the page's origin."""
        return f"http://localhost:{self.port}"

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"{self.origin}/{self._token}/"

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._moved:
            self._done = "Done. You may close this page." if error is None else "It did not work; the terminal says why."
            self._moved.notify_all()
        if self._shown and self._answer is not None:
            self._told.wait(2)
        for server in self.servers:
            server.shutdown()
            server.server_close()
        for thread in self._threads:
            thread.join()

    def ask(self, step: Step, tell: Callable[[str], None]) -> dict[str, Any]:
        """Show a step and return the answer. Raises Conflict when none comes in time."""
        with self._moved:
            self._step, self._answer = step, None
            self._moved.notify_all()
        if not self._shown:
            self._shown = True
            tell(f"open this page and touch your authenticator: {self.url}")
            if self._browser:
                with suppress(webbrowser.Error):
                    webbrowser.open(self.url)
        return self._answered()

    def _answered(self) -> dict[str, Any]:
        with self._moved:
            self._moved.wait_for(lambda: self._answer is not None, WAIT_S)
            if self._answer is None:
                raise Conflict("nobody touched an authenticator in time", hint="run the command again")
            return self._answer

    def respond(self, request: http.server.BaseHTTPRequestHandler, path: str) -> tuple[int, str, bytes]:
        """Answer a request of the page itself: status, type, body."""
        if path in _FILES and request.command == "GET":
            kind, body = _FILES[path]
            return 200, f"{kind}; charset=utf-8", body.encode("utf-8")
        if path == "next" and request.command == "GET":
            return self._next()
        if path == "answer" and request.command == "POST":
            return self._take(request)
        return 404, "text/plain", b""

    def allowed(self, request: http.server.BaseHTTPRequestHandler) -> str | None:
        """Return the path below the token, None for a request that is not from the page itself."""
        headers, here = request.headers, self.origin
        if headers.get_all("Host") != [f"localhost:{self.port}"] or headers.get("Sec-Fetch-Site", "none") not in {
            "none",
            "same-origin",
        }:
            return None
        origin = headers.get("Origin")
        if (origin is not None and origin != here) or (request.command == "POST" and origin != here):
            return None
        token, slash, path = request.path.removeprefix("/").partition("/")
        if not slash or not secrets.compare_digest(token.encode("utf-8"), self._token.encode("ascii")):
            return None
        return path

    def _next(self) -> tuple[int, str, bytes]:
        with self._moved:
            self._moved.wait_for(lambda: self._done or (self._step is not None and self._answer is None), POLL_S)
            if self._done:
                self._told.set()
                return _json({"done": self._done})
            if self._step is None or self._answer is not None:
                return 204, "text/plain", b""
            step = self._step
            return _json({"step": {"kind": step.kind, "options": step.options, "title": step.title, "lines": step.lines}})

    def _take(self, request: http.server.BaseHTTPRequestHandler) -> tuple[int, str, bytes]:
        length = request.headers.get("Content-Length", "")
        if request.headers.get("Content-Type") != "application/json" or not length.isdecimal() or not 0 < int(length) <= LIMIT:
            return 400, "text/plain", b""
        try:
            said = json.loads(request.rfile.read(int(length)))
        except (ValueError, RecursionError):
            return 400, "text/plain", b""
        with self._moved:
            if not isinstance(said, dict) or self._step is None or self._answer is not None:
                return 409, "text/plain", b""
            self._answer = said
            self._moved.notify_all()
        return _json({})


def _json(document: object) -> tuple[int, str, bytes]:
    return 200, "application/json", json.dumps(document).encode("utf-8")


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server
    timeout = 30
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:  # the library's name
        self._answer()

    def do_POST(self) -> None:  # the library's name
        self._answer()

    def _answer(self) -> None:
        path = self.server.page.allowed(self)
        status, kind, body = (403, "text/plain", b"") if path is None else self.server.page.respond(self, path)
        self.close_connection = True
        self.send_response(status)
        for name, value in {**_HEADERS, "Content-Type": kind, "Content-Length": str(len(body)), "Connection": "close"}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def version_string(self) -> str:
        return "hermetic"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Write nothing: the URL holds the token."""


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = False

    def __init__(self, family: socket.AddressFamily, address: tuple[str, int], page: AuthenticatorPage) -> None:
        self.address_family, self.page = family, page
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """Bind, without asking a name server what this machine is called."""
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "localhost", self.server_address[1]

    def handle_error(self, request: object, client_address: object) -> None:
        """A browser that hangs up is nobody's trouble."""


def _listening(page: AuthenticatorPage) -> tuple[_Server, ...]:
    """Listen at one port on every loopback address that this machine has. Raises StorageError."""
    for _ in range(TRIES):
        first = _Server(socket.AF_INET, ("127.0.0.1", 0), page)
        try:
            return first, _Server(socket.AF_INET6, ("::1", first.server_address[1]), page)
        except OSError as error:
            if error.errno in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:
                return (first,)
            first.server_close()
    raise StorageError("no port is free on both addresses of localhost")
