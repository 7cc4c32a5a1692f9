"""`hermetic identity factor …` and `hermetic identity confirm`: second factors of people.

Secrets are shown on the terminal, once; codes are typed at a prompt or come on stdin. Neither is ever an argument, nor goes to a file.
"""

from __future__ import annotations

import getpass
import sys
from typing import TYPE_CHECKING

import click

from hermetic.cli.blocks import Facts, Mark, Table
from hermetic.cli.lazy import Group
from hermetic.cli.options import output, reason
from hermetic.cli.session import connected
from hermetic.cli.words import moment
from hermetic.errors import Denied, UsageError
from hermetic.formats.messages.base import Pair
from hermetic.formats.messages.second_factors import (
    BeginWebauthn,
    ConfirmTotp,
    ConfirmWebauthn,
    FinishTotp,
    FinishWebauthn,
    ListFactors,
    RemoveFactor,
)

if TYPE_CHECKING:
    from hermetic.cli.out import Out
    from hermetic.domain.connect import Connection
    from hermetic.formats.messages.second_factors import FactorChanged, FactorConfirmed

TRIES = 3  # first codes that may be mistyped
CODE_LIMIT = 64
NO_BROWSER = click.option("--no-browser", is_flag=True, help="Say where the page is, and open no browser.")
_LABEL = click.option("--label", default="", help="What you call it: phone, blue key.")


@click.group(cls=Group)
def factor() -> None:
    """Your second factors: add, list, remove; invite others to add theirs."""


@factor.group(cls=Group)
def add() -> None:
    """Add a second factor for yourself.

    Who has one shows it first (`hermetic identity confirm`). The first one takes an invitation, except for the domain owner at
    custody's own machine.
    """


@add.command()
@_LABEL
@output
def totp(out: Out, *, label: str) -> int:
    """Add a code app: its secret is shown once, and counts after its first code."""
    from hermetic.domain import second_factors  # noqa: PLC0415 - cryptography costs more than `--help`

    if not sys.stderr.isatty():
        raise UsageError("the secret is shown on a terminal only, and stderr is not one", hint="run it where you can read it")
    with connected() as connection:
        shown = second_factors.begin_totp(connection, label, _invitation(connection))
        for line in ("Put this into your app; it is not shown again.", "", f"  secret  {shown.text}", f"  {shown.uri}", ""):
            click.echo(line, err=True)
        changed = _first_code(connection, shown.factor)
    _tell(out, "added", changed)
    return 0


@add.command()
@_LABEL
@NO_BROWSER
@output
def webauthn(out: Out, *, label: str, no_browser: bool) -> int:
    """Add a security key, or the unlock of this machine or your phone, through a page in your browser."""
    from hermetic.cli.authenticator_page import AuthenticatorPage  # noqa: PLC0415 - a server that `--help` does not need
    from hermetic.domain import authenticating as touch  # noqa: PLC0415

    with connected() as connection, AuthenticatorPage(browser=not no_browser) as page:
        begun = connection.ask(BeginWebauthn(adding=True, port=page.port, invitation=_invitation(connection)))
        step = touch.creation(begun.challenge, begun.user, begun.name, begun.credentials, title="Add a second factor")
        client, attestation = touch.created(page.ask(step, out.note))
        changed = connection.ask(FinishWebauthn(label, client, attestation))
    _tell(out, "added", changed)
    return 0


@factor.command(name="ls")
@click.option("--of", "principal", default="", metavar="NAME", help="Somebody else's; * for everybody's.")
@output
def ls(out: Out, *, principal: str) -> int:
    """List second factors."""
    with connected() as connection:
        found = connection.ask(ListFactors(principal))
    rows = [
        (
            Mark(row.id, "name"),
            row.principal,
            row.kind,
            row.label or "-",
            row.state,
            moment(row.created_ms),
            "-" if row.used_ms is None else moment(row.used_ms),
        )
        for row in found.factors
    ]
    out.emit(found, Table(("factor", "of", "kind", "label", "state", "since", "last used"), rows, empty="no second factors"))
    return 0


