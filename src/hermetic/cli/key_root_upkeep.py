"""`hermetic key root compromise` and `rewrap`: a root that somebody else has, and one whose key was rotated in its service."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hermetic.cli import key_places
from hermetic.cli.blocks import Cell, Facts, Mark
from hermetic.cli.options import output, reason
from hermetic.cli.session import connected
from hermetic.cli.words import count
from hermetic.domain.listing import every
from hermetic.errors import NotFound, UsageError
from hermetic.formats.messages.keys import ListKeys
from hermetic.formats.messages.roots import ListRoots, SetRootState

if TYPE_CHECKING:
    from hermetic.cli.out import Out
    from hermetic.domain.connect import Connection
    from hermetic.formats.messages.roots import RootRow

STATE = {"active": "good", "pre-active": "warn", "suspended": "warn", "compromised": "bad", "destroyed": "dim"}
_OVER = {"compromised", "destroyed"}


def find_root(connection: Connection, text: str) -> RootRow:
    """Return the root whose id starts with `text`. Raises NotFound, UsageError."""
    found = [row for row in connection.ask(ListRoots()).roots if row.root.startswith(text)]
    if not found or not text:
        raise NotFound(f"no root {text!r}", hint="`hermetic key root ls` lists them; four letters of an id are enough")
    if len(found) > 1:
        raise UsageError(f"{text!r} names {count(len(found), 'root')}", hint="write more of the id")
    return found[0]


@click.command()
@click.argument("root")
@reason()
@output
def compromise(out: Out, *, root: str, reason: str) -> int:
    """Somebody else has this root, or may have: wrap nothing more under it, and open through it for recovery only.

    That takes nothing back. Whoever has the root, and a copy of the database or of the backup place, opens everything that was sealed
    until now; `key compromise` seals anew what hung on a key. `status` says what is left to do, also after `key root drop`.
    """
    with connected() as connection:
        changed = connection.ask(SetRootState(find_root(connection, root).root, "compromise", reason))
        keys = [row for row in every(connection.ask, ListKeys(), "keys") if any(one.state not in _OVER for one in row.versions)]
    commands = [f"hermetic key compromise {row.kek} --reason TEXT" for row in keys]
    facts: list[tuple[str, Cell]] = [
        ("compromised", Mark(changed.root.root, "name")),
        ("provider", changed.root.provider),
        ("state", Mark(changed.root.state, STATE.get(changed.root.state, "dim"))),
        ("opened", f"everything: the domain secret, {count(changed.root.slots, 'key')}, all that was sealed until now"),
        ("first", "hermetic key signing rotate log --compromised-after ENTRY, and manifest"),
        *(("then", command) for command in commands),
        ("runbook", "docs/runbooks/root-stolen.md"),
    ]
    index = None if changed.receipt is None else changed.receipt.index
    out.emit({"root": changed.root, "keks": [row.kek for row in keys], "log_index": index}, Facts(facts))
    return 0


@click.command()
@click.argument("root")
@click.option("--restart", is_flag=True, help="Begin anew where an earlier run was interrupted: the key was rotated once more since.")
@reason(required=False)
@output
def rewrap(out: Out, *, root: str, restart: bool, reason: str) -> int:
    """Bring every wrap under a root to the newest version of its key, after that was rotated inside its service.

    Wraps of KEKs, of signing keys and of the domain secret; each is opened before the old one goes. Interrupted, the same command goes
    on. Data keys of a KEK that lives in the root alone are not among them: `hermetic key rotate KEK` moves those.
    """
    from hermetic.domain import root_moves  # noqa: PLC0415 - brings the providers

    with connected() as connection, out.progress("wrapping keys", None) as advance:
        row = find_root(connection, root)
        done, last = root_moves.rewrap(
            connection, row.root, reason=reason, restart=restart, progress=lambda made, _left: advance(made)
        )
        for alone in (pair.value for pair in last.root.findings if pair.name == key_places.ALONE):
            out.warn(f"{alone}, and stay under the old version of its key until `hermetic key rotate KEK` moves them")
    facts: list[tuple[str, Cell]] = [
        ("rewrapped", Mark(row.root, "name")),
        ("provider", row.provider),
        ("wraps", f"{done - 1} of {count(last.root.slots, 'key')} in this run, and that of the domain secret"),
        ("now", last.root.detail or last.root.status),
    ]
    out.emit({"root": last.root, "rewrapped": done, "log_index": last.receipt.index}, Facts(facts))
    return 0
