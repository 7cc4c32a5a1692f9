"""How a failure looks and which exit code it gives.

    hermetic: error: no asset is called dataset/patient
    hint: hermetic ls shows the names

With `--json` the same is one JSON document on stdout: {"error": {"kind", "message", "hint", "reasons", "exit_code"}}.
An exception that is not in `hermetic.errors` is a defect of ours: `install_hook` makes Python say so in one line, with the way
to the traceback, and exit with 1. Nothing is swallowed.
"""

from __future__ import annotations

import re
import sys
import traceback
from typing import TYPE_CHECKING

import click

from hermetic.cli.out import to_json
from hermetic.cli.words import one_line

if TYPE_CHECKING:
    from types import TracebackType

    from hermetic.errors import HermeticError

USAGE = 2
INTERRUPTED = 130  # 128 + SIGINT
PIPE_CLOSED = 141  # 128 + SIGPIPE
_LISTED = re.compile(r"\n\t")  # click puts each choice of a missing option on a line of its own


def report(error: HermeticError, *, as_json: bool, debug: bool) -> int:
    """Write `error` on stderr, with `as_json` also as a document on stdout; return its exit code."""
    if debug:
        traceback.print_exception(error)
    reasons = tuple(getattr(error, "reasons", ()))
    _lines(str(error), error.hint, reasons)
    if as_json:
        _document(kind=_kind(error), message=str(error), hint=error.hint, reasons=reasons, exit_code=error.exit_code)
    return error.exit_code


def tell(error: HermeticError) -> None:
    """Write an error on stderr that happens while a command goes on; from any thread."""
    _lines(str(error), error.hint, tuple(getattr(error, "reasons", ())))


def report_usage(error: click.ClickException, *, as_json: bool) -> int:
    """Write an error that click found in the arguments; return 2, or 1 for what is not about usage."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
        return USAGE
    message, _, tip = error.format_message().partition("\ntip: ")
    message = _LISTED.sub(" ", message)
    message = message[:1].lower() + message[1:].rstrip(".")
    hint = _usage_hint(error)
    _lines(message, hint, (), tip=tip or None)
    code = USAGE if isinstance(error, click.UsageError) else error.exit_code
    if as_json:
        _document(kind="usage-error", message=message, hint=hint, reasons=(), exit_code=code)
    return code


def install_hook(*, debug: bool) -> None:
    """Make an unforeseen exception one line on stderr and exit code 1; with `debug` leave Python's traceback alone."""
    if not debug:
        sys.excepthook = _unforeseen


def _unforeseen(kind: type[BaseException], error: BaseException, _trace: TracebackType | None) -> None:
    text = " ".join(str(error).split()) or "no message"
    _lines(
        f"unexpected {kind.__name__}: {text}",
        "this is a defect in hermetic: run it again as `hermetic --debug …` and report the traceback",
        (),
    )


def _lines(message: str, hint: str | None, reasons: tuple[str, ...], *, tip: str | None = None) -> None:
    click.echo(f"hermetic: error: {one_line(message)}", err=True)
    for reason in reasons:
        if reason in message:
            continue  # said above
        click.echo(f"  because: {one_line(reason)}", err=True)
    if tip is not None:
        click.echo(f"tip: {one_line(tip)}", err=True)
    for line in (hint or "").splitlines():
        click.echo(f"hint: {one_line(line)}", err=True)


def _document(**fields: object) -> None:
    click.echo(to_json({"error": fields}))


def _kind(error: HermeticError) -> str:
    name = type(error).__name__
    return "".join(f"-{char.lower()}" if char.isupper() else char for char in name).lstrip("-")


def _usage_hint(error: click.ClickException) -> str | None:
    context = getattr(error, "ctx", None)
    if not isinstance(error, click.UsageError):
        return None
    # click forgets the command where an option at the end has no value
    return f"see {context.command_path} --help" if context is not None else "add --help to see what the command takes"
