"""Moving a domain between roots: slots for a new root, and none for an old one. Payloads and data keys stay as they are.

    1. roots.announce(...)                        the new root is known, and pre-active; then it is made, or connected
    2. DomainFile.with_root(...)                  it opens the domain secret
    3. prepare(...), store(...)                   it opens every key; in batches, called until nothing is left
    4. activate(...)                              new keys get a slot under it; refused while one is missing
    5. roots.set_state(old, deactivated)          nothing new is wrapped under the old one
    6. check_without(old), drop_keks, drop_root   its slots are deleted; refused while anything hangs on it alone
    7. DomainFile.without_root(old)               then what this machine keeps of it is wiped

Every step can be repeated, and whoever stops between two of them leaves a domain that opens. `prepare` asks providers and needs no
transaction; `store` only writes.

Dropping a root that was stolen is not enough: whoever has it and an old copy of the database opens what it held. That is a compromise
of every KEK version it had a slot for (`hierarchy.compromise`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hermetic.db import tables
from hermetic.errors import Conflict, IntegrityError, KeyServiceUnavailable, Locked
from hermetic.ids import KeyState
from hermetic.keys import destruction, in_provider, roots, secret_keys, slots
from hermetic.keys import kek as keks
from hermetic.keys.recovery_root import holder_of

if TYPE_CHECKING:
    from hermetic.crypto.secret import Secret
    from hermetic.db.rows import ReadSession, Session
    from hermetic.keys.kek import Kek
    from hermetic.keys.provider import Provider, RootId
    from hermetic.keys.roots import Anchors, Root
    from hermetic.keys.secret_keys import SecretKey


@dataclass(frozen=True, slots=True)
class NewSlot:
    """A wrap that a root is about to get: of version `number` of a KEK, or of a signing key."""

    key: Kek | SecretKey
    number: int
    wrapped: bytes = field(repr=False)


def coverage(session: ReadSession, root_id: RootId) -> tuple[int, int]:
    """Return how many keys have a slot under a root, and how many should."""
    living, signing = _living(session), secret_keys.wraps_of(session)
    have = len(living) - len(_without(session, root_id, living)) + sum(root_id in wraps for _, wraps in signing)
    return have, len(living) + len(signing)


def prepare(session: ReadSession, anchors: Anchors, root_id: RootId, *, limit: int) -> list[NewSlot]:
    """Wrap up to `limit` keys that lack a slot under a root, and unwrap each once more to see that it works.

    Opens each through another root, also keys that may not be used for data now: nothing leaves this function. Raises
    KeyServiceUnavailable, Locked, IntegrityError.
    """
    target = roots.checked(roots.get(session, root_id), anchors.providers[root_id])
    found: list[NewSlot] = []
    for kek, number in _without(session, root_id, _living(session))[:limit]:
        context_of = _kek_context(anchors, kek, number)
        secret = _opened(session, anchors, keks.slots_of(session, kek.kek_id, number), context_of)
        found.append(NewSlot(kek, number, wrapped_checked(target, secret, context_of(root_id))))
    for key, wraps in secret_keys.wraps_of(session):
        if root_id not in wraps and len(found) < limit:
            context_of = secret_keys.context_of(anchors, key)
            seed = _opened(session, anchors, wraps, context_of)
            found.append(NewSlot(key, 0, wrapped_checked(target, seed, context_of(root_id))))
    return found


def store(session: Session, root: Root, prepared: list[NewSlot]) -> int:
    """Write slots, and pass over those that somebody else has written; return how many. Raises Conflict when a signing key changed."""
    lacking = {(kek.kek_id, number) for kek, number in _without(session, root.root_id, _living(session))}
    added = 0
    for slot in prepared:
        if isinstance(slot.key, keks.Kek):
            if (slot.key.kek_id, slot.number) not in lacking:
                continue
            key = {"kek_id": slot.key.kek_id, "number": slot.number, "root_id": root.root_id}
            session.insert(tables.kek_slot, provider=root.provider_uri, wrapped=slot.wrapped, **key)
        else:
            wraps = next((wraps for key, wraps in secret_keys.wraps_of(session) if key == slot.key), None)
            if wraps is None:
                raise Conflict("a signing key changed meanwhile", hint="try again")
            secret_keys.set_wraps(session, slot.key, {**wraps, root.root_id: slot.wrapped})
        added += 1
    return added


def extend_to_root(session: Session, anchors: Anchors, root_id: RootId) -> int:
    """Give a root a slot for every KEK version and signing key that still has a key, in one go; return how many were added."""
    prepared = prepare(session, anchors, root_id, limit=coverage(session, root_id)[1])
    return store(session, roots.get(session, root_id), prepared)


def activate(session: Session, root_id: RootId) -> Root:
    """Make a root active. Raises Conflict while a key has no slot under it, or when it is active; KeyUnusable."""
    have, all_ = coverage(session, root_id)
    if have < all_:
        raise Conflict(f"{all_ - have} of {all_} keys have no slot under this root yet", hint="extend it to them first")
    return roots.set_state(session, root_id, KeyState.ACTIVE)


def check_without(session: ReadSession, anchors: Anchors, root_id: RootId) -> int:
    """Open every key without a root, to see that it can go; return how many. Raises Conflict, and what a wrong slot raises.

    Only roots that may be used now count: a suspended one may never come back.
    """
    _check_no_home(session, root_id)
    rest = roots.Anchors(anchors.domain, {one: provider for one, provider in anchors.providers.items() if one != root_id})
    contexts: list[tuple[str, dict[RootId, bytes], slots.ContextOf]] = [
        (f"KEK {kek.kek_id} version {number}", keks.slots_of(session, kek.kek_id, number), _kek_context(anchors, kek, number))
        for kek, number in _living(session)
    ]
    contexts += [
        (f"signing key {key.key_id}", wraps, secret_keys.context_of(anchors, key)) for key, wraps in secret_keys.wraps_of(session)
    ]
    for name, wraps, context_of in contexts:
        if root_id not in wraps:
            continue
        try:
            _opened(session, rest, wraps, context_of).wipe()
        except KeyServiceUnavailable as error:
            raise Conflict(f"{name} hangs on this root alone: {error.message}", hint=error.hint) from error
    return len(contexts)


def drop_keks(session: Session, root_id: RootId, *, limit: int) -> list[bytes]:
    """Delete at most `limit` slots of KEKs under a root that is out of use; return the wraps that went. Raises as `drop_root`."""
    _check_droppable(session, root_id)
    held = (row for row in session.find(tables.kek_slot, root_id=root_id) if row["wrapped"] != in_provider.MARKER)
    gone = list(held)[:limit]
    for row in gone:
        session.delete(tables.kek_slot, (row["kek_id"], row["number"], root_id))
    return [row["wrapped"] for row in gone]


def drop_root(session: Session, root_id: RootId) -> int:
    """Delete every slot of a root and mark it destroyed; return how many slots went.

    Raises Conflict for an active root, and when a KEK version or signing key has no other slot.
    """
    dropped = len(drop_keks(session, root_id, limit=slots.SLOT_LIMIT * 10_000))
    for key, wraps in secret_keys.wraps_of(session):
        left = {root: wrapped for root, wrapped in wraps.items() if root != root_id}
        if len(left) < len(wraps):
            secret_keys.set_wraps(session, key, left)
            dropped += 1
    roots.set_state(session, root_id, KeyState.DESTROYED)
    return dropped


def wrapped_checked(provider: Provider, secret: Secret, context: bytes) -> bytes:
    """Wrap, and see that it opens again. A root for recovery, whose private key is elsewhere, is believed; nobody else is.

    Raises KeyServiceUnavailable for a service that wraps and does not unwrap, IntegrityError.
    """
    wrapped = provider.wrap(secret, context)
    try:
        again = provider.unwrap(wrapped, context)
    except Locked:
        if holder_of(provider.uri) is not None:
            return wrapped
        raise
    if not again.same_as(secret):
        raise IntegrityError(f"{provider.uri} gave back other bytes than it was given", hint="do not use it: look at its own log")
    return wrapped


def _check_droppable(session: ReadSession, root_id: RootId) -> None:
    if roots.get(session, root_id).state is KeyState.ACTIVE:
        raise Conflict("an active root cannot be dropped", hint="deactivate it first")
    _check_no_home(session, root_id)
    alone = [(kek.kek_id, number) for kek, number in _living(session) if set(keks.slots_of(session, kek.kek_id, number)) == {root_id}]
    if alone:
        raise Conflict(f"{len(alone)} KEK versions hang on this root alone", hint="extend another root to them first")
    for key, wraps in secret_keys.wraps_of(session):
        if set(wraps) == {root_id}:
            raise Conflict(f"signing key {key.key_id} hangs on this root alone", hint="extend another root to it first")


def _check_no_home(session: ReadSession, root_id: RootId) -> None:
    """Raises Conflict while data keys were wrapped by this root itself, or the next ones will be: no other root opens them."""
    for kek, number in in_provider.under(session, root_id):
        count = destruction.count_data_keys(session, kek.kek_id, number)
        if count or kek.version(number).state is KeyState.ACTIVE:
            raise Conflict(
                f"version {number} of KEK {kek.kek_id} lives in this root alone, with {count} data keys",
                hint=f"`hermetic key rotate {kek.kek_id}` moves them to another root, as the policy says",
            )


def _opened(session: ReadSession, anchors: Anchors, wraps: dict[RootId, bytes], context_of: slots.ContextOf) -> Secret:
    return roots.open_key(session, anchors, wraps, context_of, recovering=True)


def _kek_context(anchors: Anchors, kek: Kek, number: int) -> slots.ContextOf:
    return lambda root_id: slots.kek_context(anchors.domain, root_id, kek.context(number))


def _without(session: ReadSession, root_id: RootId, living: list[tuple[Kek, int]]) -> list[tuple[Kek, int]]:
    have = {(row["kek_id"], row["number"]) for row in session.find(tables.kek_slot, root_id=root_id)}
    return [(kek, number) for kek, number in living if (kek.kek_id, number) not in have]


def _living(session: ReadSession) -> list[tuple[Kek, int]]:
    """Return every KEK version with a key that slots could hold."""
    homed = {(row["kek_id"], row["number"]) for row in session.find(tables.kek_slot, wrapped=in_provider.MARKER)}
    return [
        (kek, version.number)
        for kek in keks.ls(session)
        for version in kek.versions
        if version.state is not KeyState.DESTROYED and (kek.kek_id, version.number) not in homed
    ]
