"""Data keys that are made now: fresh secret, wrap under the active KEK version or by the root that it lives in, row.

Whoever wraps is asked inside the transaction that stores the wrap: what a provider refuses leaves nothing behind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermetic.audit.leaf import Entry
from hermetic.catalog.values import fresh_id
from hermetic.custody import keyhomes, residency
from hermetic.db import tables
from hermetic.ids import DataKeyId
from hermetic.keys import hierarchy, in_provider, provider_wraps, wrap
from hermetic.keys.kek import KekScope

if TYPE_CHECKING:
    from hermetic.catalog.values import Asset, Version
    from hermetic.crypto.secret import Secret
    from hermetic.custody.call import Call
    from hermetic.custody.inforce import InForce
    from hermetic.custody.work import Work
    from hermetic.keys.kek import Kek
    from hermetic.keys.roots import Root


@dataclass(frozen=True, slots=True)
class NewKey:
    """A data key fresh from its secret; `id` names its row."""

    id: DataKeyId
    secret: Secret


def new_key(call: Call, work: Work, what: tuple[Asset, Version], policy: InForce) -> tuple[Kek, NewKey]:
    """Make, wrap and store a data key under the active version of the KEK of environment, class and project.

    Raises KeyUnusable when that KEK may not wrap, PolicyDenied where it opens out of its regions, Locked, KeyServiceUnavailable.
    """
    custodian = call.custodian
    asset, version = what
    kek = _kek(call, work, what, policy)
    number = kek.active().number
    residency.require_kek(call, work.session, kek, number)
    secret, key_id = wrap.new_secret(), DataKeyId(fresh_id())
    context = wrap.DataKeyContext(custodian.domain, asset.environment, asset.id, version.id, key_id)
    hierarchy.count_wraps(work.session, kek.kek_id, number, now_ms=call.now_ms)
    wrapped = _wrapped(call, work, (kek, number), secret, context=context)
    work.session.insert(
        tables.data_key, id=key_id, version_id=version.id, kek_id=kek.kek_id, kek_number=number, wrapped=wrapped, state="active"
    )
    return kek, NewKey(key_id, wrap.data_key_and_check(secret, context)[0])


def _wrapped(call: Call, work: Work, under: tuple[Kek, int], secret: Secret, *, context: wrap.DataKeyContext) -> bytes:
    (kek, number), anchors = under, call.custodian.anchors
    home = in_provider.home_of(work.session, kek.kek_id, number)
    if home is None:
        loaded = hierarchy.load_kek(work.session, anchors, kek.kek_id, number, use="wrap")
        return wrap.wrap_data_key(loaded, secret, kek.context(number), context)
    provider = in_provider.provider_of(work.session, anchors, home, "wrap")
    payload = wrap.payload(secret, context)
    try:
        (made,) = provider_wraps.wrap_all(provider, [payload], in_provider.context_of(anchors.domain, home, kek))
    finally:
        payload.wipe()
    return made


def _kek(call: Call, work: Work, what: tuple[Asset, Version], policy: InForce) -> Kek:
    """Return the KEK; made if there is none, with a new version if its active one lives elsewhere than the class wants now."""
    asset, version = what
    scope = KekScope(asset.environment, version.data_class, asset.project or "")
    rules = policy.document.classes[version.data_class]
    found = hierarchy.find(work.session, scope)
    if found is not None:
        home = in_provider.home_of(work.session, found.kek_id, found.active().number)
        pinned = (version.data_class, asset.environment)
        stays = keyhomes.fits(work.session, rules, home) and (home is None or residency.at_home(call, work.session, pinned, home))
        return found if stays else _moved(call, work, found)
    home_root = keyhomes.next_home(call, work.session, (version.data_class, asset.environment))
    made = hierarchy.ensure_kek(
        work.session,
        call.custodian.anchors,
        scope,
        now_ms=call.now_ms,
        owner=version.writer,
        rotate_after_days=rules.rotate_after_days,
        home=home_root,
    )
    facts = {"key": made.kek_id, "class": version.data_class.value, "environment": asset.environment.value}
    work.log(Entry("key.created", {**facts, "home": _id_of(home_root)}))
    return made


def _moved(call: Call, work: Work, kek: Kek) -> Kek:
    """Give a KEK a version that lives where its class wants it. Raises KeyUnusable, KeyServiceUnavailable: never one elsewhere."""
    home = keyhomes.after(call, work.session, kek)
    made = hierarchy.rotate(work.session, call.custodian.anchors, kek.kek_id, now_ms=call.now_ms, home=home)
    work.log(Entry("key.rotated", {"key": kek.kek_id, "number": made.number, "home": _id_of(home)}))
    return hierarchy.get(work.session, kek.kek_id)


def _id_of(home: Root | None) -> str | None:
    return None if home is None else home.root_id
