"""`hermetic ls` and `hermetic show`: what exists."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import click

from hermetic.cli.blocks import Block, Cell, Facts, Heading, Mark, Table
from hermetic.cli.options import ENVIRONMENT, environment, output
from hermetic.cli.session import connected
from hermetic.cli.words import count, moment, size
from hermetic.domain.listing import list_assets
from hermetic.errors import KeyUnusable, NotFound
from hermetic.formats.messages.catalogue import ShowVersion
from hermetic.ids import Environment, KeyState

if TYPE_CHECKING:
    from hermetic.cli.out import Out
    from hermetic.domain.connect import Connection
    from hermetic.formats.messages.catalogue import AssetRow, VersionDetails

LISTED = 50  # versions of one asset
_CLASS_STYLE = {"restricted": "bad", "confidential": "warn"}


@click.command(name="ls")
@click.argument("pattern", required=False)
@click.option("--environment", "--env", "environment", type=ENVIRONMENT, help="Only assets of this environment.")
@click.option("--long", "-l", is_flag=True, help="All columns.")
@output
def ls(out: Out, *, pattern: str | None, environment: str | None, long: bool) -> int:
    """List assets, or the versions of one.

    PATTERN is a glob over names: 'dataset/*'. A whole name lists the newest versions of that asset too. Where there is any of another
    environment than the one that is worked in, a column says so.
    """
    with connected() as connection:
        found = list_assets(connection.ask, pattern, Environment(environment) if environment else None)
        usual = environment or connection.environment or connection.project.document.environment
        one = found[0] if len(found) == 1 and found[0].name == pattern else None
        versions = _versions_of(connection, one) if one is not None else ()
    out.emit(
        {"assets": found, **({"versions": versions} if one is not None else {})},
        _long(found) if long else _short(found, placed=any(row.environment != usual for row in found)),
        *((Heading("Versions"), _versions(versions)) if versions else ()),
    )
    return 0


def _versions_of(connection: Connection, row: AssetRow) -> tuple[VersionDetails, ...]:
    """Return the newest versions of an asset, the latest first; what is gone is left out."""
    found: list[VersionDetails] = []
    for number in range(row.latest, max(row.latest - LISTED, 0), -1):
        with suppress(NotFound, KeyUnusable):
            details = connection.ask(ShowVersion(f"{row.name}@{number}", row.environment))
            found += [details] if details.asset == row.asset else []
    return tuple(found)


def _versions(found: tuple[VersionDetails, ...]) -> Table:
    rows = [
        (
            Mark(row.ref, "name"),
            Mark(row.data_class, _CLASS_STYLE.get(row.data_class, "")),
            row.writer,
            size(row.length),
            moment(row.published_ms)[:16],
            Mark(row.kek_state, "bad" if row.kek_state in {KeyState.COMPROMISED, KeyState.DESTROYED} else ""),
        )
        for row in found
    ]
    return Table(("version", "class", "written by", "size", "written", "key"), rows, frozenset({"size"}))


def _short(found: tuple[AssetRow, ...], *, placed: bool) -> Table:
    rows = [
        (
            *_name(row),
            *((row.environment,) if placed else ()),
            _latest(row),
            row.owner or Mark("nobody", "warn"),
            size(row.length),
            moment(row.updated_ms)[:16],
        )
        for row in found
    ]
    columns = ("name", "class", *(("environment",) if placed else ()), "latest", "owner", "size", "changed")
    return Table(columns, rows, frozenset({"latest", "size"}), empty="no assets")


def _long(found: tuple[AssetRow, ...]) -> Table:
    rows = [
        (
            *_name(row),
            row.environment,
            row.project,
            row.owner or Mark("nobody", "warn"),
            _latest(row),
            row.versions,
            row.length,
            "for good" if row.retention_days is None else f"{row.retention_days}d",
            moment(row.updated_ms),
            row.asset,
        )
        for row in found
    ]
    columns = ("name", "class", "environment", "project", "owner", "latest", "versions", "bytes", "kept", "changed", "id")
    return Table(columns, rows, frozenset({"latest", "versions", "bytes"}), empty="no assets")


def _latest(row: AssetRow) -> Cell:
    """Return the newest version's number; an asset has none while its first is being written, or was interrupted."""
    return row.latest or Mark("none", "dim")


def _name(row: AssetRow) -> tuple[Mark, Mark]:
    return Mark(row.name, "name"), Mark(row.data_class, _CLASS_STYLE.get(row.data_class, ""))


@click.command()
@click.argument("ref")
@environment()
@output
def show(out: Out, *, ref: str) -> int:
    """Show everything about a version but its bytes.

    Its class, owner, keys, members, where it came from, how often its key was released, to its writer too.
    """
    with connected() as connection:
        details = connection.ask(ShowVersion(ref))
    out.emit(details, *_details(details))
    return 0


def _details(row: VersionDetails) -> list[Block]:
    facts: list[tuple[str, Cell]] = [
        ("version", Mark(row.ref, "name")),
        ("class", row.data_class),
        ("environment", row.environment),
        ("owner", row.owner or Mark("nobody", "warn")),
        ("project", row.project),
        ("state", Mark(row.gone, "bad") if row.gone else row.state),
        ("purpose", row.purpose),
        ("written", f"{moment(row.published_ms)} by {row.writer}" + (f" in run {row.run}" if row.run else "")),
        ("kept", "for good" if row.retention_days is None else f"{row.retention_days} days"),
        ("size", f"{size(row.length)} in {count(len(row.members), 'member')}"),
        ("store", f"{row.store}: {row.version}/")
        if row.place is None
        else ("sealed to", f"{row.place or 'project folder'}, as named below"),
        ("key", f"{row.kek} version {row.kek_number}, {row.kek_state}"),
        ("released", f"{count(row.releases, 'time')}, last {moment(row.last_release_ms)}"),
        ("made of", ", ".join(row.parents)),
    ]
    blocks: list[Block] = [Facts(facts)]
    if row.labels:
        blocks += [Heading("Labels"), Facts([(label[0], " ".join(label[1:])) for label in row.labels if label], 2)]
    members = [(member.path, size(member.length), member.index) for member in row.members]
    return [*blocks, Heading("Members"), Table(("path", "size", "object"), members, frozenset({"size", "object"}))]
