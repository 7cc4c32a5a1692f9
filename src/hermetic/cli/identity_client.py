"""`hermetic identity request | install | renew | agent`: what a client does on its own machine."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hermetic.cli.blocks import Cell, Facts, Line, Mark
from hermetic.cli.files import write_new
from hermetic.cli.options import ANY_PATH, output
from hermetic.cli.session import connected
from hermetic.cli.words import moment
from hermetic.errors import HermeticError, NotAuthenticated, StorageError

if TYPE_CHECKING:
    from hermetic.cli.out import Out
    from hermetic.crypto.x509 import Certificate
    from hermetic.domain.identity_files import ClientIdentity, Place
    from hermetic.domain.logging_in import Exchanged

FILE_LIMIT = 512 * 1024
TRY_AGAIN_S = 30.0  # after a renewal that failed
LONGEST_S = 3600.0  # between two looks at the clock


@click.command()
@click.argument("name")
@click.option("--kind", type=click.Choice(("person", "workload")), default="person", show_default=True, help="A person, or a program.")
@click.option("-o", "--output", "target", type=ANY_PATH, required=True, metavar="FILE", help="Where to write the signing request.")
@output
def request(out: Out, *, name: str, kind: str, target: Path) -> int:
    """Make a private key here, and a signing request for whoever issues certificates.

    The key stays on this machine, mode 0600. Asked again before `install`, the request is for the same key.
    """
    from hermetic.domain import identity_files  # noqa: PLC0415 - brings the cryptography

    here = _place()
    uri = here.uri(name, kind)
    write_new(target, identity_files.request(here.folder, uri), replace=True)
    out.emit(
        {"principal": uri, "request": str(target)},
        Facts([("for", Mark(uri, "name")), ("written to", str(target))]),
        Line(f"who may enrol: hermetic identity issue {name} --csr {target} -o {name}.pem --reason WHY"),
    )
    return 0


@click.command()
@click.argument("file", type=ANY_PATH)
@click.option("--authorities", type=ANY_PATH, metavar="FILE", help="Pin these, from `identity export-trust`, not those in FILE.")
@output
def install(out: Out, *, file: Path, authorities: Path | None) -> int:
    """Keep a certificate that was issued for the key made here, and the authorities that this client believes."""
    from hermetic.domain import identity_files  # noqa: PLC0415 - brings the cryptography

    here = _place()
    pins = None if authorities is None else _read(authorities)
    made = identity_files.install(here.folder, _read(file), here.domain, now_ms=_now_ms(), authorities=pins)
    return told(out, made)


@click.command()
@output
def renew(out: Out) -> int:
    """Get a new certificate for a fresh key, while the one in use is still good."""
    from hermetic.domain import identity_files  # noqa: PLC0415 - brings the cryptography

    here = _place()
    with connected(ask=False) as connection:
        identity_files.renew(here.folder, connection.ask, now_ms=_now_ms(), early=True)
    return told(out, identity_files.ClientIdentity.load(here.folder))


@click.command()
@click.option("--once", is_flag=True, help="Renew if it is time, and end.")
@click.option("--token-file", type=ANY_PATH, metavar="FILE", help="Log in again with the token in FILE, whenever it is a fresh one.")
@output
def agent(out: Out, *, once: bool, token_file: Path | None) -> int:
    """Renew the certificate whenever half of its time is over, for programs that only read the files.

    A certificate that came for a token is not renewed: with --token-file the agent logs in again, once something else has put a fresh
    token there. Log in first: `hermetic identity login NAME --token-file FILE`.
    """
    from hermetic.domain import identity_files, logging_in  # noqa: PLC0415 - brings the cryptography

    here, stop = _place(), threading.Event()
    tokens = None if token_file is None else logging_in.Exchanged(token_file)
    while True:
        wait = _tended(out, here, tokens, patient=tokens is not None and not once)
        if once:
            return told(out, identity_files.ClientIdentity.load(here.folder))
        stop.wait(wait)


def _tended(out: Out, here: Place, tokens: Exchanged | None = None, *, patient: bool = False) -> float:
    """Renew if it is time, or log in again; return how many seconds to wait before the next look.

    Raises when the certificate is over, unless `patient`: tokens come by themselves, maybe late.
    """
    from hermetic.domain import identity_files  # noqa: PLC0415 - brings the cryptography

    found = identity_files.ClientIdentity.load(here.folder).certificate()
    if _now_ms() < identity_files.due_ms(found):
        return _until_due(found)
    try:
        if tokens is None:
            with connected(ask=False) as connection:
                identity_files.renew(here.folder, connection.ask, now_ms=_now_ms())
        elif not tokens.log_in(here, now_ms=_now_ms()) and _now_ms() >= found.end_ms:
            raise NotAuthenticated("the certificate is over, and the token is the one of before", hint=f"who exchanges {tokens.path}?")
    except HermeticError as error:
        if _now_ms() >= found.end_ms and not patient:
            raise
        out.warn(f"not renewed, and tried again: {error}")
        return TRY_AGAIN_S
    found = identity_files.ClientIdentity.load(here.folder).certificate()
    return TRY_AGAIN_S if _now_ms() >= identity_files.due_ms(found) else _until_due(found)


def _until_due(found: Certificate) -> float:
    from hermetic.domain import identity_files  # noqa: PLC0415 - brings the cryptography

    return min(LONGEST_S, max(1.0, (identity_files.due_ms(found) - _now_ms()) / 1000))


def told(out: Out, made: ClientIdentity) -> int:
    """Say which certificate is in use."""
    from hermetic.domain.identity_files import fingerprints  # noqa: PLC0415 - brings the cryptography

    found, prints = made.certificate(), fingerprints(made.pinned())
    document = {"principal": found.uris[0], "not_after_ms": found.end_ms, "chain": str(made.chain), "authorities": prints}
    facts: list[tuple[str, Cell]] = [("for", Mark(found.uris[0], "name")), ("until", moment(found.end_ms))]
    facts += [("kept in", str(made.chain.parent)), *(("believes", text) for text in prints)]
    out.emit(document, Facts(facts))
    return 0


def _place() -> Place:
    from hermetic.domain import identity_files  # noqa: PLC0415 - brings the cryptography

    return identity_files.place(Path.cwd())


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(FILE_LIMIT)
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from None


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
