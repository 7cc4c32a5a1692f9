"""Rows that were verified before: known again by their bytes, and by nothing less."""

from __future__ import annotations

import pytest

from hermetic.crypto.secret import Secret
from hermetic.db import layout, protect, seen, tables
from hermetic.db.columns import RowKeys
from hermetic.errors import RowTampered

ID = "a" * 26


@pytest.fixture
def keys():
    return RowKeys(Secret(b"m" * 32), Secret(b"c" * 32), Secret(b"l" * 32))


def stored_run(keys, **changes):
    values = {"id": ID, "name": "train", "purpose": "train", "principal": "ana", "state": "running", "started_ms": 1}
    return protect.store(layout.of(tables.run), keys, {**values, "details": {"inputs": ["a"]}, **changes})


def test_the_same_bytes_are_opened_once(keys, monkeypatch):
    stored, shape = stored_run(keys), layout.of(tables.run)
    first = protect.reveal(shape, keys, stored)
    monkeypatch.setattr(protect, "verify", lambda *_: pytest.fail("verified again"))
    assert protect.reveal(shape, keys, tuple(stored)) == first


def test_what_a_caller_changes_stays_with_the_caller(keys):
    stored, shape = stored_run(keys), layout.of(tables.run)
    for _ in range(3):
        row = protect.reveal(shape, keys, stored)
        assert (row["name"], row["details"]) == ("train", {"inputs": ["a"]})
        row["name"] = "other"
        row["details"]["inputs"].append("b")


def test_any_other_bytes_are_verified(keys):
    stored, shape = stored_run(keys), layout.of(tables.run)
    protect.reveal(shape, keys, stored)
    for index, value in enumerate(stored):
        for other in (b"x", "x", 7, 2.0, None, True, float(value) if isinstance(value, int) else bytes(3)):
            if type(other) is type(value) and other == value:
                continue
            changed = [*stored[:index], other, *stored[index + 1 :]]
            with pytest.raises(RowTampered):
                protect.reveal(shape, keys, changed)


def test_a_row_that_was_refused_is_refused_again(keys):
    stored, shape = stored_run(keys), layout.of(tables.run)
    stored[shape.mac_at] = bytes(32)
    for _ in range(2):
        with pytest.raises(RowTampered):
            protect.reveal(shape, keys, stored)


def test_other_keys_have_seen_nothing(keys):
    stored, shape = stored_run(keys), layout.of(tables.run)
    protect.reveal(shape, keys, stored)
    with pytest.raises(RowTampered):
        protect.reveal(shape, RowKeys(Secret(b"x" * 32), keys.column, keys.lookup), stored)


def test_few_and_small_rows_are_kept(keys, monkeypatch):
    monkeypatch.setattr(seen, "ROWS", 3)
    shape, rows = layout.of(tables.run), [stored_run(keys, name=f"run {number}") for number in range(5)]
    for stored in rows:
        protect.reveal(shape, keys, stored)
    assert [keys.seen.find(shape, stored) is not None for stored in rows] == [False, False, True, True, True]
    large = stored_run(keys, name="x" * (seen.ROW_BYTES + 1))
    protect.reveal(shape, keys, large)
    assert keys.seen.find(shape, large) is None


def test_what_is_kept_takes_so_much_room(keys, monkeypatch):
    shape, rows = layout.of(tables.run), [stored_run(keys, name=f"{number}" * 1000) for number in range(4)]
    length = sum(len(value) for value in rows[0] if isinstance(value, str | bytes))
    monkeypatch.setattr(seen, "ALL_BYTES", 2 * length)
    for stored in [*rows, rows[-1]]:
        protect.reveal(shape, keys, stored)
    keys.seen.keep(shape, rows[-1], protect.reveal(shape, keys, rows[-1]))  # twice, as two threads may
    assert [keys.seen.find(shape, stored) is not None for stored in rows] == [False, False, True, True]
    assert keys.seen._bytes == 2 * length
