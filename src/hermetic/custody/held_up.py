"""Destructions that were due and failed: on the log once for each kind of error, and kept for `status` until they are done.

They are tried whenever somebody connects, and whoever does must be able to. So a failure stops nobody, and is not told to whoever
happens to look; it is here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hermetic.audit.leaf import Entry
from hermetic.custody import callers
from hermetic.custody.work import unit
from hermetic.db import tables

if TYPE_CHECKING:
    from hermetic.custody.call import Call
    from hermetic.db.rows import ReadSession
    from hermetic.errors import HermeticError
    from hermetic.formats.canonical import JsonValue
    from hermetic.ids import KekId

    Which = tuple[KekId, int]

_PREFIX = "destruction-held-up/"  # rows of `setting`: {error, message}


def note(call: Call, which: Which, error: HermeticError) -> None:
    """Put on record why a destruction failed, unless that is known. Raises what keeps it from being written: the disk may be full."""
    kek_id, number = which
    said = {"error": type(error).__name__, "message": error.message}
    with call.custodian.database.read(call.custodian.row_keys) as session:
        if _said(session, which).get("error") == said["error"]:
            return
    with unit(call.custodian, "custody.destruction.held-up", call.now_ms) as work:
        row = work.session.get(tables.setting, _key(which))
        if row is None:
            work.session.insert(tables.setting, key=_key(which), value=said)
        else:
            work.session.update(tables.setting, _key(which), row["revision"], value=said)
        caller = callers.require(call, work.session)
        facts: dict[str, JsonValue] = {"key": kek_id, "number": number, "error": said["error"]}
        work.log(Entry("key.destruction-held-up", facts, {"principal": caller.hidden()}))


def forget(session: Any, which: Which) -> None:
    """Take the failure off the record, in the transaction that destroys after all, or takes the announcement back."""
    if session.get(tables.setting, _key(which)) is not None:
        session.delete(tables.setting, _key(which))


def why(session: ReadSession, which: Which) -> str:
    """Return what was said when it failed last; empty when it did not."""
    return str(_said(session, which).get("message", ""))


def _said(session: ReadSession, which: Which) -> dict[str, Any]:
    row = session.get(tables.setting, _key(which))
    value = None if row is None else row["value"]
    return value if isinstance(value, dict) else {}


def _key(which: Which) -> str:
    return f"{_PREFIX}{which[0]}/{which[1]}"
