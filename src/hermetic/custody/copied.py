"""Whether custody was ever copied, and what its newest whole copy came after: what certificates rely on, authenticated and on the log.

1. `init` says that no copy was made, in a row of `setting` that the domain's first entry commits to.
2. Before the first copy is begun the row says that copies exist, and so does an entry (`backup.made`); only then is anything written
   to the backup place. So every copy holds that row, and what is restored from one goes on saying it. A restore says it once more.
3. No row says nothing: a home of an earlier release, or one out of which somebody took the row. Then copies may exist.
4. A row that was put back to what it was at `init` is authentic, so the log is asked too. Who changes both is found by `log verify`.

What `backup_state` says of a place counts too, but only as one more reason to think that there are copies: it is not authenticated.
Copies that people make of the files are known to nobody here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from hermetic.audit.leaf import Entry, Leaf
from hermetic.custody import forgetting
from hermetic.custody.work import unit
from hermetic.db import tables

if TYPE_CHECKING:
    from hermetic.custody.custodian import Custodian
    from hermetic.db.rows import ReadSession

MADE: Final = "copies-of-custody"  # row of `setting`: {"made": whether any was ever begun}
FIRST, ANEW = "custody", "custody-anew"  # `backup` of entries: the first copy is about to be made; one was written whole


def none_yet(session: Any) -> None:
    """Say of a domain that is being made that it has no copy."""
    session.insert(tables.setting, key=MADE, value={"made": False})


def exist(session: Any) -> bool:
    """Say that copies exist, in this transaction; return whether nothing had said so before."""
    row, value = session.get(tables.setting, MADE), {"made": True}
    if row is None:
        session.insert(tables.setting, key=MADE, value=value)
    elif row["value"] != value:
        session.update(tables.setting, MADE, row["revision"], value=value)
    return row is None or row["value"] != value


def begin(custodian: Custodian) -> None:
    """Say durably that copies exist, if nothing does, before one is made. Raises StorageError, LogTampered: then none is made.

    A row that the log contradicts is left as it is, for `log verify` to find.
    """
    with custodian.database.read(custodian.row_keys) as session:
        if known(session) or _begun(session):
            return
    with unit(custodian, "custody.copies.begun", custodian.clock()) as work:
        if exist(work.session):
            work.log(Entry("backup.made", {"backup": FIRST}))


def written_anew(custodian: Custodian, destructions: int) -> None:
    """Put on record that a whole copy came after so many destructions, once it is durable. Raises StorageError, LogTampered."""
    with unit(custodian, "custody.copies.anew", custodian.clock()) as work:
        if forgetting.copied_after(work.session, destructions):
            work.log(Entry("backup.made", {"backup": ANEW, "destructions": destructions}))


def known(session: ReadSession) -> bool:
    """Whether the record says that copies exist. False says nothing: see `why_not_none`."""
    row = session.get(tables.setting, MADE)
    return row is not None and row["value"] == {"made": True}


def why_not_none(session: ReadSession) -> str:
    """Return why custody may have been copied; empty when it is on record that it never was. Raises RowTampered, LogTampered."""
    row = session.get(tables.setting, MADE)
    if row is None:
        return "nothing on record says that custody was never copied (an earlier release made it, or the record was taken out)"
    begun = row["value"] != {"made": False} or _begun(session)
    hearsay = any(session.get(tables.backup_state, key) is not None for key in ("last_ms", "place"))
    return "copies of custody made before may hold it" if begun or hearsay else ""


def _begun(session: ReadSession) -> bool:
    leaf = tables.log_leaf
    raws = session.connection.execute(sa.select(leaf.c.leaf).where(leaf.c.kind == "backup.made"))
    return any(Leaf.parse(bytes(raw)).facts.get("backup") in {FIRST, ANEW} for (raw,) in raws)
