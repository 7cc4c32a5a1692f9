"""A screen of its own on the terminal, for what must not stay in the scrollback: shares, and words of them that are typed."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from hermetic.cli.passphrase import has_terminal
from hermetic.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

_ENTER, _LEAVE = "\x1b[?1049h\x1b[H", "\x1b[2J\x1b[H\x1b[?1049l"  # the alternate screen, which terminals keep no lines of
_PLAIN = {"", "dumb"}


@contextmanager
def own_screen() -> Iterator[None]:
    """Show what follows on a screen that is gone at the end. A terminal that cannot do so shows it as ever."""
    able = os.environ.get("TERM", "") not in _PLAIN
    if able:
        click.echo(_ENTER, err=True, nl=False)
    try:
        yield
    finally:
        if able:
            click.echo(_LEAVE, err=True, nl=False)


def say(text: str = "") -> None:
    """Write a line on the terminal, which is stderr: a redirected stdout must not hold it."""
    click.echo(text, err=True)


def ask(prompt: str) -> str:
    """Read a line that may be seen. Raises UsageError without a terminal."""
    if not has_terminal():
        raise UsageError("this is asked on a terminal, and there is none")
    answer: str = click.prompt(prompt, default="", show_default=False, err=True)
    return answer
