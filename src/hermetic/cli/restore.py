"""`hermetic restore`: a domain back from its backup, as the next generation; or a trial that changes nothing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

import click

from hermetic.cli import findings as findings_blocks
from hermetic.cli.blocks import Cell, Facts, Mark
from hermetic.cli.options import ANY_PATH, exit_with, output, passphrase_file, reason
from hermetic.cli.passphrase import RECOVERY_OPTION, asker, has_terminal
from hermetic.cli.session import connected, new_project, own_custody
from hermetic.cli.words import moment, size
from hermetic.errors import NotFound, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from hermetic.cli.out import Out
    from hermetic.domain.restore import Restored
    from hermetic.recovery.objects import Copied
    from hermetic.recovery.trial import Tried

_VOUCHED = {
    "passphrase": "the recovery passphrase",
    "shares": "the recovery shares",
    "fingerprint": "the fingerprint that was given",
    "pins": "what was seen of the domain before",
}
DEFAULT_ROOT = "local:passphrase"
INSECURE = "local:insecure-file"


@click.command()
@click.option("--from", "place", type=ANY_PATH, metavar="DIR", help="The backup place; with --check by default the one in use.")
@click.option("--check", is_flag=True, help="Only try: open an asset from the copy, in memory, and put that on record.")
@click.option("--with-objects", is_flag=True, help="Bring sealed objects back too; with --check: open from those in the backup place.")
@click.option("--root", "root", metavar="URI", help="Where the root key lives from now on; by default where it lived before.")
@click.option("--database", metavar="URL", help="An empty database of a PostgreSQL server for custody: postgresql://HOST/NAME.")
@passphrase_file("recovery-passphrase")
@passphrase_file()
@reason(required=False)
@output
def restore(  # noqa: PLR0913 - one argument an option
    out: Out,
    *,
    place: Path | None,
    check: bool,
    with_objects: bool,
    root: str | None,
    database: str | None,
    recovery_passphrase_file: Path | None,
    passphrase_file: Path | None,
    reason: str,
) -> int:
    """Bring a domain back from its backup.

    Run it in the project's folder on the new machine, with the sealed objects in their store, or --with-objects. The log goes on
    as a new generation, whose first entry names the old one; the old machine's custody is stale from then on. A copy that is older
    than what you have seen, or whose newest index is damaged, is taken only with --reason. The root is
    kept as it was before, unless --root says otherwise; with --passphrase-file it is wrapped under that passphrase. It never gets
    the recovery passphrase by itself.
    """
    if check:
        return _check(out, place, recovery_passphrase_file, with_objects=with_objects)
    if place is None:
        raise UsageError("name the backup place", hint="--from DIR")
    own_custody()
    from hermetic.domain.home import Home  # noqa: PLC0415 - with the next
    from hermetic.domain.restore import restore_domain  # noqa: PLC0415 - brings the database

    fresh = asker(passphrase_file, confirm=True) if passphrase_file is not None or has_terminal() else None
    done = restore_domain(
        place.absolute(),
        Home.locate(os.environ),
        new_project(),
        asker(recovery_passphrase_file, option=RECOVERY_OPTION),
        provider_uri=root or (DEFAULT_ROOT if passphrase_file is not None else None),
        ask=fresh,
        reason=reason or None,
        server=database,
    )
    return came_back(out, done, place, passphrase_file if with_objects else False)


def came_back(out: Out, done: Restored, place: Path, objects: Path | Literal[False] | None) -> int:
    """Say what came back. `objects`: False leaves them where they are, else the file with the root's passphrase, if there is one."""
    if done.lost:
        ends, known = (
            f"{done.restored_size} of generation {done.restored_generation}",
            f"{done.highest_size} of {done.highest_generation}",
        )
        out.warn(f"the copy ends at log entry {ends}, and entry {known} was seen, which it does not lead to: that is lost")
    copied = None if objects is False else _bring_back(place.absolute(), objects)
    findings = [*(item for item in done.findings if item.severity == "high"), *(copied.findings if copied else ())]
    document = {**{name: getattr(done, name) for name in done.__slots__}, "objects": copied, "findings": findings}
    out.emit(document, Facts(_facts(done, place, copied)), *(findings_blocks.blocks(findings) if findings else ()))
    return exit_with(findings)


