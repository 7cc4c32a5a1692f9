"""`hermetic key set`: who answers for a key, whom to call, how often it is rotated."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hermetic.cli.blocks import Cell, Facts, Mark
from hermetic.cli.options import days, output, reason
from hermetic.cli.session import connected
from hermetic.formats.messages.keys import ChangeKeySchedule

if TYPE_CHECKING:
    from hermetic.cli.out import Out


def _schedule(value: str) -> int:
    return 0 if value == "never" else days(value)


@click.command(name="set")
@click.argument("kek")
@click.option("--owner", metavar="WHO", help="Who answers for the key: the name of a principal.")
@click.option("--contact", metavar="TEXT", help="Whom to call in an emergency; an empty text takes it away.")
@click.option("--rotate-every", "rotate", type=_schedule, metavar="DAYS", help="How old its version may become: 90d, or never.")
@reason(required=False)
@output
def set_(out: Out, *, kek: str, owner: str | None, contact: str | None, rotate: int | None, reason: str) -> int:
    """Say who answers for a key, whom to call, and how often it is rotated.

    `status` names keys that are overdue, that nobody answers for, or whose owner is not enrolled.
    """
    with connected() as connection:
        changed = connection.ask(ChangeKeySchedule(kek, owner=owner, contact=contact, rotate_after_days=rotate, reason=reason))
    row = changed.key
    every = "never" if row.rotate_after_days is None else f"every {row.rotate_after_days} days"
    facts: list[tuple[str, Cell]] = [
        ("changed", Mark(row.kek, "name")),
        ("owner", row.owner),
        ("contact", row.contact or "-"),
        ("rotate", every),
    ]
    out.emit({"key": row, "log_index": changed.receipt.index}, Facts(facts))
    return 0
