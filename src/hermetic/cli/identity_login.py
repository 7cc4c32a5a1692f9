"""`hermetic identity login`: a certificate for a token, from the browser or a file."""

from __future__ import annotations

import http.server
import time
import webbrowser
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import click

from hermetic.cli.identity_client import told
from hermetic.cli.options import ANY_PATH, output
from hermetic.errors import KeyServiceUnavailable, StorageError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from hermetic.cli.out import Out

WAIT_S: Final = 240.0
STEP_S: Final = 1.0
FILE_LIMIT: Final = 512 * 1024
PATH: Final = "/callback"
_DONE: Final = b"<!doctype html><title>Hermetic</title><p>You can close this page, and go back to the terminal.</p>\n"


@click.command()
@click.argument("name")
@click.option("--kind", type=click.Choice(("person", "workload")), help="person; workload with --token-file.")
@click.option("--token-file", type=ANY_PATH, metavar="FILE", help="Bring the token in FILE, of a CI job or a pod.")
@click.option("--authorities", type=ANY_PATH, metavar="FILE", help="Believe these, from `identity export-trust`: the first time.")
@click.option("--no-browser", is_flag=True, help="Only print the address, for a browser of this machine.")
@output
def login(out: Out, *, name: str, kind: str | None, token_file: Path | None, authorities: Path | None, no_browser: bool) -> int:
    """Get a certificate for a token of an issuer that custody trusts.

    config.yaml says where: login: {url: https://HOST:PORT, issuer: https://HOST, client: NAME}. The certificate ends with the token.
    """
    from hermetic.domain import identity_files, logging_in  # noqa: PLC0415 - brings the cryptography

    here = identity_files.place(Path.cwd())
    found = logging_in.settings_of(here)
    uri = here.uri(name, kind or ("person" if token_file is None else "workload"))
    entrance = logging_in.Entrance(here, found, uri, None if authorities is None else _read(authorities))
    now_ms = time.time_ns() // 1_000_000
    if token_file is not None:
        token = logging_in.token_in(token_file)
        return told(out, logging_in.log_in(entrance, lambda _public: token, now_ms=now_ms))
    with Page(out, show=not no_browser) as page:
        return told(out, logging_in.log_in(entrance, logging_in.browser_token(found, page), now_ms=now_ms))


class Page:
    """A page on the loopback that a browser comes back to, once."""

    def __init__(self, out: Out, *, show: bool) -> None:
        self._out, self._show = out, show
        try:
            self._server = _Server(("127.0.0.1", 0), _Handler)
        except OSError as error:
            raise StorageError(f"cannot listen on the loopback: {error.strerror}") from None

    @property
    def redirect(self) -> str:
        """The address of the page."""
        return f"http://127.0.0.1:{self._server.server_address[1]}{PATH}"

    def answer(self, url: str) -> str:
        """Show the issuer's page; return the query that the browser came back with. Raises KeyServiceUnavailable."""
        self._out.note(f"log in at {url}")
        if self._show:
            with suppress(webbrowser.Error):
                webbrowser.open(url)
        end = time.monotonic() + WAIT_S
        while self._server.query is None:
            if time.monotonic() >= end:
                raise KeyServiceUnavailable("nobody came back from the issuer's page", hint="run the command again")
            self._server.handle_request()
        return self._server.query

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.server_close()


class _Server(http.server.HTTPServer):
    timeout = STEP_S
    query: str | None = None


class _Handler(http.server.BaseHTTPRequestHandler):
    timeout = STEP_S  # of one request: who says nothing keeps the browser waiting so long
    server: _Server

    def do_GET(self) -> None:
        """Take the answer, of a browser that was sent to this very address."""
        parts = urlsplit(self.path)
        host, port = self.server.server_address[:2]
        if parts.path != PATH or self.headers.get("Host") != f"{host!s}:{port}" or len(parts.query) > 8192:
            self.send_error(404)
            return
        self.server.query = parts.query
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(_DONE)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Referrer-Policy", "no-referrer")
        self.end_headers()
        self.wfile.write(_DONE)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the library has it
        """Say nothing: the address holds a code."""


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(FILE_LIMIT)
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from None
