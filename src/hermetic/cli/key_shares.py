"""`hermetic key shares …`: a recovery root whose private key is split among people."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING

import click

from hermetic.cli import key_places, terminal
from hermetic.cli.blocks import Cell, Facts, Mark, Table
from hermetic.cli.lazy import Group
from hermetic.cli.options import ANY_PATH, output, reason
from hermetic.cli.passphrase import TRIES, has_terminal
from hermetic.cli.session import connected
from hermetic.cli.words import moment
from hermetic.errors import ApprovalNeeded, NotFound, PolicyDenied, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from hermetic.cli.out import Out
    from hermetic.crypto.hpke import PrivateKey
    from hermetic.crypto.slip39 import Share
    from hermetic.domain.connect import Connection
    from hermetic.domain.recovery_roots import Added, RecoveryRootFile

ASKED = 3  # words of each share that are typed back
_FIRST, _LAST = 5, 30  # places of words that say something: before come mark and number, after them the checksum
_COLUMNS = 3
_STATE = {"active": "good", "pre-active": "warn", "deactivated": "warn", "suspended": "warn"}


@click.group(cls=Group)
def shares() -> None:
    """Recovery shares: texts of 33 words for several people, some of whom together open a backup.

    Any M of the N shares open a backup copy with `hermetic key recover`; fewer say nothing. They are SLIP-39, on paper.
    """


@shares.command()
@click.option("-n", "--count", type=int, default=5, show_default=True, help="How many shares there are.")
@click.option("-m", "--threshold", type=int, default=3, show_default=True, help="How many of them it takes.")
@click.option("--name", default="", metavar="TEXT", help="What the set is called, for people.")
@click.option("--to-folder", type=ANY_PATH, metavar="DIR", help="Write each share into a file (mode 0600) instead of showing it.")
@click.option("--replace", metavar="ROOT", help="Take this older recovery root away once the new one is active.")
@click.option("--go-on", is_flag=True, help="Go on with shares that were verified and then waited, for an approval say.")
@reason(required=False)
@output
def create(
    out: Out, *, count: int, threshold: int, name: str, to_folder: Path | None, replace: str | None, go_on: bool, reason: str
) -> int:
    """Make recovery shares, show each once, have some words typed back, and wrap every key for them.

    Nothing changes before every share was verified. With --to-folder the files are read back instead; take them apart at once, each
    to somebody else. Shares that were replaced open nothing that is copied from then on, but still open older copies of the backup.
    """
    from hermetic.domain import recovery_roots  # noqa: PLC0415 - brings the providers

    if to_folder is None and not go_on and not has_terminal():
        raise UsageError("shares are shown on a terminal, and there is none", hint="--to-folder DIR writes them into files")
    with connected() as connection:
        recovery_roots.check_none_begun(connection)
        old = None if replace is None else recovery_roots.find(connection, replace)
        private, file, paths = (None, _waiting(connection), []) if go_on else _made(connection, (count, threshold, name), to_folder)
        try:
            with out.progress("wrapping keys", None) as advance:
                done = recovery_roots.add(
                    connection, file, private, reason=reason, replace=old, progress=lambda added, _left: advance(added)
                )
        except (ApprovalNeeded, PolicyDenied):
            out.warn("the shares are good, and wait: hermetic key shares create --go-on, with the same --reason")
            raise
        key_places.warn(out, connection)
    return shown(out, done, file.opens_with(), paths)


def _waiting(connection: Connection) -> RecoveryRootFile:
    from hermetic.domain import recovery_roots  # noqa: PLC0415 - as in create

    file = recovery_roots.waiting(connection)
    if file is None or file.shares is None:
        raise NotFound("no recovery shares wait to be taken up", hint="hermetic key shares create -n 5 -m 3")
    return file


def _made(connection: Connection, what: tuple[int, int, str], folder: Path | None) -> tuple[PrivateKey, RecoveryRootFile, list[Path]]:
    """Make a key and its shares, and give them out."""
    from hermetic.crypto.hpke import PrivateKey  # noqa: PLC0415 - brings the cryptography
    from hermetic.domain import escrow, recovery_roots, share_files  # noqa: PLC0415 - bring the providers

    count, threshold, name = what
    now_ms = time.time_ns() // 1_000_000
    private = PrivateKey.generate()
    made = share_files.split(private, count, threshold)
    try:
        share_files.check(made, private)
        file = escrow.in_shares(
            connection.project.domain, private, made, name, now_ms=now_ms, check=recovery_roots.domain_check(connection)
        )
        return private, file, _handed_out(connection, made, folder)
    finally:
        for share in made:
            share.wipe()


def _handed_out(connection: Connection, made: list[Share], folder: Path | None) -> list[Path]:
    """Give the shares out and see that they can be read: from their files, or from what is typed back."""
    from hermetic.domain import share_files  # noqa: PLC0415 - as in create

    if folder is not None:
        return share_files.write(connection, folder.absolute(), made)
    for share in made:
        _show(share, len(made))
    for share in made:
        _verify(share)
    return []


def _show(share: Share, count: int) -> None:
    words = share.text().split()
    rows = -(-len(words) // _COLUMNS)
    with terminal.own_screen():
        terminal.say(f"Share {share.number} of {count}; {share.threshold} shares together open the backup. Write it down, on paper.\n")
        for row in range(rows):
            places = range(row, len(words), rows)
            terminal.say("   ".join(f"{place + 1:>2} {words[place]:<10}" for place in places))
        terminal.say()
        terminal.ask("Enter when it is written down; it is not shown again")


def _verify(share: Share) -> None:
    """Have some words, or the whole share, typed back. Raises UsageError when that fails too often."""
    words = share.text().split()
    places = sorted(secrets.SystemRandom().sample(range(_FIRST, _LAST + 1), ASKED))
    asked = ", ".join(map(str, places[:-1])) + f" and {places[-1]}"
    with terminal.own_screen():
        for left in reversed(range(TRIES)):
            typed = terminal.ask(f"From share {share.number}: words {asked} (or the whole share)").lower().split()
            if typed in ([words[place - 1] for place in places], words):
                return
            terminal.say("That is not what the share says." + (" Once more:" if left else ""))
    raise UsageError(f"share {share.number} was not typed back as it is", hint="nothing was changed: begin again, with new shares")


@shares.command(name="ls")
@output
def ls(out: Out) -> int:
    """List recovery roots: sets of shares, and keys in escrow."""
    from hermetic.domain import recovery_roots  # noqa: PLC0415 - brings the providers

    with connected() as connection:
        found = recovery_roots.listing(connection)
        fingerprint = recovery_roots.domain_fingerprint(connection)
    out.note(f"fingerprint of this domain, to know a copy of it by: {fingerprint}")
    rows = [
        (
            Mark(row.root[:8], "name"),
            row.holder,
            row.name or "-",
            f"{row.threshold} of {row.count}" if row.count else "-",
            Mark(row.state, _STATE.get(row.state, "dim")),
            f"{row.slots} of {row.keys}",
            moment(row.created_ms)[:16],
        )
        for row in found
    ]
    columns = ("root", "held in", "name", "it takes", "state", "keys", "made")
    empty = "no recovery roots: hermetic key shares create -n 5 -m 3"
    out.emit({"recovery_roots": found, "domain_fingerprint": fingerprint}, Table(columns, rows, frozenset({"keys"}), empty=empty))
    return 0


def shown(out: Out, done: Added, opens_with: str, paths: list[Path]) -> int:
    """Say what became of a new recovery root."""
    facts: list[tuple[str, Cell]] = [
        ("recovery root", Mark(done.root.root, "name")),
        ("opens with", opens_with),
        ("state", Mark(done.root.state, _STATE.get(done.root.state, "dim"))),
        ("opens", f"{done.root.slots} of {done.root.keys} keys"),
        *(("share", str(path)) for path in paths),
    ]
    if done.replaced is not None:
        facts.append(("replaced", f"{done.replaced.root.root}; {done.replaced.material}"))
    if done.problem is not None:
        out.warn(f"no backup copy can be opened with it yet: {done.problem}")
    document = {
        "root": done.root,
        "opens_with": opens_with,
        "files": [str(path) for path in paths],
        "replaced": None if done.replaced is None else done.replaced.root,
        "log_index": done.log_index,
    }
    out.emit(document, Facts(facts))
    return 0
