"""Where results and remarks go.

Results are on stdout: one JSON document with `--json`, else blocks, drawn by rich on a terminal and as plain aligned text
elsewhere. Remarks and progress are on stderr. JSON keys are stable: what a release prints, later releases keep. Bytes are
written in hexadecimal, times as integers ending in `_ms` (Unix time in milliseconds).
"""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from hermetic.cli.blocks import Block, plain
from hermetic.cli.words import one_line
from hermetic.evidence.jsonable import to_plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Out:
    """The two streams of one command. `as_json` is the command's `--json`."""

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json

    def emit(self, document: object, *blocks: Block) -> None:
        """Write the result: `document` as JSON, or `blocks` for people. Called once a command."""
        if self.as_json:
            click.echo(to_json(document))
        elif sys.stdout.isatty():
            from hermetic.cli import fancy  # noqa: PLC0415 - rich is heavy, and only a terminal needs it

            fancy.draw(blocks)
        else:
            for line in plain(blocks):
                click.echo(line)

    def note(self, text: str) -> None:
        """Say something beside the result, on stderr."""
        click.echo(one_line(text), err=True)

    def warn(self, text: str) -> None:
        """Say on stderr what the user should look at although the command worked."""
        self.note(f"hermetic: note: {text}")

    @contextmanager
    def progress(self, label: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
        """Yield a function that moves a progress bar by so many steps; without a terminal on stderr it does nothing."""
        if self.as_json or not sys.stderr.isatty():
            yield lambda _steps: None
            return
        from hermetic.cli import fancy  # noqa: PLC0415 - see emit

        with fancy.progress(label, total) as advance:
            yield advance


def to_json(document: object) -> str:
    """Return `document` as indented JSON; dataclasses become objects, bytes hexadecimal."""
    return json.dumps(to_plain(document), indent=2, ensure_ascii=True)
