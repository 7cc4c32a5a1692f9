"""What a destruction concerns: versions, what was derived from them, leases, packages, exposures, copies of custody, last use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from hermetic.audit.leaf import Leaf
from hermetic.audit.tree import leaf_hash
from hermetic.catalog import assets, exposures, lineage, versions
from hermetic.catalog.values import VersionState
from hermetic.custody import copied, remains
from hermetic.custody.cataloguing import ref_of
from hermetic.db import tables
from hermetic.formats.certificate import Logged
from hermetic.formats.fields import whole_number
from hermetic.formats.messages.destruction import BlastRadius
from hermetic.ids import KekId, VersionId

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hermetic.catalog.values import Version
    from hermetic.custody.call import Call
    from hermetic.db.rows import ReadSession
    from hermetic.keys.kek import KekVersion

NEVER_MS = 2**63  # a moment that no word covers
LISTED = 1000  # names in each list of an answer
COPIES = "copies-destroyed-before"  # row of `setting`: {ms, who, at_ms, generation, size}; the last two say how long the log was then


def radius(
    call: Call, session: ReadSession, found: Sequence[Version], *, data_keys: int, in_the_way: Iterable[str] = ()
) -> BlastRadius:
    """Return what it concerns that these versions go."""
    ids = {item.id for item in found}
    derived = {edge.child for item in found for edge in lineage.descendants(session, item.id)} - ids
    still = [item for item in sorted(derived) if versions.get(session, item).state is VersionState.PUBLISHED]
    return BlastRadius(
        versions=tuple(ref_of(session, item.id) for item in found[:LISTED]),
        assets=tuple(sorted({str(assets.get(session, item.asset_id).name) for item in found}))[:LISTED],
        derived=tuple(ref_of(session, item) for item in still[:LISTED]),
        leases=sum(_leases(call, session, item.id) for item in found),
        exposures=tuple(
            row.path for item in found for row in exposures.list_exposures(session, version_id=item.id) if row.ended_ms is None
        ),
        last_use_ms=_last_use(session, ids),
        data_keys=data_keys,
        backup_ms=last_copy(session),
        in_the_way=tuple(in_the_way),
        packages=tuple(item.told() for item in remains.packages(session, ids) if not item.destroyed)[:LISTED],
    )


def on_kek(session: ReadSession, kek_id: KekId, number: int) -> list[Version]:
    """Return the versions whose data key is still wrapped under a version of a KEK, drafts and scratch too."""
    rows = session.find(tables.data_key, kek_id=kek_id, kek_number=number)
    found = {row["version_id"] for row in rows if row["wrapped"] is not None}
    return [versions.get(session, VersionId(item)) for item in sorted(found)]


def _leases(call: Call, session: ReadSession, version_id: VersionId) -> int:
    """Count the leases open now; the row of a package is for budgets, has no life, and is nobody's lease."""
    now_ms = call.custodian.steady()
    rows = session.find(tables.lease, version_id=version_id, state="active")
    return sum(row["expires_ms"] is None or row["expires_ms"] > now_ms for row in rows)


def _last_use(session: ReadSession, ids: Iterable[VersionId]) -> int | None:
    lease = tables.lease
    found = [
        session.connection.execute(sa.select(sa.func.max(lease.c.issued_ms)).where(lease.c.version_id == item)).scalar_one_or_none()
        for item in ids
    ]
    return max((int(item) for item in found if item is not None), default=None)


# Copies of custody


def last_copy(session: ReadSession) -> int | None:
    """Return when custody was last copied to its backup place; None when it never was, as far as this database knows."""
    row = session.get(tables.backup_state, "last_ms")
    return None if row is None else whole_number(row["value"])


def copies_destroyed_before(session: ReadSession) -> int:
    """Return the moment before which people vouch that every copy was destroyed; 0 if they never did."""
    row = session.get(tables.setting, COPIES)
    value = None if row is None else row["value"]
    found = value.get("ms") if isinstance(value, dict) else None
    return found if isinstance(found, int) else 0


def vouched_after(session: ReadSession, log: Logged) -> bool:
    """Whether people vouched for the copies after an entry of the log: a clock that was set back makes no word of before cover it."""
    row = session.get(tables.setting, COPIES)
    value = None if row is None else row["value"]
    if not isinstance(value, dict):
        return False
    return (value.get("generation", 0), value.get("size", 0)) > (log.generation, log.index)


def copies_of_key(session: ReadSession, version: KekVersion) -> str:
    """Return why a copy from before the destruction of a KEK version was announced may need it; empty when none does.

    Who vouches does so after the announcement, by the log as well as by the clock. One that the log does not show covers nothing.
    """
    leaf = tables.log_leaf
    query = sa.select(leaf.c.generation, leaf.c.idx, leaf.c.leaf).where(leaf.c.kind == "key.destruction-announced")
    for generation, index, raw in session.connection.execute(query.order_by(leaf.c.generation.desc(), leaf.c.idx.desc())):
        facts = Leaf.parse(bytes(raw)).facts
        if (facts.get("key"), facts.get("number")) == (version.kek_id, version.number):
            return copies_may_hold(session, version.updated_ms, Logged(int(generation), int(index), leaf_hash(bytes(raw))))
    return copies_may_hold(session, NEVER_MS)


def copies_may_hold(session: ReadSession, since_ms: int, log: Logged | None = None) -> str:
    """Return why a copy of custody may hold what was there until `since_ms`, and until an entry of the log; empty when none does."""
    why = copied.why_not_none(session)
    if not why or (copies_destroyed_before(session) >= since_ms and (log is None or vouched_after(session, log))):
        return ""
    return f"{why}: destroy them, or every key that opens one, then `hermetic key copies-destroyed --before TIME --reason TEXT`"
