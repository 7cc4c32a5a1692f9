"""How often keys of an asset were released: counted from lease rows, each of which stands for one key handed out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from hermetic.db import tables

if TYPE_CHECKING:
    from hermetic.db.rows import ReadSession


def releases_since(session: ReadSession, asset_id: str, principal_id: str, since_ms: int) -> int:
    """Return how many leases on versions of an asset a principal has taken since a moment."""
    lease, version = tables.lease, tables.version
    query = (
        sa.select(sa.func.count())
        .select_from(lease.join(version, lease.c.version_id == version.c.id))
        .where(version.c.asset_id == asset_id, lease.c.principal_id == principal_id, lease.c.issued_ms >= since_ms)
    )
    return int(session.connection.execute(query).scalar_one())


def of_version(session: ReadSession, version_id: str) -> tuple[int, int | None]:
    """Return how many leases a version has had, and when the last was issued."""
    lease = tables.lease
    query = sa.select(sa.func.count(), sa.func.max(lease.c.issued_ms)).where(lease.c.version_id == version_id)
    count, last = session.connection.execute(query).one()
    return int(count), None if last is None else int(last)
