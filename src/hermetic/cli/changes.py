"""`hermetic rename`, `hermetic decide`, `hermetic gc`: what changes without touching sealed bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hermetic.cli.blocks import Facts, Mark, Table
from hermetic.cli.options import DATA_CLASS, FINDINGS, days, environment, output, reason
from hermetic.cli.session import connected, workspace
from hermetic.errors import UsageError
from hermetic.formats.messages.catalogue import RecordDecision, RenameAsset
from hermetic.ids import DataClass

if TYPE_CHECKING:
    from hermetic.cli.out import Out


@click.command()
@click.argument("old")
@click.argument("new")
@reason(required=False)
@environment()
@output
def rename(out: Out, *, old: str, new: str, reason: str) -> int:
    """Give an asset another name.

    The kind stays. Nothing is encrypted anew: names are bound to ids by the signed manifest and the log only. Grants cover names:
    those that begin or cease to cover the asset are shown.
    """
    with connected() as connection:
        done = connection.ask(RenameAsset(old, new, reason=reason))
    out.emit({"old": old, "new": new, "notes": done.notes}, Facts([("renamed", old), ("to", Mark(new, "name"))]), *done.notes)
    return 0


@click.command()
@click.argument("name")
@click.option("--owner", metavar="WHO", help="The person who answers for the asset from now on.")
@click.option("--class", "data_class", type=DATA_CLASS, help="Its sensitivity from now on.")
@click.option("--retention", "retention_days", type=days, help="How long it is kept: 30d, 2w.")
@reason()
@environment()
@output
def decide(out: Out, *, name: str, owner: str | None, data_class: str | None, retention_days: int | None, reason: str) -> int:
    """Change owner, class or retention, with a reason on record."""
    if owner is None and data_class is None and retention_days is None:
        raise UsageError("nothing to decide", hint="give --owner, --class or --retention")
    wanted = DataClass(data_class) if data_class else None
    with connected() as connection:
        decided = connection.ask(RecordDecision(name, reason, owner, wanted, retention_days))
    document = {
        "name": name,
        "owner": owner,
        "data_class": data_class,
        "retention_days": retention_days,
        "log_index": decided.receipt.index,
        "receipt": decided.receipt,
    }
    if wanted is not None:
        out.warn(
            f"versions that are there stay as they were sealed; new ones are {wanted}, unless a rule or their input asks for more"
        )
    facts = [(label, str(document[key])) for label, key in _DECIDED if document[key] is not None]
    out.emit(document, Facts([("decided for", Mark(name, "name")), *facts, ("log entry", decided.receipt.index)]))
    return 0


_DECIDED = (("owner", "owner"), ("class", "data_class"), ("kept for days", "retention_days"))


@click.command()
@click.option("--dry-run", is_flag=True, help="Say what would be removed.")
@output
def gc(out: Out, *, dry_run: bool) -> int:
    """Remove what interrupted writes left behind.

    Drafts that nobody writes to any more, objects that no version needs, temporary files of processes that are gone. What was
    published but custody does not know is kept and shown, with exit code 7.
    """
    with workspace() as work:
        done = work.gc(dry_run=dry_run)
    what = "to remove" if dry_run else "removed"
    blocks = [
        Table(("store", what, "why"), [(item.store, item.what, item.reason) for item in done.removed], empty="nothing to remove")
    ]
    if done.kept:
        blocks.append(Table(("store", "kept, look at it", "why"), [(item.store, item.what, item.reason) for item in done.kept]))
    out.emit({"dry_run": dry_run, "removed": done.removed, "kept": done.kept}, *blocks)
    return FINDINGS if done.kept else 0
