"""`hermetic seal`: files, folders or a stream become a new version of an asset."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

import click

from hermetic.assets.naming import missing_rule, rule_at
from hermetic.cli.blocks import Block, Facts, Mark, Table
from hermetic.cli.options import ANY_PATH, DATA_CLASS, ENVIRONMENT, FINDINGS, days, output, purpose
from hermetic.cli.session import workspace
from hermetic.cli.words import count, size
from hermetic.errors import Conflict, InvalidName, NotFound, PolicyDenied, UsageError

if TYPE_CHECKING:
    from hermetic.assets.sealing import SealedVersion
    from hermetic.assets.workspace import Workspace
    from hermetic.cli.out import Out


_NOTES = 3  # shown of a whole scan's
_NO_RULE = "no rule says what it is"


class Terms(TypedDict):
    """What is said about the new version; what is not, follows from the rules in hermetic.yaml."""

    name: str | None
    data_class: str | None
    owner: str | None
    project: str | None
    environment: str | None
    purpose: str | None
    retention_days: int | None
    decision: str | None
    subjects: tuple[str, ...]


@click.command()
@click.argument("source", required=False, metavar="[SOURCE]", type=click.Path(allow_dash=True, path_type=Path))
@click.option("--as", "name", metavar="KIND/NAME", help="The asset to write; else from the rules in hermetic.yaml.")
@click.option("--class", "data_class", type=DATA_CLASS, help="Sensitivity.")
@click.option("--owner", metavar="WHO", help="The person who answers for the asset.")
@click.option("--project", metavar="NAME", help="The project whose keys protect it.")
@click.option("--environment", "--env", "environment", type=ENVIRONMENT, help="The environment it belongs to.")
@purpose("The declared reason; ingest if nothing else is said.")
@click.option("--retention", "retention_days", type=days, help="How long it is kept: 30d, 2w.")
@click.option("--decision", metavar="WHY", help="Why its class may be below that of what it was made of; recorded.")
@click.option(
    "--subject", "subjects", multiple=True, metavar="TEXT", help="Whose data it is, for `key shred --subject`; may be repeated."
)
@click.option(
    "--from-scan", "scanned", type=ANY_PATH, metavar="PATH", help="Seal every unprotected file below PATH for which a rule exists."
)
@click.option("--remove-original", is_flag=True, help="Remove the plaintext after the sealed copy was read back and compared.")
@output
def seal(out: Out, *, source: Path | None, scanned: Path | None, remove_original: bool, **terms: Unpack[Terms]) -> int:
    """Encrypt files as a new version of an asset.

    SOURCE is a file, a folder, or - for stdin. The original stays where it is, unless you say --remove-original.
    """
    if (source is None) == (scanned is None):
        raise UsageError("name either a SOURCE or --from-scan PATH", hint="hermetic seal data.parquet --as dataset/data")
    if scanned is not None:
        return _from_scan(out, scanned, terms, remove_original=remove_original)
    with workspace() as work:
        stream = sys.stdin.buffer if str(source) == "-" else source
        if stream is None:
            raise UsageError("there is nothing on stdin")
        sealed = work.seal(stream, remove_original=remove_original, **_said(terms))
    for note in sealed.notes:
        out.warn(note)
    if not sealed.bytes and stream is not source:
        out.warn(f"there was nothing on stdin: {sealed.ref} is empty; did the program before the pipe fail?")
    out.emit(_document(sealed), Facts(_facts(sealed)))
    return 0


def _said(terms: Terms) -> Terms:
    """Leave out what was not said."""
    return {key: value for key, value in terms.items() if value is not None and value != ()}  # type: ignore[return-value]


def _from_scan(out: Out, path: Path, terms: Terms, *, remove_original: bool) -> int:
    """Seal each file that the scan calls plaintext, under the name its rule gives; exit with 7 if some have none."""
    from hermetic.gate.scan import scan  # noqa: PLC0415 - most calls do not scan

    if terms["name"] is not None:
        raise UsageError("--from-scan takes names from the rules in hermetic.yaml", hint="leave out --as, or seal one path with it")
    found = [Path(file.path) for file in scan([path], now_ms=time.time_ns() // 1_000_000).plaintext]
    sealed: list[SealedVersion] = []
    with workspace() as work, out.progress("sealing", len(found)) as advance:
        named, left = _named(work, found)
        hints = list(dict.fromkeys(missing_rule(work.session, Path(path)) for path, why in left if why == _NO_RULE))
        for file in named:
            try:
                sealed.append(work.seal(file, remove_original=remove_original, **_said(terms)))
            except (UsageError, NotFound, Conflict, PolicyDenied) as error:  # about this file alone: the others go on
                left.append((os.path.normpath(file), error.message))
                hints += [error.hint] if error.hint and error.hint not in hints else []
            advance(1)
    _tell_notes(out, sealed)
    for hint in hints[:_NOTES]:
        out.note(f"hint: {hint}")
    out.emit(
        {"sealed": [_document(version) for version in sealed], "left": [{"path": name, "reason": why} for name, why in left]},
        *_blocks(sealed, left),
    )
    return FINDINGS if left else 0


def _tell_notes(out: Out, sealed: list[SealedVersion]) -> None:
    """Say every note once, and only the first few of many."""
    notes = list(dict.fromkeys(note for version in sealed for note in version.notes))
    for note in notes[:_NOTES]:
        out.warn(note)
    if len(notes) > _NOTES:
        out.warn(f"and so for {len(notes) - _NOTES} more; --json has every note")


def _named(work: Workspace, files: list[Path]) -> tuple[list[Path], list[tuple[str, str]]]:
    """Divide files into those to which rules give a name of their own, and those left, with the reason."""
    names: dict[Path, str] = {}
    left: list[tuple[str, str]] = []
    for file in files:
        try:
            found = rule_at(work.session, file)
        except InvalidName as error:
            left.append((os.path.normpath(file), f"{error.message}: give it a rule of its own, with `name:`"))
            continue
        if found is None:
            left.append((os.path.normpath(file), _NO_RULE))
        else:
            names[file] = str(found.name)
    uses = Counter(names.values())
    for file, name in names.items():
        if uses[name] > 1:
            left.append((os.path.normpath(file), f"the rules call {uses[name]} files {name}: seal their folder as one version"))
    return [file for file, name in names.items() if uses[name] == 1], left


def _document(sealed: SealedVersion) -> dict[str, object]:
    return {
        "ref": sealed.ref,
        "name": sealed.name,
        "number": sealed.number,
        "version": sealed.version,
        "data_class": sealed.data_class,
        "owner": sealed.owner,
        "bytes": sealed.bytes,
        "objects": sealed.objects,
        "log_index": sealed.receipt.index,
        "receipt": sealed.receipt,
        "notes": sealed.notes,
    }


def _facts(sealed: SealedVersion) -> list[tuple[str, str | int | Mark]]:
    return [
        ("sealed", Mark(sealed.ref, "name")),
        ("class", sealed.data_class),
        ("owner", sealed.owner or Mark("nobody: hermetic decide names one", "warn")),
        ("size", f"{size(sealed.bytes)} in {count(sealed.objects, 'object')}"),
        ("log entry", sealed.receipt.index),
    ]


def _blocks(sealed: list[SealedVersion], left: list[tuple[str, str]]) -> list[Block]:
    rows = [(Mark(version.ref, "name"), version.data_class, version.owner, size(version.bytes)) for version in sealed]
    blocks: list[Block] = [Table(("sealed", "class", "owner", "size"), rows, frozenset({"size"}), empty="nothing was sealed")]
    if left:
        blocks.append(Table(("left in plaintext", "why"), left))
    return blocks
