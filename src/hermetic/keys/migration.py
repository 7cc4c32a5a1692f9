"""Moving a domain between roots: slots for a new root, and none for an old one.

    1. roots.add(...) and DomainFile.with_root(...)    the new root is known, and opens the domain secret
    2. extend_to_root(...)                             it opens every KEK and signing key; may be stopped and called again
    3. roots.set_state(old, deactivated)               nothing new is wrapped under the old one
    4. drop_root(old), DomainFile.without_root(old)    its slots are deleted; refused while anything hangs on it alone

Dropping a root that was stolen is not enough: whoever has it and an old copy of the database opens what it held. That is a compromise
of every KEK version it had a slot for (`hierarchy.compromise`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermetic.db import tables
from hermetic.errors import Conflict
from hermetic.ids import KeyState
from hermetic.keys import kek as keks
from hermetic.keys import roots, secret_keys, slots

if TYPE_CHECKING:
    from hermetic.db.rows import ReadSession, Session
    from hermetic.keys.kek import Kek
    from hermetic.keys.provider import RootId
    from hermetic.keys.roots import Anchors


def extend_to_root(session: Session, anchors: Anchors, root_id: RootId) -> int:
    """Give a root a slot for every KEK version and signing key that still has a key; return how many were added.

    Opens each through another root, also keys that may not be used for data now: nothing leaves this function. Raises
    KeyServiceUnavailable, Locked, IntegrityError.
    """
    provider = {root_id: anchors.providers[root_id]}
    added = 0
    for kek, number in _living(session):
        wraps = keks.slots_of(session, kek.kek_id, number)
        if root_id in wraps:
            continue
        openers = roots.for_opening(session, anchors, recovering=True)

        def context_of(root: RootId, kek: Kek = kek, number: int = number) -> bytes:
            return slots.kek_context(anchors.domain, root, kek.context(number))

        secret = slots.open_first(wraps, openers, context_of)
        wrapped = slots.wrap_under_all(secret, provider, context_of)[root_id]
        uri = provider[root_id].uri
        session.insert(tables.kek_slot, kek_id=kek.kek_id, number=number, root_id=root_id, provider=uri, wrapped=wrapped)
        added += 1
    return added + secret_keys.extend_to_root(session, anchors, root_id)


def drop_root(session: Session, root_id: RootId) -> int:
    """Delete every slot of a root and mark it destroyed; return how many slots went.

    Raises Conflict for an active root, and when a KEK version or signing key has no other slot.
    """
    root = roots.get(session, root_id)
    if root.state is KeyState.ACTIVE:
        raise Conflict("an active root cannot be dropped", hint="deactivate it first")
    alone = [(kek.kek_id, number) for kek, number in _living(session) if set(keks.slots_of(session, kek.kek_id, number)) == {root_id}]
    if alone:
        raise Conflict(f"{len(alone)} KEK versions hang on this root alone", hint="extend another root to them first")
    dropped = secret_keys.drop_root(session, root_id)
    for row in session.find(tables.kek_slot, root_id=root_id):
        session.delete(tables.kek_slot, (row["kek_id"], row["number"], root_id))
        dropped += 1
    roots.set_state(session, root_id, KeyState.DESTROYED)
    return dropped


def _living(session: ReadSession) -> list[tuple[Kek, int]]:
    return [(kek, version.number) for kek in keks.ls(session) for version in kek.versions if version.state is not KeyState.DESTROYED]
