"""Announced destructions are done when their day has come, by who looks next: a greeting, `gc`, `hermetic key destroy --due`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

import sqlalchemy as sa

from hermetic.db import tables
from hermetic.keys import destruction

_NAME = tables.setting.c.key
_UNFINISHED = sa.select(_NAME).where(sa.or_(_NAME.like("certificate/%"), _NAME.like("signing-gone/%")))

if TYPE_CHECKING:
    from hermetic.custody.call import Call
    from hermetic.formats.messages.destruction import DestructionRow


def do_due(call: Call) -> tuple[DestructionRow, ...]:
    """Destroy what is due, and say what became of each; what something still needs stays, and that it does is on the log.

    Raises what keeps something from being finished that a crash left unfinished, after everything else was done.
    """
    with call.custodian.database.read(call.custodian.row_keys) as session:
        found = destruction.due(session, now_ms=call.now_ms)
        begun = {str(name).partition("/")[0] for (name,) in session.connection.execute(_UNFINISHED)}
    rows: tuple[DestructionRow, ...] = ()
    if found:
        rows = importlib.import_module("hermetic.custody.destroying").destroy_when_due(call, found)
    if "signing-gone" in begun:
        importlib.import_module("hermetic.custody.signing_keys").finish(call)
    if "certificate" in begun:
        importlib.import_module("hermetic.custody.unfinished").finish(call)
    return rows
