"""`hermetic serve`: custody for the other users of this machine, and for other machines."""

from __future__ import annotations

import os
import signal
import socket
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hermetic.cli.options import ANY_PATH, passphrase_file
from hermetic.cli.passphrase import asker, has_terminal
from hermetic.errors import Unsupported, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from hermetic.domain.serving import SeparatedCustody
    from hermetic.server.http_server import HttpsServer
    from hermetic.server.unix_socket import UnixServer
    from hermetic.telemetry.watching import Watch


@click.command()
@click.option("--socket", "path", type=ANY_PATH, metavar="PATH", help="Where users of this machine connect: an absolute path.")
@click.option("--group-only", is_flag=True, help="Only the socket's group may connect, not every user of the machine.")
@click.option("--listen", metavar="HOST:PORT", help="Where other machines connect, by HTTPS with certificates.")
@click.option("--login", metavar="HOST:PORT", help="Where they exchange a token of a trusted issuer for a certificate; with --listen.")
@click.option("--name", "names", multiple=True, metavar="NAME", help="A name or address that they use, if not HOST; repeatable.")
@click.option("--rate", type=click.FloatRange(min=1), metavar="N", help="Requests a second of one of them at most; 1000 by default.")
@click.option("--metrics", metavar="ADDRESS:PORT", help="Answer GET /metrics there, for Prometheus: a loopback address.")
@click.option(
    "--log-format", type=click.Choice(["json", "text"]), default="text", show_default=True, help="How log lines are written."
)
@passphrase_file()
def serve(*, metrics: str | None, log_format: str, passphrase_file: Path | None, **where: Any) -> int:
    """Keep custody for other users of this machine, or for other machines.

    Run it as a user of its own: root, database and log are out of the others' reach, and what they may do is what the policy in force
    gives to the user that the kernel names, or to whom a certificate of the domain's authorities names. They set
    HERMETIC_URL=unix:PATH or HERMETIC_URL=https://HOST:PORT and use every command as before.
    """
    from hermetic.cli import watched  # noqa: PLC0415 - what a service needs, other commands do not pay for
    from hermetic.domain.serving import SeparatedCustody  # noqa: PLC0415 - see session.connected

    login = where.pop("login")
    if login is not None and where["listen"] is None:
        raise UsageError("--login is for those who go on with a certificate", hint="--listen HOST:PORT")
    if where["path"] is None and where["listen"] is None:
        raise UsageError("say where to listen", hint="--socket PATH, --listen HOST:PORT, or both")
    address, login = _address(where.pop("listen"), where["names"]), _address(login, where["names"])
    watched.log_as(log_format)
    ask = asker(passphrase_file) if passphrase_file is not None or has_terminal() else None
    with SeparatedCustody(Path.cwd(), ask_passphrase=ask) as custody, watched.watched(custody, metrics) as watch, ExitStack() as stack:
        servers: list[UnixServer | HttpsServer] = []
        for server in _servers(custody, watch, address=address, login=login, **where):
            stack.enter_context(server)
            servers.append(server)
        _stop_on_signals(servers)
        _run(servers, [str(place) for place in _places(servers, where["path"])], custody.domain)
    return 0


def _servers(
    custody: SeparatedCustody,
    watch: Watch,
    *,
    path: Path | None,
    group_only: bool,
    address: tuple[str, int] | None,
    login: tuple[str, int] | None,
    names: tuple[str, ...],
    rate: float | None,
) -> Iterator[UnixServer | HttpsServer]:
    if path is not None:
        from hermetic.server.unix_socket import UnixServer  # noqa: PLC0415

        yield UnixServer(custody, path.absolute(), mode=0o660 if group_only else 0o666, watch=watch)
    if address is not None:
        try:
            from hermetic.server.http_limits import Limits  # noqa: PLC0415
            from hermetic.server.http_server import HttpsServer  # noqa: PLC0415
        except ImportError as error:
            raise Unsupported(f"a service needs {error.name}", hint="pip install 'hermetic[server]'") from None
        limits = Limits() if rate is None else Limits(rate=rate, burst=2 * rate)
        service, names = custody.service(), names or (address[0],)
        yield HttpsServer(service, address, names=names, limits=limits, watch=watch)
        if login is not None:
            from hermetic.server.login import LoginServer  # noqa: PLC0415

            yield LoginServer(custody.logins(service), login, names=names, watch=watch)


def _address(listen: str | None, names: tuple[str, ...]) -> tuple[str, int] | None:
    if listen is None:
        return None
    host, _, port = listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise UsageError(f"{listen} is no HOST:PORT", hint="--listen 0.0.0.0:8443 --name custody.example")
    if not names and host in {"0.0.0.0", "::"}:  # noqa: S104 - not bound here
        raise UsageError(f"{host} is no name that others could use", hint="--name HOST: the name or address in their HERMETIC_URL")
    return host, int(port)


def _places(servers: list[UnixServer | HttpsServer], path: Path | None) -> Iterator[object]:
    for server in servers:
        address = getattr(server, "address", None)
        yield path if address is None else f"https://{address[0]}:{address[1]}"


def _run(servers: list[UnixServer | HttpsServer], places: list[str], domain: str) -> None:
    """Serve until all have stopped; when one stops, so do the others."""
    waiting, lock = list(places), threading.Lock()

    def ready() -> None:
        with lock:
            waiting.pop()
            if not waiting:
                _ready(" and ".join(places), domain)

    def run(server: UnixServer | HttpsServer) -> None:
        try:
            server.serve(ready)
        finally:
            for other in servers:
                other.stop()

    beside = [threading.Thread(target=run, args=(server,), name="serve") for server in servers[1:]]
    for thread in beside:
        thread.start()
    run(servers[0])
    for thread in beside:
        thread.join()


def _stop_on_signals(servers: list[UnixServer | HttpsServer]) -> None:
    def stop(_number: int, _frame: FrameType | None) -> None:
        for server in servers:
            server.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)


def _ready(places: str, domain: str) -> None:
    """Say that callers can come, to people and to systemd (sd_notify(3))."""
    click.echo(f"hermetic: custody of {domain} at {places}; stop with Ctrl-C", err=True)
    where = os.environ.get("NOTIFY_SOCKET", "")
    if where:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notify:
            notify.connect("\0" + where[1:] if where.startswith("@") else where)
            notify.sendall(b"READY=1")
