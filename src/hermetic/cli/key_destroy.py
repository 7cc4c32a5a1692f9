"""`hermetic key destroy`, `shred`, `certificate`, `copies-destroyed`: what cannot be taken back, and the proof of it."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, TypedDict, Unpack

import click

from hermetic.cli.blocks import Block, Cell, Facts, Heading, Line, Mark, Table
from hermetic.cli.options import ANY_PATH, days, output, reason
from hermetic.cli.session import connected
from hermetic.cli.words import count, moment
from hermetic.errors import Conflict, StorageError, UsageError
from hermetic.formats.certificate import parse_certificate
from hermetic.formats.messages.destruction import (
    AnnounceDestruction,
    CancelDestruction,
    DestroyDue,
    PlanDestruction,
    PlanShred,
    RecordCopiesDestroyed,
    RecordPackageDestroyed,
    ShowCertificate,
    ShredVersions,
)

if TYPE_CHECKING:
    from pathlib import Path

    from hermetic.cli.out import Out
    from hermetic.formats.messages.destruction import BlastRadius, CertificateRow


class _More(TypedDict):
    """What names versions beside references."""

    project: str | None
    subjects: tuple[str, ...]
    derived: bool


_SHOWN = 20  # names of one sort
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
@output
def shred(out: Out, *, refs: tuple[str, ...], reason: str, dry_run: bool, file: Path | None, **more: Unpack[_More]) -> int:
    """Shred versions: their keys are overwritten, and nothing opens them again.

    Everything else still reads. Sealed objects stay as bytes that nothing opens, until `hermetic gc`. The certificate says whether
    the data is gone everywhere, and on what that relies.
    """
    if not refs and more["project"] is None and not more["subjects"]:
        raise UsageError("say what to shred", hint="hermetic key shred NAME@NUMBER --reason TEXT, or --subject TEXT, --project NAME")
    with connected() as connection:
        plan = connection.ask(PlanShred(refs, **more))
        for note in plan.notes:
            out.warn(note)
        if dry_run:
            out.emit(plan, *_radius(", ".join(plan.refs[:_SHOWN]), plan.radius))
            return 0
        done = connection.ask(ShredVersions(plan.refs, plan.versions, reason))
        if file is not None:
            _write(file, connection.ask(ShowCertificate(done.certificate)).envelope)
    for name in done.derived:
        out.warn(f"{name} was derived from it, and still holds what was derived")
    for path in done.exposures:
        out.warn(f"{path} holds it in plaintext: hermetic expose --end {path}")
    facts: list[tuple[str, Cell]] = [
        ("shredded", Mark(", ".join(done.refs[:_SHOWN]), "name")),
        ("state", Mark(done.state, "good" if done.state == "complete" else "warn")),
        ("certificate", done.certificate),
        ("log entry", str(done.receipt.index)),
    ]
    lists = (("It relies on", done.relies), ("Missing", done.missing), ("Who can still read it", done.remains))
    out.emit(done, Facts(facts), *_lists(*lists))
    return 0


@click.command()
@click.argument("subject")
@click.option("--out", "file", type=ANY_PATH, metavar="FILE", help="Write the signed document to FILE.")
@output
def certificate(out: Out, *, subject: str, file: Path | None) -> int:
    """Show the certificate about something that was shredded or destroyed.

    SUBJECT is NAME@NUMBER, KEK/NUMBER, or a certificate's id. What can be said now is said: a shred becomes complete when the last
    copy is gone.
    """
    with connected() as connection:
        row = connection.ask(ShowCertificate(subject))
    if file is not None:
        _write(file, row.envelope)
    _tell(out, row)
    return 0


def _tell(out: Out, row: CertificateRow) -> None:
    said = parse_certificate(row.payload)
    facts: list[tuple[str, Cell]] = [
        ("certificate", Mark(row.id, "name")),
        ("state", Mark(said.state, "warn" if said.missing else "good")),
        ("done", moment(said.done_ms)),
        ("asked by", said.requester),
        ("approved by", ", ".join(said.approvers) or "nobody: no approval was needed"),
        ("reason", said.reason),
        ("log entry", f"{said.log.generation}/{said.log.index}"),
    ]
    document = {"id": row.id, "kind": row.kind, "envelope": row.envelope, "certificate": said}
    lists = (
        ("Destroyed", said.subjects),
        ("It relies on", said.relies),
        ("Missing", said.missing),
        ("Who could still read it then", said.remains),
    )
    out.emit(document, Facts(facts), *_lists(*lists))


@click.command(name="copies-destroyed")
@click.option("--before", required=True, metavar="TIME", help="Copies made before then: 2026-11-21, or 2026-11-21T12:00:00Z.")
@reason()
@output
def copies_destroyed(out: Out, *, before: str, reason: str) -> int:
    """Put on record that every copy of custody from before TIME was destroyed, or every key that opens one.

    A copy opens with the roots of its time: those of this machine, in a key service or a TPM, recovery shares, escrow keys, a recovery
    passphrase. Nobody can check that but people: it is your word, it is in the log, and certificates say that they rely on it.
    """
    at_ms = _moment(before)
    with connected() as connection:
        connection.ask(RecordCopiesDestroyed(at_ms, reason))
    out.emit({"before_ms": at_ms}, Facts([("copies destroyed", f"all from before {moment(at_ms)}")]))
    return 0


@click.command(name="package-destroyed")
@click.argument("package")
@reason()
@output
def package_destroyed(out: Out, *, package: str, reason: str) -> int:
    """Put on record that a package was destroyed wherever it was.

    Its recipients have the version's key, so that a shred is not complete before. Nobody can check that but people: it is your word.
    """
    with connected() as connection:
        connection.ask(RecordPackageDestroyed(package, reason))
    out.emit({"package": package}, Facts([("package destroyed", Mark(package, "name"))]))
    return 0


def _moment(text: str) -> int:
    try:
        found = dt.datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text!r} is no time", hint="write 2026-11-21, or 2026-11-21T12:00:00Z") from None
    return int((found if found.tzinfo else found.replace(tzinfo=dt.UTC)).timestamp() * 1000)


def _write(file: Path, raw: bytes) -> None:
    try:
        with file.open("xb") as stream:
            stream.write(raw)
    except FileExistsError:
        raise Conflict(f"{file} exists already", hint="`hermetic key certificate` writes it again under another name") from None
    except OSError as error:
        raise StorageError(f"cannot write {file}: {error.strerror}", hint="`hermetic key certificate` writes it again") from None


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
    return [Facts(facts), *_lists(*lists)]


def _lists(*lists: tuple[str, tuple[str, ...]]) -> list[Block]:
    blocks: list[Block] = []
    for title, names in lists:
        if names:
            more = [Line(f"and {len(names) - _SHOWN} more", 2)] if len(names) > _SHOWN else []
            blocks += [Heading(title), *(Line(name, 2) for name in names[:_SHOWN]), *more]
    return blocks
