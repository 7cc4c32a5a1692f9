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
from typing import TYPE_CHECKING, Any

from hermetic.crypto.mac import hmac_sha256
from hermetic.db.columns import lp
from hermetic.errors import RowTampered

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hermetic.crypto.secret import Secret

ROW_LABEL = b"hermetic/v1/row\n"
HINT = "someone changed the database outside Hermetic: do not use it; run `hermetic log verify` and restore a backup"

Stored = int | str | bytes | None


def encode(fields: Iterable[tuple[bytes, Any]]) -> bytes:
    """Return the canonical encoding of (lp(name), stored value) pairs. Raises TypeError for a type that no column stores."""
    parts: list[bytes] = []
    for name, value in fields:
        if value is None:
            continue
        kind = type(value)
        if kind is str:
            data = value.encode("utf-8")
            parts += (name, b"T%d:" % len(data), data)
        elif kind is int:
            parts += (name, b"I%d:" % value)
        elif kind is bytes:
            parts += (name, b"B%d:" % len(value), value)
        else:
            raise TypeError(kind.__name__)
    return b"".join(parts)


def prefix(table: str) -> bytes:
    """Return the part of the MAC input that names the table."""
    return ROW_LABEL + lp(table.encode("ascii"))


def tag(key: Secret, head: bytes, fields: Iterable[tuple[bytes, Any]]) -> bytes:
    """Return the 32-byte MAC of a row."""
    return hmac_sha256(key, head + encode(fields))


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
