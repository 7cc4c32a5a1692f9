"""`hermetic init`: a new domain in this folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hermetic.cli import findings as findings_blocks
from hermetic.cli.blocks import Block, Facts, Heading, Mark
from hermetic.cli.options import ANY_PATH, output, passphrase_file
from hermetic.cli.passphrase import asker, from_file, from_terminal, has_terminal
from hermetic.cli.session import new_project
from hermetic.errors import NotFound, UsageError
from hermetic.ids import as_word

if TYPE_CHECKING:
    from hermetic.cli.out import Out
    from hermetic.crypto.secret import Secret
    from hermetic.domain.create import Created

NEEDS_UNLOCK = "local:passphrase"
_LONGEST = 63  # characters of a project's name
ROOTS = {
    NEEDS_UNLOCK: "a passphrase that you type once a day (Argon2id)",
    "local:keyring": "the keyring of your desktop",
    "local:insecure-file": "a plain file: for development only",
}


@click.command()
@click.option(
    "--root",
    "root",
    metavar="URI",
    help=f"Where the root key lives: {', '.join(ROOTS)}, or the URI of an HSM, a TPM or a key service.",
)
@click.option(
    "--root-setting", "settings", metavar="NAME=VALUE", multiple=True, help="How the root's provider is reached; kept in config.yaml."
)
@click.option("--project", metavar="NAME", help="Name of the project; made from the folder's name if nothing is said.")
@click.option("--database", metavar="URL", help="An empty database of a PostgreSQL server: postgresql://HOST/NAME. Never a password.")
@click.option("--backup", type=ANY_PATH, metavar="DIR", help="Where an encrypted copy of custody is kept up to date.")
@passphrase_file()
@passphrase_file("recovery-passphrase")
@output
def init(
    out: Out,
    *,
    root: str | None,
    settings: tuple[str, ...],
    project: str | None,
    database: str | None,
    backup: Path | None,
    passphrase_file: Path | None,
    recovery_passphrase_file: Path | None,
) -> int:
    """Create a domain here: policy, keys, custody database.

    Writes hermetic.yaml, policies/ and the store folder sealed/, which .gitignore keeps out of git. Keys and records live
    elsewhere, never in the project. On a terminal it asks for what is missing.
    """
    folder = new_project()
    name = project if project is not None else as_word(folder.name, "project")[:_LONGEST]
    uri = root if root is not None else _choose_root(out)
    if ":" not in uri:
        raise UsageError(f"{uri!r} does not say where a root key lives", hint=f"write {', '.join(ROOTS)}")
    place = backup if backup is not None or root is not None else _choose_backup(out)
    recovery = _recovery(recovery_passphrase_file, place)
    from hermetic.domain.create import create_domain  # noqa: PLC0415 - brings the database and its migrations

    created = create_domain(
        folder,
        provider_uri=uri,
        project_name=name,
        ask=asker(passphrase_file, confirm=True, label="passphrase that unlocks the root key on this machine"),
        backup=place.resolve() if place is not None else None,
        recovery_passphrase=recovery,
        settings=parsed_settings(settings),
        database=database,
    )
    if project is None and name != folder.name:
        out.warn(f"the project is called {name}, since names have no other signs; --project NAME gives it another")
    if (outer := _project_around(folder)) is not None:
        out.warn(f"{outer} is a project with a domain of its own: below {folder}, commands now use the new one")
    out.emit(_document(created, folder, place), *_blocks(created, folder, uri))
    return 0


def parsed_settings(given: tuple[str, ...]) -> dict[str, str]:
    """Return NAME=VALUE pairs as settings. Raises UsageError."""
    pairs = [item.partition("=") for item in given]
    for name, equals, value in pairs:
        if not name or not equals or not value:
            raise UsageError(
                "a setting is NAME=VALUE", hint="--root-setting address=https://HOST:8200; secrets lie in files that it names"
            )
    return {name: value for name, _, value in pairs}


def _project_around(folder: Path) -> Path | None:
    from hermetic.domain.project import find_root  # noqa: PLC0415 - brings the policy

    try:
        return find_root(folder.parent)
    except NotFound:
        return None


def _choose_root(out: Out) -> str:
    """Ask which root to use. Raises UsageError without a terminal."""
    if not has_terminal():
        raise UsageError(
            "say where the root key lives", hint="--root local:passphrase or local:keyring; --root local:insecure-file for development"
        )
    out.note("Where should the root key live?")
    for number, (uri, meaning) in enumerate(ROOTS.items(), 1):
        out.note(f"  {number}  {uri:<20} {meaning}")
    answer: int = click.prompt("Number", type=click.IntRange(1, len(ROOTS)), default=1, err=True)
    return list(ROOTS)[answer - 1]


def _choose_backup(out: Out) -> Path | None:
    if not has_terminal():
        return None
    out.note("Without a backup of custody, losing this machine means losing everything sealed.")
    answer: str = click.prompt("Folder for the encrypted backup (empty: none)", default="", show_default=False, err=True)
    return Path(answer).expanduser() if answer else None


def _recovery(file: Path | None, place: Path | None) -> Secret | None:
    """Return the passphrase that opens the backup on another machine; asked for on a terminal when there is a backup."""
    if file is not None:
        return from_file(file)
    if place is None or not has_terminal():
        return None
    if not click.confirm("Set a recovery passphrase, which opens the backup on another machine?", default=True, err=True):
        return None
    return from_terminal("recovery passphrase, to keep elsewhere", confirm=True)


def _document(created: Created, folder: Path, place: Path | None) -> dict[str, object]:
    return {
        "domain": created.domain_id,
        "project": created.project,
        "folder": str(folder),
        "backup": str(place) if place is not None else None,
        "findings": created.findings,
    }


def _blocks(created: Created, folder: Path, uri: str) -> list[Block]:
    opened = "when the root is locked again: in eight hours, or after `hermetic lock`"
    steps = [
        *([("hermetic unlock --for 8h", opened)] if uri == NEEDS_UNLOCK else []),
        ("hermetic scan", "what lies here unprotected"),
        ("hermetic seal FILE --as dataset/NAME --class restricted", "you answer for it; --owner names somebody else"),
        ("hermetic status", "are we safe yet?"),
    ]
    return [
        Facts([("created", Mark(str(folder), "name")), ("domain", created.domain_id), ("root", uri)]),
        *(findings_blocks.blocks(created.findings) if created.findings else ()),
        Heading("Next"),
        Facts(steps, 2),
    ]
