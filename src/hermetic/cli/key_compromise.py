"""`hermetic key compromise`: somebody else has the key; seal everything anew that it could open."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hermetic.cli import findings as findings_blocks
from hermetic.cli.blocks import Cell, Facts, Heading, Mark, Table
from hermetic.cli.options import exit_with, output, reason
from hermetic.cli.session import workspace
from hermetic.cli.words import count, size

if TYPE_CHECKING:
    from hermetic.cli.out import Out


@click.command()
@click.argument("kek")
@reason()
@click.option("--go-on", is_flag=True, help="Go on where an earlier run was interrupted; nothing is revoked again.")
@output
def compromise(out: Out, *, kek: str, reason: str, go_on: bool) -> int:
    """Somebody else has this key: revoke it, and seal everything anew.

    Every version that the key could open becomes a new version of its asset, with a new data key, new ciphertext and a new signature.
    What somebody has read stays read. The old ciphertext stays until `key shred`.
    """
    from hermetic.recovery.compromise import compromise as run  # noqa: PLC0415 - brings the readers and writers

    with workspace() as h, out.progress("sealing anew", None) as advance:
        report = run(h, kek, reason, go_on=go_on, advance=advance)
    rows = [(Mark(one.old, "name"), Mark(one.new, "name"), size(one.bytes), f"{one.seconds:.2f} s") for one in report.anew]
    facts: list[tuple[str, Cell]] = [
        ("revoked", Mark(report.key.kek, "name")),
        ("after", f"{report.revoke_s:.2f} s no new release; leases end at their next check"),
        ("sealed anew", count(len(report.anew), "version")),
        ("before", count(report.before, "version")),
        ("took", f"{report.seconds:.1f} s"),
    ]
    table = Table(("old", "new", "size", "time"), rows, frozenset({"size", "time"}), empty="none")
    out.emit(report, Facts(facts), Heading("Sealed anew"), table, *(findings_blocks.blocks(report.failed) if report.failed else ()))
    return exit_with(report.failed)
