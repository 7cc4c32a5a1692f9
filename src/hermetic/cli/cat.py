"""`hermetic cat`: plaintext to a pipe, never to a file."""

from __future__ import annotations

import base64
import io
import os
import shlex
import stat
import sys
from typing import TYPE_CHECKING

import click

from hermetic.cli.options import environment, output, purpose
from hermetic.cli.session import workspace
from hermetic.errors import UsageError

if TYPE_CHECKING:
    from hermetic.assets.workspace import Workspace
    from hermetic.cli.out import Out

HEAD = 8192  # bytes in which a format that is not text shows a zero
PIECE = 1024 * 1024
JSON_LIMIT = 16 * 1024 * 1024  # plaintext bytes that fit into one JSON document


@click.command()
@click.argument("ref")
@click.option("--member", metavar="PATH", help="The file inside the version, where it has several.")
@purpose()
@environment()
@output
def cat(out: Out, *, ref: str, member: str | None, purpose: str | None) -> int:
    """Write the bytes of a version to stdout.

    A regular file as output is refused: plaintext on disk is an exposure, and `hermetic expose` puts it on record. So is a terminal
    for what is not text. With --json the bytes come as base64 in the document. If a check fails in the middle, what was written
    before is verified, and the exit code is 4.
    """
    if out.as_json:
        out.emit(_as_document(ref, member, purpose))
        return 0
    descriptor = _output(ref, purpose)
    with workspace() as work:
        if os.isatty(descriptor):
            _show(work, ref, member, purpose)
        else:
            work.cat(ref, descriptor, member=member, purpose=purpose)
    return 0


def _show(work: Workspace, ref: str, member: str | None, purpose: str | None) -> None:
    """Write text to the terminal. Raises UsageError for anything else, of which a terminal would make a mess."""
    with work.open(ref, member=member, purpose=purpose) as file:
        if b"\0" in file.peek(HEAD)[:HEAD]:
            raise UsageError(f"{ref} is not text, and stdout is a terminal", hint="pipe it into a program, or read it in Python")
        while piece := file.read(PIECE):
            sys.stdout.buffer.write(piece)


def _output(ref: str, purpose: str | None) -> int:
    """Return stdout's descriptor. Raises UsageError for a file, before any key is asked for."""
    try:
        descriptor = sys.stdout.fileno()
    except io.UnsupportedOperation:
        raise UsageError("stdout is not a file descriptor") from None
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode) or stat.S_ISBLK(mode):
        said = f" --purpose {purpose}" if purpose else ""
        raise UsageError(
            "stdout is a regular file: that would leave plaintext on disk unrecorded",
            hint=f"hermetic expose {shlex.quote(ref)} TARGET --for 2h{said} puts it on disk on record",
        )
    return descriptor


def _as_document(ref: str, member: str | None, purpose: str | None) -> dict[str, object]:
    with workspace() as work, work.open(ref, member=member, purpose=purpose) as file:
        content = file.read(JSON_LIMIT + 1)
    if len(content) > JSON_LIMIT:
        raise UsageError(f"the plaintext is over {JSON_LIMIT} bytes, too much for one document", hint="leave out --json")
    return {"ref": ref, "member": member, "length": len(content), "base64": base64.b64encode(content).decode("ascii")}
