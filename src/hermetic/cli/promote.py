"""`hermetic promote` and `hermetic rollback`: between environments, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hermetic.cli.blocks import Facts, Mark
from hermetic.cli.options import ENVIRONMENT, environment, output, purpose, reason
from hermetic.cli.session import workspace
from hermetic.cli.words import count, size

if TYPE_CHECKING:
    from hermetic.assets.promoting import Promoted
    from hermetic.cli.blocks import Cell
    from hermetic.cli.out import Out


@click.command()
@click.argument("ref")
@click.option("--to", required=True, type=ENVIRONMENT, help="The environment it goes to.")
@reason()
@purpose("The declared reason; else what it was sealed for.")
@environment()
@output
def promote(out: Out, *, ref: str, to: str, reason: str, purpose: str | None) -> int:
    """Carry a version into another environment, under its keys.

    The version is decrypted and verified in memory and sealed anew into the other environment's store, under the same name. Where
    people have to agree, the command says so and ends with 5; once they have, run it again.
    """
    with workspace() as h:
        done = h.promote(ref, to, reason=reason, purpose=purpose)
    _tell(out, done)
    return 0


@click.command()
@click.argument("name")
@click.option("--environment", "where", required=True, type=ENVIRONMENT, help="The environment to roll back in.")
@click.option("--to", type=click.IntRange(min=1), metavar="NUMBER", help="The version to go back to; else the one before the latest.")
@reason()
@output
def rollback(out: Out, *, name: str, where: str, to: int | None, reason: str) -> int:
    """Make an earlier version the latest of its environment.

    Its content becomes a new version, so that readers who have seen the latest one take it. Needs no other environment.
    """
    with workspace() as h:
        done = h.rollback(name, where, to=to, reason=reason)
    _tell(out, done)
    return 0


def _tell(out: Out, done: Promoted) -> None:
    rows: list[tuple[str, Cell]] = [
        ("version", Mark(done.ref, "name")),
        ("environment", done.environment),
        ("copy of", f"{done.source} in {done.source_environment}"),
    ]
    if done.before:
        out.warn(f"{done.source} is {done.ref} in {done.environment} already")
    else:
        rows.append(("size", f"{size(done.bytes)} in {count(done.objects, 'member')}"))
    out.emit(done, Facts(rows))
