"""`hermetic expose`: plaintext on disk on purpose, with a start, an end and an owner."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hermetic.cli.blocks import Block, Facts, Mark, Table
from hermetic.cli.options import ANY_PATH, duration, environment, output, purpose
from hermetic.cli.session import workspace
from hermetic.cli.words import moment
from hermetic.domain.listing import every
from hermetic.errors import UsageError
from hermetic.formats.messages.catalogue import ListExposures

if TYPE_CHECKING:
    from hermetic.cli.out import Out
    from hermetic.formats.messages.catalogue import ExposureRow


@click.command()
@click.argument("ref", required=False)
@click.argument("target", required=False, type=ANY_PATH)
@click.option("--for", "seconds", type=duration, help="How long the plaintext may lie there: 2h, 1d.")
@click.option("--member", metavar="PATH", help="The file inside the version, where it has several.")
@purpose()
@click.option("--end", "ended", type=ANY_PATH, metavar="PATH", help="Remove the plaintext at PATH and record its end.")
@click.option("--all", "everything", is_flag=True, help="List exposures that are over too.")
@environment()
@output
def expose(
    out: Out,
    *,
    ref: str | None,
    target: Path | None,
    seconds: int | None,
    member: str | None,
    purpose: str | None,
    ended: Path | None,
    everything: bool,
) -> int:
    """Put plaintext on disk, on record and for a time.

    hermetic expose REF TARGET --for 2h writes REF to the new file TARGET; hermetic expose --end TARGET removes it. Without arguments
    the open exposures are listed.
    """
    if ended is not None:
        if ref is not None or seconds is not None:
            raise UsageError("--end takes only the path to remove")
        with workspace() as work:
            _tell(out, work.end_exposure(ended))
        return 0
    if ref is None:
        return _list(out, everything=everything)
    if seconds is None:
        raise UsageError("say how long the plaintext may lie there", hint="--for 2h")
    with workspace() as work:
        place = target if target is not None else Path(ref.rpartition("/")[2].partition("@")[0])
        row = work.expose(ref, place, seconds=seconds, member=member, purpose=purpose)
    out.warn(f"remove it with: hermetic expose --end {shlex.quote(row.path)}")
    _tell(out, row)
    return 0


def _tell(out: Out, row: ExposureRow) -> None:
    over = row.ended_ms is not None
    facts: list[tuple[str, str | Mark]] = [
        ("removed" if over else "exposed", Mark(row.path, "name")),
        ("plaintext of", row.ref),
        ("owner", row.owner),
        ("ended" if over else "until", moment(row.ended_ms if over else row.until_ms)),
    ]
    out.emit(row, Facts(facts))


def _list(out: Out, *, everything: bool) -> int:
    with workspace() as work:
        found = every(work.connection.ask, ListExposures(ended=everything), "exposures")
    rows = [
        (Mark(row.path, "name"), row.ref, row.owner, row.purpose, moment(row.started_ms), moment(row.until_ms), moment(row.ended_ms))
        for row in found
    ]
    columns = ("path", "of", "owner", "purpose", "since", "until", "ended")
    blocks: list[Block] = [Table(columns, rows, empty="no plaintext is exposed")]
    out.emit({"exposures": found}, *blocks)
    return 0
