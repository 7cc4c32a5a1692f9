"""`hermetic status`: the four questions, and every known gap."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from hermetic.cli import around
from hermetic.cli import findings as findings_blocks
from hermetic.cli.blocks import Block, Cell, Facts, Heading, Line, Mark, Table
from hermetic.cli.options import ANY_PATH, exit_with, output
from hermetic.cli.session import connected
from hermetic.cli.words import count, moment, size, span
from hermetic.errors import KeyServiceUnavailable, PolicyDenied
from hermetic.evidence import status as evidence
from hermetic.formats.messages.domain import GatherFacts
from hermetic.formats.messages.measures import GatherMeasures
from hermetic.ids import Enforcement

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hermetic.cli.out import Out
    from hermetic.domain.connect import Connection
    from hermetic.evidence.answers import Plaintext
    from hermetic.evidence.status import StatusReport
    from hermetic.formats.messages.domain import Facts as DomainFacts
    from hermetic.formats.messages.measures import Measured


@click.command()
@click.option("--scan", "scanned", type=ANY_PATH, multiple=True, metavar="PATH", help="Look for plaintext copies in PATH too.")
@click.option("--metrics", is_flag=True, help="Print figures for monitoring instead, as OpenMetrics text.")
@output
def status(out: Out, *, scanned: tuple[Path, ...], metrics: bool) -> int:
    """Answer: are we safe yet?

    Which keys protect each asset; who can decrypt and what is logged; where plaintext exists and for how long; what is retained and
    how long. Exits with 7 if there is any finding, and with 6 where no root can be reached: then nothing can be told.
    """
    first_use = around.never_pinned()
    with _in_reach(out), connected() as connection:
        facts = _facts(connection)
        surroundings = around.look(connection, out, scanned, facts, first_use=first_use)
        report = evidence.report(facts, connection.welcome, surroundings)
        own = around.own(connection)
        if metrics:
            _figures(out, connection.ask(GatherMeasures()), report)
            return 0
    out.emit(report.to_json(), *_blocks(report, own))
    return exit_with(report.findings)


def _facts(connection: Connection) -> DomainFacts:
    """Ask for what is known. Whoever may not see all of the domain is told who they are, and where their settings lie."""
    try:
        return connection.ask(GatherFacts())
    except PolicyDenied as error:
        who = f"{connection.welcome.principal} ({', '.join(connection.welcome.roles) or 'no role'})"
        hint = f"status is of the whole domain; `hermetic ls` lists what is there for you, {who}"
        settings = f"your settings: {around.own(connection).settings}"
        raise PolicyDenied(error.message, hint=f"{hint}\n{settings}", reasons=error.reasons) from None


@contextmanager
def _in_reach(out: Out) -> Iterator[None]:
    """Answer, before the error is told, that the question cannot be answered: silence is taken for a yes."""
    try:
        yield
    except KeyServiceUnavailable as error:
        if not out.as_json:
            away = "custody is out of reach" if os.environ.get("HERMETIC_URL") else "no root of this domain is in reach"
            out.emit({}, Facts([("safe", Mark(f"cannot be told: {away}", "bad")), ("because", error.message)]))
        raise


def _figures(out: Out, measured: Measured, report: StatusReport) -> None:
    """Write what `hermetic serve --metrics` would, but for what only a service counts."""
    from hermetic.telemetry import exposition, gauges  # noqa: PLC0415 - most calls do not export

    families = list(gauges.families(measured, report.findings))
    rows = [{"name": name, "labels": labels, "value": value} for name, labels, value in exposition.table(families)]
    out.emit({"metrics": rows}, *map(Line, exposition.text(families).splitlines()))


def _blocks(report: StatusReport, own: around.Own) -> list[Block]:
    return [
        *_head(report, own),
        *_keys(report),
        *_openers(report),
        *_plaintext(report),
        *_retention(report),
        *_backup(report),
        *_accepted(report),
        *findings_blocks.blocks(report.findings, none="None: nothing is known to be wrong."),
    ]


def _head(report: StatusReport, own: around.Own) -> list[Block]:
    unlocked = f", unlocked until {moment(own.until_ms)}" if own.until_ms is not None else ""
    policy = report.policy_digest.hex()[:12] + (" (the files were edited since)" if report.policy_edited else "")
    return [
        Facts(
            [
                ("safe", _verdict(report)),
                ("project", Mark(report.project, "name")),
                ("domain", f"{report.domain}, generation {report.generation}"),
                ("enforcement", f"{report.enforcement}: {report.enforcement_means}"),
                *_releases(report),
                ("you", f"{report.principal} ({', '.join(report.roles) or 'no role'})"),
                *_environment(report),
                ("your settings", str(own.settings)),
                ("policy in force", policy),
                *[("root", f"{root.uri}, {root.state}{'' if number else unlocked}") for number, root in enumerate(report.roots)],
            ]
        )
    ]


def _releases(report: StatusReport) -> list[tuple[str, Cell]]:
    """Say whose release is which, where custody runs in another process: it may be upgraded apart."""
    if report.enforcement == Enforcement.COOPERATIVE:
        return []
    return [("release", f"{report.release} here, {report.custody_release} in custody")]


def _environment(report: StatusReport) -> list[tuple[str, Cell]]:
    """Say where names are of here, once there are assets elsewhere."""
    others = [f"{name} ({count(number, 'asset')})" for name, number in report.environments.items() if name != report.environment]
    return [("environment", f"{report.environment}; there is more in {', '.join(others)}")] if others else []


def _placed(report: StatusReport, environment: str) -> tuple[str, ...]:
    """Return the cell, or the column's head, that says in which environment an asset is: where any is not in the usual one."""
    return (environment,) if report.environments.keys() - {report.environment} else ()


