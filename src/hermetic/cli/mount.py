"""`hermetic mount`: a shell that sees sealed versions as plain files, and nobody else does."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

import click

from hermetic.cli.mounting import NEW_HELP, Asked
from hermetic.cli.options import PURPOSE, environment, output
from hermetic.errors import UsageError

if TYPE_CHECKING:
    from hermetic.cli.out import Out


@click.command()
@click.argument("mounts", nargs=-1, metavar="[PATH=REF]...")
@click.option("--new", "new", multiple=True, metavar="PATH=NAME", help=NEW_HELP)
@click.option("--purpose", type=PURPOSE, metavar="PURPOSE", help="The declared reason; else HERMETIC_PURPOSE.")
@click.option("--name", default="shell", show_default=True, help="The name of the run that the shell is.")
@environment()
@output
def mount(out: Out, *, mounts: tuple[str, ...], new: tuple[str, ...], purpose: str | None, name: str) -> int:
    """Open a shell that sees versions as plain files.

    hermetic mount data=dataset/patients --purpose prepare. The shell is a run: what it opens is on record, and the files are seen by
    what is started in it, and by nothing else. They are gone when the shell ends. With --new, `exit` publishes and `exit 1` does not.
    """
    from hermetic.cli.run import perform  # noqa: PLC0415 - see cli

    if not (mounts or new):
        raise UsageError("nothing is mounted", hint="write hermetic mount data=dataset/NAME --purpose prepare")
    shell = os.environ.get("SHELL") or "/bin/sh"
    ending = "; `exit 0` publishes what is new, `exit 1` does not" if new else ""
    out.note(f"hermetic: {shlex.quote(shell)} with {', '.join((*mounts, *new))}; it lasts until you leave the shell{ending}")
    return perform(out, name, (shell,), purpose=purpose, decisions=(), asked=Asked(mounts, new))
