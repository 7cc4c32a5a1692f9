"""Sessions: one transaction over authenticated rows and sealed columns.

Values go in and come out in plain; sealing, lookup columns, `revision` and `mac` are the session's business. A row is a dict of its
columns without `mac` and without lookup columns; `revision` is among them and is what `update` asks back.

Every row of an authenticated table is verified when read, and checked to be the row that was asked for, so that an index that was
changed by hand cannot pass one row off as another. RowTampered names table and key.
"""

from __future__ import annotations

import os
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from hermetic.db import authentic, layout, protect
from hermetic.db.faults import DRIVER_ERRORS, driver_errors, translate
from hermetic.db.relied import ANSWER_ROWS, ANSWERS, TOGETHER, Changed, same
from hermetic.errors import Conflict, IntegrityError, NotFound, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import sqlalchemy as sa

    from hermetic.db.columns import RowKeys
    from hermetic.db.layout import Layout
    from hermetic.db.links import Link
    from hermetic.db.protect import Row
    from hermetic.db.relied import Query, Relied, Stored
    from hermetic.db.statements import Beside

Key = str | int | bytes | tuple[str | int | bytes, ...]
T = TypeVar("T")
PAGE = 1000  # rows fetched or written at a time
_WRONG_ROW = "was answered by another row: an index was changed by hand"


