"""Whoever edits the database by hand: every column of every protected table, in every way, is refused."""

from __future__ import annotations

import sqlite3

import pytest
import sqlalchemy as sa

from hermetic.db import columns, layout, protect, tables
from hermetic.errors import FormatError, IntegrityError, RowTampered

PROTECTED = [table for table in tables.metadata.sorted_tables if table.info.get("authenticated")]
COLUMNS = [(table, column.name) for table in PROTECTED for column in table.columns]

# SQL expressions that stand for what an attacker may write over column {c}
EDITS = {
    "null": "NULL",
    "other text": "'another'",
    "other bytes": "x'00112233'",
    "other number": "424242",
    "fraction": "0.5",
    "not utf-8": "CAST(x'fffe' AS TEXT)",
    "as text": "CAST({c} AS TEXT)",
    "as bytes": "CAST({c} AS BLOB)",
    "one more character": "{c} || ' '",
    "other end": "CASE typeof({c}) WHEN 'integer' THEN {c} + 1 ELSE substr({c}, 1, length({c}) - 1) || char(7) END",
    "shorter": "substr({c}, 2)",
    "empty": "''",
}


def case(value):
    return getattr(value, "name", value)


@pytest.mark.parametrize(("table", "column"), COLUMNS, ids=case)
def test_every_edit_of_every_column_is_refused(table, column, filled, keys, samples, hand):
    saved = hand.save()
    key = samples.key(table, 1)
    test = " AND ".join(f"{name.name} = {literal(part)}" for name, part in zip(table.primary_key.columns, key, strict=True))
    made = [
        name for name, expression in EDITS.items() if edit_is_refused(table, column, (expression, test, saved), filled, keys, hand)
    ]
    hand.restore(saved)
    assert len(made) >= 5, "most edits must really change the row"
    with filled.read(keys) as session:
        assert session.require(table, key)


@pytest.mark.parametrize(("table", "column"), COLUMNS, ids=case)
@pytest.mark.parametrize("tag", ["x''", "''"])
def test_no_code_fits_a_row_that_cannot_be_encoded(table, column, tag, filled, keys, samples, hand):
    """A fraction has no encoding: whatever stands in for the tag then, an attacker could write it into the column too."""
    if column == "mac":
        return
    saved = hand.save()
    test = " AND ".join(f"{c.name} = {literal(p)}" for c, p in zip(table.primary_key.columns, samples.key(table, 1), strict=True))
    try:
        hand.run(f'UPDATE "{table.name}" SET {column} = 0.5, mac = {tag} WHERE {test}')
    except sqlite3.IntegrityError:
        return  # the schema itself refuses it
    with filled.read(keys) as session, pytest.raises(RowTampered):
        session.find(table)
    hand.restore(saved)


def literal(value):
    return f"x'{value.hex()}'" if isinstance(value, bytes) else repr(value)


def edit_is_refused(table, column, how, database, keys, hand):
    expression, test, saved = how
    hand.restore(saved)
    before = hand.run(f'SELECT * FROM "{table.name}" ORDER BY 1, 2')
    try:
        hand.run(f'UPDATE "{table.name}" SET {column} = {expression.format(c=column)} WHERE {test}')
        if hand.run(f'SELECT * FROM "{table.name}" ORDER BY 1, 2') == before:
            return False  # what was written is what was there
    except sqlite3.IntegrityError:
        return False  # the schema itself refuses it
    except sqlite3.OperationalError:
        pass  # the text written is no UTF-8: the driver itself cannot read it back
    with database.read(keys) as session:
        for read in (lambda: session.find(table), lambda: list(session.scan(table))):
            with pytest.raises(RowTampered, match=f"table {table.name} ") as caught:
                read()
            assert caught.value.exit_code == 4
            assert caught.value.hint
    return True


@pytest.mark.parametrize("table", PROTECTED, ids=case)
def test_an_edited_row_is_refused_by_key_and_for_update_and_named(table, filled, keys, samples, hand):
    key = samples.key(table, 1)
    hand.write(table, key, revision=2)
    shown = "/".join(part.hex() if isinstance(part, bytes) else str(part) for part in key)
    with filled.write(keys) as session:
        for call in (lambda: session.get(table, key), lambda: session.require(table, key), lambda: session.update(table, key, 2)):
            with pytest.raises(RowTampered) as caught:
                call()
            assert caught.value.message.startswith(f"row {shown} of table {table.name} was changed by hand")
        assert session.get(table, samples.key(table, 2)), "other rows still read"


@pytest.mark.parametrize("table", PROTECTED, ids=case)
def test_contents_swapped_between_rows_are_refused(table, filled, keys, samples, hand):
    shape = layout.of(table)
    key = samples.key(table, 1)
    first, second = hand.row(table, key), hand.row(table, samples.key(table, 2))
    content = [name for name in shape.columns if name not in shape.keys]
    free = [name for name in content if not _unique(table, name)]
    for names in (free, *([name] for name in free)):
        swapped = {name: second[name] for name in names if second[name] != first[name]}
        if not swapped:
            continue
        hand.write(table, key, **swapped)
        with filled.read(keys) as session, pytest.raises(RowTampered):
            session.get(table, key)
        hand.write(table, key, **{name: first[name] for name in swapped})
    with filled.read(keys) as session:
        assert session.get(table, key)


def _unique(table, name):
    groups = [c.columns for c in table.constraints if isinstance(c, sa.UniqueConstraint)]
    return any(name in group for group in groups)


