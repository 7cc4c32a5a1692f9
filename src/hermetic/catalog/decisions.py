"""Decisions: what a person decided about an asset or a version, why, and what it was before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hermetic.catalog.values import Because, Decision, fresh_id
from hermetic.db import tables
from hermetic.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hermetic.db.rows import ReadSession, Session
    from hermetic.ids import AssetId, VersionId


def record(
    session: Session,
    kind: str,
    because: Because,
    *,
    asset_id: AssetId | None = None,
    version_id: VersionId | None = None,
    details: Mapping[str, Any] | None = None,
) -> Decision:
    """Put a decision on record; `kind` is a word such as "class" or "de-identified". Raises UsageError without reason or person."""
    if not because.reason.strip() or not because.who.strip():
        raise UsageError("a decision needs a reason and a person", hint="say why, in words that an auditor understands")
    fields: dict[str, Any] = {
        "id": fresh_id(),
        "asset_id": asset_id,
        "version_id": version_id,
        "kind": kind,
        "reason": because.reason,
        "who": because.who,
        "at_ms": because.at_ms,
        "details": None if details is None else dict(details),
    }
    session.insert(tables.decision, **fields)
    return Decision(**fields)


def about_asset(session: ReadSession, asset_id: AssetId) -> list[Decision]:
    """Return the decisions about an asset, oldest first."""
    return _ordered(session.find(tables.decision, asset_id=asset_id))


def about_version(session: ReadSession, version_id: VersionId) -> list[Decision]:
    """Return the decisions about a version, oldest first."""
    return _ordered(session.find(tables.decision, version_id=version_id))


def _ordered(rows: list[dict[str, Any]]) -> list[Decision]:
    rows.sort(key=lambda row: (row["at_ms"], row["id"]))
    return [Decision(**{name: value for name, value in row.items() if name != "revision"}) for row in rows]
