"""Groups whose commands are imported when called, and that suggest a name for a mistyped one."""

from __future__ import annotations

import difflib
import importlib
from typing import TYPE_CHECKING

import click

from hermetic.cli.commands import COMMANDS, SECTIONS

if TYPE_CHECKING:
    from collections.abc import Sequence


class Group(click.Group):
    """A group that answers an unknown command with similar ones."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command named first in `args`. Raises click.UsageError with a tip for an unknown one."""
        name = args[0]
        found = self.get_command(ctx, name)
        if found is None and not name.startswith("-"):
            raise click.UsageError(f"there is no command {name!r}{self._tip(ctx, name)}", ctx=ctx)
        return super().resolve_command(ctx, args)

    def _tip(self, ctx: click.Context, name: str) -> str:
        close = similar(name, self.list_commands(ctx))
        if not close:
            return ""
        subject = "a similar command exists" if len(close) == 1 else "similar commands exist"
        return f"\ntip: {subject}: {', '.join(close)}"


class RootGroup(Group):
    """The program itself: commands come from the table, in sections."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """Names of all commands, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command `cmd_name`, or return None if there is none."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module = importlib.import_module(f"hermetic.cli.{entry.module}")
        command = getattr(module, entry.attribute)
        return command if isinstance(command, click.Command) else None

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections of the table; imports nothing."""
        width = max(len(name) for name in COMMANDS)
        for title, entries in SECTIONS.items():
            with formatter.section(title):
                rows = [(name.ljust(width), entry.summary) for name, entry in entries.items()]
                formatter.write_dl(rows)


def similar(word: str, known: Sequence[str]) -> list[str]:
    """Return up to three names in `known` that look like `word`, best first."""
    starting = [name for name in known if len(word) > 1 and name.startswith(word)]
    close = difflib.get_close_matches(word, known, n=3, cutoff=0.6)
    return list(dict.fromkeys(starting + close))[:3]
