"""Metrics for Prometheus: GET /metrics on a loopback address, apart from where custody is asked.

It answers whoever is on the machine, and holds nothing that they may not know (`telemetry`). Custody is asked at most every few
seconds, however often one looks; a few connections at a time, each for a moment.
"""

from __future__ import annotations

import http.server
import ipaddress
import socket
import socketserver
import threading
import time
from typing import TYPE_CHECKING, Final

from hermetic.errors import Conflict, HermeticError, UsageError
from hermetic.telemetry import exposition, gauges

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType
    from typing import Any, Self

    from hermetic.formats.findings import Finding
    from hermetic.formats.messages.measures import Measured
    from hermetic.telemetry.measures import Measures
    from hermetic.telemetry.metrics import Family

FRESH_S: Final = 5.0
FINDINGS_S: Final = 60.0
STEP_S: Final = 5.0
AT_ONCE: Final = 8


class Figures:
    """What is exported: counters of this process, and gauges, which are asked for anew when they are old."""

    def __init__(
        self,
        measures: Measures,
        gather: Callable[[], Measured],
        findings: Callable[[], Iterable[Finding]] | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._measures, self._gather, self._look, self._clock = measures, gather, findings, clock
        self._lock = threading.Lock()
        self._measured: tuple[float, Measured | None] | None = None
        self._found: tuple[Finding, ...] | None = None
        self._due = float("-inf")
        self._looking: threading.Thread | None = None

    def families(self) -> list[Family]:
        """Return everything there is to export."""
        with self._lock:  # one asks, others wait for what comes of it
            now = self._clock()
            if self._measured is None or now - self._measured[0] > FRESH_S:
                self._measured = (now, _or_none(self._gather))
            measured = self._measured[1]
            if self._look is not None and self._looking is None and now >= self._due:
                self._looking = threading.Thread(target=self._find, args=(self._look,), name="findings", daemon=True)
                self._looking.start()
            findings = self._found
        return [*self._measures.families(), *gauges.families(measured, findings)]

    def close(self) -> None:
        """Wait for what is being looked for."""
        looking = self._looking
        if looking is not None:
            looking.join()

    def _find(self, look: Callable[[], Iterable[Finding]]) -> None:
        """Look for findings beside those who ask for figures, and for a twentieth of the time at most: it takes long where much is."""
        begun = self._clock()
        found = _or_none(look)
        with self._lock:
            self._found = None if found is None else tuple(found)
            self._due = begun + max(FINDINGS_S, 20 * (self._clock() - begun))
            self._looking = None


def _or_none(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except HermeticError:  # `hermetic_custody_up` says so
        return None


def address(text: str) -> tuple[str, int]:
    """Return host and port of HOST:PORT. Raises UsageError for what is no numeric loopback address: there is no password on it."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback or not port.isascii() or not port.isdecimal() or int(port) > 65_535:
        raise UsageError(f"{text!r} is no loopback address with a port", hint="--metrics 127.0.0.1:9464")
    return host, int(port)


class MetricsServer:
    """Listens while its `with` lasts. `port` is where."""

    def __init__(self, place: tuple[str, int], figures: Figures) -> None:
        """Bind. Raises Conflict when the port is taken."""
        try:
            self._server = _Server(place, figures)
        except OSError as error:
            raise Conflict(f"cannot listen at {place[0]}:{place[1]}: {error.strerror}", hint="choose another port") from None
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.2,), name="metrics", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, place: tuple[str, int], figures: Figures) -> None:
        self.figures, self._room = figures, threading.BoundedSemaphore(AT_ONCE)
        if ":" in place[0]:
            self.address_family = socket.AF_INET6
        super().__init__(place, _Handler)

    def server_bind(self) -> None:
        """Bind without asking the resolver what this machine is called, as the library does."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread, if there is room for one."""
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer, and make room."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who hangs up in the middle is nothing to tell of."""


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server
    timeout = STEP_S
    server_version, sys_version = "hermetic", ""

    def do_GET(self) -> None:
        """Answer with the exposition."""
        if self.path.partition("?")[0] != "/metrics":
            self.send_error(404)
            return
        body = exposition.text(self.server.figures.families()).encode("utf-8")
        self.send_response(200)
        self.send_header("Content-Type", exposition.CONTENT_TYPE)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_words: Any) -> None:
        """Say nothing of those who look."""
