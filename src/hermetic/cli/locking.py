"""`hermetic unlock` and `hermetic lock`: the root in the kernel's keyring, for a while."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hermetic.cli.blocks import Facts, Mark
from hermetic.cli.options import duration, output, passphrase_file
from hermetic.cli.passphrase import asker
from hermetic.cli.session import own_custody
from hermetic.cli.words import moment
from hermetic.domain import project as projects
from hermetic.domain.home import Home

if TYPE_CHECKING:
    from hermetic.cli.out import Out

DEFAULT = "8h"


@click.command()
@click.option("--for", "seconds", type=duration, default=DEFAULT, show_default=True, help="How long: 30m, 8h.")
@passphrase_file()
@output
def unlock(out: Out, *, seconds: int, passphrase_file: Path | None) -> int:
    """Open the root for a while.

    Of several roots, each that a passphrase opens. It stays in the kernel's keyring, for this user's processes, until the time is
    over or `hermetic lock`.
    """
    from hermetic.domain import unlocking  # noqa: PLC0415 - brings the providers

    own_custody()
    project = projects.load(projects.find_root(Path.cwd()))
    states = unlocking.unlock(Home.locate(os.environ), project, seconds, asker(passphrase_file))
    opened = [state for state in states if state.state == "ready"]
    for state in states:
        if state not in opened:
            out.warn(f"root {state.root_id[:8]} stays locked: its passphrase is another one")
    out.emit(opened[0], *(Facts([("unlocked", Mark(state.uri, "name")), ("until", moment(state.until_ms))]) for state in opened))
    return 0


@click.command()
@output
def lock(out: Out) -> int:
    """Close the root now.

    Running processes lose it too; leases they hold end by themselves within minutes.
    """
    from hermetic.domain import unlocking  # noqa: PLC0415 - brings the providers

    own_custody()
    project = projects.load(projects.find_root(Path.cwd()))
    state = unlocking.lock(Home.locate(os.environ), project)
    out.emit(state, Facts([("root", Mark(state.uri, "name")), ("state", state.state)]))
    return 0