def _verdict(report: StatusReport) -> Mark:
    """The answer in one line: it never claims more than was looked at."""
    if not report.findings:
        if report.accepted:
            return Mark(f"yes, but for {count(len(report.accepted), 'finding')} that the policy accepts for a while", "warn")
        return Mark("yes, as far as is known: no findings", "good")
    high = sum(finding.severity == "high" for finding in report.findings)
    text = f"not yet: {count(len(report.findings), 'finding')}, {high} of them high"
    return Mark(text, "bad" if high else "warn")


def _keys(report: StatusReport) -> list[Block]:
    rows = [
        (
            Mark(row.name, "name"),
            row.data_class,
            row.environment,
            row.owner or Mark("nobody", "warn"),
            f"{row.kek[:8]} v{row.kek_number}" if row.kek else Mark("none", "bad"),
            Mark(row.kek_state, "good" if row.kek_state == "active" else "warn"),
            ", ".join(row.roots),
            moment(row.rotation_due_ms)[:10],
        )
        for row in report.protection
    ]
    columns = ("asset", "class", "environment", "owner", "key", "state", "root", "rotate by")
    return [Heading("1  Which keys protect each asset"), Table(columns, rows, empty="  no assets yet")]


def _openers(report: StatusReport) -> list[Block]:
    rows = [
        (
            Mark(row.name, "name"),
            *_placed(report, row.environment),
            "; ".join(f"{opener.principal} ({', '.join(opener.purposes)})" for opener in row.openers) or Mark("nobody", "dim"),
            ", ".join(sorted({policy for opener in row.openers for policy in opener.policies})),
            row.releases,
            moment(row.last_release_ms),
        )
        for row in report.openness
    ]
    log = report.recording
    released = f"{count(log.releases, 'release')}, {count(log.denials, 'denial')}"
    return [
        Heading("2  Who can decrypt, and what is logged"),
        Table(
            ("asset", *_placed(report, "environment"), "who (for what)", "by policies", "releases", "last"),
            rows,
            frozenset({"releases"}),
            empty="  no assets yet",
        ),
        *_what_that_means(report),
        Facts(
            [
                ("log", f"{log.size} entries, root {log.root.hex()[:16]}; {released}"),
                ("intents without outcome", log.open_intents),
                ("pinned by you", f"up to entry {log.pinned_size}"),
                ("externally anchored", Mark(log.externally_anchored, "warn" if log.externally_anchored == "never" else "good")),
            ],
            2,
        ),
    ]


def _what_that_means(report: StatusReport) -> list[Block]:
    """Say what the policy alone does not: in a cooperative domain nobody else has the keys to be given."""
    if report.enforcement != Enforcement.COOPERATIVE or not report.openness:
        return []
    return [Line(Mark("as policy decides; in a cooperative domain only the user who holds the root has keys at all", "dim"), 2)]


def _plaintext(report: StatusReport) -> list[Block]:
    rows = [
        (item.kind, item.where, item.ref, item.owner, moment(item.since_ms), _until(item, report.at_ms)) for item in report.plaintext
    ]
    looked = (
        "nobody looked for copies: name folders with --scan" if report.scanned is None else f"scanned: {', '.join(report.scanned)}"
    )
    return [
        Heading("3  Where plaintext exists, and for how long"),
        Table(("kind", "where", "of", "owner", "since", "until"), rows, empty="  none on record"),
        Line(Mark(looked, "dim"), 2),
    ]


def _until(item: Plaintext, now_ms: int) -> Mark:
    if item.until_ms is None:
        return Mark("no end known", "warn")
    if item.overdue:
        return Mark(f"overdue by {span((now_ms - item.until_ms) // 1000)}", "bad")
    return Mark(f"{moment(item.until_ms)} (in {span((item.until_ms - now_ms) // 1000)})", "good")


def _retention(report: StatusReport) -> list[Block]:
    rows: list[tuple[Cell, ...]] = [
        (
            Mark(row.name, "name"),
            *_placed(report, row.environment),
            row.versions,
            size(row.length),
            "for good" if row.retention_days is None else f"{row.retention_days} days",
            Mark(moment(row.due_ms)[:10], "bad" if row.overdue else ""),
        )
        for row in report.retention
    ]
    columns = ("asset", *_placed(report, "environment"), "versions", "latest size", "kept", "ends")
    return [
        Heading("4  What is retained, and how long"),
        Table(columns, rows, frozenset({"versions", "latest size"}), empty="  no assets yet"),
    ]


def _accepted(report: StatusReport) -> list[Block]:
    if not report.accepted:
        return []
    rows = [
        (item.finding.code, item.finding.subject, item.exception, item.approver, moment(item.expires_ms)[:10], item.reason)
        for item in report.accepted
    ]
    columns = ("finding", "subject", "exception", "approved by", "until", "why")
    return [Heading("Accepted by the policy in force"), Table(columns, rows)]


def _backup(report: StatusReport) -> list[Block]:
    backup = report.backup
    return [
        Heading("Backup of custody"),
        Facts(
            [
                ("place", backup.place or Mark("none", "warn")),
                ("last copy", f"{moment(backup.last_ms)}, {backup.behind} log entries behind"),
                ("last restore check", moment(backup.checked_ms) if backup.checked_ms else Mark("never", "warn")),
                ("recovery passphrase", "set" if backup.has_recovery else "not set"),
            ],
            2,
        ),
    ]
