"""Figures about the domain for metrics: counts and ages, no names, no ids, and nothing that anybody decides by.

They are counted by the database over columns that stand there in plain, without checking each row, so that a look costs little.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from hermetic.audit.tables_store import TablesStore
from hermetic.custody.decide import allowed_caller
from hermetic.custody.outbox import DEAD, WAITING
from hermetic.db import identity_tables, tables
from hermetic.formats.fields import copied_entries, whole_number
from hermetic.formats.messages.measures import Figure, GatherMeasures, Measured
from hermetic.ids import KeyState
from hermetic.keys import limits
from hermetic.policy.request import Action

if TYPE_CHECKING:
    from hermetic.custody.call import Call
    from hermetic.custody.custodian import Custodian
    from hermetic.db.rows import ReadSession

_PPM = 1_000_000


def gather_measures(call: Call, _request: GatherMeasures) -> Measured:
    """Answer with the figures. Raises PolicyDenied."""
    allowed_caller(call, Action.READ_CATALOG)
    return gather(call.custodian, call.now_ms)


def gather(custodian: Custodian, now_ms: int) -> Measured:
    """Count. Raises StorageError, LogTampered."""
    with custodian.database.read(custodian.row_keys) as session:
        checkpoint, _ = custodian.log.head(TablesStore(session.connection))
        said = {row["key"]: row["value"] for row in session.find(tables.backup_state)}
        lease, leaf, exposure = tables.lease.c, tables.log_leaf.c, tables.exposure.c
        live = (lease.state == "active") & (sa.or_(lease.expires_ms.is_(None), lease.expires_ms > custodian.steady()))
        asked = tables.approval_request.c
        told = identity_tables.notification.c
        return Measured(
            at_ms=now_ms,
            log_entries=checkpoint.size,
            unanchored_entries=max(0, checkpoint.size - (whole_number(said.get("anchor_size")) or 0)),
            releases=_count(session, tables.log_leaf, leaf.kind == "release.outcome"),
            denials=_count(session, tables.log_leaf, leaf.kind.in_(("release.denied", "access.denied"))),
            leases=_count(session, tables.lease, live),
            backup_ms=whole_number(said.get("last_ms")),
            backup_missing=max(0, checkpoint.size - copied_entries(said, custodian.generation)),
            key_versions=_key_versions(session),
            wraps_used_ppm=_wraps_used(session),
            certificates=_certificates(session),
            requests_waiting=_count(session, tables.approval_request, (asked.state == "open") & (asked.expires_ms > now_ms)),
            notifications_waiting=_count(session, identity_tables.notification, told.state == WAITING),
            notifications_dead=_count(session, identity_tables.notification, told.state == DEAD),
            exposures_open=_count(session, tables.exposure, exposure.ended_ms.is_(None)),
            exposures_overdue=_count(session, tables.exposure, exposure.ended_ms.is_(None) & (exposure.until_ms < now_ms)),
        )


def _count(session: ReadSession, table: sa.Table, where: sa.ColumnElement[bool]) -> int:
    query = sa.select(sa.func.count()).select_from(table).where(where)
    return int(session.connection.execute(query).scalar_one())


def _figures(session: ReadSession, query: sa.Select[Any]) -> tuple[Figure, ...]:
    found = session.connection.execute(query)
    return tuple(sorted((Figure(str(name), int(count), int(at)) for name, count, at in found), key=lambda item: item.name))


def _key_versions(session: ReadSession) -> tuple[Figure, ...]:
    column = tables.kek_version.c
    return _figures(session, sa.select(column.state, sa.func.count(), sa.func.min(column.created_ms)).group_by(column.state))


def _wraps_used(session: ReadSession) -> int:
    """Return what the most used active version has done of what it may, in millionths."""
    column = tables.kek_version.c
    query = sa.select(sa.func.max(column.wraps), sa.func.max(column.revision)).where(column.state == KeyState.ACTIVE.value)
    wraps, revision = session.connection.execute(query).one()
    return max(_PPM * int(wraps or 0) // limits.KEK_WRAP_LIMIT, _PPM * int(revision or 0) // limits.KEK_CHANGES_LIMIT)


def _certificates(session: ReadSession) -> tuple[Figure, ...]:
    found: list[Figure] = []
    for table in (identity_tables.authority, identity_tables.credential):
        column = table.c
        query = sa.select(sa.func.count(), sa.func.min(column.not_after_ms))
        live = query.where(column.state == "active", column.not_after_ms.is_not(None))
        count, first_ms = session.connection.execute(live).one()
        if count:
            found.append(Figure(table.name, int(count), int(first_ms)))
    return tuple(found)
