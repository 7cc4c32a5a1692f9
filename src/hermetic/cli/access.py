"""`hermetic access …`: who may do what, until when; ending it at once; emergencies."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from hermetic.cli.blocks import Facts, Mark, Table
from hermetic.cli.lazy import Group
from hermetic.cli.options import ENVIRONMENT, PURPOSE, byte_count, duration, output, reason
from hermetic.cli.session import connected
from hermetic.cli.words import count, moment, size
from hermetic.domain.listing import every
from hermetic.errors import UsageError
from hermetic.formats.messages.access import BreakGlass, DisablePrincipal, ReviewGrant
from hermetic.formats.messages.policy import GiveGrant, ListGrants, ListPrincipals, RevokeGrant, SetRoles
from hermetic.ids import Environment, Purpose

if TYPE_CHECKING:
    from hermetic.cli.out import Out
    from hermetic.formats.messages.policy import GrantRow


@click.group(cls=Group)
def access() -> None:
    """Who may do what: grants and roles.

    Disabling somebody at once; breaking glass in an emergency, and its review.
    """


@access.command()
@click.argument("principal")
@click.argument("action")
@click.argument("pattern")
@click.option(
    "--purpose", "purposes", type=PURPOSE, metavar="PURPOSE", multiple=True, required=True, help="For what; may be repeated."
)
@click.option("--for", "seconds", type=duration, required=True, help="How long: 8h, 7d.")
@click.option("--uses", type=click.IntRange(min=1), help="How often at most.")
@click.option("--bytes", "length", type=byte_count, metavar="SIZE", help="How much may be released at most, of plaintext: 10GiB.")
@reason()
@output
def grant(out: Out, *, principal: str, action: str, pattern: str, purposes: tuple[str, ...], seconds: int, **limits: Any) -> int:
    """Let somebody do something for a while.

    hermetic access grant ben open 'dataset/*' --purpose train --for 8h --reason 'retrain for the audit'

    PATTERN is [ENVIRONMENT:]KIND/GLOB[@NUMBER[-NUMBER]]: with numbers it is good for those versions only, and for production only if
    it says so.
    """
    expires_ms = (time.time_ns() // 1_000_000) + seconds * 1000
    wanted = tuple(Purpose(word) for word in purposes)
    with connected() as connection:
        row = connection.ask(GiveGrant(principal, action, pattern, wanted, expires_ms=expires_ms, **limits))
    out.emit(row, _given("granted", row))
    return 0


def _given(what: str, row: GrantRow) -> Facts:
    facts: list[tuple[str, str | int | Mark | None]] = [
        (what, Mark(row.id, "name")),
        ("to", row.principal),
        ("until", moment(row.expires_ms)),
        ("state", row.state),
    ]
    if row.bytes_left is not None:
        facts.append(("at most", size(row.bytes_left)))
    return Facts(facts)


@access.command()
@click.argument("principal")
@reason()
@output
def disable(out: Out, *, principal: str, reason: str) -> int:
    """End everything that somebody may do and holds, at once.

    Roles, grants, certificates and devices, leases, what they have asked for; as approvers they have no voice. What ended stays ended
    when they get a role again.
    """
    with connected() as connection:
        done = connection.ask(DisablePrincipal(principal, reason))
    ended = [
        count(done.grants, "grant"),
        count(done.credentials, "credential"),
        count(done.leases, "lease"),
        count(done.requests, "request"),
    ]
    if done.exposures:
        out.note(
            f"{count(done.exposures, 'exposure')} of theirs {'is' if done.exposures == 1 else 'are'} open: plaintext on a disk stays"
        )
    out.emit(done, Facts([("disabled", Mark(done.principal.name, "name")), ("ended", ", ".join(ended))]))
    return 0


@access.command(name="break-glass")
@click.argument("ref")
@click.option("--for", "seconds", type=duration, required=True, help="How long, at most 4h.")
@click.option("--purpose", type=click.Choice(["recover", "debug"]), required=True, help="For what.")
@click.option("--environment", type=ENVIRONMENT, help="Where REF is looked up.")
@reason()
@output
def break_glass(out: Out, *, ref: str, seconds: int, purpose: str, environment: str | None, reason: str) -> int:
    """Open one asset in an emergency, once others agree.

    One approver whom the policy lets approve this, or two others, sign the request that this makes; then run the same command again.
    It is on the log under a name of its own and a finding until somebody else has reviewed it.

    hermetic access break-glass dataset/patients --for 1h --purpose recover --reason 'ward 3 has no list'
    """
    where = None if environment is None else Environment(environment)
    with connected() as connection:
        row = connection.ask(BreakGlass(ref, Purpose(purpose), seconds, reason, where))
    out.note(f"everybody sees this: `hermetic access review {row.id}` is for somebody else, when it is over")
    out.emit(row, _given("glass broken", row))
    return 0


@access.command()
@click.argument("grant")
@click.option("--finding", required=True, help="What you found; it goes on record.")
@output
def review(out: Out, *, grant: str, finding: str) -> int:
    """Say what you found about a broken glass that is over, done by somebody else."""
    with connected() as connection:
        done = connection.ask(ReviewGrant(grant, finding))
    row = done.grant
    out.emit(
        done, Facts([("reviewed", Mark(row.id, "name")), ("by whom it was used", row.principal), ("releases", str(done.releases))])
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
        found = every(connection.ask, ListGrants(ended=everything), "grants")
    rows = [_row(row) for row in found]
    columns = ("grant", "who", "action", "on", "for", "until", "uses left", "bytes left", "state", "why")
    out.emit({"grants": found}, Table(columns, rows, frozenset({"uses left", "bytes left"}), empty="no grants"))
    return 0


@access.command()
@click.argument("principal", required=False)
@click.option("--role", "wanted", multiple=True, metavar="ROLE", help="A role; may be given several times. Replaces those held.")
@click.option("--none", "no_role", is_flag=True, help="Take all roles away, which disables, as `access disable` does.")
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
        found = every(connection.ask, ListPrincipals(), "principals")
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
        None if row.bytes_left is None else size(row.bytes_left),
        f"{row.state}, {row.kind}" if row.kind else row.state,
        row.reason,
    )
