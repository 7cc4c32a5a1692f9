"""Data keys that are made now: fresh secret, wrap under the active KEK version, row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermetic.audit.leaf import Entry
from hermetic.catalog.values import fresh_id
from hermetic.db import tables
from hermetic.ids import DataKeyId
from hermetic.keys import hierarchy, wrap
from hermetic.keys.kek import KekScope

if TYPE_CHECKING:
    from hermetic.catalog.values import Asset, Version
    from hermetic.crypto.secret import Secret
    from hermetic.custody.call import Call
    from hermetic.custody.inforce import InForce
    from hermetic.custody.work import Work
    from hermetic.keys.kek import Kek


@dataclass(frozen=True, slots=True)
class NewKey:
    """A data key fresh from its secret; `id` names its row."""

    id: DataKeyId
    secret: Secret


def new_key(call: Call, work: Work, what: tuple[Asset, Version], policy: InForce) -> tuple[Kek, NewKey]:
    """Make, wrap and store a data key under the active version of the KEK of environment, class and project.

    Raises KeyUnusable when that KEK may not wrap, Locked, KeyServiceUnavailable.
    """
    custodian = call.custodian
    asset, version = what
    kek = _kek(call, work, what, policy)
    number = kek.active().number
    secret, key_id = wrap.new_secret(), DataKeyId(fresh_id())
    context = wrap.DataKeyContext(custodian.domain, asset.environment, asset.id, version.id, key_id)
    loaded = hierarchy.load_kek(work.session, custodian.anchors, kek.kek_id, number, use="wrap")
    hierarchy.count_wraps(work.session, kek.kek_id, number, now_ms=call.now_ms)
    wrapped = wrap.wrap_data_key(loaded, secret, kek.context(number), context)
    work.session.insert(
        tables.data_key, id=key_id, version_id=version.id, kek_id=kek.kek_id, kek_number=number, wrapped=wrapped, state="active"
    )
    return kek, NewKey(key_id, wrap.data_key_and_check(secret, context)[0])


def _kek(call: Call, work: Work, what: tuple[Asset, Version], policy: InForce) -> Kek:
    asset, version = what
    scope = KekScope(asset.environment, version.data_class, asset.project or "")
    found = hierarchy.find(work.session, scope)
    if found is not None:
        return found
    days = policy.document.classes[version.data_class].rotate_after_days
    made = hierarchy.ensure_kek(
        work.session, call.custodian.anchors, scope, now_ms=call.now_ms, owner=version.writer, rotate_after_days=days
    )
    facts = {"key": made.kek_id, "class": version.data_class.value, "environment": asset.environment.value}
    work.log(Entry("key.created", facts))
    return made
