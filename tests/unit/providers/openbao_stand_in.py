"""A small server for faults that a real OpenBao does not make on demand: it answers what a test tells it to, over plain http."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class StandIn(ThreadingHTTPServer):
    """`answers` are given in turn, the last one from then on: (status, body), (status, body, headers), or a function of the handler.

    A body that is no bytes goes as JSON. `asked` is what came: (method, path, headers, body).
    """

    daemon_threads = True

    def __init__(self, *answers):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers, self.asked = list(answers), []

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}"

    def next(self):
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def handle_error(self, request, client_address):
        """A client that goes away in the middle is what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.asked.append((self.command, self.path, dict(self.headers), body))
        answer = self.server.next()
        if callable(answer):
            answer(self)
            return
        status, content, *headers = answer
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(raw)))
        for name, value in headers[0].items() if headers else ():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(raw)

    do_POST = do_GET  # noqa: N815 - named by the standard library

    def log_message(self, *words):
        """Stay quiet."""


@contextmanager
def stand_in(*answers):
    """Serve until the block ends."""
    with StandIn(*answers) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
