"""`hermetic serve`: custody for the other users of this machine."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hermetic.cli.options import ANY_PATH, passphrase_file
from hermetic.cli.passphrase import asker, has_terminal

if TYPE_CHECKING:
    from types import FrameType

    from hermetic.server.unix_socket import UnixServer


@click.command()
@click.option("--socket", "path", type=ANY_PATH, metavar="PATH", required=True, help="Where to listen: an absolute path.")
@click.option("--group-only", is_flag=True, help="Only the socket's group may connect, not every user of the machine.")
@click.option("--metrics", metavar="ADDRESS:PORT", help="Answer GET /metrics there, for Prometheus: a loopback address.")
@click.option(
    "--log-format", type=click.Choice(["json", "text"]), default="text", show_default=True, help="How log lines are written."
)
@passphrase_file()
def serve(*, path: Path, group_only: bool, metrics: str | None, log_format: str, passphrase_file: Path | None) -> int:
    """Keep custody for other users of this machine.

    Run it as a user of its own: root, database and log are out of the others' reach, and what they may do is what the policy in force
    gives to the user that the kernel names. They set HERMETIC_URL=unix:PATH and use every command as before.
    """
    from hermetic.cli import watched  # noqa: PLC0415 - what a service needs, other commands do not pay for
    from hermetic.domain.serving import SeparatedCustody  # noqa: PLC0415 - see session.connected
    from hermetic.server.unix_socket import UnixServer  # noqa: PLC0415

    watched.log_as(log_format)
    ask = asker(passphrase_file) if passphrase_file is not None or has_terminal() else None
    with (
        SeparatedCustody(Path.cwd(), ask_passphrase=ask) as custody,
        watched.watched(custody, metrics) as watch,
        UnixServer(custody, path.absolute(), mode=0o660 if group_only else 0o666, watch=watch) as server,
    ):
        _stop_on_signals(server)
        server.serve(lambda: _ready(path, custody.domain))
    return 0


def _stop_on_signals(server: UnixServer) -> None:
    def stop(_number: int, _frame: FrameType | None) -> None:
        server.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)


def _ready(path: Path, domain: str) -> None:
    """Say that callers can come, to people and to systemd (sd_notify(3))."""
    click.echo(f"hermetic: custody of {domain} at {path}; stop with Ctrl-C", err=True)
    where = os.environ.get("NOTIFY_SOCKET", "")
    if where:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notify:
            notify.connect("\0" + where[1:] if where.startswith("@") else where)
            notify.sendall(b"READY=1")
