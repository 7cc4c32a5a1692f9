"""`hermetic reseal`: what retired suites sealed, sealed anew; and what hangs on each suite."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hermetic.cli import findings as findings_blocks
from hermetic.cli.blocks import Cell, Facts, Heading, Line, Mark, Table
from hermetic.cli.options import exit_with, output
from hermetic.cli.session import workspace
from hermetic.cli.words import count, moment, size

if TYPE_CHECKING:
    from hermetic.cli.blocks import Block
    from hermetic.cli.out import Out
    from hermetic.formats.messages.suites import SuiteRow
    from hermetic.recovery.suites import Plan


@click.command()
@click.option("--dry-run", is_flag=True, help="Only say what there is: suites, versions, bytes.")
@output
def reseal(out: Out, *, dry_run: bool) -> int:
    """Seal anew what the policy's retired suites sealed.

    Each version on a suite of `retired_suites:` becomes a new version of its asset, under the suite that its class names now: new data
    key, new ciphertext, new signature, verified. May be interrupted and repeated. The old versions stay until `key shred`.
    """
    from hermetic.recovery import suites  # noqa: PLC0415 - brings the readers and writers

    if dry_run:
        with workspace() as h:
            plan = suites.plan(h)
        out.emit({"suites": plan.suites, "versions": plan.versions, "bytes": plan.bytes, "before": plan.before}, *_plan(plan))
        return 0
    with workspace() as h, out.progress("sealing anew", None) as advance:
        report = suites.reseal_retired(h, advance=advance)
    rows = [(Mark(one.old, "name"), Mark(one.new, "name"), size(one.bytes), f"{one.seconds:.2f} s") for one in report.anew]
    facts: list[tuple[str, Cell]] = [
        ("sealed anew", count(len(report.anew), "version")),
        ("before", count(report.before, "version")),
        ("took", f"{report.seconds:.1f} s"),
    ]
    table = Table(("old", "new", "size", "time"), rows, frozenset({"size", "time"}), empty="none")
    out.emit(report, Facts(facts), Heading("Sealed anew"), table, *(findings_blocks.blocks(report.failed) if report.failed else ()))
    return exit_with(report.failed)


def _plan(plan: Plan) -> list[Block]:
    rows = [
        (
            Mark(" or ".join(row.suites), "name"),
            _state(row),
            row.versions,
            row.latest,
            size(row.length),
            moment(row.opens_until_ms)[:10],
        )
        for row in plan.suites
    ]
    columns = ("suite", "state", "versions", "latest of", "size", "opens until")
    todo = [(Mark(one.ref, "name"), " or ".join(one.suites), size(one.bytes)) for one in plan.versions]
    return [
        Table(columns, rows, frozenset({"versions", "latest of", "size"}), empty="none"),
        Heading(f"To seal anew: {count(len(plan.versions), 'version')}, {size(plan.bytes)}"),
        *([Table(("version", "suite", "size"), todo, frozenset({"size"}), empty="none")] if todo else [Line("nothing", 2)]),
    ]


def _state(row: SuiteRow) -> Mark:
    if row.retired:
        return Mark("retired", "warn")
    return Mark("in use", "good") if row.in_use else Mark("known", "dim")
