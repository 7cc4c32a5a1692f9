"""What a row MAC covers: one canonical encoding, and the check.

    "hermetic/v1/row" LF  lp(table)  then for every column except `mac`, in order of name, unless it is NULL:  lp(name) value
    value:   "I" decimal ":"   |   "T" lp(UTF-8)   |   "B" lp(bytes)             lp(x) = decimal length ":" x

Values are taken as stored (sealed columns as ciphertext). Key columns and `revision` are among the columns, so a row moved to another
key, another table or an edited revision is refused. Leaving NULL out loses nothing (absent and NULL are the same) and lets a later
release add a nullable column without touching old rows.

Out of reach of a MAC: a row deleted by hand, and a row put back to an older authentic state. Both are found by `log verify`, which
compares the database with what the log says was done.
"""

from __future__ import annotations

import hmac
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from hermetic.db.columns import lp
from hermetic.errors import RowTampered

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

ROW_LABEL = b"hermetic/v1/row\n"
HINT = "someone changed the database outside Hermetic: do not use it; run `hermetic log verify` and restore a backup"

_SHAPES: dict[type, bytes] = {str: b"T%d:%b", int: b"I%d:", bytes: b"B%d:%b"}


class Encoder:
    """The encoding of the rows of one table; `fields` are (column name, place in the stored row), in any order.

    Rows that are NULL in the same columns share one template, so that a row costs one formatting. Columns that hold the same in every
    row (`constants`, by name) are no part of the stored row, and cost nothing.
    """

    def __init__(
        self, table: str, fields: Iterable[tuple[str, int]], constants: Mapping[str, int | str | bytes] | None = None
    ) -> None:
        self._head = ROW_LABEL + lp(table.encode("ascii"))
        self._fields: list[tuple[bytes, int | bytes]] = [(name.encode("ascii"), place) for name, place in fields]
        self._fields += [(name.encode("ascii"), _constant(value)) for name, value in (constants or {}).items()]
        self._fields.sort(key=itemgetter(0))
        self._templates: dict[tuple[type, ...], tuple[bytes, tuple[tuple[int, type], ...]]] = {}

    def encode(self, stored: Sequence[Any]) -> bytes:
        """Return the bytes that the MAC covers. Raises TypeError for a type that no column stores."""
        kinds = tuple(map(type, stored))
        template, slots = self._templates.get(kinds) or self._template(kinds)
        arguments: list[int | bytes] = []
        for place, kind in slots:
            value = stored[place]
            if kind is int:
                arguments.append(value)
            else:
                data = value.encode("utf-8") if kind is str else value
                arguments += (len(data), data)
        return template % tuple(arguments)

    def _template(self, kinds: tuple[type, ...]) -> tuple[bytes, tuple[tuple[int, type], ...]]:
        template = self._head
        slots = []
        for name, place in self._fields:
            if isinstance(place, bytes):
                template += lp(name) + place
                continue
            kind = kinds[place]
            if kind is not type(None):
                if kind not in _SHAPES:
                    raise TypeError(kind.__name__)
                template += lp(name) + _SHAPES[kind]
                slots.append((place, kind))
        made = self._templates[kinds] = (template, tuple(slots))
        return made


def _constant(value: int | str | bytes) -> bytes:
    """Return a value as a part of a template."""
    return encode_key([value]).replace(b"%", b"%%")


def encode_key(key: Iterable[object]) -> bytes:
    """Return the values of a primary key, encoded like those of a row."""
    parts = []
    for value in key:
        data = value.encode("utf-8") if isinstance(value, str) else value
        parts.append(_SHAPES[type(value)] % (data if isinstance(data, int) else (len(data), data)))  # type: ignore[arg-type]
    return b"".join(parts)


def matches(expected: bytes, got: object) -> bool:
    """Compare two MACs in constant time; anything that is not bytes never matches."""
    return isinstance(got, bytes) and hmac.compare_digest(expected, got)


def show_key(key: Sequence[object]) -> str:
    """Write a primary key for an error message; keys are opaque (random ids, digests, counters)."""
    return "/".join(part.hex() if isinstance(part, bytes) else str(part)[:80] for part in key)


def tampered(table: str, key: Sequence[object] | None, why: str) -> RowTampered:
    """Return the error that names table, key and reason."""
    where = f"row {show_key(key)} of table {table}" if key is not None else f"a row of table {table}"
    return RowTampered(f"{where} {why}", hint=HINT)
