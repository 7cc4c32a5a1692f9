"""`hermetic key destroy` and `shred`: what cannot be taken back. `key_certificates` has the proof of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict, Unpack

import click

from hermetic.cli.blocks import Block, Cell, Facts, Mark, Table
from hermetic.cli.key_certificates import SHOWN, under_titles, write
from hermetic.cli.options import ANY_PATH, days, environment, output
from hermetic.cli.session import connected
from hermetic.cli.words import count, moment
from hermetic.errors import NotFound, UsageError
from hermetic.formats.messages.destruction import (
    AnnounceDestruction,
    CancelDestruction,
    DestroyDue,
    PlanDestruction,
    PlanShred,
    ShowCertificate,
    ShredVersions,
)

if TYPE_CHECKING:
    from pathlib import Path

    from hermetic.cli.out import Out
    from hermetic.domain.connect import Connection
    from hermetic.formats.messages.destruction import BlastRadius


class _More(TypedDict):
    """What names versions beside references."""

    project: str | None
    subjects: tuple[str, ...]
    derived: bool


_DAYS = 7
_CERTIFICATE = click.option("--certificate", "file", type=ANY_PATH, metavar="FILE", help="Write the signed certificate to FILE.")


@click.command()
@click.argument("kek", required=False)
@click.option("--after", type=days, default=str(_DAYS), metavar="7d", show_default=False, help="When: 7d to 30d from now (7d).")
@click.option("--reason", default="", help="Why; it goes on record.")
@click.option("--cancel", is_flag=True, help="Take the announcement back.")
@click.option("--due", is_flag=True, help="Destroy what was announced and whose day has come.")
@click.option("--dry-run", is_flag=True, help="Show what it would concern, and what is in the way; change nothing.")
@output
def destroy(out: Out, *, kek: str | None, after: int, reason: str, cancel: bool, due: bool, dry_run: bool) -> int:
    """Destroy a version of a key, after a waiting period of 7 to 30 days.

    KEK is an id or the beginning of it, with /NUMBER where several versions could be meant. A version that data keys hang on is
    refused: rewrap them, or shred what they open. When the day has come, --due destroys it, or whoever connects next.
    """
    if due:
        return _destroy_due(out)
    if kek is None:
        raise UsageError("say which key", hint="hermetic key destroy KEK/NUMBER --after 7d --reason TEXT, or --due")
    name, _, number = kek.partition("/")
    if number and not number.isdecimal():
        raise UsageError(f"{kek!r} names no version of a key", hint="write KEK/NUMBER, such as 4k3f/1")
    with connected() as connection:
        if cancel:
            told = connection.ask(CancelDestruction(name, int(number or 0), reason))
            facts: list[tuple[str, Cell]] = [("kept", Mark(f"{told.kek}/{told.number}", "name")), ("destruction", "cancelled")]
            out.emit(told, Facts(facts))
            return 0
        plan = connection.ask(PlanDestruction(name, int(number or 0)))
        if dry_run:
            out.emit(plan, *_radius(f"{plan.kek}/{plan.number}", plan.radius))
            return 0
        told = connection.ask(AnnounceDestruction(plan.kek, plan.number, after, reason))
    facts = [("announced", Mark(f"{told.kek}/{told.number}", "name")), ("destroyed after", moment(told.due_ms))]
    out.emit(told, Facts([*facts, ("log entry", str(told.receipt.index))]), *_radius("", told.radius)[1:])
    return 0


def _destroy_due(out: Out) -> int:
    with connected() as connection:
        found = connection.ask(DestroyDue()).versions
    rows = [
        (Mark(f"{row.kek[:8]}/{row.number}", "name"), moment(row.due_ms), row.certificate or "-", row.problem or "destroyed")
        for row in found
    ]
    out.emit({"versions": found}, Table(("key", "due", "certificate", "now"), rows, empty="nothing is due"))
    return 1 if any(row.problem for row in found) else 0


@click.command()
@click.argument("refs", nargs=-1, metavar="REF...")
@click.option("--project", help="All versions of a project, too.")
@click.option(
    "--subject", "subjects", multiple=True, metavar="TEXT", help="All versions that hold data of a subject; may be repeated."
)
@click.option("--with-derived", "derived", is_flag=True, help="Everything that was made of them, too.")
@click.option("--reason", default="", help="Why; it goes on record.")
@click.option("--dry-run", is_flag=True, help="Show what it would concern; change nothing.")
@_CERTIFICATE
@environment()
@output
def shred(out: Out, *, refs: tuple[str, ...], reason: str, dry_run: bool, file: Path | None, **more: Unpack[_More]) -> int:
    """Shred versions: their keys are overwritten, and nothing opens them again.

    NAME@NUMBER is one version; NAME alone is the newest one, and the older ones stay. --dry-run shows what would go.
    Everything else still reads. Sealed objects stay as bytes that nothing opens, until `hermetic gc`. The certificate says whether
    the data is gone everywhere, and on what that relies.
    """
    if not refs and more["project"] is None and not more["subjects"]:
        raise UsageError("say what to shred", hint="hermetic key shred NAME@NUMBER --reason TEXT, or --subject TEXT, --project NAME")
    with connected() as connection:
        plan = connection.ask(PlanShred(refs, **more))
        for note in plan.notes:
            out.warn(note)
        for name in _with_older(refs, plan.refs):
            out.warn(f"only {name} is meant, the newest: older versions of it stay, and are shredded by their numbers")
        if dry_run:
            out.emit(plan, *_radius(", ".join(plan.refs[:SHOWN]), plan.radius))
            return 0
        done = connection.ask(ShredVersions(plan.refs, plan.versions, reason))
        for name in _sealed_meanwhile(connection, more["subjects"]):
            out.warn(f"{name} holds data of the same subject, and was sealed meanwhile: run the command again")
        if file is not None:
            write(file, connection.ask(ShowCertificate(done.certificate)).envelope)
    for name in done.derived:
        out.warn(f"{name} was derived from it, and still holds what was derived")
    for path in done.exposures:
        out.warn(f"{path} holds it in plaintext: hermetic expose --end {path}")
    facts: list[tuple[str, Cell]] = [
        ("shredded", Mark(", ".join(done.refs[:SHOWN]), "name")),
        ("state", Mark(done.state, "good" if done.state == "complete" else "warn")),
        ("certificate", done.certificate),
        ("log entry", str(done.receipt.index)),
    ]
    lists = (("It relies on", done.relies), ("Missing", done.missing), ("Who can still read it", done.remains))
    out.emit(done, Facts(facts), *under_titles(*lists))
    return 0


def _with_older(given: tuple[str, ...], found: tuple[str, ...]) -> list[str]:
    """Return what was named without a number and has a number above 1, unless a version before it goes too."""
    names = {ref for ref in given if "@" not in ref}
    meant = [(name, int(number)) for name, _, number in (ref.rpartition("@") for ref in found) if name in names]
    return [f"{name}@{number}" for name, number in meant if number > 1 and (name, number - 1) not in meant]


def _sealed_meanwhile(connection: Connection, subjects: tuple[str, ...]) -> tuple[str, ...]:
    """Return what still holds data of subjects: whoever withdraws consent is not told that all is gone while something is not."""
    if not subjects:
        return ()
    try:
        return connection.ask(PlanShred((), subjects=subjects)).refs
    except NotFound:
        return ()


def _radius(name: str, radius: BlastRadius) -> list[Block]:
    facts: list[tuple[str, Cell]] = [
        ("would go", Mark(name, "name")),
        ("data keys", str(radius.data_keys)),
        ("leases open now", str(radius.leases)),
        ("last use", moment(radius.last_use_ms)),
        ("last copy of custody", moment(radius.backup_ms)),
    ]
    title = f"Blast radius: {count(len(radius.versions), 'version')} of {count(len(radius.assets), 'asset')}"
    lists = (
        (title, radius.versions),
        ("Derived from it, and stays", radius.derived),
        ("In plaintext on disk", radius.exposures),
        ("Handed out with its key", radius.packages),
        ("In the way", radius.in_the_way),
    )
    return [Facts(facts), *under_titles(*lists)]
