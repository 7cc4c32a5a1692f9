"""Plain values to stored rows and back: seal, look up, authenticate; verify, open.

A stored row is the list of a table's columns in order, as the driver takes and gives them. Pure: no I/O but the randomness of AEAD.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hermetic.crypto.mac import hmac_sha256
from hermetic.db import authentic, columns
from hermetic.errors import RowTampered, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hermetic.db.columns import RowKeys
    from hermetic.db.layout import Layout

Row = dict[str, Any]


def need(keys: RowKeys | None, shape: Layout) -> RowKeys:
    """Return the keys. Raises UsageError when a protected table is used in a session without keys."""
    if keys is None:
        raise UsageError(f"table {shape.name} is protected: this session was opened without row keys")
    return keys


def store(shape: Layout, keys: RowKeys | None, values: Mapping[str, Any]) -> list[Any]:
    """Return the stored row for plain values; columns left out are NULL, `revision` is 1. Raises UsageError."""
    stored: list[Any] = [None] * len(shape.columns)
    for name in shape.keys:
        stored[shape.at[name]] = shape.check(name, values.get(name))
    if shape.authenticated:
        stored[shape.at["revision"]] = 1
    return _fill(shape, keys, stored, values)


def change(shape: Layout, keys: RowKeys | None, stored: Sequence[Any], changes: Mapping[str, Any]) -> list[Any]:
    """Return the stored row after `changes`, one revision on. Raises UsageError for key, maintained and unknown columns."""
    for name in shape.keys:
        if name in changes:
            raise UsageError(f"key column {shape.name}.{name} cannot be changed")
    changed = list(stored)
    if shape.authenticated:
        if changed[shape.at["revision"]] >= columns.REVISION_LIMIT:
            raise UsageError(f"a row of table {shape.name} was changed {columns.REVISION_LIMIT} times, and may change no more")
        changed[shape.at["revision"]] += 1
    return _fill(shape, keys, changed, changes)


def _fill(shape: Layout, keys: RowKeys | None, stored: list[Any], values: Mapping[str, Any]) -> list[Any]:
    for name, value in values.items():
        if name not in shape.settable:
            raise UsageError(f"table {shape.name} has no column {name!r} that can be set")
        if name in shape.sealed:
            _seal_into(shape, need(keys, shape), stored, (name, value))
        else:
            stored[shape.at[name]] = shape.check(name, _as_json(shape, name, value))
    if shape.authenticated:
        stored[shape.mac_at] = _tag(shape, need(keys, shape), stored)
    return stored


def _as_json(shape: Layout, name: str, value: Any) -> Any:
    return columns.to_json(value).decode("utf-8") if name in shape.json and value is not None else value


def _seal_into(shape: Layout, keys: RowKeys, stored: list[Any], given: tuple[str, Any]) -> None:
    """Seal one value and, where there is one, fill its lookup column. Key columns are already in `stored`."""
    name, value = given
    plain = None if value is None else columns.plain_bytes(shape.sealed[name], value)
    key = shape.key_of(stored)
    row_key = columns.row_key(keys, shape.row(key))
    stored[shape.at[name]] = None if plain is None else columns.seal(row_key, shape.place(name, key), plain)
    if name in shape.lookups:
        looked_up = None if plain is None else columns.lookup(keys, shape.lookup_heads[name], plain)
        stored[shape.at[shape.lookups[name]]] = looked_up


def _tag(shape: Layout, keys: RowKeys, stored: Sequence[Any]) -> bytes:
    return hmac_sha256(keys.mac, shape.encoder.encode(stored))


def verify(shape: Layout, keys: RowKeys | None, stored: Sequence[Any]) -> None:
    """Check the MAC of a stored row of an authenticated table. Raises RowTampered naming table and key."""
    try:
        expected = _tag(shape, need(keys, shape), stored)
    except TypeError:  # nothing that stands in for the tag of such a row may ever be compared: an attacker writes both sides
        raise authentic.tampered(shape.name, shape.key_of(stored), "was changed by hand: it holds a type never stored") from None
    if not authentic.matches(expected, stored[shape.mac_at]):
        raise authentic.tampered(shape.name, shape.key_of(stored), "was changed by hand: its authentication code does not match")


def reveal(shape: Layout, keys: RowKeys | None, stored: Sequence[Any]) -> Row:
    """Return the plain values of a stored row, without `mac` and lookup columns, verified first. Raises RowTampered."""
    known = keys if shape.authenticated else None
    if known is not None and (row := known.seen.find(shape, stored)) is not None:
        return row
    if shape.authenticated:
        verify(shape, keys, stored)
    row = {name: stored[index] for name, index in shape.given}
    if shape.json or shape.sealed:
        _open_values(shape, keys, row)
    if known is not None:
        known.seen.keep(shape, stored, row)
    return row


def _open_values(shape: Layout, keys: RowKeys | None, row: Row) -> None:
    key = [row[name] for name in shape.keys]
    try:
        for name in shape.json:
            row[name] = None if row[name] is None else columns.from_json(row[name])
        sealed = [(name, holds) for name, holds in shape.sealed.items() if row[name] is not None]
        if sealed:
            known = need(keys, shape)
            row_key = columns.row_key(known, shape.row(key))
            for name, holds in sealed:
                plain = columns.open_(known, row_key, shape.place(name, key), row[name])
                row[name] = columns.from_plain_bytes(holds, plain)
    except RowTampered as error:
        raise authentic.tampered(shape.name, key, error.message) from None


def wanted(shape: Layout, keys: RowKeys | None, equals: Mapping[str, Any]) -> dict[str, Any]:
    """Return stored column -> stored value for a search by plain values. Raises UsageError for what cannot be searched."""
    return dict(_search(shape, keys, name, value) for name, value in equals.items())


def _search(shape: Layout, keys: RowKeys | None, name: str, value: Any) -> tuple[str, Any]:
    if name not in shape.settable:
        raise UsageError(f"table {shape.name} has no column {name!r} to search")
    if name in shape.sealed and value is not None:
        if name not in shape.lookups:
            raise UsageError(f"column {shape.name}.{name} is sealed and has no lookup column")
        plain = columns.plain_bytes(shape.sealed[name], value)
        return shape.lookups[name], columns.lookup(need(keys, shape), shape.lookup_heads[name], plain)
    return name, shape.check(name, _as_json(shape, name, value))


def key_parts(shape: Layout, key: Any) -> tuple[Any, ...]:
    """Return a primary key as a tuple of stored values. Raises UsageError when it has the wrong number of parts or types."""
    parts = key if isinstance(key, tuple) else (key,)
    if len(parts) != len(shape.keys) or None in parts:
        raise UsageError(f"table {shape.name} has the key ({', '.join(shape.keys)})")
    return tuple(shape.check(name, part) for name, part in zip(shape.keys, parts, strict=True))