def _bring_back(place: Path, passphrase: Path | None) -> Copied:
    from hermetic.domain.connect import connect  # noqa: PLC0415 - brings the database
    from hermetic.recovery.objects import bring_back  # noqa: PLC0415 - with it

    ask = asker(passphrase) if passphrase is not None or has_terminal() else None
    with connect(ask_passphrase=ask) as connection:
        return bring_back(connection, place)


def _facts(done: Restored, place: Path, copied: Copied | None) -> list[tuple[str, Cell]]:
    facts: list[tuple[str, Cell]] = [
        ("restored", Mark(str(done.domain_id), "name")),
        ("from", f"{place}, copied {moment(done.copied_ms)}"),
        ("vouched by", _VOUCHED.get(done.vouched, Mark("nothing", "bad"))),
        ("root", Mark(done.root, "warn" if done.root == INSECURE else "name")),
        ("generation", done.generation),
        ("versions", done.versions),
        ("log entries", done.restored_size),
        ("lost", _lost(done)),
        ("digest", Mark(done.digest, "name")),
        ("tell others", f"this digest: who saw more is refused until `hermetic log restored --accept {done.digest}`"),
    ]
    first = f"go to {place} from here on, first with the next change or `hermetic backup now`"
    facts.append(("backups", f"{first}; a home that wrote there before reports backup-failing: retire it"))
    if copied is not None:
        facts.append(("objects", f"{copied.objects} brought back, {size(copied.bytes)}"))
    return facts


def _lost(done: Restored) -> Cell:
    if done.lost:
        return Mark(f"up to entry {done.highest_size} of generation {done.highest_generation}", "bad")
    if done.seen:
        return Mark("nothing that you have seen; others may have seen more", "good")
    return Mark("nothing is known here: others may have seen more than came back", "warn")


def _check(out: Out, place: Path | None, recovery_passphrase_file: Path | None, *, with_objects: bool) -> int:
    from hermetic.evidence.status import backup_answer  # noqa: PLC0415 - with the next
    from hermetic.formats.messages.domain import GatherFacts  # noqa: PLC0415 - with the next
    from hermetic.recovery.trial import try_copy  # noqa: PLC0415 - brings the database

    with connected() as connection:
        chosen = place.absolute() if place is not None else connection.config.backup_place
        if chosen is None:
            raise NotFound("this domain has no backup place", hint="--from DIR, or `backup: {place: DIR}` in config.yaml")
        if place is None and not backup_answer(connection.ask(GatherFacts())).has_recovery:
            hint = "set one: hermetic backup now --recovery-passphrase-file FILE; shares are tried by hermetic key recover --check"
            raise UsageError("the copy cannot be opened elsewhere: it has no recovery passphrase", hint=hint)
        passphrase = asker(recovery_passphrase_file, option=RECOVERY_OPTION)("recovery passphrase: ")
        try:
            done = try_copy(connection, chosen, passphrase, objects=with_objects)
        finally:
            passphrase.wipe()
    return tried(out, done)


def tried(out: Out, done: Tried) -> int:
    """Say what a trial found out."""
    facts: list[tuple[str, Cell]] = [
        ("copy", Mark("opens", "good")),
        ("place", f"{done.place}, copied {moment(done.copied_ms)}"),
        ("opened", f"{done.ref}, {size(done.length)}, from the {done.objects}"),
        ("versions", done.versions),
        ("log entries", f"{done.log_size}, {done.behind} behind"),
        ("took", f"{done.took_ms / 1000:.1f} s"),
    ]
    out.emit(done, Facts(facts))
    return 0