class ReadSession:
    """One consistent snapshot of the database. Made by `Database.read`, ended by leaving the `with`.

    It asks a question once: what was answered is remembered, for `relied` and for whoever asks again.
    """

    _remembers = True

    def __init__(self, link: Link, keys: RowKeys | None, planned: tuple[Query, ...] = ()) -> None:
        self._link: Link | None = link
        self._keys = keys
        self._pid = os.getpid()
        self._planned = planned
        self._ahead: dict[Query, Sequence[Stored]] = {}
        self._asked: dict[Query, Sequence[Stored]] = {}
        self._complete = True

    @property
    def connection(self) -> sa.Connection:
        """The SQLAlchemy connection, inside this transaction, for plain tables and counts; nothing it returns is verified."""
        return self._live().sqlalchemy()

    def get(self, table: sa.Table, key: Key, /) -> Row | None:
        """Return the row with this primary key (a tuple for several columns), or None. Raises RowTampered."""
        shape = layout.of(table)
        stored = self._by_key(shape, protect.key_parts(shape, key))
        return None if stored is None else protect.reveal(shape, self._keys, stored)

    def require(self, table: sa.Table, key: Key, /) -> Row:
        """Return the row with this primary key. Raises NotFound, RowTampered."""
        row = self.get(table, key)
        if row is None:
            raise _missing(layout.of(table), key)
        return row

    def find(self, table: sa.Table, /, **equals: Any) -> list[Row]:
        """Return the rows whose columns equal the values given, in order of key; None means NULL. Raises RowTampered.

        A sealed column can be searched if it has a lookup column; otherwise UsageError.
        """
        shape = layout.of(table)
        wanted = protect.wanted(shape, self._keys, equals)
        names = tuple(name for name, value in wanted.items() if value is not None)
        nulls = tuple(name for name, value in wanted.items() if value is None)
        rows = self._answer((shape, names, nulls, tuple([wanted[name] for name in names])))
        tests = [(shape.at[name], value) for name, value in wanted.items()]
        if any(row[index] != value for row in rows for index, value in tests):
            raise authentic.tampered(shape.name, None, _WRONG_ROW)
        return [protect.reveal(shape, self._keys, row) for row in rows]

    def first(self, table: sa.Table, /, **equals: Any) -> Row | None:
        """Return the row that `find` gives first, or None."""
        rows = self.find(table, **equals)
        return rows[0] if rows else None

    def scan(
        self,
        table: sa.Table,
        where: sa.ColumnElement[bool] | None = None,
        /,
        *,
        order_by: Sequence[sa.ColumnElement[Any]] = (),
        limit: int | None = None,
    ) -> Iterator[Row]:
        """Yield verified rows for a condition over stored columns, in order of key unless told otherwise. Raises RowTampered.

        The database answers the condition, so an index changed by hand may hide rows from a scan: what must hold is asked of the row.
        """
        import sqlalchemy as sa  # noqa: PLC0415 - already loaded by whoever made the table

        shape = layout.of(table)
        query = sa.select(table).order_by(*(order_by or table.primary_key.columns)).limit(limit)
        result = self._guarded(shape, self.connection.execute, query if where is None else query.where(where))
        while page := self._guarded(shape, result.fetchmany, PAGE):
            for stored in page:
                yield protect.reveal(shape, self._keys, stored)

    def page(
        self, shape: Layout, equal: Mapping[str, Any], *, after: Any, limit: int, beside: Beside | None = None
    ) -> list[Sequence[Any]]:
        """Return rows as stored without the columns of `equal`, not verified: what `bulk.Bulk` reads, which verifies them."""
        statement = self._live().statements.page(shape, tuple(equal), beside)
        return self._fetch(shape, statement.sql, [*equal.values(), after, limit])

    def whole_database(self) -> bytes:
        """Return a copy of the whole database as this transaction sees it, as an SQLite file."""
        with driver_errors():
            return self._live().whole()

    def relied(self) -> Relied | None:
        """Return every question that `get` and `find` answered, with the rows as stored; None if there were too many."""
        return dict(self._asked) if self._complete else None

    def rely(self, table: sa.Table, key: Key, /) -> None:
        """Have `relied` ask for a row by its key as well, that was found by other columns. Raises NotFound, RowTampered."""
        shape = layout.of(table)
        parts = protect.key_parts(shape, key)
        query = (shape, shape.keys, (), parts)
        if query in self._asked:
            return
        met = [row for (other, *_), rows in self._asked.items() if other is shape for row in rows if shape.key_of(row) == parts]
        if met:
            self._asked[query] = met[:1]
        else:
            self.require(table, key)

    def require_unchanged(self, relied: Relied | None) -> None:
        """Ask the same questions; return if the answers are the same, byte for byte. Raises Changed, StorageError."""
        if relied is None:
            raise Changed("too much was read to be compared")
        found = self._look(relied)
        for query, before in relied.items():
            if not same(before, found[query]):
                raise Changed(f"table {query[0].name}")
        if self._remembers:
            self._asked |= relied

    def end(self) -> None:
        """Make the session unusable; called when its block is left."""
        self._link = None

    def _live(self) -> Link:
        if self._link is None:
            raise UsageError("this session has ended", hint="open another with `database.read` or `database.write`")
        if self._pid != os.getpid():
            raise UsageError("a session cannot be used in a forked process", hint="open another one in the child")
        return self._link

    def _by_key(self, shape: Layout, parts: tuple[Any, ...]) -> Sequence[Any] | None:
        for stored in self._answer((shape, shape.keys, (), parts)):
            if shape.key_of(stored) != parts:
                raise authentic.tampered(shape.name, parts, _WRONG_ROW)
            return stored
        return None

    def _answer(self, query: Query) -> Sequence[Stored]:
        """Return the stored rows that a query finds, in order of key."""
        rows = self._asked.get(query)
        if rows is not None:
            self._live()
            return rows
        rows = self._look((query,))[query] if self._planned else self._ahead.get(query)
        if rows is None:
            rows = self._alone(query)
        if self._remembers:
            if len(rows) > ANSWER_ROWS or len(self._asked) >= ANSWERS:
                self._complete = False
            else:
                self._asked[query] = rows
        return rows

    def _look(self, queries: Iterable[Query]) -> Mapping[Query, Sequence[Stored]]:
        """Answer several queries and those that are planned; what this snapshot answered before, it answers again."""
        found = self._together([query for query in (*queries, *self._planned) if query not in self._ahead])
        self._planned = ()
        if not self._remembers:
            return found
        self._ahead |= found
        return self._ahead

    def _alone(self, query: Query) -> Sequence[Stored]:
        shape, names, nulls, values = query
        return self._fetch(shape, self._live().statements.select(shape, names, nulls).sql, values)

    def _together(self, queries: Iterable[Query]) -> dict[Query, Sequence[Stored]]:
        """Answer several queries, in one statement where they are few."""
        asked = tuple(dict.fromkeys(queries))
        if not 1 < len(asked) <= TOGETHER:
            return {query: self._alone(query) for query in asked}
        statement = self._live().statements.together(tuple([query[:3] for query in asked]))
        values = [value for query in asked for value in query[3]]
        try:
            rows = self._fetch(asked[0][0], statement.sql, values)
        except IntegrityError:  # text that is none, for instance: one by one they say which row it is in
            return {query: self._alone(query) for query in asked}
        found: list[list[Stored]] = [[] for _ in asked]
        for row in rows:
            found[row[0]].append(statement.picks[row[0]](row))
        return {query: _in_order(query[0], answer) for query, answer in zip(asked, found, strict=True)}

    def _fetch(self, shape: Layout, sql: str, parameters: Sequence[Any]) -> list[Sequence[Any]]:
        link = self._live()
        return self._guarded(shape, lambda: link.execute(sql, parameters).fetchall())

    def _guarded(self, shape: Layout, call: Callable[..., T], *arguments: Any) -> T:
        try:
            return call(*arguments)
        except DRIVER_ERRORS as error:
            failure = translate(error)
            if type(failure) is IntegrityError and shape.authenticated and "UTF-8" in failure.message:
                raise authentic.tampered(shape.name, None, "holds text that is not UTF-8") from None
            raise failure from None


