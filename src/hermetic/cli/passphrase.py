"""Passphrases: typed on the terminal without echo, or read from a file that nobody else can read. Never an argument."""

from __future__ import annotations

import getpass
import os
import stat
import sys
from typing import TYPE_CHECKING

import click

from hermetic.crypto.secret import Secret
from hermetic.errors import Denied, NotFound, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LIMIT = 1024  # bytes of a passphrase
MINIMUM = 12  # bytes of a new one; what keys/passphrase_wrap.py asks for, said before it is typed
TRIES = 3  # how often a new passphrase may be typed: whoever is asked late in a dialogue would lose all answers before
OPTION = "--passphrase-file"
RECOVERY_OPTION = "--recovery-passphrase-file"
_ADVICE = "five or six random words are easy to keep and hard to guess"
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def asker(file: Path | None, *, confirm: bool = False, label: str | None = None, option: str = OPTION) -> Callable[..., Secret]:
    """Return the function that custody asks for a passphrase: from `file`, else from the terminal (twice with `confirm`).

    The function takes an optional prompt, which `label` replaces. It raises UsageError when there is neither file nor terminal,
    and names the `option` that would have been the way.
    """

    def ask(prompt: str = "passphrase: ") -> Secret:
        return from_file(file) if file is not None else from_terminal(label or prompt, confirm=confirm, option=option)

    return ask


def has_terminal() -> bool:
    """Tell whether somebody can be asked: stdin and stderr are a terminal."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


def from_terminal(prompt: str, *, confirm: bool = False, option: str = OPTION) -> Secret:
    """Ask on the terminal; a new passphrase (`confirm`) twice, and again if it will not do.

    Raises UsageError without a terminal, for an empty answer, or when the last try at a new one will not do either.
    """
    if not has_terminal():
        what = option.removeprefix("--").removesuffix("-file").replace("-", " ")
        raise UsageError(f"a {what} is needed and there is no terminal to ask on", hint=f"use {option} FILE (mode 0600)")
    label = prompt.rstrip(": ")
    if confirm:
        return _new(label)
    typed = _typed(label)
    if not typed:
        raise UsageError("the passphrase is empty")
    return Secret(typed.encode("utf-8"))


def _new(label: str) -> Secret:
    for left in reversed(range(TRIES)):
        typed = _typed(f"{label} (at least {MINIMUM} characters)")
        if len(typed.encode("utf-8")) < MINIMUM:
            problem = UsageError(f"a passphrase has at least {MINIMUM} characters", hint=_ADVICE)
        elif _typed(f"{label}, again") != typed:
            problem = UsageError("the two passphrases differ")
        else:
            return Secret(typed.encode("utf-8"))
        if left:
            click.echo(f"{problem}{f': {problem.hint}' if problem.hint else ''}", err=True)
    raise problem


def _typed(label: str) -> str:
    """Return what is typed. Raises UsageError where the input ends instead (Ctrl-D)."""
    try:
        return getpass.getpass(f"{label}: ", stream=sys.stderr)
    except EOFError:
        click.echo(err=True)  # the cursor stands behind the prompt
        raise UsageError("no passphrase was typed") from None


def from_file(path: Path) -> Secret:
    """Read the passphrase in `path`, without one final line end.

    Raises NotFound, Denied (others may read the file, or it belongs to somebody else), UsageError (empty, several lines, too long).
    """
    try:
        descriptor = os.open(path, _READ)
    except OSError as error:
        raise NotFound(f"cannot read {path}: {error.strerror}") from None
    try:
        _must_be_private(path, os.fstat(descriptor))
        raw = bytearray(os.read(descriptor, LIMIT + 3))
    finally:
        os.close(descriptor)
    for end in (b"\n", b"\r"):
        if raw.endswith(end):
            del raw[-1:]
    if not raw or b"\n" in raw or len(raw) > LIMIT:
        raise UsageError(f"{path} does not hold a passphrase of one line, at most {LIMIT} bytes")
    return Secret(raw)


def _must_be_private(path: Path, facts: os.stat_result) -> None:
    if not stat.S_ISREG(facts.st_mode):
        raise UsageError(f"{path} is not a regular file")
    if facts.st_uid not in {os.geteuid(), 0}:
        raise Denied(f"{path} belongs to another user")
    if stat.S_IMODE(facts.st_mode) & 0o077:
        raise Denied(f"others may read {path}", hint=f"chmod 600 {path}")
