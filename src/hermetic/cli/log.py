"""`hermetic log …`: the tamper-evident log."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hermetic.cli import findings as findings_blocks
from hermetic.cli.blocks import Block, Cell, Facts, Mark, Table
from hermetic.cli.files import write_new
from hermetic.cli.lazy import Group
from hermetic.cli.log_reconcile import reconcile
from hermetic.cli.log_restored import restored
from hermetic.cli.options import ANY_PATH, FINDINGS, output
from hermetic.cli.session import connected
from hermetic.cli.words import moment
from hermetic.domain.listing import read_log
from hermetic.errors import StorageError
from hermetic.formats.findings import Finding
from hermetic.formats.messages.log import Anchor, ProveEntry, ReadLog, VerifyLog

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hermetic.cli.out import Out
    from hermetic.domain.connect import Connection
    from hermetic.formats.findings import Severity
    from hermetic.formats.messages.log import LogRow, LogVerified

_SEVERITIES: dict[str, Severity] = {"high": "high", "medium": "medium", "low": "low"}
NOTE_LIMIT = 64 * 1024  # bytes of a signed checkpoint


@click.group(cls=Group)
def log() -> None:
    """The tamper-evident log: read, verify, prove, export, compare."""


log.add_command(reconcile)
log.add_command(restored)


@log.command(name="ls")
@click.option("--start", type=int, help="First entry; negative counts from the end.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="How many entries.")
@click.option("--kind", metavar="PREFIX", help="Only kinds that begin so: release, key, policy.")
@click.option("--generation", type=int, help="An older generation, from before a restore.")
@output
def ls(out: Out, *, start: int | None, limit: int, kind: str | None, generation: int | None) -> int:
    """List entries, the latest ones by default."""
    with connected() as connection:
        size, found = read_log(connection.ask, ReadLog(-limit if start is None else start, limit, kind, generation))
    rows = [(row.index, moment(row.at_ms), Mark(row.kind, "name"), _facts(row)) for row in found]
    out.emit(
        {"size": size, "entries": [_entry(row) for row in found]},
        Table(("entry", "time", "kind", "what"), rows, frozenset({"entry"}), empty="no entries"),
    )
    return 0


@log.command()
@click.option("--anchor", "anchors", type=ANY_PATH, multiple=True, metavar="FILE", help="A checkpoint kept outside; may be repeated.")
@output
def verify(out: Out, *, anchors: tuple[Path, ...]) -> int:
    """Recompute everything, and compare with your pins and with anchors.

    Finds changed entries, cut tails, forks, releases without outcome. Exits with 4 if the log was tampered with, with 7 if there is
    anything else to look at.
    """
    with connected() as connection:
        known = tuple(_anchors(connection, anchors))
        with out.progress("verifying"):
            done = connection.ask(VerifyLog(known, connection.pins.log_keys))
    document = {
        "size": done.size,
        "root": done.root,
        "generations": done.generations,
        "entries": done.entries,
        "anchored": done.anchored,
        "open_intents": done.open_intents,
        "compared_with": [anchor.where for anchor in known],
        "findings": _findings(done),
    }
    out.emit(document, *_verified(done, known))
    return FINDINGS if done.findings else 0


@log.command()
@click.argument("index", type=click.IntRange(min=0))
@click.option("--since", type=click.IntRange(min=0), help="Also prove that nothing before this size was changed.")
@click.option("--generation", type=int, help="An older generation, from before a restore.")
@click.option("-o", "--output", "target", type=ANY_PATH, metavar="FILE", help="Write the proof to FILE instead of stdout.")
@output
def prove(out: Out, *, index: int, since: int | None, generation: int | None, target: Path | None) -> int:
    """Prove that an entry is in the log.

    The proof (C2SP tlog-proof: index, inclusion proof, signed checkpoint) verifies offline, with the log's public key.
    """
    with connected() as connection:
        proof = connection.ask(ProveEntry(index, since, generation))
    if target is not None:
        write_new(target, proof.receipt.proof.encode("utf-8"))
        out.note(f"wrote {target}; the log's key is {proof.verifier_key}")
    out.emit(proof, *([] if target is not None else [proof.receipt.proof.rstrip("\n")]))
    return 0


@log.command()
@click.argument("folder", type=ANY_PATH, metavar="DIR")
@click.option("--generation", type=int, help="An older generation, from before a restore.")
@output
def export(out: Out, *, folder: Path, generation: int | None) -> int:
    """Write the log as tiles (C2SP tlog-tiles), which other tools verify.

    Entries, hashes and the signed checkpoint; what entries commit to stays closed.
    """
    from hermetic.domain.logexport import export_tiles  # noqa: PLC0415 - most calls export nothing

    with connected() as connection, out.progress("reading") as advance:
        done = export_tiles(connection, folder, generation=generation, progress=advance)
    facts: list[tuple[str, Cell]] = [
        ("written", str(folder)),
        ("entries", done.entries),
        ("root", done.root.hex()),
        ("log key", done.verifier_key),
    ]
    out.emit(done, Facts(facts))
    return 0


def _anchors(connection: Connection, files: tuple[Path, ...]) -> Iterator[Anchor]:
    """This user's pin, and what files were named; a file is external only as far as its keeper is."""
    if connection.pins.checkpoint:
        yield Anchor(connection.pins.checkpoint, "your pins", external=False)
    for note in connection.pins.earlier:
        yield Anchor(note, "your pins of an earlier generation", external=False)
    for path in files:
        try:
            with path.open("rb") as file:
                note = file.read(NOTE_LIMIT).decode("utf-8", "strict")
        except (OSError, UnicodeDecodeError) as error:
            raise StorageError(f"cannot read the checkpoint {path}: {error}") from None
        yield Anchor(note, str(path), external=True)


