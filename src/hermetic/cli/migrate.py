"""`hermetic migrate`: after an upgrade."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hermetic.cli.blocks import Facts
from hermetic.cli.options import output
from hermetic.cli.session import own_custody

if TYPE_CHECKING:
    from hermetic.cli.out import Out


@click.command()
@output
def migrate(out: Out) -> int:
    """Bring custody to the schema of this release.

    End other commands first, and have a backup. It is one step: whole, or as it was.
    """
    from hermetic.domain.migrating import migrate_domain  # noqa: PLC0415 - Alembic costs more than `--help`

    own_custody()
    before, now = migrate_domain(Path.cwd())
    out.emit({"before": before, "now": now}, Facts([("schema before", str(before)), ("schema now", str(now))]))
    return 0
