"""The connection a command works through; opened late, closed at its end."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from hermetic.cli.passphrase import asker, has_terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermetic.assets.workspace import Workspace
    from hermetic.domain.connect import Connection


@contextmanager
def connected() -> Iterator[Connection]:
    """Connect to the domain of the working folder; a locked root is asked for on the terminal, if there is one.

    Raises NotFound outside a project, Locked, and whatever the domain refuses with.
    """
    from hermetic.domain.connect import connect  # noqa: PLC0415 - a third of a second that `--help` does not need

    with connect(ask_passphrase=asker(None) if has_terminal() else None) as connection:
        yield connection


@contextmanager
def workspace() -> Iterator[Workspace]:
    """Connect as `connected`, and offer what a workspace offers."""
    from hermetic.assets.workspace import Workspace  # noqa: PLC0415 - see connected

    with connected() as connection:
        yield Workspace(connection)
