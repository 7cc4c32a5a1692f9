"""`hermetic ls` and `hermetic show`: what exists."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hermetic.cli.blocks import Block, Cell, Facts, Heading, Mark, Table
from hermetic.cli.options import ENVIRONMENT, output
from hermetic.cli.session import connected
from hermetic.cli.words import count, moment, size
from hermetic.formats.messages.catalogue import ListAssets, ShowVersion
from hermetic.ids import Environment

if TYPE_CHECKING:
    from hermetic.cli.out import Out
    from hermetic.formats.messages.catalogue import AssetRow, VersionDetails

_CLASS_STYLE = {"restricted": "bad", "confidential": "warn"}


@click.command(name="ls")
@click.argument("pattern", required=False)
@click.option("--env", "environment", type=ENVIRONMENT, help="Only assets of this environment.")
@click.option("--long", "-l", is_flag=True, help="All columns.")
@output
def ls(out: Out, *, pattern: str | None, environment: str | None, long: bool) -> int:
    """List assets.

    PATTERN is a glob over names: 'dataset/*'.
    """
    with connected() as connection:
        found = connection.ask(ListAssets(pattern, Environment(environment) if environment else None)).assets
    out.emit({"assets": found}, _long(found) if long else _short(found))
    return 0


def _short(found: tuple[AssetRow, ...]) -> Table:
    rows = [
        (*_name(row), row.latest, row.owner or Mark("nobody", "warn"), size(row.length), moment(row.updated_ms)[:16]) for row in found
    ]
    return Table(("name", "class", "latest", "owner", "size", "changed"), rows, frozenset({"latest", "size"}), empty="no assets")


def _long(found: tuple[AssetRow, ...]) -> Table:
    rows = [
        (
            *_name(row),
            row.environment,
            row.project,
            row.owner or Mark("nobody", "warn"),
            row.latest,
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


def _name(row: AssetRow) -> tuple[Mark, Mark]:
    return Mark(row.name, "name"), Mark(row.data_class, _CLASS_STYLE.get(row.data_class, ""))


@click.command()
@click.argument("ref")
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
        ("state", row.state),
        ("purpose", row.purpose),
        ("written", f"{moment(row.published_ms)} by {row.writer}" + (f" in run {row.run}" if row.run else "")),
        ("kept", "for good" if row.retention_days is None else f"{row.retention_days} days"),
        ("size", f"{size(row.length)} in {count(len(row.members), 'member')}"),
        ("store", f"{row.store}: {row.version}/"),
        ("key", f"{row.kek} version {row.kek_number}, {row.kek_state}"),
        ("released", f"{count(row.releases, 'time')}, last {moment(row.last_release_ms)}"),
        ("made of", ", ".join(row.parents)),
    ]
    blocks: list[Block] = [Facts(facts)]
    if row.labels:
        blocks += [Heading("Labels"), Facts([(label[0], " ".join(label[1:])) for label in row.labels if label], 2)]
    members = [(member.path, size(member.length), member.index) for member in row.members]
    return [*blocks, Heading("Members"), Table(("path", "size", "object"), members, frozenset({"size", "object"}))]
