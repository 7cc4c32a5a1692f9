"""`hermetic restore`: a domain back from its backup, as the next generation; or a trial that changes nothing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hermetic.cli.blocks import Cell, Facts, Mark
from hermetic.cli.options import ANY_PATH, output, passphrase_file
from hermetic.cli.passphrase import asker, has_terminal
from hermetic.cli.session import connected
from hermetic.cli.words import moment, size
from hermetic.errors import NotFound, UsageError

if TYPE_CHECKING:
    from hermetic.cli.out import Out
    from hermetic.domain.restore import Restored

DEFAULT_ROOT = "local:passphrase"


@click.command()
@click.option("--from", "place", type=ANY_PATH, metavar="DIR", help="The backup place; with --check by default the one in use.")
@click.option("--check", is_flag=True, help="Only try: open an asset from the copy, in memory, and put that on record.")
@click.option("--root", "root", metavar="URI", default=DEFAULT_ROOT, show_default=True, help="Where the root key lives from now on.")
@passphrase_file("recovery-passphrase")
@passphrase_file()
@output
def restore(
    out: Out, *, place: Path | None, check: bool, root: str, recovery_passphrase_file: Path | None, passphrase_file: Path | None
) -> int:
    """Bring a domain back from its backup.

    Run it in the project's folder on the new machine, with the sealed objects in their store. The log goes on as a new generation,
    whose first entry names the old one. Without --passphrase-file or a terminal the new root has the recovery passphrase.
    """
    if check:
        return _check(out, place, recovery_passphrase_file)
    if place is None:
        raise UsageError("name the backup place", hint="--from DIR")
    from hermetic.domain.home import Home  # noqa: PLC0415 - with the next
    from hermetic.domain.restore import restore_domain  # noqa: PLC0415 - brings the database

    fresh = asker(passphrase_file, confirm=True) if passphrase_file is not None or has_terminal() else None
    done = restore_domain(
        place.resolve(), Home.locate(os.environ), Path.cwd(), asker(recovery_passphrase_file), provider_uri=root, ask=fresh
    )
    if done.lost:
        out.warn(f"the copy ends at log entry {done.restored_size}, and entry {done.highest_size} was seen: what lies between is lost")
    out.emit(done, Facts(_facts(done, place)))
    return 0


def _facts(done: Restored, place: Path) -> list[tuple[str, Cell]]:
    return [
        ("restored", Mark(str(done.domain_id), "name")),
        ("from", f"{place}, copied {moment(done.copied_ms)}"),
        ("generation", done.generation),
        ("versions", done.versions),
        ("log entries", done.restored_size),
        ("lost", Mark(f"up to entry {done.highest_size}", "bad") if done.lost else Mark("nothing that was seen", "good")),
    ]


def _check(out: Out, place: Path | None, recovery_passphrase_file: Path | None) -> int:
    from hermetic.recovery.trial import try_copy  # noqa: PLC0415 - brings the database

    with connected() as connection:
        chosen = place.resolve() if place is not None else connection.config.backup_place
        if chosen is None:
            raise NotFound("this domain has no backup place", hint="--from DIR, or `backup: {place: DIR}` in config.yaml")
        done = try_copy(connection, chosen, asker(recovery_passphrase_file)("recovery passphrase: "))
    facts: list[tuple[str, Cell]] = [
        ("copy", Mark("opens", "good")),
        ("place", f"{done.place}, copied {moment(done.copied_ms)}"),
        ("opened", f"{done.ref}, {size(done.length)}"),
        ("versions", done.versions),
        ("log entries", f"{done.log_size}, {done.behind} behind"),
    ]
    out.emit(done, Facts(facts))
    return 0
