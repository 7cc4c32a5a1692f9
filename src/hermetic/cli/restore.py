"""`hermetic restore`: a domain back from its backup, as the next generation; or a trial that changes nothing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hermetic.cli.blocks import Facts, Mark
from hermetic.cli.options import ANY_PATH, output, passphrase_file
from hermetic.cli.passphrase import asker
from hermetic.domain.home import Home

if TYPE_CHECKING:
    from hermetic.cli.out import Out


@click.command()
@click.option("--from", "place", type=ANY_PATH, required=True, metavar="DIR", help="The backup place.")
@passphrase_file("recovery-passphrase")
@output
def restore(out: Out, *, place: Path, recovery_passphrase_file: Path | None) -> int:
    """Bring a domain back from its backup.

    Run it in the project's folder on the new machine. The log goes on as a new generation whose first entry names the old one.
    """
    from hermetic.domain.restore import restore_domain  # noqa: PLC0415 - brings the database

    ask = asker(recovery_passphrase_file)
    restored = restore_domain(place.absolute(), Home.locate(os.environ), Path.cwd(), ask)
    out.emit(restored, Facts([("restored", Mark(str(place), "name"))]))
    return 0
