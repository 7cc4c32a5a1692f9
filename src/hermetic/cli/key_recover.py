"""`hermetic key recover`: a domain back from its backup with shares or an escrow key; or a trial that changes nothing."""

from __future__ import annotations

import contextlib
import functools
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from hermetic.cli import terminal
from hermetic.cli.options import ANY_PATH, output, passphrase_file, reason
from hermetic.cli.passphrase import asker, has_terminal
from hermetic.cli.restore import DEFAULT_ROOT, came_back, tried
from hermetic.cli.session import connected, new_project, own_custody
from hermetic.errors import HermeticError, NotFound, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hermetic.cli.out import Out
    from hermetic.crypto.hpke import PrivateKey
    from hermetic.crypto.slip39 import Share
    from hermetic.domain.vouching import Vouching

TRIES = 5  # how often one share may be typed


@dataclass(frozen=True, slots=True)
class Brought:
    """What whoever recovers brings: the key, read or asked for when called; and what is known of the domain."""

    key: Callable[[], PrivateKey]
    fingerprint: str | None
    unverified: bool

    def known(self) -> Vouching:
        """Return what tells whether a copy is of the domain. Raises UsageError for a fingerprint that is none."""
        from hermetic.domain.vouching import Vouching, parsed_fingerprint  # noqa: PLC0415 - brings the cryptography

        return Vouching(fingerprint=self.fingerprint and parsed_fingerprint(self.fingerprint), unverified=self.unverified)


def brought(function: Callable[..., int]) -> Callable[..., int]:
    """Give a command the options that bring a recovery key, and hand it `key`: a `Brought`."""

    @click.option(
        "--share-file",
        "share_files",
        type=ANY_PATH,
        multiple=True,
        metavar="FILE",
        help="Read a share from FILE (mode 0600); once for each.",
    )
    @click.option("--domain-fingerprint", metavar="FINGERPRINT", help="Take only a copy of the domain with this fingerprint.")
    @click.option("--unverified", is_flag=True, help="Take a copy for which nothing vouches, as a finding and on record.")
    @click.option("--escrow-key", type=ANY_PATH, metavar="FILE", help="Open the copy with the private key in FILE, held in escrow.")
    @passphrase_file("escrow-passphrase")
    @functools.wraps(function)
    def command(
        *given: Any,
        share_files: tuple[Path, ...],
        escrow_key: Path | None,
        escrow_passphrase_file: Path | None,
        domain_fingerprint: str | None,
        unverified: bool,
        **named: Any,
    ) -> int:
        if escrow_key is not None and share_files:
            raise UsageError("a copy is opened with shares or with an escrow key, not with both")

        def key() -> PrivateKey:
            return _escrow(escrow_key, escrow_passphrase_file) if escrow_key is not None else _from_shares(share_files)

        return function(*given, key=Brought(key, domain_fingerprint, unverified), **named)

    return command


@click.command()
@click.option("--from", "place", type=ANY_PATH, metavar="DIR", help="The backup place; with --check by default the one in use.")
@click.option("--root", "root", metavar="URI", default=DEFAULT_ROOT, show_default=True, help="Where the new root key lives.")
@passphrase_file()
@click.option("--with-objects", is_flag=True, help="Bring sealed objects back too; with --check: open from those in the backup place.")
@click.option("--check", is_flag=True, help="Only try: open an asset from the copy, in memory, and put that on record.")
@reason(required=False)
@output
@brought
def recover(
    out: Out,
    *,
    place: Path | None,
    key: Brought,
    root: str,
    passphrase_file: Path | None,
    with_objects: bool,
    check: bool,
    reason: str,
) -> int:
    """Bring a domain back from its backup with recovery shares, or with a key held in escrow.

    Run it in the project's folder on the new machine, which needs nothing else. Shares that are not in files are asked for on the
    terminal. A new root key is made; the lost one is suspended, and recovery roots go on. A copy that is older than what you have
    seen, or whose newest index is damaged, is taken only with --reason.

    Shares tell themselves whether the copy is of their domain. An escrow key opens whatever was sealed to it: give the fingerprint of
    the domain that was kept with it.

    Without --check the recovered domain takes over the backup place, and the old machine cannot write there any more: rehearse with
    --check, or with --from and a copy of the place.
    """
    if check:
        if key.fingerprint or key.unverified:
            raise UsageError(
                "a trial compares the copy with the domain itself: it takes neither --domain-fingerprint nor --unverified"
            )
        return _check(out, place, key.key, with_objects=with_objects)
    if place is None:
        raise UsageError("name the backup place", hint="--from DIR")
    own_custody()
    from hermetic.domain.home import Home  # noqa: PLC0415 - with the next
    from hermetic.domain.restore import restore_domain  # noqa: PLC0415 - brings the database

    known = key.known()
    fresh = asker(passphrase_file, confirm=True, label="passphrase for the new root key") if _can_ask(passphrase_file) else None
    if root == DEFAULT_ROOT and fresh is None:
        raise UsageError("the new root key needs a passphrase", hint="use a terminal, --passphrase-file FILE, or another --root URI")
    with _wiped(key.key) as once:
        done = restore_domain(
            place.absolute(),
            Home.locate(os.environ),
            new_project(),
            once,
            provider_uri=root,
            ask=fresh,
            reason=reason or None,
            known=known,
        )
    return came_back(out, done, place, passphrase_file if with_objects else False)


