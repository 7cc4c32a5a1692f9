"""SQL text, compiled once per table and shape.

SQLAlchemy Core writes the SQL for the dialect in use; what is kept is the text and the order of its parameters, so that running a
statement costs a look-up and a driver call.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlalchemy.engine.interfaces import Dialect

    from hermetic.db.layout import Layout

    Part = tuple[Layout, tuple[str, ...], tuple[str, ...]]
    """Table, columns that equal parameters, columns that are NULL."""

TOGETHER: Final = 256  # statements of several parts that are kept
_KINDS: Final = (int, str, bytes)


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL text; for updates, `slots` gives each parameter: from the row after (True) or before the change, and its place there.

    For several selects in one, `picks` makes of what the part with that number found the row as it is stored.
    """

    sql: str
    slots: tuple[tuple[bool, int], ...] = ()
    picks: tuple[Callable[[Sequence[Any]], tuple[Any, ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class Beside:
    """One column of the row of another table whose key stands in the column `by`."""

    by: str
    column: sa.Column[Any]


class Statements:
    """The compiled statements of one dialect. Threads may share it: at worst two compile the same text."""

    def __init__(self, dialect: Dialect, *, mark: str = "?", types: Mapping[type, str] | None = None) -> None:
        """`mark` stands for a parameter; `types` are written behind it where the database cannot tell them from the statement."""
        self._dialect = dialect
        self._mark, self._types = mark, types
        self._kept: dict[tuple[Any, ...], Statement] = {}
        self._together: dict[tuple[Part, ...], Statement] = {}

    def insert(self, shape: Layout) -> Statement:
        """Insert all columns, parameters in stored order."""
        key = ("insert", shape.table)
        return self._kept.get(key) or self._keep(key, sa.insert(shape.table))

    def delete(self, shape: Layout) -> Statement:
        """Delete one row, parameters are its key."""
        key = ("delete", shape.table)
        return self._kept.get(key) or self._keep(key, sa.delete(shape.table).where(*_is(shape, shape.keys)))

    def select(self, shape: Layout, names: tuple[str, ...], nulls: tuple[str, ...]) -> Statement:
        """All columns of the rows where `names` equal the parameters and `nulls` are NULL, in order of key."""
        key = ("select", shape.table, names, nulls)
        kept = self._kept.get(key)
        if kept is not None:
            return kept
        empty = [shape.table.c[name].is_(None) for name in nulls]
        query = sa.select(shape.table).where(*_is(shape, names), *empty).order_by(*shape.table.primary_key.columns)
        return self._keep(key, query)

    def together(self, parts: tuple[Part, ...]) -> Statement:
        """Several selects in one: rows of all parts, each with the number of its part first, parameters one part after the other.

        Columns stand in groups by type, filled up with NULL, since the rows of one statement have one shape. In no order.
        """
        kept = self._together.get(parts)
        if kept is not None:
            return kept
        groups = [[[name for name in shape.columns if shape.types[name] is kind] for kind in _KINDS] for shape, *_ in parts]
        widths = [max(len(group[at]) for group in groups) for at in range(len(_KINDS))]
        texts, picks = [], []
        for number, ((shape, names, nulls), group) in enumerate(zip(parts, groups, strict=True)):
            texts.append(self._part(number, shape, (names, nulls), list(zip(_KINDS, group, widths, strict=True))))
            places: dict[str, int] = {}
            for at, listed in enumerate(group):
                places |= {name: 1 + sum(widths[:at]) + place for place, name in enumerate(listed)}
            picks.append(itemgetter(*(places[name] for name in shape.columns)))
        if len(self._together) >= TOGETHER:
            self._together.clear()
        statement = self._together[parts] = Statement(" UNION ALL ".join(texts), picks=tuple(picks))
        return statement

    def _part(
        self, number: int, shape: Layout, where: tuple[tuple[str, ...], tuple[str, ...]], groups: list[tuple[type, list[str], int]]
    ) -> str:
        quote = self._dialect.identifier_preparer.quote
        columns = [str(number)]
        for kind, names, width in groups:
            empty = "NULL" if self._types is None else f"NULL::{self._types[kind]}"
            columns += [*map(quote, names), *[empty] * (width - len(names))]
        tests = [*(f"{quote(name)} = {self._mark}" for name in where[0]), *(f"{quote(name)} IS NULL" for name in where[1])]
        text = f"SELECT {', '.join(columns)} FROM {quote(shape.name)}"  # noqa: S608 - our own names
        return f"{text} WHERE {' AND '.join(tests)}" if tests else text

    def update(self, shape: Layout, names: tuple[str, ...]) -> Statement:
        """Write columns `names`, their lookup columns, revision and mac of the row with this key and, if it has one, old revision."""
        key = ("update", shape.table, names)
        kept = self._kept.get(key)
        if kept is not None:
            return kept
        kept_up = ("mac", "revision") if shape.authenticated else ()
        written = [*names, *(shape.lookups[name] for name in names if name in shape.lookups), *kept_up]
        tested = [*shape.keys, *(("revision",) if shape.authenticated else ())]
        query = sa.update(shape.table).where(*_is(shape, tested))
        return self._keep(key, query.values({name: sa.bindparam(f"new_{name}") for name in written}), shape)

    def page(self, shape: Layout, names: tuple[str, ...], beside: Beside | None = None) -> Statement:
        """Return what reads the rows where `names` equal the parameters and the key is above one more, so many, in order of key.

        Columns: all but `names`, and at the end what stands `beside` them in another table, NULL where there is no such row.
        """
        key = ("page", shape.table, names, beside)
        kept = self._kept.get(key)
        if kept is not None:
            return kept
        (name,) = shape.keys
        column = shape.table.c[name]
        query = sa.select(*(shape.table.c[other] for other in shape.columns if other not in names))
        if beside is not None:
            (there,) = beside.column.table.primary_key.columns
            query = query.add_columns(beside.column)
            query = query.select_from(shape.table.outerjoin(beside.column.table, there == shape.table.c[beside.by]))
        query = query.where(*_is(shape, names), column > sa.bindparam("after")).order_by(column)
        text = str(query.compile(dialect=self._dialect))
        statement = self._kept[key] = Statement(f"{text} LIMIT {self._typed(int)}")  # SQLAlchemy would add an OFFSET of its own
        return statement

    def update_page(self, shape: Layout, names: tuple[str, ...], count: int) -> Statement:
        """Write columns `names`, revision and mac of `count` rows, each with its key and old revision, in one statement.

        Parameters: for each row the new values, then key and old revision. VALUES names its columns column1, column2, …
        """
        key = ("update_page", shape.table, names, count)
        kept = self._kept.get(key)
        if kept is not None:
            return kept
        written, tested = (*names, "revision", "mac"), (*shape.keys, "revision")
        quote = self._dialect.identifier_preparer.quote
        table = quote(shape.name)
        places = [f"{quote(name)} = given.column{at}" for at, name in enumerate(written, 1)]
        tests = [f"{table}.{quote(name)} = given.column{at}" for at, name in enumerate(tested, len(written) + 1)]
        row = f"({', '.join(self._typed(shape.types[name]) for name in (*written, *tested))})"
        rows = ", ".join([row] * count)
        text = f"UPDATE {table} SET {', '.join(places)} FROM (VALUES {rows}) AS given WHERE {' AND '.join(tests)}"  # noqa: S608 - our own names
        statement = self._kept[key] = Statement(text)
        return statement

    def _typed(self, kind: type) -> str:
        return self._mark if self._types is None else f"{self._mark}::{self._types[kind]}"

    def _keep(self, key: tuple[Any, ...], element: sa.sql.ClauseElement, shape: Layout | None = None) -> Statement:
        compiled: Any = element.compile(dialect=self._dialect)
        slots: tuple[tuple[bool, int], ...] = ()
        if shape is not None:
            order = [name.partition("_") for name in compiled.positiontup]
            slots = tuple((which == "new", shape.at[name]) for which, _, name in order)
        statement = self._kept[key] = Statement(str(compiled), slots)
        return statement


def _is(shape: Layout, names: Any) -> list[sa.ColumnElement[bool]]:
    return [shape.table.c[name] == sa.bindparam(f"is_{name}") for name in names]
