"""`hermetic run`: another program as a run, with declared purpose, private scratch and recorded lineage."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from hermetic.cli.mounting import Asked, around, mount_options
from hermetic.cli.options import PURPOSE, environment, output
from hermetic.cli.session import workspace
from hermetic.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermetic.assets.runs import RunHandle
    from hermetic.cli.out import Out


@click.command()
@click.argument("name")
@click.option("--purpose", type=PURPOSE, metavar="PURPOSE", help="The declared reason; else HERMETIC_PURPOSE.")
@click.option(
    "--decide",
    "decisions",
    multiple=True,
    metavar="ASSET=CLASS:WHY",
    help="What the command writes as ASSET is CLASS, for a reason on record.",
)
@mount_options
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@environment()
@output
def run(
    out: Out,
    *,
    name: str,
    purpose: str | None,
    decisions: tuple[str, ...],
    mounts: tuple[str, ...],
    new: tuple[str, ...],
    command: tuple[str, ...],
) -> int:
    """Run a command with a declared purpose; lineage is recorded.

    hermetic run train --purpose train -- python train.py. The command's exit code is returned. Its temporary files stay in memory.
    What it writes takes the strictest class of what it has read; --decide says for one output why it may be lower, for example
    --decide 'dataset/features=internal:names and birth dates removed'. A program that knows only paths reads a version as a folder:
    --mount data=dataset/patients. With --json the command's own output goes to stderr, and the run's record to stdout.
    """
    return perform(out, name, command, purpose=purpose, decisions=decisions, asked=Asked(mounts, new))


def perform(out: Out, name: str, command: tuple[str, ...], *, purpose: str | None, decisions: tuple[str, ...], asked: Asked) -> int:
    """Run a command as a run, tell what came of it, and return its exit code."""
    decided = dict(_decision(text) for text in decisions)
    with workspace() as work, _stdout_aside(wanted=out.as_json):
        code, handle = work.run_command(
            name,
            command,
            purpose=purpose,
            decisions=decided,
            tell=lambda finding: out.warn(f"{finding.message}; {finding.remedy}"),
            around=around(out, work, asked),
        )
    _tell(out, handle, code)
    return code


def _decision(text: str) -> tuple[str, tuple[str, str]]:
    """Take "ASSET=CLASS:WHY" apart. Raises UsageError."""
    name, equals, rest = text.partition("=")
    kind, colon, reason = rest.partition(":")
    if not (equals and colon and name and reason.strip()):
        raise UsageError(f"{text!r} is no decision", hint="write --decide 'dataset/features=internal:names and birth dates removed'")
    return name.strip(), (kind.strip(), reason.strip())


def _tell(out: Out, handle: RunHandle, code: int) -> None:
    row = handle.ended
    if out.as_json:
        out.emit({"run": handle.id, "exit_code": code, "record": row, "log_index": handle.receipt.index})
    elif row is not None:
        read, wrote = ", ".join(row.inputs) or "nothing", ", ".join(row.outputs) or "nothing"
        out.note(f"hermetic: run {handle.name} {row.state}: read {read}; wrote {wrote}")


@contextmanager
def _stdout_aside(*, wanted: bool) -> Iterator[None]:
    """Let what the program writes to stdout go to stderr meanwhile."""
    if not wanted:
        yield
        return
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
