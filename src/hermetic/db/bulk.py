"""Many rows of one table at a time: read in pages, changed, written back in one statement.

For campaigns over a million rows, where the dictionaries of `rows.Session` cost more than the cryptography. Only for authenticated
tables without sealed or JSON columns, such as data_key. The same holds as there: each row is verified before anything is made of it;
a change raises the revision and makes the code anew; it is written only where the revision that was read still stands.

    bulk = Bulk(tables.data_key, keys.mac, {"kek_id": kek, "kek_number": 1}, fixed={"kek_number": 2}, varying=("wrapped",))
    rows = bulk.page(session, after="", limit=500)        # in one transaction
    bulk.verify(rows)                                     # anywhere: neither session nor database is needed
    page = bulk.ready(bulk.changed(row, (wrapped,)) for row in rows)
    bulk.write(session, page)                             # in another transaction

Rows are read without the columns that are asked for (`equal`), whose values are known: the code is checked over those values, so that
a row that an index changed by hand answers with fails as any row changed by hand does.

A page is written by one statement, which the driver runs without holding Python's lock, so that the next page can be worked out
meanwhile in another thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from hermetic.crypto.mac import Keyed
from hermetic.db import authentic, layout
from hermetic.db.columns import REVISION_LIMIT
from hermetic.errors import Conflict, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import sqlalchemy as sa

    from hermetic.crypto.secret import Secret
    from hermetic.db.rows import ReadSession, Session
    from hermetic.db.statements import Beside

Stored: TypeAlias = (
    "Sequence[Any]"  # a row as it is read: the columns that are not asked for, in order of the table, and what is beside
)


class Page(NamedTuple):
    """Changes of so many rows, ready to be written: their keys, and the parameters of the statement."""

    keys: tuple[str, ...]
    parameters: list[Any]


class Bulk:
    """The rows of one table with certain values, and one change of them. Threads may share it."""

    def __init__(
        self,
        table: sa.Table,
        mac: Secret,
        equal: Mapping[str, Any],
        *,
        fixed: Mapping[str, Any] | None = None,
        varying: tuple[str, ...] = (),
        beside: Beside | None = None,
    ) -> None:
        """Take `equal` as the question; changed columns get one value for all (`fixed`), or each its own (`varying`)."""
        shape, fixed = layout.of(table), fixed or {}
        kept_up = {*shape.keys, "revision", "mac"}
        if (
            not shape.authenticated
            or shape.sealed
            or shape.json
            or kept_up & {*equal, *fixed, *varying}
            or {*varying} & {*equal, *fixed}
        ):
            raise UsageError(f"table {shape.name} is changed row by row")
        self._shape, self._beside, self._codes = shape, beside, Keyed(mac)
        self._equal = {name: shape.check(name, value) for name, value in equal.items()}
        self._fixed = {name: shape.check(name, value) for name, value in fixed.items()}
        self._varying, self._names = varying, (*fixed, *varying)
        self.at = {name: place for place, name in enumerate(name for name in shape.columns if name not in equal)}
        self._before, self._after = self._encoder(self._equal), self._encoder(self._equal | self._fixed)
        self._key, self._revision, self._mac = (self.at[name] for name in (*shape.keys, "revision", "mac"))

    def _encoder(self, constants: Mapping[str, Any]) -> authentic.Encoder:
        places = [(name, place) for name, place in self.at.items() if name != "mac" and name not in constants]
        return authentic.Encoder(self._shape.name, places, constants)

    def page(self, session: ReadSession, *, after: str, limit: int) -> list[Stored]:
        """Return at most `limit` rows with a key above `after`, in order of key, NOT verified."""
        return session.page(self._shape, self._equal, after=after, limit=limit, beside=self._beside)

    def verify(self, rows: Iterable[Stored]) -> None:
        """Return if these are rows of ours, with the values that were asked for. Raises RowTampered."""
        tag, encode, mac = self._codes.tag, self._before.encode, self._mac
        for row in rows:
            try:
                good = authentic.matches(tag(encode(row)), row[mac])
            except TypeError:  # a type that no column stores
                good = False
            if not good:
                raise authentic.tampered(self._shape.name, (row[self._key],), "was changed by hand, or an index that led to it")

    def changed(self, row: Stored, values: Sequence[Any]) -> list[Any]:
        """Return what the statement takes for one verified row, with values for the `varying` columns. Raises UsageError."""
        shape, after = self._shape, list(row)
        for name, value in zip(self._varying, values, strict=True):
            after[self.at[name]] = shape.check(name, value)
        revision = row[self._revision]
        if revision >= REVISION_LIMIT:
            raise UsageError(f"a row of table {shape.name} was changed {REVISION_LIMIT} times, and may change no more")
        after[self._revision] = revision + 1
        code = self._codes.tag(self._after.encode(after))
        return [*self._fixed.values(), *values, revision + 1, code, row[self._key], revision]

    def ready(self, changes: Iterable[Sequence[Any]]) -> Page:
        """Return a page of changes as `write` takes it: worked out before the transaction, which others wait for."""
        return self.page_of([value for change in changes for value in change])

    def page_of(self, parameters: list[Any]) -> Page:
        """Return a page of what `ready` put into one, in another process."""
        width = len(self._names) + 4  # revision, code; key, old revision
        return Page(tuple(parameters[width - 2 :: width]), parameters)

    def write(self, session: Session, page: Page) -> None:
        """Write a page. Raises Conflict when any row has moved on, and then the transaction must end."""
        if session.write_page(self._shape, self._names, page.parameters, len(page.keys)) != len(page.keys):
            raise Conflict(f"a row of table {self._shape.name} was changed meanwhile", hint="read it again, then retry")

    def __repr__(self) -> str:
        return f"<Bulk {self._shape.name}>"
