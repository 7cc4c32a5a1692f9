"""`hermetic key escrow …`: a recovery root whose private key somebody else holds, and the key pairs for it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from hermetic.cli import key_places
from hermetic.cli.blocks import Facts, Mark
from hermetic.cli.key_shares import shown
from hermetic.cli.lazy import Group
from hermetic.cli.options import ANY_PATH, output, passphrase_file, reason
from hermetic.cli.passphrase import asker
from hermetic.cli.session import connected
from hermetic.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from hermetic.cli.out import Out


@click.group(cls=Group, invoke_without_command=True)
@click.option("--to", "to", type=ANY_PATH, metavar="FILE", help="The public key of whoever is to hold the escrow.")
@click.option("--replace", metavar="ROOT", help="Take this older recovery root away once the new one is active.")
@reason(required=False)
@output
@click.pass_context
def escrow(ctx: click.Context, out: Out, *, to: Path | None, replace: str | None, reason: str) -> int:
    """Wrap every key for somebody else's public key: with the private one they open a backup copy.

    They make the pair with `hermetic key escrow key new FILE` and hand over FILE.pub. Compare the fingerprint with them by another
    way than the file came: whoever exchanged it would hold the escrow. Give them the fingerprint of the domain, to know its copies by.
    """
    if ctx.invoked_subcommand is not None:
        return 0
    if to is None:
        raise UsageError(
            "say whose public key", hint="hermetic key escrow --to FILE.pub; they make it with hermetic key escrow key new FILE"
        )
    from hermetic.domain import escrow as keys  # noqa: PLC0415 - brings the cryptography
    from hermetic.domain import recovery_roots  # noqa: PLC0415 - brings the providers

    recipient = keys.read_recipient(to)
    with connected() as connection:
        recovery_roots.check_none_begun(connection)
        old = None if replace is None else recovery_roots.find(connection, replace)
        begun = recovery_roots.waiting(connection)
        same = begun is not None and begun.shares is None and (begun.public, begun.name) == (recipient.public, recipient.name)
        fresh = keys.in_escrow(connection.project.domain, recipient, now_ms=time.time_ns() // 1_000_000)
        file = begun if begun is not None and same else fresh
        with out.progress("wrapping keys", None) as advance:
            done = recovery_roots.add(connection, file, reason=reason, replace=old, progress=lambda added, _left: advance(added))
        key_places.warn(out, connection)
        known = recovery_roots.domain_fingerprint(connection)
    out.note(f"fingerprint of this domain, which {recipient.name} keeps with the key: {known}")
    out.note(f"fingerprint of the key of {recipient.name}: {recipient.fingerprint}")
    return shown(out, done, f"the escrow key of {recipient.name}", [])


@escrow.group(cls=Group)
def key() -> None:
    """Key pairs of those to whom things are sealed."""


@key.command()
@click.argument("file", type=ANY_PATH)
@click.option("--name", required=True, metavar="WHO", help="Who holds the key; it stands in both files.")
@passphrase_file()
@output
def new(out: Out, *, file: Path, name: str, passphrase_file: Path | None) -> int:
    """Make a key pair: FILE is private, under a passphrase, and FILE.pub is public.

    Needs no domain. Whoever loses FILE or its passphrase opens nothing any more; keep a copy.
    """
    from hermetic.domain import escrow as keys  # noqa: PLC0415 - brings the cryptography

    passphrase = asker(passphrase_file, confirm=True, label=f"passphrase for {file}")()
    try:
        public, recipient = keys.new_key(file.absolute(), name, passphrase)
    finally:
        passphrase.wipe()
    facts = [("private", str(file)), ("public", str(public)), ("holder", recipient.name)]
    document = {"private": str(file), "public": str(public), "name": recipient.name, "fingerprint": recipient.fingerprint}
    out.emit(document, Facts([*facts, ("fingerprint", Mark(recipient.fingerprint, "name"))]))
    return 0
