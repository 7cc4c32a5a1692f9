"""The options of `run` and `mount` that mount something, and what they become."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from hermetic.assets.runs import Around
    from hermetic.assets.workspace import Workspace
    from hermetic.cli.out import Out

_Command = TypeVar("_Command", bound="Callable[..., Any]")
READ_HELP = "Show a version as a folder at PATH, to this command only; a member (NAME@3/FILE) as a file."
NEW_HELP = "Give an empty folder at PATH; what lies in it at the end is published as NAME."


class Asked(NamedTuple):
    """What was typed after --mount and --mount-new."""

    reading: tuple[str, ...]
    new: tuple[str, ...]


def mount_options(function: _Command) -> _Command:
    """Give a command --mount and --mount-new."""
    new = click.option("--mount-new", "new", multiple=True, metavar="PATH=NAME", help=NEW_HELP)
    return click.option("--mount", "mounts", multiple=True, metavar="PATH=REF", help=READ_HELP)(new(function))


def around(out: Out, work: Workspace, asked: Asked) -> Around | None:
    """Return what `run_command` is to put around the command, None if nothing is mounted. Raises before any run has begun.

    Raises UsageError, InvalidName, NotFound, Unsupported.
    """
    if not any(asked):
        return None
    from hermetic.cli import failure  # noqa: PLC0415 - see cli
    from hermetic.integrations import mount  # noqa: PLC0415 - see cli

    plan = mount.plan(work.session, asked.reading, asked.new)
    for note in plan.notes:
        out.warn(note)
    return plan.around(failure.tell, out.warn)
