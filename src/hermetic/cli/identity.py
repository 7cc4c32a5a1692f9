"""`hermetic identity …`: who may call the service, and how they show it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hermetic.cli import identity_authority, identity_client
from hermetic.cli.blocks import Facts, Heading, Line, Mark, Table
from hermetic.cli.files import check_new, write_new
from hermetic.cli.identity_factor import confirm, factor
from hermetic.cli.identity_login import login
from hermetic.cli.lazy import Group
from hermetic.cli.options import ANY_PATH, duration, output, reason
from hermetic.cli.session import connected
from hermetic.cli.words import count, moment
from hermetic.domain.listing import every
from hermetic.errors import StorageError
from hermetic.formats.messages.identity import (
    EnrolIdentity,
    ExportTrust,
    IssueCertificate,
    ListIdentities,
    RevokeCredential,
    ShowIdentity,
)

if TYPE_CHECKING:
    from pathlib import Path

    from hermetic.cli.out import Out
    from hermetic.formats.messages.identity import Identity

FILE_LIMIT = 64 * 1024


@click.group(cls=Group)
def identity() -> None:
    """Who may call the service: certificates, authorities, second factors."""


@identity.command(name="ls")
@output
def ls(out: Out) -> int:
    """List everybody whom the domain knows, with how many certificates of theirs are good."""
    with connected() as connection:
        found = every(connection.ask, ListIdentities(), "identities")
    rows = [
        (Mark(row.name, "name"), row.kind, ", ".join(row.roles), row.state, row.active, moment(row.not_after_ms), row.id)
        for row in found
    ]
    columns = ("name", "kind", "roles", "state", "good", "until", "id")
    out.emit({"identities": found}, Table(columns, rows, frozenset({"good"}), empty="nobody"))
    return 0


@identity.command()
@click.argument("name")
@output
def show(out: Out, *, name: str) -> int:
    """Show somebody's certificates and devices."""
    with connected() as connection:
        found = connection.ask(ShowIdentity(name))
    _emit(out, found)
    return 0


@identity.command()
@click.argument("name")
@click.option("--kind", type=click.Choice(("person", "workload")), required=True, help="A person, or a program.")
@click.option("--role", "roles", multiple=True, required=True, metavar="ROLE", help="A role; may be given several times.")
@reason()
@output
def enrol(out: Out, *, name: str, kind: str, roles: tuple[str, ...], reason: str) -> int:
    """Make somebody known who will call from another machine.

    hermetic identity enrol ben --kind person --role ml-engineer --reason 'joins the team'
    """
    with connected() as connection:
        found = connection.ask(EnrolIdentity(name, kind, roles, reason))
    _emit(out, found)
    return 0


@identity.command()
@click.argument("name")
@click.option("--csr", type=ANY_PATH, required=True, metavar="FILE", help="The signing request, from `identity request`.")
@click.option("--for", "seconds", type=duration, default="15m", show_default=True, help="How long it is good: 15m, 8h, 7d.")
@click.option("-o", "--output", "target", type=ANY_PATH, required=True, metavar="FILE", help="Where to write the certificate.")
@reason()
@output
def issue(out: Out, *, name: str, csr: Path, seconds: int, target: Path, reason: str) -> int:
    """Issue a certificate for a key that somebody made.

    hermetic identity issue ben --csr ben.csr --for 15m -o ben.pem --reason 'first certificate'
    """
    from hermetic.crypto import x509  # noqa: PLC0415 - brings the cryptography

    request = x509.request_in(_read(csr))
    check_new(target)
    with connected() as connection:
        made = connection.ask(IssueCertificate(name, request, seconds, reason))
    write_new(target, x509.to_pem((*made.chain, *made.authorities)))
    facts = Facts(
        [
            ("certificate", Mark(made.credential, "name")),
            ("for", made.principal),
            ("until", moment(made.not_after_ms)),
            ("written to", str(target)),
            *(("authority", text) for text in _prints(made.authorities)),
        ]
    )
    out.emit(made, facts)
    return 0


@identity.command()
@click.argument("subject")
@reason()
@output
def revoke(out: Out, *, subject: str, reason: str) -> int:
    """End all certificates of a NAME, or one by its id or fingerprint, with those it was renewed to.

    It acts at the next request, on connections that are open too.
    """
    with connected() as connection:
        ended = connection.ask(RevokeCredential(subject, reason))
    out.emit(ended, Facts([("principal", ended.principal), ("ended", count(len(ended.ended), "credential"))]))
    return 0


@identity.command(name="export-trust")
@click.option("-o", "--output", "target", type=ANY_PATH, required=True, metavar="FILE", help="Where to write the authorities.")
@output
def export_trust(out: Out, *, target: Path) -> int:
    """Write the authorities that clients pin; compare the fingerprint on the other machine."""
    from hermetic.crypto import x509  # noqa: PLC0415 - brings the cryptography

    with connected() as connection:
        found = connection.ask(ExportTrust())
    write_new(target, x509.to_pem(found.certificates))
    prints = _prints(found.certificates)
    document = {"domain": found.domain, "fingerprints": prints, "file": str(target)}
    out.emit(document, Facts([("domain", found.domain), ("written to", str(target)), *(("fingerprint", text) for text in prints)]))
    return 0


def _prints(certificates: tuple[bytes, ...]) -> list[str]:
    from hermetic.domain.identity_files import fingerprints  # noqa: PLC0415 - brings the cryptography

    return fingerprints(certificates)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(FILE_LIMIT)
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from None


def _emit(out: Out, found: Identity) -> None:
    who = found.identity
    facts = Facts([("name", Mark(who.name, "name")), ("id", who.id), ("roles", ", ".join(who.roles)), ("state", who.state)])
    rows = [
        (Mark(row.id, "name"), row.kind, row.state, moment(row.not_after_ms), row.serial or "-", row.fingerprint.hex())
        for row in found.credentials
    ]
    if not rows:
        asked = f"hermetic identity request {who.name}{' --kind workload' * (who.kind == 'workload')} -o {who.name}.csr"
        out.emit(found, facts, Line(f"no certificate yet: on their machine, `{asked}`"))
        return
    out.emit(found, facts, Heading("Credentials"), Table(("id", "kind", "state", "until", "serial", "fingerprint"), rows))


identity.add_command(identity_authority.authority)
identity.add_command(factor)
identity.add_command(confirm)
for _command in (identity_client.request, identity_client.install, identity_client.renew, identity_client.agent, login):
    identity.add_command(_command)
