"""KEK versions without key material of ours: a root wraps each data key itself, so that every release is an operation in its provider.

    slot         the only `kek_slot` row of such a version names its root and holds MARKER, no wrap: there is nothing to unwrap
    wrapped      see `provider_wraps`
    context      canonical {class, domain, environment, for: "data-key", kek, project, root}

What must hold:

1. Such a version lives under exactly one root. A wrap under every root would double each seal, and whoever holds any of them would
   open what the class wants opened in one place only. So no other root, recovery share or escrow brings it back; `status` says so.
2. The context is the same for all data keys and versions of a KEK, so that a service can pin who may use it, and can move wraps to a
   newer version of its key without giving out what is inside. Which data key it is, the check value binds, compared at every opening.
3. Nothing here falls back to another root, and least to a key in this process.
4. What a root wraps so is counted over all KEKs (`wraps_under`), since one key of the provider does it all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from hermetic.db import tables
from hermetic.errors import KeyServiceUnavailable, KeyUnusable, RowTampered, Unsupported
from hermetic.formats import canonical
from hermetic.ids import KeyState
from hermetic.keys import kek as keks
from hermetic.keys import roots
from hermetic.keys.states import check_use

if TYPE_CHECKING:
    from collections.abc import Callable

    from hermetic.db.rows import ReadSession
    from hermetic.ids import DomainId, KekId
    from hermetic.keys.kek import Kek
    from hermetic.keys.provider import Provider, RootId
    from hermetic.keys.roots import Anchors, Root
    from hermetic.keys.states import Use

MARKER: Final = b"HIP\x01"  # in the slot of a version that lives in its root
_HELP: Final = "add a root that can: `hermetic key root add pkcs11:…`, openbao:…, awskms:…, gcpkms:… or azurekv:…"


def capable(provider: Provider | None) -> bool:
    """Tell whether a provider may hold KEKs of this kind: its root must never be in a process of ours (`Provider.in_provider`)."""
    return getattr(provider, "in_provider", False) is True


def home_of(session: ReadSession, kek_id: KekId, number: int) -> RootId | None:
    """Return the root that a version lives in alone; None for one with key material. Raises RowTampered."""
    return home_in(keks.slots_of(session, kek_id, number), f"version {number} of KEK {kek_id}")


def home_in(slots: dict[RootId, bytes], what: str) -> RootId | None:
    """Return what `home_of` does, of slots that were read already."""
    if MARKER not in slots.values():
        return None
    if len(slots) != 1:
        raise RowTampered(f"{what} lives in one root alone and has slots under others", hint="run `hermetic log verify`")
    return next(iter(slots))


def under(session: ReadSession, root_id: RootId) -> list[tuple[Kek, int]]:
    """Return every KEK version that lives in a root alone and is not destroyed."""
    rows = [(row["kek_id"], row["number"]) for row in session.find(tables.kek_slot, root_id=root_id) if row["wrapped"] == MARKER]
    found = [(keks.get(session, kek_id), number) for kek_id, number in rows]
    return [(kek, number) for kek, number in found if kek.version(number).state is not KeyState.DESTROYED]


def wraps_under(session: ReadSession, root_id: RootId) -> int:
    """Return how many wraps of data keys a root has made, over all KEKs that live in it."""
    version, slot = tables.kek_version, tables.kek_slot
    joined = version.join(slot, sa.and_(slot.c.kek_id == version.c.kek_id, slot.c.number == version.c.number))
    query = sa.select(sa.func.coalesce(sa.func.sum(version.c.wraps), 0)).select_from(joined)
    where = (slot.c.root_id == root_id, slot.c.wrapped == MARKER)
    return int(session.connection.execute(query.where(*where)).scalar_one())


def choose(
    session: ReadSession,
    anchors: Anchors,
    kind: str | None,
    *,
    keep: RootId | None = None,
    prefer: Callable[[Root], bool] = lambda _root: True,
) -> Root:
    """Return the active root that a new version is to live in: `keep` if it will do, else the oldest that does.

    `kind` narrows it to one kind of provider (`kek_provider` of a class), `prefer` to others if there are any. Raises KeyUnusable when
    none does, KeyServiceUnavailable when the only ones that might are not at hand.
    """
    active = [root for root in roots.ls(session) if root.state is KeyState.ACTIVE and kind in {None, root.kind}]
    here = dict(anchors.providers.items())
    able = [root for root in active if capable(here.get(root.root_id))]
    found = sorted([root for root in able if prefer(root)] or able, key=lambda root: (root.created_ms, root.root_id))
    for root in found:
        if root.root_id == keep:
            return root
    if found:
        return found[0]
    away = [root.provider_uri for root in active if root.root_id not in here]
    if away:
        raise KeyServiceUnavailable(
            f"a key that stays in its provider needs a root that is not at hand: {', '.join(away)}", hint="unlock or connect it"
        )
    wanted = "keeps keys to itself" if kind is None else f"is of kind {kind}"
    raise KeyUnusable(f"this class wants its key inside a provider, and no active root {wanted}", hint=_HELP)


def provider_of(session: ReadSession, anchors: Anchors, root_id: RootId, use: Use, *, recovering: bool = False) -> Provider:
    """Return the provider that a version lives in. Raises KeyUnusable (the root's state), KeyServiceUnavailable, IntegrityError."""
    root = check_root(session, root_id, use, recovering=recovering)
    provider = dict(anchors.providers.items()).get(root_id)
    if provider is None:
        raise KeyServiceUnavailable(
            f"root {root.provider_uri} is not at hand, and this key lives in it alone", hint="`hermetic key providers` lists them"
        )
    if not capable(provider):
        raise Unsupported(f"the provider of {root.provider_uri} cannot keep a KEK to itself", hint=_HELP)
    return roots.checked(root, provider)


def check_root(session: ReadSession, root_id: RootId, use: Use, *, recovering: bool = False) -> Root:
    """Return the root that a version lives in, if its state allows a use. Raises KeyUnusable."""
    root = roots.get(session, root_id)
    try:
        check_use(root.state, use, recovering=recovering)
    except KeyUnusable as error:
        hint = (
            f"`hermetic key root resume {root_id[:8]}`"
            if root.state is KeyState.SUSPENDED
            else "`hermetic key rotate` takes another root"
        )
        message = f"root {root.provider_uri} is {root.state.value}, and this key lives in it alone"
        raise KeyUnusable(message, hint=hint) from error
    return root


def context_of(domain: DomainId, root_id: RootId, kek: Kek) -> bytes:
    """Return what every data key under a KEK is wrapped for."""
    return canonical.encode(
        {
            "class": kek.data_class.value,
            "domain": domain,
            "environment": kek.environment.value,
            "for": "data-key",
            "kek": kek.kek_id,
            "project": kek.project,
            "root": root_id,
        }
    )
