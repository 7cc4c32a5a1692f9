"""Remove what interrupted writes left in stores.

The stores are listed before custody is asked what to keep. A draft that begins later is not in that listing, and one that began
earlier is known to custody: nothing that somebody is writing now can be taken for garbage.

A folder that custody does not know is removed only if its objects name this domain and no signed manifest lies beside them. One with
a manifest was published once: custody has forgotten it, which is what a restore from an old backup looks like, so it is reported and
kept.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermetic.assets.drafts import MANIFEST, remove_folder
from hermetic.assets.scratch import FOLDER
from hermetic.assets.session import now_ms
from hermetic.assets.staging import header_of
from hermetic.errors import FormatError, InvalidName, NotFound
from hermetic.formats.messages.catalogue import CollectGarbage
from hermetic.formats.messages.runs import ShowRun
from hermetic.ids import check_id

if TYPE_CHECKING:
    from hermetic.assets.session import Session
    from hermetic.stores.base import Store

DEFAULT_AGE_MS = 24 * 3600 * 1000
RUNNING = "running"


@dataclass(frozen=True, slots=True)
class Item:
    """Something in a store: a version id, `scratch/<run id>`, or a count of temporary files; and why it is listed."""

    store: str
    what: str
    reason: str


@dataclass(frozen=True, slots=True)
class Collected:
    """What was, or in a dry run would be, removed; and what looks like garbage but was kept because it may be somebody's data."""

    removed: tuple[Item, ...]
    kept: tuple[Item, ...]


def collect_garbage(session: Session, *, dry_run: bool = False, older_than_ms: int = DEFAULT_AGE_MS) -> Collected:
    """Give up old drafts, then remove version folders and scratch that nothing needs, and temporary files of dead writers."""
    listed = {name: _folders(store) for name, store in session.connection.stores.items()}
    garbage = session.ask(CollectGarbage(older_than_ms, dry_run))
    given_up = {(item.store, item.version): item.reason for item in garbage.items}
    keep = set(garbage.keep)
    removed: list[Item] = []
    kept: list[Item] = []
    for name, (versions, runs) in listed.items():
        store = session.connection.stores[name]
        for version in sorted(version for version in versions if (name, version) in given_up or version not in keep):
            reason = given_up.get((name, version))
            doubt = None if reason else _doubt(store, version, session.domain)
            (kept if doubt else removed).append(Item(name, version, doubt or reason or "no version of this domain"))
        removed += [Item(name, f"{FOLDER}/{run}", "scratch of a run that is over") for run in sorted(runs) if _is_over(session, run)]
        if not dry_run:
            removed += _remove(name, store, removed, older_than_ms)
    return Collected(tuple(removed), tuple(kept))


def _remove(name: str, store: Store, items: list[Item], older_than_ms: int) -> list[Item]:
    for item in items:
        if item.store == name:
            remove_folder(store, item.what)
    swept = store.sweep(older_than_ms, now_ms())
    return [Item(name, f"{swept} temporary files", "their writers are gone")] if swept else []


def _doubt(store: Store, version: str, domain: str) -> str | None:
    """Return why a folder that custody does not know may still be somebody's data, None if it is debris of this domain."""
    keys = [key for key, _ in store.list(f"{version}/")]
    if store.exists(f"{version}/{MANIFEST}"):  # a listing may be out of date
        return "published, but custody does not know it: was custody restored from an older backup?"
    for key in keys:
        try:
            with store.open(key) as source:
                if header_of(source).domain != domain:
                    return "belongs to another domain"
        except (FormatError, NotFound):
            return "holds files that are no sealed objects"
    return None


def _folders(store: Store) -> tuple[set[str], set[str]]:
    """Return (version ids, run ids) that have folders in a store; other folders are not ours."""
    versions: set[str] = set()
    runs: set[str] = set()
    for key, _ in store.list():
        head, _, rest = key.partition("/")
        with suppress(InvalidName):
            if head == FOLDER:
                runs.add(check_id(rest.partition("/")[0]))
            else:
                versions.add(check_id(head))
    return versions, runs


def _is_over(session: Session, run: str) -> bool:
    try:
        return session.ask(ShowRun(run)).state != RUNNING
    except NotFound:
        return True
