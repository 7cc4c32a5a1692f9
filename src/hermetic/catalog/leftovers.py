"""What garbage collection may take: drafts that nobody finishes, and the objects of deleted versions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hermetic.catalog import versions
from hermetic.catalog.values import VersionState
from hermetic.db import tables
from hermetic.ids import VersionId

if TYPE_CHECKING:
    from hermetic.catalog.values import Version
    from hermetic.db.rows import ReadSession

LIVE = "active"  # the state of a lease that holds


def stale_drafts(session: ReadSession, *, now_ms: int, older_than_ms: int) -> list[Version]:
    """Return drafts created more than `older_than_ms` ago for which no lease is live, oldest first."""
    rows = session.find(tables.version, state=VersionState.DRAFT)
    old = sorted((row["created_ms"], row["id"]) for row in rows if row["created_ms"] + older_than_ms < now_ms)
    return [
        versions.get(session, VersionId(draft)) for _, draft in old if not has_live_lease(session, VersionId(draft), now_ms=now_ms)
    ]


def has_live_lease(session: ReadSession, version_id: VersionId, *, now_ms: int) -> bool:
    """Whether a lease on the version is active and has not run out."""
    leases = session.find(tables.lease, version_id=version_id, state=LIVE)
    return any(_lives(row, now_ms) for row in leases)


def gone_versions(session: ReadSession) -> list[Version]:
    """Return deleted and abandoned versions, whose objects may be removed from their stores, oldest first."""
    rows = [row for state in (VersionState.DELETED, VersionState.ABANDONED) for row in session.find(tables.version, state=state)]
    rows.sort(key=lambda row: (row["created_ms"], row["id"]))
    return [versions.get(session, VersionId(row["id"])) for row in rows]


def _lives(row: dict[str, Any], now_ms: int) -> bool:
    return row["expires_ms"] is None or row["expires_ms"] > now_ms
