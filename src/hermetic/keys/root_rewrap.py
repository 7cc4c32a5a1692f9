"""Bringing what a root has wrapped to the newest version of its key, after that key was rotated inside its service.

A wrap under an older version opens as long as the service keeps that version, which is when somebody there raises the lowest version
that decrypts, or schedules it for destruction, no longer. New wraps are of the newest version anyway; this is for those that lie here:

    place                    what lies there
    kek/ID/NUMBER            a slot of a KEK version; one that lives in the root alone has no wrap, its data keys go with the KEK
    signing/ID               a slot of a signing key
    zdomain                  domain.json

in this order. Where a run stopped stands in the root's row (`rewrapping`), so that the next goes on behind it. Nothing is replaced
before the new wrap gave back what the old one does, through the same root.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from hermetic.db import tables
from hermetic.errors import Conflict, HermeticError, IntegrityError
from hermetic.keys import in_provider, roots, secret_keys, slots
from hermetic.keys import kek as keks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hermetic.crypto.secret import Secret
    from hermetic.db.rows import ReadSession, Session
    from hermetic.keys.provider import Provider, RootId
    from hermetic.keys.roots import Anchors, Root

CURSOR: Final = "rewrapping"  # parameter: the place behind which the next run goes on
SINCE: Final = "rewrapped_ms"  # parameter: when a run last got to its end
DOMAIN: Final = "zdomain"
START: Final = ""


@dataclass(frozen=True, slots=True)
class OldWrap:
    """A wrap under a root: where it lies, and the context that it is bound to."""

    place: str
    context: bytes
    wrapped: bytes = field(repr=False)


def pending(session: ReadSession, anchors: Anchors, root_id: RootId, *, behind: str) -> list[OldWrap]:
    """Return the wraps in the database behind a place, in order."""
    found = (*_of_keks(session, anchors, root_id), *_of_signing_keys(session, anchors, root_id))
    return sorted((one for one in found if one.place > behind), key=lambda one: one.place)


def renewed(provider: Provider, olds: Sequence[OldWrap]) -> list[bytes]:
    """Return new wraps, each seen to hold what the old one does. Raises the first error of any, and IntegrityError for another secret.

    In batches where the provider has them, and within the service where that can rewrap; else each is unwrapped and wrapped.
    """
    secrets = _opened(provider, [(old.wrapped, old.context) for old in olds])
    try:
        news = _rewrapped(provider, olds, secrets)
        again = _opened(provider, [(new, old.context) for new, old in zip(news, olds, strict=True)])
        try:
            for old, one, other in zip(olds, secrets, again, strict=True):
                if not one.same_as(other):
                    raise IntegrityError(
                        f"{provider.uri} made another secret of what lies at {old.place}", hint="nothing was replaced: look at its log"
                    )
        finally:
            _wipe(again)
    finally:
        _wipe(secrets)
    return news


def store(session: Session, anchors: Anchors, root_id: RootId, changes: Sequence[tuple[OldWrap, bytes]]) -> None:
    """Write new wraps. Raises Conflict when one of the old ones is not what it was: it was dropped, or a key was changed."""
    now = {one.place: one for one in pending(session, anchors, root_id, behind=START)}
    for old, new in changes:
        if now.get(old.place) != old:
            raise Conflict("keys changed while they were wrapped anew", hint="try again")
        kind, _, rest = old.place.partition("/")
        if kind == "kek":
            kek_id, _, number = rest.partition("/")
            key = (kek_id, int(number), root_id)
            session.update(tables.kek_slot, key, session.require(tables.kek_slot, key)["revision"], wrapped=new)
        else:
            key_of, wraps = next(item for item in secret_keys.wraps_of(session) if item[0].key_id == rest)
            secret_keys.set_wraps(session, key_of, {**wraps, root_id: new})


def note(session: Session, root_id: RootId, cursor: str, *, now_ms: int) -> Root:
    """Remember how far a run has come; at its end, when that was."""
    kept: dict[str, Any] = {CURSOR: START, SINCE: now_ms} if cursor == DOMAIN else {CURSOR: cursor}
    return roots.note(session, root_id, **kept)


def cursor_of(root: Root) -> str:
    """Return where an unfinished run stopped; START for none."""
    return str(root.parameters.get(CURSOR, START))


def _of_keks(session: ReadSession, anchors: Anchors, root_id: RootId) -> Iterator[OldWrap]:
    known = {kek.kek_id: kek for kek in keks.ls(session)}
    for row in session.find(tables.kek_slot, root_id=root_id):
        if row["wrapped"] != in_provider.MARKER:
            context = slots.kek_context(anchors.domain, root_id, known[row["kek_id"]].context(row["number"]))
            yield OldWrap(f"kek/{row['kek_id']}/{row['number']:010}", context, row["wrapped"])


def _of_signing_keys(session: ReadSession, anchors: Anchors, root_id: RootId) -> Iterator[OldWrap]:
    for key, wraps in secret_keys.wraps_of(session):
        if root_id in wraps:
            yield OldWrap(f"signing/{key.key_id}", secret_keys.context_of(anchors, key)(root_id), wraps[root_id])


def _rewrapped(provider: Provider, olds: Sequence[OldWrap], secrets: Sequence[Secret]) -> list[bytes]:
    many, single = getattr(provider, "rewrap_many", None), getattr(provider, "rewrap", None)
    if many is not None:
        return _all(many([(old.wrapped, old.context) for old in olds]), len(olds))
    if single is not None:
        return [single(old.wrapped, old.context) for old in olds]
    return [provider.wrap(secret, old.context) for secret, old in zip(secrets, olds, strict=True)]


def _opened(provider: Provider, items: Sequence[tuple[bytes, bytes]]) -> list[Secret]:
    many = getattr(provider, "unwrap_many", None)
    if many is None:
        return [provider.unwrap(*item) for item in items]
    return _all(many(items), len(items))


def _all(results: Sequence[Any], count: int) -> list[Any]:
    """Return results of which none is an error. Raises the first that is one; IntegrityError when there are more or fewer."""
    if len(results) != count:
        raise IntegrityError(f"a provider answered {len(results)} of {count} wraps")
    for one in results:
        if isinstance(one, HermeticError):
            raise one
    return list(results)


def _wipe(secrets: Sequence[Secret]) -> None:
    for one in secrets:
        one.wipe()
