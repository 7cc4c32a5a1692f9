"""Exposures: plaintext on disk on purpose, with a start, an end and an owner."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hermetic.catalog.values import Exposure, fresh_id
from hermetic.db import tables
from hermetic.errors import Conflict, UsageError
from hermetic.ids import Purpose, VersionId

if TYPE_CHECKING:
    from hermetic.db.rows import ReadSession, Session


def start(
    session: Session,
    version_id: VersionId,
    path: str,
    *,
    owner: str,
    purpose: Purpose,
    now_ms: int,
    until_ms: int | None,
) -> Exposure:
    """Record plaintext of a version at `path` (absolute).

    Raises Conflict when an exposure is open there, UsageError when it would end in the past.
    """
    if until_ms is not None and until_ms <= now_ms:
        raise UsageError("an exposure ends after it starts", hint="give a duration such as 2h")
    if find_open(session, path) is not None:
        raise Conflict("an exposure at this path is open", hint="end it first: `hermetic expose --end PATH`")
    made = fresh_id()
    session.insert(
        tables.exposure,
        id=made,
        version_id=version_id,
        path=path,
        owner=owner,
        purpose=purpose,
        started_ms=now_ms,
        until_ms=until_ms,
    )
    return get(session, made)


def end(session: Session, exposure: Exposure, *, now_ms: int) -> Exposure:
    """Record that the plaintext is gone. Raises Conflict when that is on record already."""
    if exposure.ended_ms is not None:
        raise Conflict("this exposure has ended already")
    return _exposure(session.update(tables.exposure, exposure.id, exposure.revision, ended_ms=now_ms))


def get(session: ReadSession, exposure_id: str) -> Exposure:
    """Return the exposure with this id. Raises NotFound."""
    return _exposure(session.require(tables.exposure, exposure_id))


def find_open(session: ReadSession, path: str) -> Exposure | None:
    """Return the open exposure at `path`, or None."""
    row = session.first(tables.exposure, path=path, ended_ms=None)
    return None if row is None else _exposure(row)


def list_open(session: ReadSession) -> list[Exposure]:
    """Return the exposures that have not ended, oldest first."""
    return _ordered(session.find(tables.exposure, ended_ms=None))


def overdue(session: ReadSession, *, now_ms: int) -> list[Exposure]:
    """Return the open exposures whose time is up, oldest first."""
    return [found for found in list_open(session) if found.until_ms is not None and found.until_ms <= now_ms]


def list_exposures(session: ReadSession, *, version_id: VersionId | None = None) -> list[Exposure]:
    """Return all exposures, or those of a version, oldest first."""
    return _ordered(session.find(tables.exposure) if version_id is None else session.find(tables.exposure, version_id=version_id))


def _ordered(rows: list[dict[str, Any]]) -> list[Exposure]:
    return [_exposure(row) for row in sorted(rows, key=lambda row: (row["started_ms"], row["id"]))]


def _exposure(row: dict[str, Any]) -> Exposure:
    return Exposure(
        id=row["id"],
        version_id=VersionId(row["version_id"]),
        path=row["path"],
        owner=row["owner"],
        purpose=Purpose(row["purpose"]),
        started_ms=row["started_ms"],
        until_ms=row["until_ms"],
        ended_ms=row["ended_ms"],
        revision=row["revision"],
    )
