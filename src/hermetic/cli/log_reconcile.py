"""`hermetic log reconcile`: our log against the record that a service keeps of a root."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from hermetic.cli import findings as findings_blocks
from hermetic.cli.blocks import Block, Cell, Facts, Mark, Table
from hermetic.cli.options import ANY_PATH, FINDINGS, output
from hermetic.cli.session import connected
from hermetic.cli.words import count, moment, seconds
from hermetic.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from hermetic.cli.out import Out
    from hermetic.domain.reconciling import Kept, Reconciled


@click.command()
@click.option(
    "--audit", "files", type=ANY_PATH, multiple=True, metavar="FILE", help="The service's record; repeat, older files first."
)
@click.option("--root", metavar="ROOT", help="Which root, if several have a record; an id or the beginning of it.")
@click.option("--since", metavar="TIME", help="Compare from here on: 2026-11-21, 2026-11-21T08:00Z, or 24h.")
@click.option("--until", metavar="TIME", help="Compare up to here.")
@output
def reconcile(out: Out, *, files: tuple[Path, ...], root: str | None, since: str | None, until: str | None) -> int:
    """Find uses of a root that only its service, or only our log, knows of.

    FILE is OpenBao's file audit device, or a file of AWS CloudTrail. Exits with 7 if there is anything to look at. Without --audit
    it lists which record each root has.
    """
    from hermetic.domain import reconciling  # noqa: PLC0415 - most calls compare nothing

    span = _time(since), _time(until)
    with connected() as connection:
        if not files:
            found = reconciling.kept(connection)
            out.emit({"roots": found}, _table(found))
            return 0
        with out.progress("comparing") as advance:
            done = reconciling.reconcile(connection, files, root=root, span=span, progress=advance)
    out.emit(_document(done), *_blocks(done))
    return FINDINGS if done.report.findings else 0


def _time(text: str | None) -> int | None:
    """Read a day or a time, UTC unless it says otherwise, or how long ago. Raises UsageError."""
    if text is None:
        return None
    now = datetime.now(UTC)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        try:
            return int(now.timestamp() - seconds(text)) * 1000
        except UsageError:
            raise UsageError(f"{text[:40]!r} is not a time", hint="2026-11-21, 2026-11-21T08:00Z, or 24h for so long ago") from None
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000)


def _table(found: tuple[Kept, ...]) -> Table:
    rows = [(row.root[:8], row.provider, row.state, Mark("yes", "good") if row.compared else "no", row.record) for row in found]
    return Table(("root", "provider", "state", "compared", "record"), rows, empty="no roots")


def _document(done: Reconciled) -> dict[str, object]:
    report = done.report
    return {
        "root": done.root,
        "provider": done.provider,
        "record": {
            "kind": done.record,
            "files": done.files,
            "entries": done.entries,
            "first_ms": done.first_ms,
            "last_ms": done.last_ms,
        },
        "log": {"uses": report.own, "first_ms": done.began_ms},
        "compared": {"since_ms": done.since_ms, "until_ms": done.until_ms},
        "matched": report.matched,
        "recorded": report.recorded,
        "operations": dict(report.operations),
        "refused": report.refused,
        "not_compared": {
            "recorded_before_the_log": report.before,
            "logged_before_the_record": report.not_covered_before,
            "logged_after_the_record": report.not_covered_after,
            "by_this_command": report.this_command,
        },
        "findings": report.findings,
    }


def _blocks(done: Reconciled) -> list[Block]:
    report = done.report
    what = ", ".join(f"{number} {name}" for name, number in report.operations) or "none"
    facts: list[tuple[str, Cell]] = [
        ("root", f"{done.root[:8]} ({done.provider})"),
        ("record", f"{count(done.entries, 'entry', 'entries')} in {count(len(done.files), 'file')}"),
        ("it covers", "nothing" if done.first_ms is None else f"{moment(done.first_ms)} to {moment(done.last_ms)}"),
        ("compared", _compared(done)),
        ("uses in the record", f"{report.recorded}: {what}"),
        ("uses on our log", report.own),
        ("in both", report.matched),
        ("refused by the service", report.refused),
        ("not compared", Mark(_not_compared(done), "dim")),
    ]
    return [Facts(facts), *findings_blocks.blocks(report.findings)]


def _compared(done: Reconciled) -> str:
    since, until = done.since_ms, done.until_ms
    return f"{'everything' if since is None else 'from ' + moment(since)}{'' if until is None else ' to ' + moment(until)}"


def _not_compared(done: Reconciled) -> str:
    report, parts = done.report, []
    if report.before:
        parts.append(f"{report.before} uses in the record before {moment(done.began_ms)}, when our log first names the root")
    if report.not_covered_before:
        parts.append(f"{report.not_covered_before} on our log before the record begins")
    if report.not_covered_after:
        parts.append(f"{report.not_covered_after} on our log after it ends")
    if report.this_command:
        parts.append(f"{report.this_command} of this command")
    return "; ".join(parts) or "nothing"
