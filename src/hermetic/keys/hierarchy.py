"""Making, loading, rotating and closing KEKs in the custody database.

Functions take a session and never commit. What must hold after each of them:

1. At most one version of a KEK is active; it has a slot for every root that was active when it was made, or lives in one root alone.
2. A version number is never used twice, and a wrap is never made under a version that is not active.
3. Every change that may end a release raises the epoch of the KEK, which leases compare.
4. `count_wraps` comes before or with the wraps it counts, in the same transaction.

    kek = hierarchy.ensure_kek(session, anchors, scope, now_ms=now)          # version 1, if there was none
    number = kek.active().number
    secret = hierarchy.load_kek(session, anchors, kek.kek_id, number, use="wrap")
    hierarchy.count_wraps(session, kek.kek_id, number, now_ms=now)
    wrapped = wrap_data_key(secret, new_secret(), kek.context(number), data_context)

A version with a `home` has no key: its one slot names the root that wraps the data keys itself (`in_provider`).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hermetic.crypto.secret import Secret
from hermetic.db import tables
from hermetic.errors import Conflict, KeyUnusable, UsageError
from hermetic.ids import KekId, KeyState, id_from_bytes
from hermetic.keys import in_provider, roots
from hermetic.keys import kek as keks
from hermetic.keys.kek import Kek, KekScope, KekVersion, find, get, ls
from hermetic.keys.limits import check_changes, check_wraps
from hermetic.keys.slots import kek_context
from hermetic.keys.states import check_transition

if TYPE_CHECKING:
    from hermetic.db.rows import ReadSession, Session
    from hermetic.keys.provider import RootId
    from hermetic.keys.roots import Anchors, Root
    from hermetic.keys.states import Use

__all__ = [
    "Kek",
    "KekScope",
    "KekVersion",
    "active_version",
    "bump_epoch",
    "compromise",
    "count_wraps",
    "ensure_kek",
    "find",
    "get",
    "load_kek",
    "ls",
    "rotate",
    "set_schedule",
    "set_state",
    "set_version_state",
]

_OPEN = {KeyState.ACTIVE, KeyState.SUSPENDED, KeyState.DEACTIVATED, KeyState.PRE_ACTIVE}


def ensure_kek(
    session: Session,
    anchors: Anchors,
    scope: KekScope,
    *,
    now_ms: int,
    owner: str | None = None,
    rotate_after_days: int | None = None,
    home: Root | None = None,
) -> Kek:
    """Return the KEK of a scope; if there is none, make it with version 1, which has a slot for every active root or lives in `home`.

    An existing KEK is returned as it is, also when it cannot be used. Raises KeyServiceUnavailable (a root is not at hand), Locked,
    KeyUnusable (no active root).
    """
    found = find(session, scope)
    if found is not None:
        return found
    kek_id = KekId(id_from_bytes(os.urandom(16)))
    session.insert(
        tables.kek,
        id=kek_id,
        environment=scope.environment.value,
        data_class=scope.data_class.value,
        project=scope.project,
        state=KeyState.ACTIVE.value,
        epoch=1,
        owner=owner,
        rotate_after_days=rotate_after_days,
        created_ms=now_ms,
    )
    _add_version(session, anchors, get(session, kek_id), home, now_ms=now_ms)
    return get(session, kek_id)


def active_version(session: ReadSession, kek_id: KekId) -> KekVersion:
    """Return the version that wraps new data keys. Raises KeyUnusable, NotFound."""
    return get(session, kek_id).active()


def load_kek(
    session: ReadSession, anchors: Anchors, kek_id: KekId, number: int, *, use: Use = "unwrap", recovering: bool = False
) -> Secret:
    """Return the key of one version, through the first slot whose root is at hand. Only custody calls this.

    Raises KeyUnusable (state forbids `use`), Locked, KeyServiceUnavailable (no root at hand), IntegrityError (a slot is wrong).
    """
    kek = get(session, kek_id)
    kek.check(number, use, recovering=recovering)
    return _open(session, anchors, kek, number, recovering=recovering)


def rotate(session: Session, anchors: Anchors, kek_id: KekId, *, now_ms: int, home: Root | None = None) -> KekVersion:
    """Make the next version active; the one that was active is deactivated and goes on opening what it sealed.

    With a `home` the next version lives in that root alone, without a key of ours.

    Raises KeyUnusable when the KEK as a whole is not active, and as `ensure_kek`.
    """
    kek = get(session, kek_id)
    if kek.state is not KeyState.ACTIVE:
        raise KeyUnusable(f"KEK {kek_id} is {kek.state.value} as a whole", hint="`hermetic key resume` ends a suspension")
    for version in kek.versions:
        if version.state is KeyState.ACTIVE:
            _set_version(session, version, KeyState.DEACTIVATED, now_ms)
    made = _add_version(session, anchors, kek, home, now_ms=now_ms)
    bump_epoch(session, kek_id)
    return made


def set_state(session: Session, kek_id: KekId, state: KeyState) -> Kek:
    """Change the state of a KEK as a whole: suspended (suspend), active (resume), deactivated (revoke), compromised.

    Raises KeyUnusable (not allowed), Conflict (is in it), UsageError (destroyed: see `destruction`).
    """
    if state is KeyState.DESTROYED:
        raise UsageError("a KEK is destroyed version by version", hint="`hermetic key destroy`")
    kek = get(session, kek_id)
    check_transition(kek.state, state)
    session.update(tables.kek, kek_id, kek.revision, state=state.value, epoch=kek.epoch + 1)
    return get(session, kek_id)


def set_version_state(session: Session, kek_id: KekId, number: int, state: KeyState, *, now_ms: int) -> KekVersion:
    """Change the state of one version. Raises as `set_state`, and Conflict for a second active version."""
    if state is KeyState.DESTROYED:
        raise UsageError("a version is destroyed after its waiting period", hint="`hermetic key destroy`")
    kek = get(session, kek_id)
    if state is KeyState.ACTIVE and any(version.state is KeyState.ACTIVE for version in kek.versions):
        raise Conflict("another version of this KEK is active", hint="`hermetic key rotate` makes a fresh one instead")
    changed = _set_version(session, kek.version(number), state, now_ms)
    bump_epoch(session, kek_id)
    return changed


def compromise(session: Session, kek_id: KekId, *, now_ms: int) -> tuple[int, ...]:
    """Mark every version that still has a key as compromised; return their numbers.

    The KEK as a whole stays as it is: `rotate` gives a fresh version for new data keys, and what the marked ones could open has to be
    re-encrypted, which opens it with `recovering`.
    """
    marked = [version for version in get(session, kek_id).versions if version.state in _OPEN]
    for version in marked:
        _set_version(session, version, KeyState.COMPROMISED, now_ms)
    bump_epoch(session, kek_id)
    return tuple(version.number for version in marked)


def bump_epoch(session: Session, kek_id: KekId) -> int:
    """Raise the epoch, so that every holder of a lease asks again; return the new one."""
    kek = get(session, kek_id)
    session.update(tables.kek, kek_id, kek.revision, epoch=kek.epoch + 1)
    return kek.epoch + 1


def count_wraps(session: Session, kek_id: KekId, number: int, wraps: int = 1, *, now_ms: int) -> KekVersion:
    """Count wraps that are about to be made. Raises KeyUnusable when the version may not wrap, or not so often any more."""
    version = get(session, kek_id).check(number, "wrap")
    total = check_wraps(version.wraps, wraps)
    check_changes(version.revision)
    home = in_provider.home_of(session, kek_id, number)
    if home is not None:
        check_wraps(in_provider.wraps_under(session, home), wraps)
    session.update(tables.kek_version, (kek_id, number), version.revision, wraps=total, updated_ms=now_ms)
    return get(session, kek_id).version(number)


def set_schedule(session: Session, kek_id: KekId, *, owner: str | None, rotate_after_days: int | None) -> Kek:
    """Set who answers for a KEK and how often it is rotated (None: not by time). Raises UsageError below one day."""
    if rotate_after_days is not None and rotate_after_days < 1:
        raise UsageError("a KEK is rotated after one day or more")
    kek = get(session, kek_id)
    session.update(tables.kek, kek_id, kek.revision, owner=owner, rotate_after_days=rotate_after_days)
    return get(session, kek_id)


def _open(session: ReadSession, anchors: Anchors, kek: Kek, number: int, *, recovering: bool) -> Secret:
    wraps = keks.slots_of(session, kek.kek_id, number)
    if in_provider.home_in(wraps, f"version {number} of KEK {kek.kek_id}") is not None:
        raise KeyUnusable(f"version {number} of KEK {kek.kek_id} has no key here: its root wraps data keys itself")

    def context_of(root_id: RootId) -> bytes:
        return kek_context(anchors.domain, root_id, kek.context(number))

    return roots.open_key(session, anchors, wraps, context_of, recovering=recovering)


def _add_version(session: Session, anchors: Anchors, kek: Kek, home: Root | None, *, now_ms: int) -> KekVersion:
    """Insert the next version, active, with its slots: the wraps of a fresh key, or the mark of the root that it lives in."""
    number = max((version.number for version in kek.versions), default=0) + 1
    slots = _fresh_slots(session, anchors, kek, number) if home is None else {home.root_id: (home.provider_uri, in_provider.MARKER)}
    session.insert(
        tables.kek_version,
        kek_id=kek.kek_id,
        number=number,
        state=KeyState.ACTIVE.value,
        wraps=0,
        created_ms=now_ms,
        updated_ms=now_ms,
    )
    for root_id, (uri, wrapped) in slots.items():
        session.insert(tables.kek_slot, kek_id=kek.kek_id, number=number, root_id=root_id, provider=uri, wrapped=wrapped)
    return get(session, kek.kek_id).version(number)


def _fresh_slots(session: Session, anchors: Anchors, kek: Kek, number: int) -> dict[RootId, tuple[str, bytes]]:
    """Make a key and return its wraps by root, with the URI of each. It exists in memory only while it is wrapped."""
    providers = roots.for_new_keys(session, anchors)
    secret = Secret.random(32)
    wraps = roots.wrap_under(providers, secret, lambda root_id: kek_context(anchors.domain, root_id, kek.context(number)))
    secret.wipe()
    return {root_id: (providers[root_id].uri, wrapped) for root_id, wrapped in wraps.items()}


def _set_version(session: Session, version: KekVersion, state: KeyState, now_ms: int) -> KekVersion:
    check_transition(version.state, state)
    key = (version.kek_id, version.number)
    session.update(tables.kek_version, key, version.revision, state=state.value, updated_ms=now_ms)
    return get(session, version.kek_id).version(version.number)
