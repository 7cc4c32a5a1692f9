"""Unwrapping data keys, the only place where it is done: under a KEK in this process, or by the root that a KEK lives in.

All of what is asked for is unwrapped, or nothing: what did open is wiped. Data keys that one root wrapped itself go to its provider in
one call. Whoever calls this has put the release on record before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermetic.errors import RowTampered
from hermetic.keys import hierarchy, in_provider, provider_wraps, wrap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hermetic.crypto.secret import Secret
    from hermetic.custody.call import Call
    from hermetic.custody.resolve import Resolved
    from hermetic.db.rows import ReadSession
    from hermetic.ids import KekId
    from hermetic.keys.provider import RootId

    Loaded = dict[tuple[KekId, int], Secret]


def unwrap_all(call: Call, session: ReadSession, items: Sequence[Resolved], *, recovering: bool = False) -> list[Secret]:
    """Return the data keys of versions, in their order.

    Raises KeyUnusable, WrongKey, IntegrityError, Locked, KeyServiceUnavailable.
    """
    keys: dict[int, Secret] = {}
    loaded: Loaded = {}
    afar: dict[RootId, list[int]] = {}
    try:
        for at, item in enumerate(items):
            if provider_wraps.is_wrap(item.wrapped):
                item.kek.check(item.kek_number, "unwrap", recovering=recovering)
                afar.setdefault(_home(session, item), []).append(at)
            else:
                keys[at] = _here(call, session, item, (recovering, loaded))
        for root_id, places in afar.items():
            found = _by_root(call, session, root_id, ([items[at] for at in places], recovering))
            keys.update(zip(places, found, strict=True))
    except BaseException:
        for key in keys.values():
            key.wipe()
        raise
    return [keys[at] for at in range(len(items))]


def check_place(session: ReadSession, item: Resolved, *, recovering: bool) -> None:
    """Raise KeyUnusable where the root that a KEK lives in alone is suspended, compromised or gone: no other opens the version."""
    if provider_wraps.is_wrap(item.wrapped):
        in_provider.check_root(session, _home(session, item), "unwrap", recovering=recovering)


def unwrap(call: Call, session: ReadSession, item: Resolved) -> Secret:
    """Return the data key of one version. Raises as `unwrap_all`."""
    (key,) = unwrap_all(call, session, [item])
    return key


def data_key_context(call: Call, item: Resolved) -> wrap.DataKeyContext:
    """Return where the data key of a version belongs."""
    return wrap.DataKeyContext(call.custodian.domain, item.asset.environment, item.asset.id, item.version.id, item.data_key)


def _here(call: Call, session: ReadSession, item: Resolved, how: tuple[bool, Loaded]) -> Secret:
    """Unwrap under a KEK, which is loaded once for a batch."""
    (recovering, loaded), name = how, (item.kek.kek_id, item.kek_number)
    if name not in loaded:
        loaded[name] = hierarchy.load_kek(session, call.custodian.anchors, *name, recovering=recovering)
    return wrap.unwrap_data_key(loaded[name], item.wrapped, item.kek.context(item.kek_number), data_key_context(call, item))


def _by_root(call: Call, session: ReadSession, root_id: RootId, what: tuple[list[Resolved], bool]) -> list[Secret]:
    """Have the provider of a root unwrap what it wrapped itself, in one call."""
    (items, recovering), custodian = what, call.custodian
    provider = in_provider.provider_of(session, custodian.anchors, root_id, "unwrap", recovering=recovering)
    asked = [(item.wrapped, in_provider.context_of(custodian.domain, root_id, item.kek)) for item in items]
    payloads = provider_wraps.unwrap_all(provider, asked)
    return provider_wraps.opened(payloads, [data_key_context(call, item) for item in items])


def _home(session: ReadSession, item: Resolved) -> RootId:
    found = in_provider.home_of(session, item.kek.kek_id, item.kek_number)
    if found is None:
        raise RowTampered(
            f"data key {item.data_key} was wrapped by a root, and its KEK version lives in none", hint="run `hermetic log verify`"
        )
    return found
