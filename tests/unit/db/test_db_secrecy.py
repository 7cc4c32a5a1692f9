"""What lies in the files: no plaintext of sealed columns, and nothing of what was deleted."""

from __future__ import annotations

import os
import random

import pytest

from hermetic.db import tables
from hermetic.db.engine import Database
from hermetic.errors import Conflict, StorageError, UsageError


def on_disk(path):
    """Every byte of every file of the database. Reads through descriptors that are never closed: closing one drops SQLite's locks."""
    found = b""
    for file in sorted(path.parent.iterdir()):
        fd = os.open(file, os.O_RDONLY)
        found += os.pread(fd, os.fstat(fd).st_size, 0)
    return found


def test_sealed_columns_are_nowhere_in_plain(filled, path, keys, samples):
    with filled.write(keys) as session:  # updates too, and a rolled back transaction
        session.update(tables.asset, samples.key(tables.asset, 1), 1, owner="SECRET new owner")
    with pytest.raises(UsageError), filled.write(keys) as session:
        session.update(tables.asset, samples.key(tables.asset, 2), 1, owner="SECRET other owner")
        raise UsageError("roll back")
    files = {file.name for file in path.parent.iterdir()}
    assert files == {"custody.db", "custody.db-wal", "custody.db-shm", "custody.db.lock"}
    assert path.with_name("custody.db-wal").stat().st_size > 0
    for _ in range(2):
        data = on_disk(path)
        assert b"asset.kind-1" in data, "plain columns are there, so we look in the right place"
        assert b"SECRET" not in data
        assert "SECRET".encode("utf-16-le") not in data
        filled.checkpoint_truncate()


def test_equal_values_in_different_rows_look_different(filled, keys, samples):
    with filled.write(keys) as session:
        for number in (1, 2):
            session.update(tables.asset, samples.key(tables.asset, number), 1, owner="the same owner")
        rows = session.connection.exec_driver_sql("SELECT owner FROM asset").fetchall()
    assert len({row[0] for row in rows}) == 2


def test_a_deleted_key_is_gone_from_file_and_log(filled, path, keys, samples):
    wrapped = random.Random(1).randbytes(120)
    values = samples.values(tables.data_key, 1) | {"id": "one", "wrapped": wrapped}
    with filled.write(keys) as session:
        session.insert(tables.data_key, **values)
    assert wrapped in on_disk(path)
    with filled.write(keys) as session:
        session.delete(tables.data_key, "one")
    assert wrapped in on_disk(path), "the write-ahead log still holds it"
    filled.checkpoint_truncate()
    assert path.with_name("custody.db-wal").stat().st_size == 0
    assert wrapped not in on_disk(path)
    filled.scrub([wrapped])


def test_an_overwritten_key_is_gone_from_file_and_log(filled, path, keys, samples):
    wrapped = random.Random(2).randbytes(120)
    key = samples.key(tables.data_key, 1)
    with filled.write(keys) as session:
        session.update(tables.data_key, key, 1, wrapped=wrapped)
    with filled.write(keys) as session:
        session.update(tables.data_key, key, 2, wrapped=None, state="destroyed")
    filled.scrub([wrapped])
    assert wrapped not in on_disk(path)


def test_scrub_finds_what_secure_delete_leaves_behind(filled, path, keys, samples):
    """Rows of very different size make SQLite move cells between pages; a copy may stay in the gap of the old page."""
    chance = random.Random(1)
    live, dead = {}, []
    values = samples.values(tables.data_key, 1)
    for _ in range(40):
        with filled.write(keys) as session:
            for _ in range(40):
                if live and chance.random() < 0.4:
                    name = chance.choice(sorted(live))
                    session.delete(tables.data_key, name)
                    dead.append(live.pop(name))
                else:
                    name, wrapped = chance.randbytes(13).hex(), chance.randbytes(chance.choice([40, 92, 300, 900, 6000]))
                    session.insert(tables.data_key, **values | {"id": name, "wrapped": wrapped})
                    live[name] = wrapped
    filled.scrub(dead)
    data = on_disk(path)
    assert not [needle for needle in dead if needle[-16:] in data]
    with filled.read(keys) as session:
        assert {row["id"]: row["wrapped"] for row in session.find(tables.data_key, kek_number=1001) if row["id"] in live} == live


def test_scrub_rebuilds_the_file_when_it_has_to(filled, path, keys, samples, hand):
    """A remnant put by hand into the free space of a page, where secure_delete would not look."""
    remnant = random.Random(3).randbytes(64)
    data = hand.save()
    gap = data.index(bytes(300), 4096) + 100
    hand.restore(data[:gap] + remnant + data[gap + len(remnant) :])
    assert remnant in on_disk(path)
    filled.scrub([remnant])
    assert remnant not in on_disk(path)
    with filled.read(keys) as session:
        assert len(session.find(tables.asset)) == 2


def test_scrub_refuses_while_a_row_still_holds_the_bytes(filled, keys, samples):
    wrapped = random.Random(4).randbytes(64)
    with filled.write(keys) as session:
        session.update(tables.data_key, samples.key(tables.data_key, 1), 1, wrapped=wrapped)
    with pytest.raises(StorageError, match="still in the database"):
        filled.scrub([wrapped])
    with pytest.raises(UsageError, match="at least 16"):
        filled.scrub([b"short"])


def test_truncation_waits_for_readers_and_says_so(database, path, keys):
    other = Database.open(path, timeout_s=0.05)
    with database.read(None) as session:
        assert session.find(tables.backup_state) == []
        with other.write(None) as writing:
            writing.insert(tables.backup_state, key="a", value="b")
        with pytest.raises(Conflict, match="older state"):
            other.checkpoint_truncate()
    other.checkpoint_truncate()
