"""`hermetic scan`: what lies around unprotected. Needs no domain; in one, it also finds copies of known assets."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hermetic.cli import findings as findings_blocks
from hermetic.cli.blocks import Block, Facts, Mark, Table
from hermetic.cli.options import ANY_PATH, exit_with, output
from hermetic.cli.session import connected
from hermetic.cli.words import moment, size
from hermetic.errors import HermeticError, Locked, NotFound
from hermetic.formats.messages.versions import RecogniseDigests
from hermetic.gate import scan as gate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from hermetic.cli.out import Out
    from hermetic.gate.report import ScanReport

    Ask = Callable[[Sequence[bytes]], Sequence[str]]

_STYLE = {"plaintext": "bad", "sealed": "good"}


@click.command()
@click.argument("paths", nargs=-1, type=ANY_PATH)
@click.option("--hidden", is_flag=True, help="Look into folders whose name starts with a dot too.")
@click.option(
    "--recognise/--no-recognise",
    default=None,
    help="Ask this project's custody which files are copies of sealed assets; by default if its root is open.",
)
@click.option("--all", "everything", is_flag=True, help="List sealed and unknown files too.")
@output
def scan(out: Out, *, paths: tuple[Path, ...], hidden: bool, recognise: bool | None, everything: bool) -> int:
    """Find unprotected ML files in folders.

    Files are told by what is in them, not by their names; nothing is unpickled or written. Looks in the working folder when no PATH is
    given. Exits with 7 if there is any finding.
    """
    roots = paths or (Path(),)
    with _custody(out, wanted=recognise) as ask:
        report = _scan(out, roots, hidden=hidden, ask=ask)
    findings = report.findings()
    out.emit(
        _document(report), *_blocks(report, everything=everything), *findings_blocks.blocks(findings, none="Nothing unprotected.")
    )
    return exit_with(findings)


@contextmanager
def _custody(out: Out, *, wanted: bool | None) -> Iterator[Ask | None]:
    """Lend a way to ask custody about digests. Unless it is `wanted`, a scan goes on without."""
    with ExitStack() as stack:
        try:
            connection = None if wanted is False else stack.enter_context(connected(ask=wanted is True))
        except HermeticError as error:
            if wanted or not isinstance(error, (NotFound, Locked)):
                raise
            connection = None
            if isinstance(error, Locked):
                out.note(f"hermetic: note: copies of sealed assets are not looked for: {error.message}")
        yield None if connection is None else lambda found: connection.ask(RecogniseDigests(tuple(found))).refs


def _scan(out: Out, roots: Sequence[Path], *, hidden: bool, ask: Ask | None) -> ScanReport:
    now_ms = time.time_ns() // 1_000_000
    with out.progress("scanning") as advance:
        return gate.scan(roots, now_ms=now_ms, hidden=hidden, recognise=ask, progress=lambda _path: advance(1))


def _document(report: ScanReport) -> dict[str, object]:
    return {
        "at_ms": report.at_ms,
        "roots": report.roots,
        "counts": report.counts(),
        "files": report.files,
        "media": report.media,
        "skipped": report.skipped,
        "findings": report.findings(),
    }


def _blocks(report: ScanReport, *, everything: bool) -> list[Block]:
    shown = report.files if everything else (*report.plaintext, *(file for file in report.copies if file.state != "plaintext"))
    rows = [
        (
            Mark(file.state, _STYLE.get(file.state, "dim")),
            file.kind,
            file.format,
            size(file.size),
            moment(file.modified_ms)[:10],
            file.path,
        )
        for file in shown
    ]
    columns = ("state", "kind", "format", "size", "changed", "path")
    counts = [(name.replace("_", " "), number) for name, number in report.counts().items()]
    return [*([Table(columns, rows, frozenset({"size"}))] if rows else []), Facts(counts)]
