"""The connection a command works through; opened late, closed at its end."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hermetic.cli.passphrase import asker, has_terminal
from hermetic.errors import Unsupported, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermetic.assets.workspace import Workspace
    from hermetic.domain.connect import Connection


@contextmanager
def connected(*, ask: bool = True) -> Iterator[Connection]:
    """Connect to the domain of the working folder; a locked root is asked for on the terminal, if there is one, unless not to `ask`.

    Raises NotFound outside a project, Locked, and whatever the domain refuses with.
    """
    from hermetic.domain.connect import connect  # noqa: PLC0415 - a third of a second that `--help` does not need

    with connect(ask_passphrase=asker(None) if ask and has_terminal() else None) as connection:
        yield connection


@contextmanager
def workspace() -> Iterator[Workspace]:
    """Connect as `connected`, and offer what a workspace offers."""
    from hermetic.assets.workspace import Workspace  # noqa: PLC0415 - see connected

    with connected() as connection:
        yield Workspace(connection)


def own_custody() -> None:
    """Raise Unsupported where custody runs in another process: the command works on custody's own files."""
    if os.environ.get("HERMETIC_URL"):
        raise Unsupported(
            "this command works on custody's own files, and HERMETIC_URL says that custody runs elsewhere",
            hint="run it as custody's own user, without HERMETIC_URL",
        )


def new_project() -> Path:
    """Return the working folder, which is to become a project. Raises UsageError for one that holds the user's keys, as ~ does."""
    from hermetic.domain.home import Home  # noqa: PLC0415 - see connected

    here, data = Path.cwd(), Home.locate(os.environ).data
    if data.resolve().is_relative_to(here.resolve()):
        raise UsageError(
            f"{here} cannot be a project: your keys lie below it, in {data}",
            hint="go to the project's own folder, or set HERMETIC_HOME to a folder outside every project",
        )
    return here