@pytest.mark.parametrize("table", PROTECTED, ids=case)
def test_a_row_moved_to_another_key_is_refused(table, filled, keys, samples, hand):
    shape = layout.of(table)
    hand.run(f'DELETE FROM "{table.name}" WHERE {shape.keys[0]} = ?', parameters=(samples.key(table, 2)[0],))
    hand.write(table, samples.key(table, 1), **dict(zip(shape.keys, samples.key(table, 2), strict=True)))
    with filled.read(keys) as session:
        assert session.get(table, samples.key(table, 1)) is None
        with pytest.raises(RowTampered):
            session.get(table, samples.key(table, 2))


def test_a_row_moved_to_a_table_of_the_same_shape_is_refused(keys):
    one, other = (
        sa.Table(
            name,
            sa.MetaData(),
            sa.Column("id", sa.Text, primary_key=True),
            sa.Column("a", sa.Text),
            sa.Column("revision", sa.BigInteger),
            sa.Column("mac", sa.LargeBinary),
            info={"authenticated": True},
        )
        for name in ("one", "other")
    )
    stored = protect.store(layout.of(one), keys, {"id": "x", "a": "y"})
    assert protect.reveal(layout.of(one), keys, stored) == {"id": "x", "a": "y", "revision": 1}
    with pytest.raises(RowTampered, match="row x of table other"):
        protect.reveal(layout.of(other), keys, stored)


def test_neighbouring_columns_cannot_trade_characters(keys):
    shape = layout.of(tables.edge)
    stored = protect.store(shape, keys, {"child_version": "ab", "parent_version": "c", "how": "run"})
    stored[shape.at["child_version"]], stored[shape.at["parent_version"]] = "a", "bc"
    with pytest.raises(RowTampered):
        protect.verify(shape, keys, stored)


def test_a_sealed_value_opens_only_in_its_place(filled, keys, samples):
    shape = layout.of(tables.asset)
    key = columns.row_key(keys, shape.row(("a",)))
    sealed = columns.seal(key, shape.place("owner", ("a",)), b"ana")
    assert columns.open_(keys, key, shape.place("owner", ("a",)), sealed) == b"ana"
    for elsewhere in (shape.place("owner", ("b",)), shape.place("project", ("a",)), layout.of(tables.kek).place("owner", ("a",))):
        with pytest.raises(IntegrityError):
            columns.open_(keys, key, elsewhere, sealed)


def test_places_and_lookups_cannot_be_confused():
    heads = [head for table in PROTECTED for head in (*layout.of(table).seal_heads.values(), *layout.of(table).lookup_heads.values())]
    assert len(set(heads)) == len(heads)
    shape = layout.of(tables.asset)
    assert shape.place("owner", ("1",)) != shape.place("owner", (1,)) != shape.place("owner", (b"1",))


def test_an_index_that_passes_one_row_off_as_another_is_refused(filled, keys, samples, hand):
    table = tables.principal
    pages = dict(hand.run("SELECT name, rootpage FROM sqlite_schema WHERE tbl_name = 'principal'"))
    first, second = (samples.key(table, number)[0].encode() for number in (1, 2))
    swap_inside(hand, pages["sqlite_autoindex_principal_2"], first, second)  # the index of name_h now leads to the wrong keys
    name = samples.values(table, 1)["name"]
    with filled.read(keys) as session, pytest.raises(RowTampered, match="principal"):
        session.find(table, name=name)


def swap_inside(hand, page, one, other):
    """Swap two values inside one page of the file."""
    data = hand.save()
    size = int.from_bytes(data[16:18], "big")
    start = (page - 1) * size
    block = data[start : start + size]
    assert one in block
    assert other in block
    middle = b"\0" * len(one)
    block = block.replace(one, middle).replace(other, one).replace(middle, other)
    hand.restore(data[:start] + block + data[start + size :])


def test_triggers_and_views_are_refused(filled, keys, hand):
    for kind in ("TRIGGER t AFTER INSERT ON lease BEGIN DELETE FROM log_leaf; END", "VIEW v AS SELECT * FROM asset"):
        saved = hand.save()
        hand.run(f"CREATE {kind}")
        with pytest.raises(IntegrityError, match="trigger or view"), filled.read(keys):
            pass
        hand.restore(saved)
    with filled.read(keys):
        pass


def test_a_dropped_table_is_an_integrity_error(filled, keys, hand):
    hand.run("DROP TABLE lease")
    with filled.read(keys) as session, pytest.raises(IntegrityError, match="lacks a table"):
        session.find(tables.lease)


def test_a_database_of_something_else_is_refused(filled, keys, hand):
    hand.run("PRAGMA application_id = 5")
    with pytest.raises(FormatError, match="not a Hermetic database"), filled.read(keys):
        pass


def test_deleted_rows_and_older_authentic_rows_are_out_of_reach_of_a_mac(filled, keys, samples, hand):
    """Said in `authentic` and in the limitations: `log verify` finds these."""
    key = samples.key(tables.kek, 1)
    old = hand.row(tables.kek, key)
    with filled.write(keys) as session:
        session.update(tables.kek, key, 1, state="compromised")
    hand.write(tables.kek, key, **{name: value for name, value in old.items() if name != "id"})
    with filled.read(keys) as session:
        assert session.require(tables.kek, key)["state"] != "compromised"
