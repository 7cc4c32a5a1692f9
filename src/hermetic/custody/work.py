"""A unit of work: rows and log entries that become durable together, or not at all.

Every state change of custody goes through `unit`. Its session records which authenticated rows were written and to which
revision; those facts go into the first log entry of the unit, so that `log verify` finds a row that somebody put back to an older,
still authentic, state. Rooms below get the session and never commit.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from hermetic.audit.leaf import ROW_LIMIT, Entry, RowState
from hermetic.audit.tables_store import TablesStore
from hermetic.catalog import lineage
from hermetic.crypto.mac import sha256
from hermetic.custody import uses
from hermetic.custody.seen import Seen
from hermetic.db import tables
from hermetic.errors import UsageError
from hermetic.ids import VersionId

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import sqlalchemy as sa

    from hermetic.audit.receipts import Appended
    from hermetic.catalog.values import Edge
    from hermetic.crypto.sign import SigningKey
    from hermetic.custody.custodian import Custodian
    from hermetic.db.rows import Key, Session

TRACKED: Final = frozenset(
    table.name
    for table in (
        tables.root,
        tables.kek,
        tables.kek_version,
        tables.kek_slot,
        tables.secret_key,
        tables.principal,
        tables.grant_,
        tables.policy,
        tables.asset,
        tables.version,
        tables.run,
        tables.decision,
        tables.exposure,
        tables.setting,
        tables.approver,
        tables.approval_request,
        tables.approval,
        tables.certificate,
        tables.authority,
        tables.credential,
        tables.second_factor,
        tables.factor_session,
        tables.factor_attempts,
    )
)
"""Tables whose revisions the log commits to. Objects are bound by the signed manifest. Two more tables are committed to in a way
of their own: of a data key, which its wrap binds to its place and rewrapping changes, that it exists; of lineage, for each version
how many parents it has and a digest of them."""

EXISTS: Final = 1
"""What stands for the revision of a data key, whatever was done to it since."""


class TrackedSession:
    """A session that remembers what it wrote. It has the methods of `db.rows.Session`."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.written: dict[tuple[str, str], int | None] = {}
        self.entries: list[Entry] = []  # what rooms that have no Work say about their part of it; logged after the unit's own
        self.permitted: set[str] = set()  # ids of the policies that what is done here rests on; entries that name none say these
        self.saw = Seen({}, {})  # the circumstances of that decision; entries say them too
        self._children: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def insert(self, table: sa.Table, /, **values: Any) -> None:
        """Insert, and remember revision 1."""
        self._session.insert(table, **values)
        if table is tables.edge:
            self._children.add(values["child_version"])
        if table is tables.data_key:
            self.written[table.name, values["id"]] = EXISTS
        self._note(table, tuple(values[column.name] for column in table.primary_key.columns), 1)

    def insert_many(self, table: sa.Table, rows: Iterable[Mapping[str, Any]], /) -> int:
        """Insert many, and remember them all."""
        kept = list(rows)
        for values in kept:
            self._note(table, tuple(values[column.name] for column in table.primary_key.columns), 1)
        return self._session.insert_many(table, kept)

    def update(self, table: sa.Table, key: Key, revision: int | None, /, **changes: Any) -> dict[str, Any]:
        """Update, and remember the new revision."""
        row = self._session.update(table, key, revision, **changes)
        self._note(table, key if isinstance(key, tuple) else (key,), row.get("revision"))
        return row

    def delete(self, table: sa.Table, key: Key, /) -> None:
        """Delete, and remember that the row is gone."""
        self._session.delete(table, key)
        self._note(table, key if isinstance(key, tuple) else (key,), None)

    def _note(self, table: sa.Table, key: tuple[Any, ...], revision: int | None) -> None:
        if table.name in TRACKED:
            self.written[table.name, key_text(key)] = revision

    def states(self) -> tuple[RowState, ...]:
        """Return what was written, as the log says it."""
        lines = [lineage_state(lineage.parents_of(self._session, VersionId(child))) for child in sorted(self._children)]
        return (*(RowState(table, key, revision) for (table, key), revision in sorted(self.written.items())), *lines)


