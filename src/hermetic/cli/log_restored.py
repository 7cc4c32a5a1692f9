"""`hermetic log restored`: what custody says of its last restore, and taking it after comparing with whoever restored."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hermetic.cli.blocks import Cell, Facts, Mark
from hermetic.cli.options import output
from hermetic.cli.passphrase import asker, has_terminal

if TYPE_CHECKING:
    from hermetic.cli.out import Out


@click.command()
@click.option("--accept", metavar="DIGEST", help="Take the restore with this digest, as whoever restored read it to you.")
@output
def restored(out: Out, *, accept: str | None) -> int:
    """Show what custody says of its last restore.

    For who is refused after a restore: because they saw entries that the copy lacks, or another key of the log. Whoever restored runs
    this too and reads you the digest, by telephone or face to face; with --accept your pins go over to the restored log. Nobody else
    can tell such a restore from an attacker with an old copy.
    """
    from hermetic.domain import restored as restores  # noqa: PLC0415 - a third of a second that `--help` does not need
    from hermetic.domain.custody_place import URL  # noqa: PLC0415 - with it
    from hermetic.domain.home import Home  # noqa: PLC0415 - with it

    here = restores.Here(Path.cwd(), Home.locate(os.environ), asker(None) if has_terminal() else None, os.environ.get(URL, ""))
    found = restores.look(here) if accept is None else restores.accept(here, accept.strip().lower())
    facts: list[tuple[str, Cell]] = [
        ("generation", found.generation),
        ("restored", _place(found.restored)),
        ("known then", _place(found.highest)),
        ("you saw", "nothing yet" if found.seen is None else _place(found.seen)),
        ("says that it is lost", Mark("yes, as far as you saw", "good") if found.admits else Mark("no", "bad")),
        ("log key", found.log_key),
        ("digest", Mark(found.digest, "name")),
    ]
    if accept is not None:
        facts.append(("accepted", "your pins are of this generation now"))
    elif not found.accepted:
        out.note("compare the digest with whoever restored custody, then: hermetic log restored --accept DIGEST")
    out.emit({name: getattr(found, name) for name in found.__slots__}, Facts(facts))
    return 0


def _place(place: tuple[int, int]) -> str:
    return f"{place[1]} entries of generation {place[0]}"
