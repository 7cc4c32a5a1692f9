"""What a compromised root could open, and how much of that still counts. Pure but for the session.

Whoever has a root, and a copy of the database or of the backup place, opens everything that had a wrap under it: the domain secret,
each KEK version, the keys that sign. Marking the root takes nothing of that back. So the mark keeps what there was, in the row,

    exposed_keks      {KEK id: the highest version that had a slot under the root, or lives in it}
    exposed_signing   [ids of signing keys]

and what of it is not yet revoked, or signs still, is a finding, also when the root was dropped meanwhile. The domain secret never
changes: nothing ends its exposure but another domain.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from hermetic.db import tables
from hermetic.ids import KekId, KeyState
from hermetic.keys import kek as keks
from hermetic.keys import roots, secret_keys

if TYPE_CHECKING:
    from hermetic.db.rows import ReadSession, Session
    from hermetic.keys.provider import RootId
    from hermetic.keys.roots import Root

SINCE: Final = "compromised_ms"
_KEKS: Final = "exposed_keks"
_SIGNING: Final = "exposed_signing"
_OVER: Final = {KeyState.COMPROMISED, KeyState.DESTROYED}


@dataclass(frozen=True, slots=True)
class Exposure:
    """What a compromised root could open and what was not changed since: KEKs to revoke, signing keys to rotate; ids, in order.

    `authorities` are keys that sign certificates.
    """

    keks: tuple[KekId, ...] = ()
    signing: tuple[str, ...] = ()
    authorities: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.keks or self.signing or self.authorities)


def mark(session: Session, root_id: RootId, *, now_ms: int) -> Root:
    """Mark a root as compromised, and keep what it could open. Raises KeyUnusable, Conflict, NotFound."""
    highest: dict[str, int] = {}
    for row in session.find(tables.kek_slot, root_id=root_id):
        highest[row["kek_id"]] = max(row["number"], highest.get(row["kek_id"], 0))
    signing = sorted(key.key_id for key, wraps in secret_keys.wraps_of(session) if root_id in wraps)
    roots.set_state(session, root_id, KeyState.COMPROMISED)
    kept: dict[str, Any] = {SINCE: now_ms, _KEKS: highest, _SIGNING: signing}
    return roots.note(session, root_id, **kept)


def remaining(session: ReadSession, root: Root) -> Exposure:
    """Return what of a compromised root's keys is still in use; nothing for a root that is not marked."""
    if SINCE not in root.parameters:
        return Exposure()
    highest, signing = root.parameters[_KEKS], set(root.parameters[_SIGNING])
    open_ = [
        kek.kek_id
        for kek in keks.ls(session)
        if any(version.number <= highest.get(kek.kek_id, 0) and version.state not in _OVER for version in kek.versions)
    ]
    active = [key for key in secret_keys.ls(session) if key.key_id in signing and key.state is KeyState.ACTIVE]
    certify = tuple(key.key_id for key in active if key.purpose in secret_keys.AUTHORITIES)
    return Exposure(tuple(open_), tuple(key.key_id for key in active if key.key_id not in certify), certify)
