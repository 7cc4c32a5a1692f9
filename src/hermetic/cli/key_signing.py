"""`hermetic key signing …`: the keys that sign the log and manifests."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from hermetic.cli.blocks import Cell, Facts, Mark, Table
from hermetic.cli.lazy import Group
from hermetic.cli.options import days, output, reason
from hermetic.cli.session import connected
from hermetic.cli.words import moment, span
from hermetic.formats.binary_text import to_base64url
from hermetic.formats.messages.signing import ChangeSigningCare, ListSigningKeys, RotateSigningKey
from hermetic.ids import KeyState

if TYPE_CHECKING:
    from hermetic.cli.out import Out
    from hermetic.formats.messages.signing import SigningKeyRow

_USE = click.argument("use", type=click.Choice(("log", "manifest")))
_DAY_S = 86_400


@click.group(cls=Group)
def signing() -> None:
    """Keys that sign the log and manifests: list, rotate, schedule."""


@signing.command(name="ls")
@output
def ls(out: Out) -> int:
    """List the signing keys, old ones too: their public halves go on to verify what they signed."""
    with connected() as connection:
        found = connection.ask(ListSigningKeys()).keys
    rows = [
        (
            Mark(row.key[:8], "name"),
            row.use,
            Mark(row.state, "good" if row.state == KeyState.ACTIVE else "dim"),
            moment(row.created_ms)[:16],
            _due(row),
            ", ".join(row.roots) or "-",
            row.owner or "-",
            Mark(f"after {row.doubtful_after}", "bad") if row.doubtful_after else "-",
        )
        for row in found
    ]
    out.emit({"keys": found}, Table(("key", "signs", "state", "made", "rotate", "roots", "owner", "in doubt"), rows, empty="none"))
    return 0


@signing.command()
@_USE
@reason(required=False)
@click.option(
    "--compromised-after",
    type=int,
    metavar="ENTRY",
    help="Somebody else may have the key: do not believe what it signed after this entry of the log; 0 for all.",
)
@output
def rotate(out: Out, *, use: str, reason: str, compromised_after: int | None) -> int:
    """Give the log, or manifests, a new signing key.

    The old key signs for the new one, on the log; pins on other machines follow that, running processes go on, and what was signed
    before goes on to verify. Then the old private key is destroyed here.
    """
    with connected() as connection:
        done = connection.ask(RotateSigningKey(use, reason, compromised_after))
    facts: list[tuple[str, Cell]] = [
        ("rotated", Mark(f"{done.key.key}  {use}", "name")),
        ("public key", to_base64url(done.key.public)),
        ("roots", ", ".join(done.key.roots)),
        ("log entry", str(done.receipt.index)),
    ]
    if done.before is not None:
        facts.append(("before", f"{done.before.key}, {done.before.state}"))
        if done.before.doubtful_after:
            facts.append(("in doubt", f"what it signed after entry {done.before.doubtful_after}: hermetic status lists it"))
    out.emit({"key": done.key, "before": done.before, "log_index": done.receipt.index}, Facts(facts))
    return 0


@signing.command(name="set")
@_USE
@click.option("--owner", metavar="WHO", help="Who answers for the key: the name of a principal.")
@click.option("--contact", metavar="TEXT", help="Whom to call in an emergency; an empty text takes it away.")
@click.option(
    "--rotate-every",
    "rotate",
    type=lambda value: 0 if value == "never" else days(value),
    metavar="DAYS",
    help="How old it may become: 365d, or never.",
)
@reason(required=False)
@output
def set_(out: Out, *, use: str, owner: str | None, contact: str | None, rotate: int | None, reason: str) -> int:
    """Say who answers for a signing key, whom to call, and how often it is rotated; `status` names one that is overdue."""
    with connected() as connection:
        done = connection.ask(ChangeSigningCare(use, owner=owner, contact=contact, rotate_after_days=rotate, reason=reason))
    row = done.key
    every = "never" if row.rotate_after_days is None else f"every {row.rotate_after_days} days"
    facts: list[tuple[str, Cell]] = [
        ("changed", Mark(f"{row.key}  {use}", "name")),
        ("owner", row.owner or "-"),
        ("contact", row.contact or "-"),
        ("rotate", every),
    ]
    out.emit({"key": row, "log_index": done.receipt.index}, Facts(facts))
    return 0


def _due(row: SigningKeyRow) -> str | Mark:
    if row.rotate_after_days is None or row.state != KeyState.ACTIVE:
        return "-"
    left = row.rotate_after_days * _DAY_S - (time.time_ns() // 1_000_000 - row.created_ms) // 1000
    return f"in {span(left)}" if left > 0 else Mark(f"{span(-left)} late", "warn")
