"""`hermetic request …`, `approve` and `deny`: what waits for approval, and the answers."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hermetic.cli import request_shown
from hermetic.cli.approver import read_small
from hermetic.cli.blocks import Block, Cell, Facts, Heading, Line, Mark, Table
from hermetic.cli.identity_factor import NO_BROWSER
from hermetic.cli.lazy import Group
from hermetic.cli.options import ANY_PATH, output, passphrase_file, reason
from hermetic.cli.request_signing import Key, sign, touched
from hermetic.cli.session import connected
from hermetic.cli.words import moment
from hermetic.errors import Conflict, StorageError, UsageError
from hermetic.formats.messages.approvals import AddStatement, ListRequests, ShowRequest, WithdrawRequest

if TYPE_CHECKING:
    from hermetic.cli.out import Out
    from hermetic.domain.approving import Shown
    from hermetic.domain.connect import Connection
    from hermetic.formats.approval import Decided
    from hermetic.formats.messages.approvals import RequestRow

_STATE = {"open": "warn", "used": "good", "denied": "bad", "expired": "dim", "withdrawn": "dim"}
_REQUEST_LIMIT = 8 * 1024 * 1024
_STATEMENT_LIMIT = 16_384
_KEY = click.option("--key", "key_file", type=ANY_PATH, metavar="FILE", help="The approver's own key file.")
_TOUCH = click.option("--webauthn", "touch", is_flag=True, help="With the approver's authenticator, in place of a key file.")
_AS = click.option("--as", "name", metavar="NAME", help="Whose authenticator, if not your own.")
_OFFLINE = click.option("--offline", is_flag=True, help="REQUEST is a file from `request export`; the statement goes to stdout.")


@click.group(cls=Group)
def request() -> None:
    """What waits for approval: list, show, carry to approvers elsewhere."""


@request.command(name="ls")
@click.option("--all", "everything", is_flag=True, help="All there ever were: used, denied, withdrawn, expired ones too.")
@output
def ls(out: Out, *, everything: bool) -> int:
    """List the requests that wait for approval."""
    with connected() as connection:
        found = _listed(connection, everything=everything)
    rows = [
        (
            Mark(row.id[:8], "name"),
            row.action,
            row.requester,
            f"{_yes(row)} of {row.needed}",
            _state(row.state),
            moment(row.expires_ms),
        )
        for row in found
    ]
    columns = ("request", "for", "asked by", "approved", "state", "until")
    out.emit({"requests": found}, Table(columns, rows, empty="nothing waits for approval"))
    return 0


@request.command()
@click.argument("request")
@click.option("--offline", is_flag=True, help="REQUEST is a file from `request export`.")
@click.option("--raw", is_flag=True, help="Write the exact bytes that the request hash is of, and nothing else.")
@output
def show(out: Out, *, request: str, offline: bool, raw: bool) -> int:
    """Show all that a request asks for, what is known about it, and who said what.

    Everything that a signature covers is shown, with characters that could steer a terminal written out. SHA-256 of the line
    `hermetic/v1/request` and the bytes of --raw is the request hash.
    """
    from hermetic.domain import approving  # noqa: PLC0415 - see cli/session.py

    if offline:
        asked = approving.read_request_file(read_small(Path(request), _REQUEST_LIMIT))
        if raw:
            request_shown.write_raw(asked)
            return 0
        out.emit(asked, *(Line(line) for line in request_shown.lines(asked)))
        return 0
    _not_a_file(request)
    with connected() as connection:
        row = connection.ask(ShowRequest(request))
        asked = approving.shown(row)
        changes = [] if raw or out.as_json else list(request_shown.changes(asked, connection))
    if raw:
        request_shown.write_raw(asked)
        return 0
    changed: list[Block] = [Heading("Changes"), *map(Line, changes)] if changes else []
    out.emit(row, *_details(row, asked), *changed)
    return 0


def _listed(connection: Connection, *, everything: bool) -> tuple[RequestRow, ...]:
    """Return what custody lists, all of it: an answer holds so many at a time."""
    page = connection.ask(ListRequests(closed=everything))
    found = page.requests
    while everything and page.older and page.requests:
        page = connection.ask(ListRequests(closed=True, before=page.requests[0].id))
        found = (*page.requests, *found)
    return found


@request.command()
@click.argument("request")
@reason()
@output
def withdraw(out: Out, *, request: str, reason: str) -> int:
    """Take back a request of your own.

    Nobody can approve it any more, and nothing can use it; it stays on record. The same command asks anew.
    """
    with connected() as connection:
        done = connection.ask(WithdrawRequest(request, reason))
    out.emit({"request": done.request, "state": "withdrawn"}, Facts([("request", Mark(done.request, "name")), ("state", "withdrawn")]))
    return 0


@request.command()
@click.option("--again", is_flag=True, help="Try at once what waits for its next try, and anew what was given up.")
@output
def notify(out: Out, *, again: bool) -> int:
    """Deliver the notifications that are due.

    To the targets of `notify:` in config.yaml. A service does so by itself; elsewhere run it now and then, from cron say. What a
    target does not take is tried again later, further and further apart. Exits with 1 if a target did not take something now.
    """
    with connected() as connection:
        notifier = connection.notifier()
        done = notifier.deliver(again=again)
    facts = asdict(done)
    if not (notifier.configured or any(facts.values())):
        out.note("nobody is told: config.yaml has no `notify:`")
    elif done.waiting and not (again or done.failed):
        out.note("what waits was tried before: --again does not wait for its next try")
    out.emit(facts, Facts([(name, count) for name, count in facts.items()]))
    return 1 if done.failed or done.dead else 0


@request.command()
@click.argument("request")
@click.argument("file", type=ANY_PATH)
@output
def export(out: Out, *, request: str, file: Path) -> int:
    """Write a request to FILE, for an approver on another machine."""
    from hermetic.domain import approving  # noqa: PLC0415 - see cli/session.py

    with connected() as connection:
        row = connection.ask(ShowRequest(request))
    try:
        with file.open("xb") as stream:
            stream.write(approving.request_file(approving.shown(row)))
    except FileExistsError:
        raise Conflict(f"{file} exists already", hint="name another file") from None
    except OSError as error:
        raise StorageError(f"cannot write {file}: {error.strerror}") from None
    out.emit({"request": row.id, "file": file}, Facts([("request", Mark(row.id, "name")), ("file", str(file))]))
    return 0


@request.command(name="add-statement")
@click.argument("file", type=ANY_PATH)
@output
def add_statement(out: Out, *, file: Path) -> int:
    """Hand in a statement that an approver signed elsewhere."""
    raw = read_small(file, _STATEMENT_LIMIT).rstrip(b"\n")
    with connected() as connection:
        row = connection.ask(AddStatement(raw))
    out.emit(row, *_details(row))
    return 0


@click.command()
@click.argument("request")
@_KEY
@_TOUCH
@_AS
@NO_BROWSER
@_OFFLINE
@click.option("--reason", default="", help="Why; it goes on record.")
@passphrase_file()
@output
def approve(out: Out, *, request: str, offline: bool, reason: str, **how: Any) -> int:
    """Say yes to a request, with your own key.

    What is asked is shown first. The yes holds for this request alone, once, until it expires.
    """
    return _answer(out, request, Key(**how), ("approve", reason), offline=offline)


@click.command()
@click.argument("request")
@_KEY
@_TOUCH
@_AS
@NO_BROWSER
@_OFFLINE
@click.option("--reason", required=True, help="Why; it goes on record, and the requester is told.")
@passphrase_file()
@output
def deny(out: Out, *, request: str, offline: bool, reason: str, **how: Any) -> int:
    """Say no to a request, with your own key.

    The request is closed by that; the same may be asked again when a day has passed.
    """
    return _answer(out, request, Key(**how), ("deny", reason), offline=offline)


def _not_a_file(request: str) -> None:
    if not request.isalnum() and Path(request).is_file():
        raise UsageError(f"{request} is a file, and no request's id", hint="--offline reads what `hermetic request export` wrote")


def _answer(out: Out, request: str, key: Key, said: tuple[Decided, str], *, offline: bool) -> int:
    from hermetic.domain import approving  # noqa: PLC0415 - see cli/session.py

    key.check(offline=offline)
    if offline:
        asked = approving.read_request_file(read_small(Path(request), _REQUEST_LIMIT))
        request_shown.tell(out, asked)
        raw = sign(asked, key, said)
        sys.stdout.buffer.write(raw + b"\n")
        return 0
    _not_a_file(request)
    with connected() as connection:
        row = connection.ask(ShowRequest(request))
        if row.state != "open":
            raise UsageError(f"this request is {row.state}", hint="`hermetic request ls` lists what waits")
        asked = approving.shown(row)
        request_shown.tell(out, asked, row, connection)
        raw = touched(out, connection, asked, (key, said)) if key.touch else sign(asked, key, said)
        row = connection.ask(AddStatement(raw))
    out.emit(row, *_details(row))
    return 0


def _yes(row: RequestRow) -> int:
    return sum(item.verdict == "approve" and not item.counts for item in row.statements)


def _state(state: str) -> Mark:
    return Mark(state, _STATE.get(state, "dim"))


def _details(row: RequestRow, asked: Shown | None = None) -> list[Block]:
    facts: list[tuple[str, Cell]] = [
        ("request", Mark(row.id, "name")),
        ("state", _state(row.state)),
        ("approved", f"{_yes(row)} of {row.needed}"),
        ("until", moment(row.expires_ms)),
        ("for", row.action),
    ]
    signed: list[tuple[str, Cell]] = [] if asked is None else [(pair.name, pair.value) for pair in asked.fields()]
    said = [(item.approver, item.verdict, moment(item.made_ms), item.counts or "counts", item.reason) for item in row.statements]
    table = Table(("approver", "verdict", "made", "now", "why"), said, empty="nobody has answered yet")
    shown: list[Block] = [Facts(facts)]
    if signed:
        about: list[tuple[str, Cell]] = [(pair.name, pair.value) for pair in row.about]
        shown += [
            Heading("What a signature covers"),
            Facts(signed),
            Heading("What custody says of it, which is not signed"),
            Facts(about),
        ]
    return [*shown, Heading("Answers"), table]
