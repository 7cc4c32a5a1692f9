"""`hermetic identity authority …`: whose certificates the domain believes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hermetic.cli.blocks import Mark, Table
from hermetic.cli.lazy import Group
from hermetic.cli.options import ANY_PATH, output, reason
from hermetic.cli.session import connected
from hermetic.cli.words import moment
from hermetic.errors import StorageError
from hermetic.formats.messages.identity import CreateAuthority, ListAuthorities, RetireAuthority, RotateAuthority, TrustAuthority

if TYPE_CHECKING:
    from pathlib import Path

    from hermetic.cli.out import Out
    from hermetic.formats.messages.base import Request
    from hermetic.formats.messages.identity import AuthorityList

FILE_LIMIT = 256 * 1024


@click.group(cls=Group)
def authority() -> None:
    """Authorities: the domain's own, and others that it trusts."""


@authority.command(name="ls")
@output
def ls(out: Out) -> int:
    """List authorities, those that are trusted no more too."""
    return _asked(out, ListAuthorities())


@authority.command()
@reason()
@output
def create(out: Out, *, reason: str) -> int:
    """Make the domain's own authority: a root and an intermediate, their keys wrapped under the domain's roots."""
    return _asked(out, CreateAuthority(reason))


@authority.command()
@click.option("--root", is_flag=True, help="The root too; the old one vouches for it, so that clients go on.")
@reason()
@output
def rotate(out: Out, *, root: bool, reason: str) -> int:
    """Give the authority new keys; certificates that the old ones signed stay good until they end, or `retire`."""
    return _asked(out, RotateAuthority(root, reason))


@authority.command()
@click.argument("authority")
@reason()
@output
def retire(out: Out, *, authority: str, reason: str) -> int:
    """Believe an authority no more, nor any certificate under it; at once, and for good."""
    return _asked(out, RetireAuthority(authority, reason))


@authority.command()
@click.argument("file", type=ANY_PATH)
@reason()
@output
def trust(out: Out, *, file: Path, reason: str) -> int:
    """Believe an authority that somebody else keeps, as OpenBao PKI, from its certificate in PEM.

    It can name any principal of this domain: limit what it issues to the URIs of those who are meant.
    """
    from hermetic.crypto import x509  # noqa: PLC0415 - brings the cryptography

    try:
        with file.open("rb") as stream:
            pem = stream.read(FILE_LIMIT)
    except OSError as error:
        raise StorageError(f"cannot read {file}: {error.strerror}") from None
    return _asked(out, TrustAuthority(x509.certificates_in(pem), reason))


def _asked(out: Out, request: Request[AuthorityList]) -> int:
    with connected() as connection:
        found = connection.ask(request).authorities
    rows = [
        (
            Mark(row.id[:8], "name"),
            row.kind,
            Mark(row.state, "good" if row.state == "active" else "dim"),
            moment(row.not_after_ms),
            row.parent[:8] or "-",
            row.subject,
            row.fingerprint.hex(),
        )
        for row in found
    ]
    columns = ("id", "kind", "state", "until", "under", "name", "fingerprint")
    out.emit({"authorities": found}, Table(columns, rows, empty="none: `hermetic identity authority create`"))
    return 0
