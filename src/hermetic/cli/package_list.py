"""`hermetic package ls`: what left the domain in packages, to whom, and what came in some; from the log."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import click

from hermetic.cli.blocks import Mark, Table
from hermetic.cli.options import output
from hermetic.cli.session import connected
from hermetic.cli.words import moment
from hermetic.domain.listing import read_log
from hermetic.formats.binary_text import from_base64url
from hermetic.formats.messages.log import ReadLog

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hermetic.cli.out import Out
    from hermetic.formats.messages.log import LogRow

DAY_MS: Final = 86_400_000
EVERY: Final = 1_000_000  # entries about packages


@dataclass(frozen=True, slots=True)
class Row:
    """One package. `recipients` are name and fingerprint of each key; `until_ms` is when a created one can no longer be opened."""

    package: str
    what: str
    ref: str
    version: str
    at_ms: int
    by: str
    recipients: tuple[tuple[str, str], ...] = ()
    until_ms: int | None = None
    from_domain: str | None = None
    destroyed: bool = False


@click.command(name="ls")
@output
def ls(out: Out) -> int:
    """List packages that were created here and opened here, with the fingerprints of their recipients.

    From the log of this generation: it takes who may read it, and shows the names that they may see.
    """
    with connected() as connection:
        _, entries = read_log(connection.ask, ReadLog(0, EVERY, "package."))
    found = list(_rows(entries))
    rows = [
        (
            Mark(row.package[:8], "name"),
            Mark("destroyed", "dim") if row.destroyed else row.what,
            row.ref or row.version[:8],
            moment(row.at_ms)[:16],
            row.by,
            "; ".join(f"{name or '?'}, key {print_}" for name, print_ in row.recipients) or f"from domain {row.from_domain or '?'}",
            moment(row.until_ms)[:10] if row.until_ms is not None else "",
        )
        for row in found
    ]
    columns = ("package", "was", "version", "when", "by", "for", "until")
    out.emit({"packages": found}, Table(columns, rows, empty="no packages"))
    return 0


def _rows(entries: Iterable[LogRow]) -> Iterable[Row]:
    gone = {_said(entry)["package"] for entry in entries if entry.kind == "package.destroyed"}
    for entry in entries:
        said = _said(entry)
        if entry.kind == "package.created":
            days, package = int(said.get("days", "0")), said["package"]
            yield Row(
                package=package,
                what="created",
                ref=said.get("ref", ""),
                version=said.get("version", ""),
                at_ms=entry.at_ms,
                by=said.get("principal", ""),
                recipients=tuple(_recipients(said)),
                until_ms=entry.at_ms + days * DAY_MS,
                destroyed=package in gone,
            )
        elif entry.kind == "package.opened":
            who, ref = said.get("principal", ""), said.get("ref", "")
            yield Row(said["package"], "opened", ref, said["version"], entry.at_ms, who, from_domain=said.get("from"))


def _said(entry: LogRow) -> dict[str, str]:
    return {pair.name: pair.value for pair in (*entry.visible, *entry.opened)}


def _recipients(said: dict[str, str]) -> Iterable[tuple[str, str]]:
    """Yield name and fingerprint of each; of packages of an earlier release only how many there are is known."""
    keys, names = json.loads(said.get("keys", "[]")), said.get("recipients", "")
    known = json.loads(names) if names.startswith("[") else []
    for number, key in enumerate(keys):
        digits = from_base64url(key).hex()[:32]  # as `hpke.fingerprint`
        yield known[number] if number < len(known) else "", " ".join(digits[at : at + 8] for at in range(0, 32, 8))
    if not keys:
        yield from [("", "unknown")] * int(names if names.isdecimal() else "1")
