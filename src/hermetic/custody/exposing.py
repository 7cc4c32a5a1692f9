"""Plaintext that was put on disk on purpose, as the port tells it: what there is, and that it is over."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from hermetic.audit.leaf import Entry
from hermetic.catalog import exposures
from hermetic.custody import callers
from hermetic.custody.cataloguing import ref_of
from hermetic.custody.decide import allowed_caller, may
from hermetic.custody.paging import page
from hermetic.custody.work import unit
from hermetic.errors import Denied, NotFound
from hermetic.formats.messages.catalogue import EndExposure, ExposureList, ExposureRow, ListExposures
from hermetic.policy.request import Action

if TYPE_CHECKING:
    from hermetic.catalog.values import Exposure
    from hermetic.custody.call import Call
    from hermetic.db.rows import ReadSession


def end_exposure(call: Call, request: EndExposure) -> ExposureRow:
    """Record the end of an exposure: one's own, or any for those who respond to incidents. Raises NotFound, Denied."""
    with unit(call.custodian, "custody.exposure.ended", call.now_ms) as work:
        caller = callers.require(call, work.session)
        found = exposures.find_open(work.session, request.path)
        if found is None:
            raise NotFound("no exposure is open at this path", hint="`hermetic status` lists exposures")
        if found.owner != caller.name and not may(call, work.session, caller, Action.RESPOND):
            raise Denied("this exposure belongs to somebody else", hint="whoever exposed the file ends it")
        ended = exposures.end(work.session, found, now_ms=call.now_ms)
        work.log(Entry("exposure.ended", {"exposure": ended.id, "version": ended.version_id}, {"principal": caller.hidden()}))
        return exposure_row(work.session, ended)


def list_exposures(call: Call, request: ListExposures) -> ExposureList:
    """List exposures, as many as fit. Raises UsageError for no cursor."""
    allowed_caller(call, Action.READ_CATALOG)
    with call.custodian.database.read(call.custodian.row_keys) as session:
        found, follows = page(
            exposures.list_exposures(session),
            request.after,
            partial(exposure_row, session),
            name=lambda item: item.id,
            keep=lambda item: request.ended or item.ended_ms is None,
        )
    return ExposureList(found, follows)


def exposure_row(session: ReadSession, item: Exposure) -> ExposureRow:
    """Return an exposure as the port tells it."""
    return ExposureRow(
        id=item.id,
        ref=ref_of(session, item.version_id),
        path=item.path,
        owner=item.owner,
        purpose=item.purpose,
        started_ms=item.started_ms,
        until_ms=item.until_ms or 0,
        ended_ms=item.ended_ms,
    )
