"""Sealed and lookup columns, and the keys they take.

A sealed column stores `crypto.aead` bytes under a key of its row, with associated data:

    row key            derive(column key, "column/row", lp(table) key…)      lp(x) = decimal length ":" x; key values as in `authentic`
    associated data    "hermetic/v1/column" LF  lp(table) lp(column) key…

so that a ciphertext opens only in the place it was written for. NULL stays NULL: that a value is absent is visible, and is
authenticated by the row MAC. Ciphertexts are as long as their values plus 28 bytes.

Nonces are random, and the column key serves for the domain's whole life: under it alone nothing would bound their number. A row key
seals a row's sealed columns again when they change, and every change counts the row's revision: REVISION_LIMIT keeps it far below
2^32 invocations (NIST SP 800-38D section 8.3). Values sealed under the column key itself, as the first databases were, still open.

A lookup column stores HMAC-SHA-256(lookup key, "hermetic/v1/lookup" LF lp(table) lp(column) value): equal values of one column show
as equal, nothing else shows.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import rfc8785

from hermetic.crypto import aead, mac
from hermetic.crypto.kdf import derive
from hermetic.db.seen import Seen
from hermetic.errors import IntegrityError, RowTampered, UsageError, WrongKey

if TYPE_CHECKING:
    from hermetic.crypto.secret import Secret

REVISION_LIMIT = 2**28  # times that a row may change; with at most eight sealed columns its key seals at most 2^31 values
COLUMN_LABEL = b"hermetic/v1/column\n"
LOOKUP_LABEL = b"hermetic/v1/lookup\n"


@dataclass(frozen=True, slots=True)
class RowKeys:
    """The three 32-byte keys of the database, derived by the caller from the root, each under a label of its own.

    `seen` are the rows that were verified with them.
    """

    mac: Secret
    column: Secret
    lookup: Secret
    seen: Seen = field(default_factory=Seen, compare=False, repr=False)


def lp(data: bytes) -> bytes:
    """Prefix `data` by its length in decimal and a colon, so that concatenations cannot be read two ways."""
    return b"%d:%b" % (len(data), data)


def to_json(value: Any) -> bytes:
    """Return RFC 8785 JSON. Raises UsageError for what JSON cannot hold exactly."""
    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, RecursionError) as error:
        raise UsageError(f"not a JSON value that can be stored: {error}") from None


def from_json(raw: bytes | str) -> Any:
    """Return the value of JSON that a verified row holds. Raises RowTampered when it is no JSON."""
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        raise RowTampered("a stored JSON value does not parse") from None


def plain_bytes(holds: str, value: Any) -> bytes:
    """Return the bytes to seal for a value of a column that holds "text", "bytes" or "json". Raises UsageError."""
    if holds == "json":
        return to_json(value)
    if holds == "text" and isinstance(value, str):
        try:
            return value.encode("utf-8")
        except UnicodeEncodeError:
            raise UsageError("a stored text holds unpaired surrogates") from None
    if holds == "bytes" and isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    raise UsageError(f"a sealed column that holds {holds} was given {type(value).__name__}")


def from_plain_bytes(holds: str, raw: bytes) -> Any:
    """Return the value that `plain_bytes` was given."""
    if holds == "json":
        return from_json(raw)
    return raw.decode("utf-8") if holds == "text" else raw


def row_key(keys: RowKeys, row: bytes) -> Secret:
    """Return the key that seals the columns of one row; `row` names table and primary key (`Layout.row`)."""
    return derive(keys.column, "column/row", row)


def seal(key: Secret, place: bytes, plain: bytes) -> bytes:
    """Seal one value for one place (table, column, key) under the key of its row."""
    return aead.seal(key, plain, place)


def open_(keys: RowKeys, key: Secret, place: bytes, sealed: bytes) -> bytes:
    """Open one value with the key of its row. Raises IntegrityError when it was not sealed for this place under these keys."""
    try:
        return aead.open_(key, sealed, place)
    except WrongKey:
        pass
    try:
        return aead.open_(keys.column, sealed, place)  # the first databases had no row keys
    except WrongKey:
        raise IntegrityError("a sealed column does not open under the keys of this domain") from None


def lookup(keys: RowKeys, where: bytes, plain: bytes) -> bytes:
    """Return what the lookup column stores for a plain value; `where` is the column's prefix."""
    return mac.hmac_sha256(keys.lookup, where + plain)
