"""Options and argument types that several commands share."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hermetic.cli import words
from hermetic.cli.out import Out
from hermetic.errors import UsageError
from hermetic.ids import DataClass, Environment, Purpose

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hermetic.formats.findings import Finding

WORKING = "HERMETIC_ENVIRONMENT"  # as domain.working says, which `--help` does not load
FINDINGS = 7  # FindingsError.exit_code; findings are a result, so they are returned, not raised
_Command = TypeVar("_Command", bound="Callable[..., object]")


def duration(value: str) -> int:
    """Read `30m`, `8h`, `7d` as seconds; anything else is a usage error."""
    try:
        return words.seconds(value)
    except UsageError as error:
        raise click.BadParameter(f"{error}: {error.hint}") from None


def days(value: str) -> int:
    """Read `30d`, `2w` or a plain number as whole days; anything else is a usage error."""
    if value.isdecimal() and int(value):
        return int(value)
    whole, rest = divmod(duration(value), 86_400)
    if rest:
        raise click.BadParameter(f"{value!r} is not a whole number of days: write 30d or 2w")
    return whole


def byte_count(value: str) -> int:
    """Read `64MiB`, `1GiB` or plain bytes; anything else is a usage error."""
    units = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
    number, unit = (value[:-3], units[value[-3:]]) if value[-3:] in units else (value, 1)
    if not number.isascii() or not number.isdecimal() or not 0 < int(number) * unit < 1 << 50:
        raise click.BadParameter(f"{value[:40]!r} is not a size: write 64MiB or 1GiB")
    return int(number) * unit


PURPOSES = ", ".join(word.value for word in Purpose)
PURPOSE = click.Choice([word.value for word in Purpose])
DATA_CLASS = click.Choice([word.value for word in DataClass])
ENVIRONMENT = click.Choice([word.value for word in Environment])
ANY_PATH = click.Path(path_type=Path)


def output(function: Callable[..., int | None]) -> Callable[..., int | None]:
    """Give a command `--json`, and hand it an Out as its first argument."""

    @click.option("--json", "as_json", is_flag=True, help="Write one JSON document on stdout.")
    @click.option("--debug", is_flag=True, expose_value=False, hidden=True, help="Show the traceback of a failure.")
    @functools.wraps(function)
    def command(*, as_json: bool, **given: Any) -> int | None:
        return function(Out(as_json=as_json), **given)

    return command


def purpose(help_text: str = f"The declared reason: {PURPOSES}.") -> Callable[[_Command], _Command]:
    """Return the option --purpose."""
    return click.option("--purpose", type=PURPOSE, metavar="PURPOSE", help=help_text)


def environment() -> Callable[[_Command], _Command]:
    """Return the option --environment: the command, and what it starts, works there, as with HERMETIC_ENVIRONMENT."""
    text = "The environment to work in; else HERMETIC_ENVIRONMENT, else what hermetic.yaml says."
    return click.option("--environment", type=ENVIRONMENT, expose_value=False, callback=_work_in, help=text)


def _work_in(context: click.Context, _parameter: click.Parameter, chosen: str | None) -> None:
    if chosen is None:
        return
    before = os.environ.get(WORKING)
    os.environ[WORKING] = chosen

    def put_back() -> None:
        if before is None:
            os.environ.pop(WORKING, None)
        else:
            os.environ[WORKING] = before

    context.call_on_close(put_back)


def passphrase_file(what: str = "passphrase") -> Callable[[_Command], _Command]:
    """Return the option --passphrase-file or --recovery-passphrase-file."""
    name = f"--{what}-file"
    return click.option(name, type=ANY_PATH, metavar="FILE", help=f"Read the {what.replace('-', ' ')} from FILE (mode 0600).")


def reason(*, required: bool = True) -> Callable[[_Command], _Command]:
    """Return the option --reason, which is recorded in the log."""
    text = "Why; it goes on record."
    # An explicit default of None would count as an answer to `required`.
    return click.option("--reason", required=True, help=text) if required else click.option("--reason", default="", help=text)


def exit_with(findings: Sequence[Finding]) -> int:
    """Return the exit code of a command that looked for findings."""
    return FINDINGS if findings else 0
