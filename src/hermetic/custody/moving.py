"""Data keys moved between versions of a KEK of which one at least lives in a root alone: a batch is one call to each provider.

    same root on both sides     its provider brings the wraps under the newest version of its key; what is inside stays inside
    any other                   opened on one side, compared with the check value, wrapped on the other, and what a provider wrapped is
                                opened once more before it replaces the old wrap

A provider that cannot bring wraps under a newer key by itself does it the second way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermetic.errors import IntegrityError
from hermetic.keys import hierarchy, in_provider, provider_wraps, wrap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hermetic.crypto.secret import Secret
    from hermetic.db.rows import ReadSession
    from hermetic.keys.kek import Kek
    from hermetic.keys.provider import Provider, RootId
    from hermetic.keys.roots import Anchors
    from hermetic.keys.states import Use
    from hermetic.keys.wrap import DataKeyContext


def homes(session: ReadSession, kek: Kek, numbers: tuple[int, int]) -> tuple[RootId | None, RootId | None]:
    """Return the roots that the two versions live in alone, None for one with a key here."""
    old, new = (in_provider.home_of(session, kek.kek_id, number) for number in numbers)
    return old, new


def move(
    session: ReadSession, anchors: Anchors, kek: Kek, numbers: tuple[int, int], *, rows: Sequence[tuple[DataKeyContext, bytes]]
) -> list[bytes]:
    """Return the wraps of `rows` (context, wrap under the first version) under the second. Nothing is written.

    Raises KeyUnusable, WrongKey, IntegrityError, Locked, KeyServiceUnavailable.
    """
    old_home, new_home = homes(session, kek, numbers)
    if old_home is not None and old_home == new_home:
        provider, context = _afar(session, anchors, kek, old_home, use="wrap")
        done = provider_wraps.rewrap_all(provider, [wrapped for _, wrapped in rows], context)
        if done is not None:
            return done
    payloads = _open(session, anchors, kek, (numbers[0], old_home), rows=rows)
    try:
        for payload, (data, _) in zip(payloads, rows, strict=True):
            for part in wrap.open_payload(payload, data):
                part.wipe()
        inside = [(data, payload) for payload, (data, _) in zip(payloads, rows, strict=True)]
        return _close(session, anchors, kek, (numbers[1], new_home), inside=inside)
    finally:
        for payload in payloads:
            payload.wipe()


def _afar(session: ReadSession, anchors: Anchors, kek: Kek, home: RootId, *, use: Use = "unwrap") -> tuple[Provider, bytes]:
    provider = in_provider.provider_of(session, anchors, home, use)
    return provider, in_provider.context_of(anchors.domain, home, kek)


def _open(
    session: ReadSession, anchors: Anchors, kek: Kek, side: tuple[int, RootId | None], *, rows: Sequence[tuple[DataKeyContext, bytes]]
) -> list[Secret]:
    number, home = side
    if home is not None:
        provider, context = _afar(session, anchors, kek, home)
        return provider_wraps.unwrap_all(provider, [(wrapped, context) for _, wrapped in rows])
    key = hierarchy.load_kek(session, anchors, kek.kek_id, number)
    found: list[Secret] = []
    try:
        for data, wrapped in rows:
            found.append(wrap.take_payload(key, wrapped, kek.context(number), data))
    except BaseException:
        for one in found:
            one.wipe()
        raise
    finally:
        key.wipe()
    return found


def _close(
    session: ReadSession,
    anchors: Anchors,
    kek: Kek,
    side: tuple[int, RootId | None],
    *,
    inside: Sequence[tuple[DataKeyContext, Secret]],
) -> list[bytes]:
    number, home = side
    if home is None:
        key = hierarchy.load_kek(session, anchors, kek.kek_id, number)
        made = [wrap.put_payload(key, payload, kek.context(number), data) for data, payload in inside]
        key.wipe()
        return made
    provider, context = _afar(session, anchors, kek, home, use="wrap")
    made = provider_wraps.wrap_all(provider, [payload for _, payload in inside], context)
    again = provider_wraps.unwrap_all(provider, [(one, context) for one in made])
    same = [one.same_as(payload) for one, (_, payload) in zip(again, inside, strict=True)]
    for one in again:
        one.wipe()
    if not all(same):
        raise IntegrityError(f"{provider.uri} gave back other bytes than it was given", hint="do not use it: look at its own log")
    return made
