"""`hermetic key certificate`, `copies-destroyed`, `package-destroyed`: what can be said of what is gone, and what people vouch for."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import click

from hermetic.cli.blocks import Block, Cell, Facts, Heading, Line, Mark
from hermetic.cli.options import ANY_PATH, output, reason
from hermetic.cli.session import connected
from hermetic.cli.words import moment
from hermetic.errors import Conflict, StorageError, UsageError
from hermetic.formats.certificate import parse_certificate
from hermetic.formats.messages.destruction import RecordCopiesDestroyed, RecordPackageDestroyed, ShowCertificate

if TYPE_CHECKING:
    from pathlib import Path

    from hermetic.cli.out import Out
    from hermetic.formats.messages.destruction import CertificateRow

SHOWN = 20  # names of one sort


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
        write(file, row.envelope)
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
    out.emit(document, Facts(facts), *under_titles(*lists))


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


def write(file: Path, raw: bytes) -> None:
    """Write a certificate to a new file. Raises Conflict, StorageError."""
    try:
        with file.open("xb") as stream:
            stream.write(raw)
    except FileExistsError:
        raise Conflict(f"{file} exists already", hint="`hermetic key certificate` writes it again under another name") from None
    except OSError as error:
        raise StorageError(f"cannot write {file}: {error.strerror}", hint="`hermetic key certificate` writes it again") from None


def under_titles(*lists: tuple[str, tuple[str, ...]]) -> list[Block]:
    """Return lists of names under their titles; empty ones are left out, long ones cut."""
    blocks: list[Block] = []
    for title, names in lists:
        if names:
            more = [Line(f"and {len(names) - SHOWN} more", 2)] if len(names) > SHOWN else []
            blocks += [Heading(title), *(Line(name, 2) for name in names[:SHOWN]), *more]
    return blocks