@contextlib.contextmanager
def _wiped(key: Callable[[], PrivateKey]) -> Iterator[Callable[..., PrivateKey]]:
    """Lend what brings the key; whatever it brought is wiped at the end, also after a refusal."""
    brought: list[PrivateKey] = []

    def once(*_prompt: str) -> PrivateKey:
        brought.append(key())
        return brought[-1]

    try:
        yield once
    finally:
        for private in brought:
            private.wipe()


def _can_ask(file: Path | None) -> bool:
    return file is not None or has_terminal()


def _escrow(file: Path, passphrase: Path | None) -> PrivateKey:
    from hermetic.domain import escrow  # noqa: PLC0415 - brings the cryptography

    ask = asker(passphrase, label=f"passphrase of {file}", option="--escrow-passphrase-file")
    passphrase_given = ask()
    try:
        return escrow.open_key(file, passphrase_given)
    finally:
        passphrase_given.wipe()


def _from_shares(files: tuple[Path, ...]) -> PrivateKey:
    """Return the key that shares give back: those in files, and on a terminal as many more as it takes."""
    from hermetic.domain import share_files  # noqa: PLC0415 - brings the cryptography

    found = [share_files.read(path) for path in files]
    if not found and not has_terminal():
        raise UsageError(
            "shares are needed and there is no terminal to ask on", hint="use --share-file FILE for each, or --escrow-key"
        )
    if has_terminal():
        with terminal.own_screen():
            while not found or len(found) < found[0].threshold:
                found.append(_typed(found))
    try:
        return share_files.joined(found)
    finally:
        for share in found:
            share.wipe()


def _typed(before: list[Share]) -> Share:
    """Ask for one more share, again if it will not do. Raises the last error after TRIES."""
    from hermetic.crypto import slip39  # noqa: PLC0415 - only shares need it
    from hermetic.crypto.secret import Secret  # noqa: PLC0415 - with it

    number = len(before) + 1
    still = f", {before[0].threshold} of the set are needed" if before else ""
    for left in reversed(range(TRIES)):
        try:
            raw = terminal.ask(f"Share {number} ({slip39.WORDS} words{still})")
            share = slip39.parse(Secret(raw.encode("utf-8", "replace")), f"share {number}")
            slip39.check_fits(before, share)
        except HermeticError as error:
            if not left:
                raise
            terminal.say(error.diagnostics())
        else:
            return share
    raise UsageError("no share was typed")


def _check(out: Out, place: Path | None, key: Callable[[], PrivateKey], *, with_objects: bool) -> int:
    from hermetic.recovery.trial import try_copy  # noqa: PLC0415 - brings the database

    with connected() as connection:
        chosen = place.absolute() if place is not None else connection.config.backup_place
        if chosen is None:
            raise NotFound("this domain has no backup place", hint="--from DIR, or `backup: {place: DIR}` in config.yaml")
        private = key()
        try:
            return tried(out, try_copy(connection, chosen, private, objects=with_objects))
        finally:
            private.wipe()
