"""Every row has a key of its own for its sealed columns; how often that key is used is bounded by the row's revision."""

import pytest

from hermetic.crypto import aead
from hermetic.crypto.kdf import derive
from hermetic.db import columns, layout, protect, tables
from hermetic.db.columns import lp
from hermetic.errors import IntegrityError, RowTampered, UsageError

LAYOUTS = [layout.of(table) for table in tables.metadata.sorted_tables]


def test_sealed_columns_are_few_and_only_where_revisions_count():
    for shape in LAYOUTS:
        assert not shape.sealed or shape.authenticated, shape.name
        assert len(shape.sealed) <= 8, shape.name
    assert columns.REVISION_LIMIT * 8 <= 2**31


def _principal(keys, name="ana"):
    shape = layout.of(tables.principal)
    values = {"id": "os:x:1", "name": name, "kind": "person", "roles": [], "state": "active", "created_ms": 1}
    return shape, protect.store(shape, keys, values)


def test_the_bytes(keys):
    shape, stored = _principal(keys)
    key = derive(keys.column, "column/row", lp(b"principal") + b"T6:os:x:1")
    place = b"hermetic/v1/column\n9:principal4:nameT6:os:x:1"
    assert aead.open_(key, stored[shape.at["name"]], place) == b"ana"


def test_a_value_of_another_row_does_not_open(keys):
    shape, stored = _principal(keys)
    mine, other = (columns.row_key(keys, shape.row((name,))) for name in ("os:x:1", "os:x:2"))
    place, sealed = shape.place("name", ("os:x:1",)), stored[shape.at["name"]]
    assert columns.open_(keys, mine, place, sealed) == b"ana"
    with pytest.raises(IntegrityError):
        columns.open_(keys, other, place, sealed)


def test_what_the_first_databases_sealed_still_opens(keys):
    shape, stored = _principal(keys)
    place = shape.place("name", ("os:x:1",))
    stored[shape.at["name"]] = aead.seal(keys.column, b"ana of old", place)
    stored[shape.mac_at] = protect._tag(shape, keys, stored)
    assert protect.reveal(shape, keys, stored)["name"] == "ana of old"
    changed = protect.change(shape, keys, stored, {"name": "ana"})
    assert columns.open_(keys, columns.row_key(keys, shape.row(("os:x:1",))), place, changed[shape.at["name"]]) == b"ana"


def test_a_row_changes_only_so_often(keys):
    shape, stored = _principal(keys)
    stored[shape.at["revision"]] = columns.REVISION_LIMIT - 1
    last = protect.change(shape, keys, stored, {"state": "disabled"})
    assert last[shape.at["revision"]] == columns.REVISION_LIMIT
    with pytest.raises(UsageError, match="may change no more"):
        protect.change(shape, keys, last, {"state": "active"})


def test_a_revision_put_down_by_hand_is_refused(keys):
    shape, stored = _principal(keys)
    stored[shape.at["revision"]] = 0
    with pytest.raises(RowTampered):
        protect.verify(shape, keys, stored)