@factor.command()
@click.argument("factor")
@reason()
@output
def remove(out: Out, *, factor: str, reason: str) -> int:
    """End a second factor, and every session that one of this person was shown in.

    Your own needs another one of yours, shown lately. Your last one, and somebody else's (it is lost), is for those who enrol people.
    """
    with connected() as connection:
        changed = connection.ask(RemoveFactor(factor, reason))
    _tell(out, "removed", changed)
    return 0


@factor.command()
@click.argument("principal")
@reason()
@output
def invite(out: Out, *, principal: str, reason: str) -> int:
    """Make a code with which somebody adds a first second factor, once, within a day.

    Read it to them, or hand it over on paper: not by what an attacker with their account could read.
    """
    from hermetic.domain import second_factors  # noqa: PLC0415 - see totp

    if not sys.stderr.isatty():
        raise UsageError("the code is shown on a terminal only, and stderr is not one", hint="run it where you can read it")
    with connected() as connection:
        code, expires_ms = second_factors.invite(connection, principal, reason)
    click.echo(f"Invitation for {principal}, not shown again:\n\n  {code}\n", err=True)
    out.emit({"principal": principal, "expires_ms": expires_ms}, Facts([("invited", principal), ("until", moment(expires_ms))]))
    return 0


@click.command()
@click.option("--webauthn", "touch", is_flag=True, help="With your authenticator, in place of a code.")
@NO_BROWSER
@output
def confirm(out: Out, *, touch: bool, no_browser: bool) -> int:
    """Show your second factor: what policies ask a fresh one for works for a while from now on.

    The code is typed at a prompt, or is one line on stdin.
    """
    with connected() as connection:
        done = _touched(out, connection, browser=not no_browser) if touch else connection.ask(ConfirmTotp(_code("code")))
    out.emit(
        {"kind": done.kind, "at_ms": done.at_ms, "log_index": done.receipt.index},
        Facts([("confirmed", done.kind), ("at", moment(done.at_ms)), ("log entry", str(done.receipt.index))]),
    )
    return 0


def _touched(out: Out, connection: Connection, *, browser: bool) -> FactorConfirmed:
    from hermetic.cli.authenticator_page import AuthenticatorPage  # noqa: PLC0415 - see webauthn
    from hermetic.domain import authenticating as touch  # noqa: PLC0415

    with AuthenticatorPage(browser=browser) as page:
        asked = connection.ask(BeginWebauthn(adding=False, port=page.port))
        about = [Pair("as", asked.name)]
        step = touch.assertion(asked.challenge, asked.credentials, title="Show your second factor", lines=about)
        said = touch.asserted(page.ask(step, out.note))
        return connection.ask(ConfirmWebauthn(said.credential, said.authenticator, said.client, said.signature, said.user))


def _invitation(connection: Connection) -> str:
    return _code("invitation") if connection.ask(ListFactors()).invitation else ""


def _first_code(connection: Connection, begun: str) -> FactorChanged:
    for left in reversed(range(TRIES)):
        try:
            return connection.ask(FinishTotp(begun, _code("first code")))
        except Denied as error:
            if not left or not sys.stdin.isatty():
                raise
            click.echo(error.diagnostics(), err=True)
    raise UsageError("no code was typed")


def _code(label: str) -> str:
    """Return what is typed at a prompt, without echo, or else the next line of stdin. Raises UsageError for nothing."""
    try:
        typed = getpass.getpass(f"{label}: ", stream=sys.stderr) if sys.stdin.isatty() else sys.stdin.readline(CODE_LIMIT + 2)
    except EOFError:
        typed = ""
    code = "".join(typed.split())
    if not code or len(code) > CODE_LIMIT:
        raise UsageError(f"no {label} was given", hint="type it at the prompt, or give it as one line on stdin")
    return code


def _tell(out: Out, done: str, changed: FactorChanged) -> None:
    row = changed.factor
    out.emit(
        {"factor": row, "log_index": changed.receipt.index},
        Facts([(done, Mark(row.id, "name")), ("of", row.principal), ("kind", row.kind), ("log entry", str(changed.receipt.index))]),
    )
