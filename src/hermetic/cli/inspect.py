"""`hermetic inspect`: what anybody can know about a sealed file. Needs neither domain nor keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hermetic.cli import findings as findings_blocks
from hermetic.cli.options import ANY_PATH, output
from hermetic.errors import IntegrityError, NotFound
from hermetic.sealed.inspection import inspect as inspect_source
from hermetic.stores.local import LocalStore

if TYPE_CHECKING:
    from pathlib import Path

    from hermetic.cli.out import Out
    from hermetic.sealed.inspection import Inspection


@click.command()
@click.argument("file", type=ANY_PATH)
@output
def inspect(out: Out, *, file: Path) -> int:
    """Say what a sealed file tells without keys.

    Also what it does not tell. Exits with 4 if its parts do not fit together.
    """
    found = _inspect(file)
    out.emit(found, *found.text().splitlines(), *(findings_blocks.blocks(found.findings) if found.findings else ()))
    return IntegrityError.exit_code if found.findings else 0


def _inspect(file: Path) -> Inspection:
    if not file.is_file():
        raise NotFound(f"{file} is not a file")
    with LocalStore(file.parent).open(file.name) as source:
        return inspect_source(source)