def _in_order(shape: Layout, rows: list[Stored]) -> list[Stored]:
    if len(rows) > 1:
        try:
            rows.sort(key=shape.key_of)
        except TypeError:
            raise authentic.tampered(shape.name, None, "was changed by hand: its key has another type") from None
    return rows


class Session(ReadSession):
    """One write transaction: everything or nothing. Made by `Database.write`; leaving the `with` commits, an error rolls back.

    After a statement that failed, leave it: whoever catches the error inside and goes on is refused by a server, at the commit if not
    before, and nothing is written. It sees what it writes itself, and so remembers no answers.
    """

    _remembers = False

    def insert(self, table: sa.Table, /, **values: Any) -> None:
        """Insert a row; columns left out are NULL. Raises Conflict when key or unique columns exist, UsageError for wrong values."""
        shape = layout.of(table)
        stored = protect.store(shape, self._keys, values)
        self._execute(shape, self._live().statements.insert(shape).sql, stored)

    def insert_many(self, table: sa.Table, rows: Iterable[Mapping[str, Any]], /) -> int:
        """Insert many rows and return how many. Errors as `insert`; after one, leave the transaction."""
        shape = layout.of(table)
        sql = self._live().statements.insert(shape).sql
        stored = (protect.store(shape, self._keys, values) for values in rows)
        count = 0
        while page := list(islice(stored, PAGE)):
            count += self._execute_many(shape, sql, page)
        return count

    def update(self, table: sa.Table, key: Key, revision: int | None, /, **changes: Any) -> Row:
        """Change columns of a row that is still at `revision` (None for tables without one); return the row as it now is.

        Raises NotFound; Conflict when the row has moved on; RowTampered; UsageError for key, maintained or unknown columns.
        """
        shape = layout.of(table)
        stored = self._by_key(shape, protect.key_parts(shape, key))
        if stored is None:
            raise _missing(shape, key)
        if shape.authenticated:
            protect.verify(shape, self._keys, stored)
        if (stored[shape.at["revision"]] if shape.authenticated else None) != revision:
            raise _moved(shape)
        changed = protect.change(shape, self._keys, stored, changes)
        self._write_changes(shape, tuple(sorted(changes)), [(stored, changed)])
        return protect.reveal(shape, self._keys, changed)

    def delete(self, table: sa.Table, key: Key, /) -> None:
        """Delete one row; its bytes are overwritten (secure_delete), the write-ahead log keeps them until `checkpoint_truncate`.

        Raises NotFound; Conflict while other rows refer to it.
        """
        shape = layout.of(table)
        if self._execute(shape, self._live().statements.delete(shape).sql, protect.key_parts(shape, key)) != 1:
            raise _missing(shape, key)

    def write_page(self, shape: Layout, names: tuple[str, ...], parameters: Sequence[Any], count: int) -> int:
        """Write rows that are ready to be stored: what `bulk.Bulk` worked out. Returns how many were still as they were read."""
        return self._execute(shape, self._live().statements.update_page(shape, names, count).sql, parameters)

    def _write_changes(self, shape: Layout, names: tuple[str, ...], pairs: Sequence[tuple[Sequence[Any], Sequence[Any]]]) -> None:
        """Write the columns `names` of rows given as (stored before, stored after)."""
        statement = self._live().statements.update(shape, names)
        parameters = [[(after if new else before)[index] for new, index in statement.slots] for before, after in pairs]
        if self._execute_many(shape, statement.sql, parameters) != len(pairs):
            raise _moved(shape)

    def _execute(self, shape: Layout, sql: str, parameters: Sequence[Any]) -> int:
        return int(self._guarded(shape, self._live().execute, sql, parameters).rowcount)

    def _execute_many(self, shape: Layout, sql: str, parameters: Sequence[Sequence[Any]]) -> int:
        return int(self._guarded(shape, self._live().executemany, sql, parameters).rowcount)


def _missing(shape: Layout, key: Key) -> NotFound:
    return NotFound(f"no {shape.name} with id {authentic.show_key(protect.key_parts(shape, key))}")


def _moved(shape: Layout) -> Conflict:
    return Conflict(f"a row of table {shape.name} was changed meanwhile", hint="read it again, then retry")
