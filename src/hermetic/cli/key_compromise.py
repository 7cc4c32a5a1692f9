"""`hermetic key compromise`: somebody else has the key; seal everything anew that it could open."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hermetic.cli import findings as findings_blocks
from hermetic.cli.blocks import Cell, Facts, Heading, Mark, Table
from hermetic.cli.options import exit_with, output, reason
from hermetic.cli.session import workspace
from hermetic.cli.words import count, size
from hermetic.ids import KeyState

if TYPE_CHECKING:
    from hermetic.cli.out import Out
    from hermetic.recovery.compromise import Report


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
        *_revoked(report),
        ("sealed anew", count(len(report.anew), "version")),
        ("before", count(report.before, "version")),
        ("took", f"{report.seconds:.1f} s"),
    ]
    table = Table(("old", "new", "size", "time"), rows, frozenset({"size", "time"}), empty="none")
    out.emit(report, Facts(facts), Heading("Sealed anew"), table, *(findings_blocks.blocks(report.failed) if report.failed else ()))
    if go_on and not report.anew and not report.failed:
        lost = any(version.state == KeyState.COMPROMISED for version in report.key.versions)
        out.note("nothing was left to do" if lost else f"no version of {report.key.kek} is revoked: leave out --go-on to revoke it")
    return exit_with(report.failed)


def _revoked(report: Report) -> list[tuple[str, Cell]]:
    """Return what was done to the key itself, which going on does not do again."""
    key = Mark(report.key.kek, "name")
    if report.revoke_s is None:
        return [("went on with", key)]
    return [("revoked", key), ("after", f"{report.revoke_s:.2f} s no new release; leases end at their next check")]
