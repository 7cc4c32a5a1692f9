"""Many rows of one table at a time: read in pages, changed, written back in one statement.

For campaigns over a million rows, where the dictionaries of `rows.Session` cost more than the cryptography. Only for authenticated
tables without sealed or JSON columns, such as data_key. The same holds as there: each row is verified when it is read and checked
to be one that was asked for; a change raises the revision and makes the code anew; it is written only where the revision that was
read still stands.

A page is written by one statement, which the driver runs without holding Python's lock, so that the next page can be worked out
meanwhile in another thread.
"""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from hermetic.crypto.mac import Keyed
from hermetic.db import authentic, layout, protect
from hermetic.db.columns import REVISION_LIMIT
from hermetic.errors import Conflict, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import sqlalchemy as sa

    from hermetic.db.columns import RowKeys
    from hermetic.db.rows import ReadSession, Session

Stored: TypeAlias = "Sequence[Any]"  # a row as the driver gives it: columns in order of the table
Change: TypeAlias = "tuple[Stored, Stored]"  # before, after


class Page(NamedTuple):
    """Changes of so many rows, ready to be written: their keys, and the parameters of the statement."""

    keys: tuple[str, ...]
    parameters: list[Any]


class Bulk:
    """One table under one set of row keys, and the columns that will be changed. Threads may share it."""

    def __init__(self, table: sa.Table, keys: RowKeys, changing: tuple[str, ...]) -> None:
        shape = layout.of(table)
        if not shape.authenticated or shape.sealed or shape.json or set(changing) & {*shape.keys, "revision", "mac"}:
            raise UsageError(f"table {shape.name} is changed row by row")
        self._shape, self._keys, self._names = shape, keys, changing
        self._codes = Keyed(keys.mac)
        self.at = shape.at

    def page(self, session: ReadSession, equal: Mapping[str, Any], *, after: str, limit: int) -> list[Stored]:
        """Return at most `limit` verified rows with these values and a key above `after`, in order of key. Raises RowTampered."""
        shape = self._shape
        rows = session.page(shape, equal, after=after, limit=limit)
        tests = [(shape.at[name], value) for name, value in equal.items()]
        for row in rows:
            self._verify(row)
            for index, value in tests:
                if row[index] != value:
                    raise authentic.tampered(shape.name, shape.key_of(row), "was answered for another: an index was changed by hand")
        return rows

    def _verify(self, row: Stored) -> None:
        try:
            good = authentic.matches(self._codes.tag(self._shape.encoder.encode(row)), row[self._shape.mac_at])
        except TypeError:
            good = False
        if not good:
            protect.verify(self._shape, self._keys, row)  # says what is wrong
            raise authentic.tampered(self._shape.name, self._shape.key_of(row), "was changed by hand")

    def changed(self, stored: Stored, values: Sequence[Any]) -> list[Any]:
        """Return the row with new values of the columns that change, in their order, one revision on. Raises UsageError."""
        shape, row = self._shape, list(stored)
        for name, value in zip(self._names, values, strict=True):
            row[shape.at[name]] = shape.check(name, value)
        revision = shape.at["revision"]
        if row[revision] >= REVISION_LIMIT:
            raise UsageError(f"a row of table {shape.name} was changed {REVISION_LIMIT} times, and may change no more")
        row[revision] += 1
        row[shape.mac_at] = self._codes.tag(shape.encoder.encode(row))
        return row

    def ready(self, changes: Sequence[Change]) -> Page:
        """Return a page of changes as `write` takes it: worked out before the transaction, which others wait for."""
        after_of = itemgetter(*(self._shape.at[name] for name in (*self._names, "revision", "mac")))
        before_of = itemgetter(*(self._shape.at[name] for name in (*self._shape.keys, "revision")))
        parameters = [value for before, after in changes for value in (*after_of(after), *before_of(before))]
        return Page(tuple(before[self._shape.at[self._shape.keys[0]]] for before, _ in changes), parameters)

    @staticmethod
    def look_up(session: ReadSession, column: sa.Column[Any], keys: Iterable[str]) -> dict[str, Any]:
        """Return one column of many rows of a table by key, not verified: for what something else binds."""
        return session.values_of(layout.of(column.table), column.name, sorted(set(keys)))

    def write(self, session: Session, page: Page) -> None:
        """Write a page. Raises Conflict when any row has moved on, and then the transaction must end."""
        if session.write_page(self._shape, self._names, page.parameters, len(page.keys)) != len(page.keys):
            raise Conflict(f"a row of table {self._shape.name} was changed meanwhile", hint="read it again, then retry")

    def __repr__(self) -> str:
        return f"<Bulk {self._shape.name}>"
