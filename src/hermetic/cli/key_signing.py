"""`hermetic key signing …`: the keys that sign the log and manifests, under the roots or in a token."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hermetic.cli.blocks import Cell, Facts, Mark, Table
from hermetic.cli.init import parsed_settings
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
            _where(row) or "-",
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
@click.option(
    "--in",
    "home",
    default="",
    metavar="WHERE",
    help="Where the key of manifests is to live: pkcs11:token=LABEL;object=LABEL, a token that makes it and keeps it; or roots.",
)
@click.option("--setting", "settings", metavar="NAME=VALUE", multiple=True, help="How the token is reached; kept in config.yaml.")
@click.option("--lost", is_flag=True, help="The token of the old key is gone, and it cannot sign for the new one.")
@output
def rotate(out: Out, *, use: str, reason: str, compromised_after: int | None, home: str, settings: tuple[str, ...], lost: bool) -> int:
    """Give the log, or manifests, a new signing key.

    The old key signs for the new one, on the log; pins on other machines follow that, running processes go on, and what was signed
    before goes on to verify. Then the old private key is destroyed here, or in its token. The new one lives where the old one did,
    unless you say --in. After --lost pins elsewhere take the new key only by `hermetic key signing trust`.
    """
    from hermetic.domain import signing_moves  # noqa: PLC0415 - see connected

    with connected() as connection:
        request = RotateSigningKey(use, reason, compromised_after, home=home, lost=lost)
        done = signing_moves.rotate(connection, request, settings=parsed_settings(settings))
    public = to_base64url(done.key.public)
    facts: list[tuple[str, Cell]] = [
        ("rotated", Mark(f"{done.key.key}  {use}", "name")),
        ("public key", public),
        ("token" if done.key.home else "roots", done.key.home or ", ".join(done.key.roots)),
        ("log entry", str(done.receipt.index)),
        *_before(done.before),
    ]
    if done.unsigned:
        facts.append(("elsewhere", f"hermetic key signing trust {done.key.key} {public}"))
        out.warn("the old key did not sign for the new one: everybody else has to be told of it by you")
    out.emit({"key": done.key, "before": done.before, "log_index": done.receipt.index, "unsigned": done.unsigned}, Facts(facts))
    return 0


@signing.command()
@click.argument("key")
@click.argument("public")
@output
def trust(out: Out, *, key: str, public: str) -> int:
    """Believe a key of manifests that took the place of one lost with its token.

    KEY is its id, PUBLIC its public key. Get both from the person who rotated, not from the service or folder that shows you the new
    key: whoever has the roots could have put it there.
    """
    from hermetic.domain import signing_moves  # noqa: PLC0415 - see connected
    from hermetic.domain.home import Home  # noqa: PLC0415

    domain = signing_moves.trust(Path.cwd(), Home.locate(os.environ), key=key, public=public)
    out.emit({"key": key, "public": public, "domain": domain}, Facts([("trusted", Mark(key, "name")), ("domain", domain)]))
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


def _before(row: SigningKeyRow | None) -> list[tuple[str, Cell]]:
    if row is None:
        return []
    still = f"; still in {row.home}" if row.home else ""
    found: list[tuple[str, Cell]] = [("before", f"{row.key}, {row.state}{still}")]
    if row.doubtful_after:
        found.append(("in doubt", f"what it signed after entry {row.doubtful_after}: hermetic status lists it"))
    return found


def _where(row: SigningKeyRow) -> str:
    """Return what holds the private key: roots, or the token that it is in; also one that signs no more and is still there."""
    return f"in token {row.home}" if row.home else ", ".join(row.roots)


def _due(row: SigningKeyRow) -> str | Mark:
    if row.rotate_after_days is None or row.state != KeyState.ACTIVE:
        return "-"
    left = row.rotate_after_days * _DAY_S - (time.time_ns() // 1_000_000 - row.created_ms) // 1000
    return f"in {span(left)}" if left > 0 else Mark(f"{span(-left)} late", "warn")