def _verified(done: LogVerified, anchors: tuple[Anchor, ...]) -> list[Block]:
    outside = f"up to entry {done.anchored}" if done.anchored else "never"
    facts: list[tuple[str, str | int | Mark]] = [
        ("log", Mark("whole", "good")),
        ("entries", f"{done.entries} in {done.generations} generation{'' if done.generations == 1 else 's'}"),
        ("size and root", f"{done.size}, {done.root.hex()}"),
        ("compared with", ", ".join(anchor.where for anchor in anchors) or "nothing"),
        ("externally anchored", Mark(outside, "good" if done.anchored else "warn")),
        ("intents without outcome", done.open_intents),
    ]
    found = _findings(done)
    return [Facts(facts), *(findings_blocks.blocks(found) if found else ())]


def _findings(done: LogVerified) -> list[Finding]:
    """Read the findings of an answer: code, and `severity|subject|message|remedy`."""
    found = []
    for item in done.findings:
        severity, subject, message, remedy = (item.value.split("|", 3) + [""] * 4)[:4]
        known = severity if severity in _SEVERITIES else "high"
        found.append(Finding(item.name, _SEVERITIES[known], subject, message, remedy))
    return found


def _entry(row: LogRow) -> dict[str, object]:
    return {
        "generation": row.generation,
        "index": row.index,
        "at_ms": row.at_ms,
        "kind": row.kind,
        "visible": {pair.name: pair.value for pair in row.visible},
        "opened": {pair.name: pair.value for pair in row.opened},
        "leaf": row.leaf,
    }


def _facts(row: LogRow) -> str:
    """Write what an entry says. `principal` is who did it; a visible value of the same name is whom it was done to."""
    opened = {pair.name for pair in row.opened}
    said = (*((pair.name, pair.value) for pair in row.opened), *(("of" if p.name in opened else p.name, p.value) for p in row.visible))
    return " ".join(f"{name}={value}" for name, value in said if value != "null")
