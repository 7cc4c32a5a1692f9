"""`hermetic access …`: who may do what."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from hermetic.cli.blocks import Facts, Mark, Table
from hermetic.cli.lazy import Group
from hermetic.cli.options import PURPOSE, duration, output, reason
from hermetic.cli.session import connected
from hermetic.cli.words import moment
from hermetic.errors import UsageError
from hermetic.formats.messages.policy import GiveGrant, ListGrants, ListPrincipals, RevokeGrant, SetRoles
from hermetic.ids import Purpose

if TYPE_CHECKING:
    from hermetic.cli.out import Out
    from hermetic.formats.messages.policy import GrantRow


@click.group(cls=Group)
def access() -> None:
    """Who may do what: grants and roles."""


@access.command()
@click.argument("principal")
@click.argument("action")
@click.argument("pattern")
@click.option(
    "--purpose", "purposes", type=PURPOSE, metavar="PURPOSE", multiple=True, required=True, help="For what; may be repeated."
)
@click.option("--for", "seconds", type=duration, required=True, help="How long: 8h, 7d.")
@click.option("--uses", type=click.IntRange(min=1), help="How often at most.")
@reason()
@output
def grant(
    out: Out, *, principal: str, action: str, pattern: str, purposes: tuple[str, ...], seconds: int, uses: int | None, reason: str
) -> int:
    """Let somebody do something for a while.

    hermetic access grant ben open 'dataset/*' --purpose train --for 8h --reason 'retrain for the audit'
    """
    expires_ms = (time.time_ns() // 1_000_000) + seconds * 1000
    wanted = tuple(Purpose(word) for word in purposes)
    with connected() as connection:
        row = connection.ask(GiveGrant(principal, action, pattern, wanted, expires_ms=expires_ms, reason=reason, uses=uses))
    out.emit(
        row,
        Facts([("granted", Mark(row.id, "name")), ("to", row.principal), ("until", moment(row.expires_ms)), ("state", row.state)]),
    )
    return 0


@access.command()
@click.argument("grant")
@reason()
@output
def revoke(out: Out, *, grant: str, reason: str) -> int:
    """End a grant at once.

    Leases taken under it end at their next check.
    """
    with connected() as connection:
        connection.ask(RevokeGrant(grant, reason))
    out.emit({"revoked": grant}, Facts([("revoked", Mark(grant, "name"))]))
    return 0


@access.command(name="ls")
@click.option("--all", "everything", is_flag=True, help="Grants that are over too.")
@output
def ls(out: Out, *, everything: bool) -> int:
    """List grants."""
    with connected() as connection:
        found = connection.ask(ListGrants(ended=everything)).grants
    rows = [_row(row) for row in found]
    columns = ("grant", "who", "action", "on", "for", "until", "uses left", "state", "why")
    out.emit({"grants": found}, Table(columns, rows, frozenset({"uses left"}), empty="no grants"))
    return 0


@access.command()
@click.argument("principal", required=False)
@click.option("--role", "wanted", multiple=True, metavar="ROLE", help="A role; may be given several times. Replaces those held.")
@click.option("--none", "no_role", is_flag=True, help="Take all roles away, which disables the principal.")
@reason(required=False)
@output
def roles(out: Out, *, principal: str | None, wanted: tuple[str, ...], no_role: bool, reason: str) -> int:
    """Show who has which roles, or set somebody's.

    hermetic access roles ben --role data-steward --reason 'joins the team'
    """
    if principal is None:
        return _list_principals(out)
    if bool(wanted) == no_role:
        raise UsageError("say which roles", hint="--role ROLE, or --none to disable the principal")
    if not reason:
        raise UsageError("a change of roles needs a reason", hint="--reason WHY; it goes on record")
    with connected() as connection:
        row = connection.ask(SetRoles(principal, wanted, reason))
    out.emit(row, Facts([("principal", Mark(row.name, "name")), ("roles", ", ".join(row.roles)), ("state", row.state)]))
    return 0


def _list_principals(out: Out) -> int:
    with connected() as connection:
        found = connection.ask(ListPrincipals()).principals
    rows = [(Mark(row.name, "name"), row.kind, ", ".join(row.roles), row.state) for row in found]
    out.emit({"principals": found}, Table(("name", "kind", "roles", "state"), rows, empty="nobody"))
    return 0


def _row(row: GrantRow) -> tuple[str | int | Mark | None, ...]:
    purposes = ", ".join(row.purposes)
    return (
        Mark(row.id, "name"),
        row.principal,
        row.action,
        row.pattern,
        purposes,
        moment(row.expires_ms),
        row.uses_left,
        row.state,
        row.reason,
    )
