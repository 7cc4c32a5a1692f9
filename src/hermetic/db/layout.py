"""What `rows` knows about a table ahead of time, worked out once: marks, stored types, places, the parts of the row MAC."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from hermetic.db import authentic
from hermetic.db.columns import COLUMN_LABEL, LOOKUP_LABEL, lp
from hermetic.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_BIGGEST = 2**63 - 1
_STORED_TYPES: dict[type, type] = {sa.BigInteger: int, sa.Text: str, sa.LargeBinary: bytes}


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """One table. `at` maps column to place in the stored row, `lookups` maps sealed column to lookup column."""

    table: sa.Table
    name: str
    columns: tuple[str, ...]
    at: Mapping[str, int]
    keys: tuple[str, ...]
    types: Mapping[str, type]
    authenticated: bool
    sealed: Mapping[str, str]
    lookups: Mapping[str, str]
    json: frozenset[str]
    nested: tuple[str, ...]  # columns whose plain values are JSON
    settable: frozenset[str]  # what callers give: all but revision, mac and lookup columns
    given: tuple[tuple[str, int], ...]  # what callers get: all but mac and lookup columns
    mac_at: int
    encoder: authentic.Encoder  # of every column but mac
    head: bytes  # the table's name, length-prefixed
    seal_heads: Mapping[str, bytes]
    lookup_heads: Mapping[str, bytes]

    def key_of(self, row: Sequence[Any]) -> tuple[Any, ...]:
        """Return the primary key of a stored row."""
        return tuple([row[self.at[name]] for name in self.keys])

    def row(self, key: Sequence[Any]) -> bytes:
        """Return what names a row: table and key."""
        return self.head + authentic.encode_key(key)

    def place(self, column: str, key: Sequence[Any]) -> bytes:
        """Return the associated data of a sealed value: table, column, key."""
        return self.seal_heads[column] + authentic.encode_key(key)

    def check(self, column: str, value: Any) -> Any:
        """Return `value` as the exact type the column stores. Raises UsageError for any other type."""
        expected = self.types[column]
        if value is None or (type(value) is expected and expected is bytes):
            return value
        if not isinstance(value, expected):
            raise UsageError(f"column {self.name}.{column} stores {expected.__name__}, not {type(value).__name__}")
        # bool, IntEnum and StrEnum are stored as their plain value, never as the subclass
        plain: Any = str.__str__(value) if expected is str else expected(value)
        if not (_encodable(plain) if expected is str else expected is bytes or -_BIGGEST <= plain <= _BIGGEST):
            raise UsageError(f"column {self.name}.{column} cannot hold this value")
        return plain


def _encodable(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


@functools.cache
def of(table: sa.Table) -> Layout:
    """Return the layout of a table of `tables.metadata`."""
    columns = tuple(column.name for column in table.columns)
    at = {name: index for index, name in enumerate(columns)}
    authenticated = bool(table.info.get("authenticated"))
    sealed = {column.name: column.info["sealed"] for column in table.columns if "sealed" in column.info}
    lookups = {column.info["lookup_of"]: column.name for column in table.columns if "lookup_of" in column.info}
    hidden = {*lookups.values(), *(("mac",) if authenticated else ())}
    head = lp(_ascii(table.name))
    return Layout(
        table=table,
        name=table.name,
        columns=columns,
        at=at,
        keys=tuple(column.name for column in table.primary_key.columns),
        types={column.name: _STORED_TYPES[type(column.type)] for column in table.columns},
        authenticated=authenticated,
        sealed=sealed,
        lookups=lookups,
        json=frozenset(column.name for column in table.columns if column.info.get("json")),
        nested=tuple(column.name for column in table.columns if column.info.get("json") or sealed.get(column.name) == "json"),
        settable=frozenset(columns) - hidden - ({"revision"} if authenticated else frozenset()),
        given=tuple((name, index) for name, index in at.items() if name not in hidden),
        mac_at=at.get("mac", -1),
        encoder=authentic.Encoder(table.name, [(name, place) for name, place in at.items() if name != "mac"]),
        head=head,
        seal_heads={name: COLUMN_LABEL + head + lp(_ascii(name)) for name in sealed},
        lookup_heads={source: LOOKUP_LABEL + head + lp(_ascii(name)) for source, name in lookups.items()},
    )


def _ascii(name: str) -> bytes:
    return name.encode("ascii")
