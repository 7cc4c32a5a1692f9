"""Data residency: keys and objects of pinned classes and environments stay in their regions, and what would cross is refused.

    objects     the policy in force names each store and its region; what a client says of a store counts for nothing
    keys        the region of a root is that of its URI, or stands in custody's own config.yaml (`providers.regions`)

What is checked: the store, or plain location, that a version is sealed to, published in, promoted from and into, moved to, released or
shared from; and, before anything is wrapped, every root that a KEK has slots under or that it is to get one under. Whatever has no
region is elsewhere. A policy that makes things lie elsewhere is accepted: `gather` tells of them, new keys and releases are refused,
and the purpose `recover` still opens them, so that they can be sealed anew where they belong.

Not pinned: recovery roots (shares, escrow), whose key people hold; backups, the log and the catalogue; the domain secret and signing
keys, which open no data by themselves; what was released to readers, exposed or put into packages.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, TypeAlias

from hermetic.catalog import assets, versions
from hermetic.catalog.locations import place_of
from hermetic.catalog.values import VersionState
from hermetic.db import tables
from hermetic.errors import ConfigError, PolicyDenied
from hermetic.formats.messages.base import Pair
from hermetic.ids import DataClass, Environment, KeyState, Purpose, VersionId
from hermetic.keys import in_provider, roots
from hermetic.keys import kek as keks
from hermetic.keys.recovery_root import holder_of
from hermetic.policy import regions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from hermetic.catalog.values import Version
    from hermetic.custody.call import Call
    from hermetic.custody.inforce import InForce
    from hermetic.custody.resolve import Resolved
    from hermetic.db.rows import ReadSession
    from hermetic.keys.kek import Kek
    from hermetic.keys.provider import RootId
    from hermetic.keys.roots import Root
    from hermetic.policy.model import PolicyDocument

Pinned: TypeAlias = "tuple[DataClass, Environment]"

LISTED = 100  # subjects of one code
_REASON = ("region",)


# objects


def require_place(document: PolicyDocument, pinned: Pinned, store: str, place: str | None = None) -> None:
    """Raise PolicyDenied unless a store, or a plain location of `place` instead, is in a region allowed to class and environment."""
    within = regions.allowed(document, *pinned)
    name = store if place is None else place
    found = regions.region_of(document, name)
    if within is None or not regions.elsewhere(within, found):
        return
    what = f"store {name}" if name else "the project's folder"
    hint = "seal it into a store of these regions, or change `regions:` in hermetic.yaml"
    if not found and name:
        hint = f"write `region:` under `stores: {name}:` in hermetic.yaml, then `hermetic policy apply`"
    raise PolicyDenied(f"{_stays(pinned, within)}, and {what} {_is_in(found)}", hint=hint, reasons=_REASON)


def require_version(document: PolicyDocument, item: Resolved, purpose: Purpose | None = None) -> None:
    """Raise PolicyDenied for a version that lies elsewhere, except to recover it: somebody has to be able to bring it home."""
    if purpose is not Purpose.RECOVER:
        require_draft(document, item.asset.environment, item.version)


def require_draft(document: PolicyDocument, environment: Environment, version: Version) -> None:
    """Raise PolicyDenied for a version that lies elsewhere, or is about to."""
    require_place(document, (version.data_class, environment), version.store, place_of(version))


# keys


def require_roots(call: Call, session: ReadSession, pinned: Pinned, candidates: Iterable[Root]) -> None:
    """Raise PolicyDenied where one of these roots is elsewhere: before it is given a key, or a key under it is used for new data."""
    within = regions.allowed(call.custodian.policy.current(session).document, *pinned)
    if within is None:
        return
    for root in candidates:
        if holder_of(root.provider_uri) is not None or root.state is KeyState.DESTROYED:
            continue
        found = _regions_of(call, root)
        if regions.elsewhere(within, found):
            named = f"root {root.provider_uri} ({root.root_id[:8]})"
            out = f"`hermetic key root deactivate {root.root_id[:8]}` and `hermetic key rotate` take it out of use"
            hint = out if found else f"say `region` of it under `providers:` in custody's config.yaml; or {out}"
            raise PolicyDenied(f"{_stays(pinned, within)}, and {named} {_is_in(found)}", hint=hint, reasons=_REASON)


def require_new_slots(call: Call, session: ReadSession, pinned: Pinned) -> None:
    """Raise PolicyDenied where a new version of a KEK would get a slot elsewhere: it gets one under every active root."""
    require_roots(call, session, pinned, [root for root in roots.ls(session) if root.state is KeyState.ACTIVE])


def require_kek(call: Call, session: ReadSession, kek: Kek, number: int) -> None:
    """Raise PolicyDenied where a version of a KEK opens elsewhere: nothing new is wrapped under it."""
    if regions.allowed(call.custodian.policy.current(session).document, *_pinned(kek)) is not None:
        require_roots(call, session, _pinned(kek), [roots.get(session, root) for root in keks.slots_of(session, kek.kek_id, number)])


def require_root(call: Call, session: ReadSession, root: Root) -> None:
    """Raise PolicyDenied where a root that is elsewhere would come to open pinned keys, which every active root does."""
    document = call.custodian.policy.current(session).document
    if regions.any_pinned(document):
        for kek, _ in _with_slots(session):
            require_roots(call, session, _pinned(kek), (root,))


def preferred(call: Call, session: ReadSession, pinned: Pinned) -> Callable[[Root], bool]:
    """Return what tells roots in the regions of class and environment from others."""
    within = regions.allowed(call.custodian.policy.current(session).document, *pinned)
    return lambda root: within is None or not regions.elsewhere(within, _regions_of(call, root))


def at_home(call: Call, session: ReadSession, pinned: Pinned, root_id: RootId) -> bool:
    """Tell whether a root that a KEK lives in alone is where it may be."""
    return preferred(call, session, pinned)(roots.get(session, root_id))


# findings


def gather(call: Call, session: ReadSession, policy: InForce) -> Iterator[Pair]:
    """Yield, for `status`, versions and keys that lie elsewhere."""
    if regions.any_pinned(policy.document):
        yield from _versions(session, policy.document)
        yield from _keys(call, session, policy.document)


def _versions(session: ReadSession, document: PolicyDocument) -> Iterator[Pair]:
    counts: dict[tuple[str, str, str], int] = {}
    for row in session.find(tables.version, state=VersionState.PUBLISHED.value):
        version = versions.get(session, VersionId(row["id"]))
        asset = assets.get(session, version.asset_id)
        try:
            require_draft(document, asset.environment, version)
        except PolicyDenied as error:
            key = (str(asset.name), asset.environment.value, error.message)
            counts[key] = counts.get(key, 0) + 1
    for (name, _, why), count in sorted(counts.items())[:LISTED]:
        yield Pair("object-elsewhere", f"{name}|{'1 version' if count == 1 else f'{count} versions'}: {why}")


def _keys(call: Call, session: ReadSession, document: PolicyDocument) -> Iterator[Pair]:
    found: dict[str, str] = {}
    for kek, number in _all(session):
        within = regions.allowed(document, *_pinned(kek))
        for root_id in () if within is None else keks.slots_of(session, kek.kek_id, number):
            root = roots.get(session, root_id)
            where: tuple[str, ...] = ()
            with contextlib.suppress(ConfigError):  # told when it is used; until then nobody knows where the root is
                where = _regions_of(call, root)
            if holder_of(root.provider_uri) is None and regions.elsewhere(within, where):
                why = f"{_stays(_pinned(kek), within or ())}, and root {root.provider_uri} ({root_id[:8]}) {_is_in(where)}"
                found.setdefault(f"{kek.environment.value}/{kek.data_class.value}/{kek.project}", why)
    for name, why in sorted(found.items())[:LISTED]:
        yield Pair("key-elsewhere", f"{name}|{why}")


def _all(session: ReadSession) -> Iterator[tuple[Kek, int]]:
    for kek in keks.ls(session):
        yield from ((kek, version.number) for version in kek.versions if version.state is not KeyState.DESTROYED)


def _with_slots(session: ReadSession) -> Iterator[tuple[Kek, int]]:
    """Yield KEK versions that every active root has a slot for: not those that live in one root alone."""
    yield from ((kek, number) for kek, number in _all(session) if in_provider.home_of(session, kek.kek_id, number) is None)


def _pinned(kek: Kek) -> Pinned:
    return kek.data_class, kek.environment


def _regions_of(call: Call, root: Root) -> tuple[str, ...]:
    """Return where a root lies; () where custody was opened without its home, as for a look at a copy. Raises ConfigError."""
    return () if call.custodian.roots is None else call.custodian.roots.regions(root.provider_uri)


def _stays(pinned: Pinned, within: tuple[str, ...]) -> str:
    data_class, environment = pinned
    return f"{data_class.value} data of {environment.value} stays in {', '.join(within) or 'no region at all'}"


def _is_in(found: tuple[str, ...]) -> str:
    return f"is in {', '.join(found)}" if found else "has no region on record"