def lineage_state(edges: Sequence[Edge]) -> RowState:
    """Return what the log says of the parents of one version: parents are only ever added, so that fewer are an older state."""
    listed = "".join(f"{edge.parent} {edge.how}\n" for edge in sorted(edges, key=lambda edge: edge.parent))
    return RowState(tables.edge.name, edges[0].child, len(edges), sha256(b"hermetic/v1/lineage\n" + listed.encode("utf-8")))


def key_text(key: tuple[Any, ...]) -> str:
    """Write a primary key as one text: parts joined by '/', bytes in hex."""
    return "/".join(part.hex() if isinstance(part, bytes) else str(part) for part in key)


@dataclass(slots=True)
class Work:
    """One unit while it runs, and what the log said after it."""

    session: Any
    now_ms: int
    entries: list[Entry] = field(default_factory=list)
    appended: Appended | None = None
    log_key: SigningKey | None = None  # hands the log over to this key, after the entries

    def log(self, entry: Entry) -> int:
        """Add an entry that becomes durable with the rows; return its position, which `receipt` asks for."""
        self.entries.append(entry)
        return len(self.entries) - 1

    def logged(self) -> Appended:
        """Return what was appended. Raises UsageError when the unit logged nothing."""
        if self.appended is None:
            raise UsageError("this unit of work logged nothing")
        return self.appended


@contextlib.contextmanager
def unit(custodian: Custodian, step: str, now_ms: int, *, merge: bool = True) -> Iterator[Work]:
    """Run one unit; at its end rows and entries are durable together. A unit that wrote tracked rows must log.

    Uses of roots that are not on the log yet come last, in an entry of their own (`uses`). What is to be told outside is written with
    the rest (`outbox`).
    Entries are dated when they are appended: a unit may have waited for its turn to write, and others went ahead.

    Fault tests know the moment before the commit as `<step>.before` and the one after it as `<step>`. `merge` as for `Database.write`.
    """
    with custodian.uses.taking() as take, custodian.database.write(custodian.row_keys, step=step, merge=merge) as session:
        tracked = TrackedSession(session)
        work = Work(tracked, now_ms)
        yield work
        said = [_naming(entry, tracked) for entry in work.entries]
        entries, told = spread([*said, *tracked.entries], tracked.states()), False
        if entries:
            told = custodian.outbox.put(session, entries, domain=custodian.domain, now_ms=now_ms)
            entries += uses.entries(take())
            store = TablesStore(session.connection)
            work.appended = custodian.log.append(store, entries, now_ms=custodian.clock())
            if work.log_key is not None:
                work.appended, _ = custodian.log.change_key(store, work.log_key, now_ms=custodian.clock())
    if work.appended is not None:
        custodian.log.committed(work.appended.checkpoint)
    custodian.committed()
    if told:
        custodian.outbox.wake.set()


def _naming(entry: Entry, tracked: TrackedSession) -> Entry:
    """Return an entry that names the policies which permitted what it is about, and the circumstances in which they did."""
    if not tracked.permitted or "policies" in entry.facts:
        return entry
    facts, hidden = tracked.saw
    return replace(entry, facts={**facts, "policies": sorted(tracked.permitted), **entry.facts}, hidden={**entry.hidden, **hidden})


def spread(entries: list[Entry], states: tuple[RowState, ...]) -> list[Entry]:
    """Return the entries with the row states among them, as many in each as it takes. Raises UsageError when there is no room."""
    if not states:
        return entries
    if not entries:
        raise UsageError("a unit of work changed policy-relevant rows without logging it")
    room = len(entries) * ROW_LIMIT
    if len(states) > room:
        raise UsageError(f"a unit of work changed more than {room} policy-relevant rows")
    parts = [states[at : at + ROW_LIMIT] for at in range(0, len(states), ROW_LIMIT)]
    return [replace(entry, rows=(*entry.rows, *(parts[at] if at < len(parts) else ()))) for at, entry in enumerate(entries)]
