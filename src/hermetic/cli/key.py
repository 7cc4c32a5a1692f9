"""`hermetic key …`: key-encryption keys."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from hermetic.cli import (
    key_certificates,
    key_compromise,
    key_destroy,
    key_escrow,
    key_recover,
    key_roots,
    key_schedule,
    key_shares,
    key_signing,
)
from hermetic.cli.blocks import Block, Cell, Facts, Heading, Line, Mark, Table
from hermetic.cli.key_places import homes
from hermetic.cli.lazy import Group
from hermetic.cli.options import output, reason
from hermetic.cli.session import connected
from hermetic.cli.words import count, moment, span
from hermetic.domain.listing import every
from hermetic.errors import Conflict
from hermetic.formats.messages.keys import ChangeKeyState, ListKeys, RewrapKey, RotateKey, ShowKey
from hermetic.ids import KeyState

if TYPE_CHECKING:
    from hermetic.cli.out import Out
    from hermetic.domain.connect import Connection
from hermetic.formats.messages.keys import KeyRow, KeyVersionRow

_SHOWN = 3  # assets in a note
_NEAR = 50  # percent of what a version may wrap, from where on it is shown
_REQUEST = 20_000  # data keys in one request of a campaign
_STATE = {"active": "good", "suspended": "warn", "compromised": "bad", "destroyed": "bad"}


@click.group(cls=Group)
def key() -> None:
    """Keys and roots: rotate, suspend, revoke, destroy, shred, recover.

    Key-encryption keys: one for each environment, class and project; KEK is its id or the beginning of it.
    """


@key.command(name="ls")
@output
def ls(out: Out) -> int:
    """List the keys and what hangs on each.

    `rotate` is when the newest version is due, `on it` how many of the data keys that version holds.
    """
    with connected() as connection:
        found = every(connection.ask, ListKeys(), "keys")
    rows = [
        (
            Mark(row.kek[:8], "name"),
            row.environment,
            row.data_class,
            row.project,
            _state(row.state),
            _newest(row),
            _due(row),
            sum(version.data_keys for version in row.versions),
            _coverage(row),
            len(row.assets),
            row.owner,
            moment(row.last_use_ms)[:16],
        )
        for row in found
    ]
    columns = (
        "key",
        "environment",
        "class",
        "project",
        "state",
        "version",
        "rotate",
        "data keys",
        "on it",
        "assets",
        "owner",
        "last use",
    )
    out.emit(
        {"keys": found},
        Table(columns, rows, frozenset({"data keys", "on it", "assets"}), empty="no keys yet: the first seal makes one"),
    )
    return 0


@key.command()
@click.argument("kek")
@output
def show(out: Out, *, kek: str) -> int:
    """Show one key, its versions and its blast radius."""
    with connected() as connection:
        row = connection.ask(ShowKey(kek))
    out.emit(row, *_details(row))
    return 0


@key.command()
@click.argument("kek")
@click.option("--rewrap/--no-rewrap", "rewrapping", default=True, help="Move old data keys to the new version now (default).")
@reason(required=False)
@output
def rotate(out: Out, *, kek: str, rewrapping: bool, reason: str) -> int:
    """Give a key a new version for new data.

    With rewrap, old data keys move to it too; sealed bytes and signatures stay as they are. Rewrap is not revocation: who copied an
    old data key keeps it.
    """
    with connected() as connection:
        changed = connection.ask(RotateKey(kek, reason))
        moved = _rewrap(connection, out, changed.key, reason) if rewrapping else 0
        row = connection.ask(ShowKey(changed.key.kek))
    _tell_stolen(out, row)
    out.emit({"key": row, "moved": moved, "log_index": changed.receipt.index}, *_changed("rotated", row, moved))
    return 0


@key.command()
@click.argument("kek")
@reason(required=False)
@output
def rewrap(out: Out, *, kek: str, reason: str) -> int:
    """Move data keys to the key's newest version.

    Resumable: an interrupted campaign goes on where it stopped.
    """
    with connected() as connection:
        moved = _rewrap(connection, out, connection.ask(ShowKey(kek)), reason)
        row = connection.ask(ShowKey(kek))
    _tell_stolen(out, row)
    out.emit({"key": row, "moved": moved}, *_changed("rewrapped", row, moved))
    return 0


@key.command()
@click.argument("kek")
@reason()
@output
def suspend(out: Out, *, kek: str, reason: str) -> int:
    """Stop releases under a key for now; `key resume` takes it back."""
    return _change(out, kek, "suspend", reason)


@key.command()
@click.argument("kek")
@reason()
@output
def resume(out: Out, *, kek: str, reason: str) -> int:
    """Let a suspended key be used again."""
    return _change(out, kek, "resume", reason)


@key.command()
@click.argument("kek")
@reason()
@output
def revoke(out: Out, *, kek: str, reason: str) -> int:
    """End the use of a key's present version; leases end at their next check.

    What is sealed under it is opened afterwards for --purpose recover only, by those who may: seal it anew, under another key.
    """
    return _change(out, kek, "revoke", reason)


key.add_command(key_schedule.set_)
key.add_command(key_signing.signing)
key.add_command(key_roots.root)
key.add_command(key_roots.providers)
key.add_command(key_compromise.compromise)
key.add_command(key_destroy.destroy)
key.add_command(key_destroy.shred)
key.add_command(key_certificates.certificate)
key.add_command(key_certificates.copies_destroyed)
key.add_command(key_certificates.package_destroyed)
key.add_command(key_shares.shares)
key.add_command(key_escrow.escrow)
key.add_command(key_recover.recover)


def _change(out: Out, kek: str, verb: str, reason: str) -> int:
    with connected() as connection:
        changed = connection.ask(ChangeKeyState(kek, verb, reason))
    lost = sum(item.data_keys for item in changed.key.versions if item.state == KeyState.COMPROMISED)
    if verb == "revoke" and lost:
        names = ", ".join(changed.key.assets[:_SHOWN]) + (", …" if len(changed.key.assets) > _SHOWN else "")
        out.warn(f"{count(lost, 'version')} of {names} can be opened for --purpose recover only: seal the data anew")
    done = {"suspend": "suspended", "resume": "resumed", "revoke": "revoked"}[verb]
    out.emit({"key": changed.key, "log_index": changed.receipt.index}, *_changed(done, changed.key, None))
    return 0


def _tell_stolen(out: Out, row: KeyRow) -> None:
    """Say of data keys under revoked versions that they stay there: whoever took the key may have copied them, wherever they are."""
    for version in row.versions:
        if version.state == KeyState.COMPROMISED and version.data_keys:
            out.warn(
                f"{count(version.data_keys, 'data key')} of version {version.number}, which is revoked, did not move: "
                f"`hermetic key compromise {row.kek} --reason WHY --go-on` seals anew what is not yet"
            )


def _rewrap(connection: Connection, out: Out, row: KeyRow, reason: str) -> int:
    """Ask for batches until nothing is left; return how many data keys moved."""
    todo = sum(version.data_keys for version in row.versions[:-1])
    moved = 0
    with out.progress("rewrapping", todo) as advance:
        while True:
            answer = connection.ask(RewrapKey(row.kek, _REQUEST, reason))
            moved += answer.moved
            advance(answer.moved)
            if not answer.left:
                return moved
            if not answer.moved:
                raise Conflict(
                    f"{count(answer.left, 'data key')} did not move", hint="look at them with hermetic key show, then try again"
                )


def _changed(done: str, row: KeyRow, moved: int | None) -> list[Block]:
    name = f"{row.environment}/{row.data_class}/{row.project}"
    facts: list[tuple[str, str | Mark]] = [(done, Mark(f"{row.kek}  {name}", "name")), ("state", _state(row.state))]
    if row.versions:
        facts.append(("version", str(row.versions[-1].number)))
    if moved is not None:
        facts.append(("data keys moved", str(moved)))
    return [Facts(facts)]


def _details(row: KeyRow) -> list[Block]:
    rotate = "never" if row.rotate_after_days is None else f"every {row.rotate_after_days} days"
    facts: list[tuple[str, Cell]] = [
        ("key", Mark(row.kek, "name")),
        ("for", f"{row.environment} / {row.data_class} / {row.project}"),
        ("state", _state(row.state)),
        ("owner", row.owner),
        ("contact", row.contact or "-"),
        ("made", moment(row.created_ms)),
        ("rotate", rotate),
        ("last use", moment(row.last_use_ms)),
        ("roots", ", ".join(row.roots)),
        *(("only there", f"{uri}: {count(keys, 'data key')}, not in shares, escrow or backups") for uri, keys in homes(row).items()),
    ]
    versions = [
        (item.number, _state(item.state), moment(item.created_ms), _wraps(item), item.data_keys, moment(item.destroy_after_ms))
        for item in row.versions
    ]
    return [
        Facts(facts),
        Heading("Versions"),
        Table(
            ("number", "state", "made", "wraps", "data keys", "destroyed after"), versions, frozenset({"number", "wraps", "data keys"})
        ),
        Heading(f"Blast radius: {count(len(row.assets), 'asset')}"),
        *(Line(Mark(name, "name"), 2) for name in row.assets),
    ]


def _newest(row: KeyRow) -> str:
    """Return the newest version, and the kind of root that it lives in alone."""
    if not row.versions:
        return "-"
    kind = row.versions[-1].home.partition(":")[0]
    used = f", {row.versions[-1].used} % used" if row.versions[-1].used >= _NEAR else ""
    return f"v{row.versions[-1].number}" + (f" in {kind}" if kind else "") + used


def _wraps(version: KeyVersionRow) -> str | Mark:
    """Return how often a version has wrapped, and once it counts how much that is of what it may."""
    return Mark(f"{version.wraps} ({version.used} %)", "warn") if version.used >= _NEAR else str(version.wraps)


def _due(row: KeyRow) -> str | Mark:
    """Return how long until the newest version is to be rotated, from now."""
    active = [item for item in row.versions if item.state == KeyState.ACTIVE]
    if row.rotate_after_days is None or not active:
        return "-"
    left = row.rotate_after_days * 86_400 - (time.time_ns() // 1_000_000 - active[-1].created_ms) // 1000
    return f"in {span(left)}" if left > 0 else Mark(f"{span(-left)} late", "warn")


def _coverage(row: KeyRow) -> str:
    """Return the part of the data keys that the newest version holds; rewrapping moves the rest."""
    total = sum(item.data_keys for item in row.versions)
    return f"{100 * row.versions[-1].data_keys // total} %" if total else "-"


def _state(state: str) -> Mark:
    return Mark(state, _STATE.get(state, "dim"))
