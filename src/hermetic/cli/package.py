"""`hermetic package …`: a version for people outside the domain, in one sealed and signed file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hermetic.cli.blocks import Cell, Facts, Mark
from hermetic.cli.lazy import Group
from hermetic.cli.options import ANY_PATH, DATA_CLASS, days, environment, output, passphrase_file, reason
from hermetic.cli.package_list import ls
from hermetic.cli.passphrase import asker
from hermetic.cli.session import connected, workspace
from hermetic.cli.words import moment, size
from hermetic.errors import Conflict, NotFound, StorageError

if TYPE_CHECKING:
    from pathlib import Path

    from hermetic.cli.out import Out
    from hermetic.domain.packages import Sender


@click.group(cls=Group)
def package() -> None:
    """A version for people outside the domain, in one sealed file.

    The recipient makes a key once (`key`) and sends its public file; the sender makes a file that says who signs (`sender`). Both are
    compared by fingerprint over another way, since neither is secret and anybody could send one.
    """


package.add_command(ls)


@package.command()
@click.argument("file", type=ANY_PATH)
@click.option("--name", required=True, metavar="WHO", help="What you are called; it stands in the public file.")
@passphrase_file()
@output
def key(out: Out, *, file: Path, name: str, passphrase_file: Path | None) -> int:
    """Make a key that packages can be sealed to.

    FILE gets the private key under a passphrase, FILE.pub the public key, which you give to whoever sends you packages.
    """
    from hermetic.domain.escrow import new_key  # noqa: PLC0415 - brings cryptography

    public, recipient = new_key(file, name, asker(passphrase_file, confirm=True, label="passphrase of the new key")())
    facts: list[tuple[str, Cell]] = [
        ("private key", str(file)),
        ("public key", Mark(str(public), "name")),
        ("fingerprint", recipient.fingerprint),
    ]
    out.emit({"private": str(file), "public": str(public), "fingerprint": recipient.fingerprint}, Facts(facts))
    return 0


@package.command()
@click.argument("file", type=ANY_PATH)
@output
def sender(out: Out, *, file: Path) -> int:
    """Write what recipients need to know of this domain into FILE: the keys that sign its packages."""
    from hermetic.domain.packages import sender_of  # noqa: PLC0415 - see key

    with connected() as connection:
        found = sender_of(connection.pins)
    _write_new(file, found.encode())
    facts: list[tuple[str, Cell]] = [
        ("written", Mark(str(file), "name")),
        ("domain", found.domain),
        ("fingerprint", found.fingerprint),
    ]
    out.emit({"file": str(file), "domain": found.domain, "fingerprint": found.fingerprint}, Facts(facts))
    return 0


@package.command()
@click.argument("ref")
@click.argument("file", type=ANY_PATH)
@click.option("--to", "recipients", type=ANY_PATH, multiple=True, required=True, metavar="FILE", help="A recipient's public file.")
@click.option("--days", "good_for", type=days, default="30d", show_default=True, help="How long it can be opened.")
@reason()
@environment()
@output
def create(out: Out, *, ref: str, file: Path, recipients: tuple[Path, ...], good_for: int, reason: str) -> int:
    """Seal a version to people and write it into the new FILE.

    They get this version and nothing else; what they have opened they keep. Sharing goes on record, and mostly needs approval.
    """
    from hermetic.assets.packages import create as write  # noqa: PLC0415 - see key
    from hermetic.domain.escrow import read_recipient  # noqa: PLC0415
    from hermetic.formats.messages.packages import RecipientKey  # noqa: PLC0415

    people = [read_recipient(path) for path in recipients]
    with workspace() as h:
        keys = [RecipientKey(one.name, one.public) for one in people]
        made = write(h.session, ref, keys, file.absolute(), days=good_for, reason=reason)
    out.warn("compare each fingerprint with its owner, by another way than the file came")
    facts: list[tuple[str, Cell]] = [
        ("package", Mark(str(file), "name")),
        ("of", made.shared.ref),
        *(("for", f"{one.name}, key {one.fingerprint}") for one in people),
        ("until", moment(made.shared.expires_ms)),
        ("size", size(made.size)),
    ]
    document = {
        "package": made.shared.package,
        "file": str(file),
        "ref": made.shared.ref,
        "recipients": [{"name": one.name, "fingerprint": one.fingerprint} for one in people],
        "expires_ms": made.shared.expires_ms,
        "bytes": made.size,
        "log_index": made.shared.receipt.index,
    }
    out.emit(document, Facts(facts))
    return 0


@package.command(name="open")
@click.argument("file", type=ANY_PATH)
@click.option(
    "--from", "sender_file", type=ANY_PATH, required=True, metavar="FILE", help="Who signs: what the sender wrote by `sender`."
)
@click.option("--key", "key_file", type=ANY_PATH, required=True, metavar="FILE", help="Your private key.")
@click.option("--as", "name", metavar="NAME", help="The asset it becomes here; what the sender called it, if nothing is said.")
@click.option("--class", "data_class", type=DATA_CLASS, help="Its class here; what the sender called it, if nothing is said.")
@click.option("--owner", metavar="WHO", help="Who answers for it here; you, if nothing is said.")
@passphrase_file()
@output
def open_(
    out: Out,
    *,
    file: Path,
    sender_file: Path,
    key_file: Path,
    name: str | None,
    data_class: str | None,
    owner: str | None,
    passphrase_file: Path | None,
) -> int:
    """Verify a package and seal what it holds into this domain.

    Nothing is written to disk in plaintext. The version is sealed under keys of this domain; the sender's are not kept.
    """
    from hermetic.assets.packages import open_package  # noqa: PLC0415 - see key
    from hermetic.domain.escrow import open_key  # noqa: PLC0415

    known = _sender(sender_file)
    private = open_key(key_file, asker(passphrase_file, label="passphrase of your key")())
    try:
        with workspace() as h:
            sealed, opened = open_package(h.session, file, (known, private), wanted=(name, data_class, owner))
    finally:
        private.wipe()
    facts: list[tuple[str, Cell]] = [
        ("sealed", Mark(sealed.ref, "name")),
        ("class", sealed.data_class),
        ("owner", sealed.owner),
        ("from domain", opened.statement.domain),
        ("was", f"{opened.openings.name.value}@{opened.statement.number}"),
    ]
    document = {
        "ref": sealed.ref,
        "data_class": sealed.data_class,
        "owner": sealed.owner,
        "package": opened.statement.package,
        "from_domain": opened.statement.domain,
        "was": f"{opened.openings.name.value}@{opened.statement.number}",
        "log_index": sealed.receipt.index,
    }
    out.emit(document, Facts(facts))
    return 0


def _sender(path: Path) -> Sender:
    from hermetic.domain.packages import SENDER_LIMIT, Sender  # noqa: PLC0415 - see key

    try:
        with path.open("rb") as file:
            return Sender.decode(file.read(SENDER_LIMIT + 1))
    except FileNotFoundError:
        raise NotFound(f"{path} does not exist", hint="the sender makes it: hermetic package sender FILE") from None
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from None


def _write_new(path: Path, content: bytes) -> None:
    try:
        with path.open("xb") as file:
            file.write(content)
    except FileExistsError:
        raise Conflict(f"{path} exists", hint="name a new file") from None
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}") from None
