"""Destroying a KEK version: announced, waited for, refused while needed, then final.

    schedule    7 to 30 days ahead; the version must no longer wrap (not active)
    cancel      at any time before
    destroy     after the day, when no data key hangs on it any more; slots are deleted, the row stays as destroyed

A version that lives in a root alone (`in_provider`) had no key here: what its root wrapped opens as long as the root's key exists.
Its slot holds none either, and stays, so that a certificate can say which key that is.

Approvals, the blast radius and the certificate are custody's. `PRAGMA secure_delete` overwrites the slots; the write-ahead log keeps
them until custody truncates it, and backups keep them until they are destroyed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from hermetic.db import tables
from hermetic.errors import Conflict, KeyUnusable, UsageError
from hermetic.ids import KekId, KeyState
from hermetic.keys import in_provider
from hermetic.keys import kek as keks
from hermetic.keys.states import check_transition

if TYPE_CHECKING:
    from hermetic.db.rows import ReadSession, Session
    from hermetic.keys.kek import KekVersion

DAY_MS: Final = 86_400_000
SHORTEST_DAYS: Final = 7
LONGEST_DAYS: Final = 30


def schedule(session: Session, kek_id: KekId, number: int, *, days: int, now_ms: int) -> KekVersion:
    """Announce the destruction of a version in `days` (7 to 30). Raises UsageError, KeyUnusable for an active or destroyed one."""
    version = keks.get(session, kek_id).version(number)
    check(version, days=days)
    return _set(session, version, now_ms, destroy_after_ms=now_ms + days * DAY_MS)


def check(version: KekVersion, *, days: int) -> None:
    """Raise UsageError for another wait than 7 to 30 days, KeyUnusable for a version that is active or destroyed."""
    if not SHORTEST_DAYS <= days <= LONGEST_DAYS:
        raise UsageError(f"destruction waits {SHORTEST_DAYS} to {LONGEST_DAYS} days")
    check_transition(version.state, KeyState.DESTROYED)
    if version.state is KeyState.ACTIVE:
        raise KeyUnusable("the active version cannot be destroyed", hint="`hermetic key rotate` first")


def cancel(session: Session, kek_id: KekId, number: int, *, now_ms: int) -> KekVersion:
    """Take an announcement back. Raises Conflict when there is none."""
    version = keks.get(session, kek_id).version(number)
    if version.destroy_after_ms is None or version.state is KeyState.DESTROYED:
        raise Conflict("no destruction is announced for this version")
    return _set(session, version, now_ms, destroy_after_ms=None)


def destroy(session: Session, kek_id: KekId, number: int, *, now_ms: int) -> KekVersion:
    """Delete every slot of a version; nobody can make its key again.

    Raises Conflict when it was not announced, its day has not come, or data keys still hang on it.
    """
    version = keks.get(session, kek_id).version(number)
    check_transition(version.state, KeyState.DESTROYED)
    if version.destroy_after_ms is None or version.state is KeyState.ACTIVE:
        raise Conflict("the destruction of this version was not announced", hint="`hermetic key destroy` announces it")
    if now_ms < version.destroy_after_ms:
        days = -(-(version.destroy_after_ms - now_ms) // DAY_MS)
        raise Conflict(f"the waiting period has {days} more days to go")
    needed = count_data_keys(session, kek_id, number)
    if needed:
        raise Conflict(
            f"{needed} data keys still hang on this version", hint="`hermetic key rewrap` moves them, or shred the versions"
        )
    for root_id, wrapped in keks.slots_of(session, kek_id, number).items():
        if wrapped != in_provider.MARKER:
            session.delete(tables.kek_slot, (kek_id, number, root_id))
    return _set(session, version, now_ms, state=KeyState.DESTROYED.value)


def due(session: ReadSession, *, now_ms: int) -> list[tuple[KekId, int]]:
    """Return the versions whose announced day has come and that are not destroyed yet."""
    table = tables.kek_version
    come = sa.and_(table.c.destroy_after_ms <= now_ms, table.c.state != KeyState.DESTROYED.value)
    query = sa.select(table.c.kek_id, table.c.number).where(come)
    return [(KekId(str(kek)), int(number)) for kek, number in session.connection.execute(query.order_by(*query.selected_columns))]


def count_data_keys(session: ReadSession, kek_id: KekId, number: int) -> int:
    """Return how many data keys are still wrapped under a version (those that were shredded have no wrap)."""
    table = tables.data_key
    query = sa.select(sa.func.count()).where(table.c.kek_id == kek_id, table.c.kek_number == number, table.c.wrapped.is_not(None))
    return int(session.connection.execute(query).scalar_one())


def _set(session: Session, version: KekVersion, now_ms: int, **changes: int | str | None) -> KekVersion:
    key = (version.kek_id, version.number)
    session.update(tables.kek_version, key, version.revision, updated_ms=now_ms, **changes)
    return keks.get(session, version.kek_id).version(version.number)
