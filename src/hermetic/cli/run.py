"""`hermetic run`: another program as a run, with declared purpose, private scratch and recorded lineage."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from hermetic.cli.options import PURPOSE, output
from hermetic.cli.session import workspace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermetic.assets.runs import RunHandle
    from hermetic.cli.out import Out


@click.command()
@click.argument("name")
@click.option("--purpose", type=PURPOSE, metavar="PURPOSE", help="The declared reason; else HERMETIC_PURPOSE.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@output
def run(out: Out, *, name: str, purpose: str | None, command: tuple[str, ...]) -> int:
    """Run a command with a declared purpose; lineage is recorded.

    hermetic run train --purpose train -- python train.py. The command's exit code is returned. Its temporary files stay in memory.
    With --json the command's own output goes to stderr, and the run's record to stdout.
    """
    with workspace() as work, _stdout_aside(wanted=out.as_json):
        code, handle = work.run_command(
            name, command, purpose=purpose, tell=lambda finding: out.warn(f"{finding.message}; {finding.remedy}")
        )
    _tell(out, handle, code)
    return code


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
