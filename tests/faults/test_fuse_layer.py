"""The layer of the power cuts: what it keeps and what it forgets (no FUSE needed), and that SQLite works on it (FUSE)."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import stat
from pathlib import Path

import pytest

from tests.faults.fuse_layer import mounted
from tests.faults.fuse_layer.journal import (
    ROOT,
    VARIANTS,
    Add,
    Make,
    Mark,
    Move,
    Op,
    Recording,
    Remove,
    Sync,
    Tree,
    Truncate,
    Write,
    survivors,
)

FILE, FOLDER = stat.S_IFREG | 0o600, stat.S_IFDIR | 0o700
NEW = [Make(2, FILE), Add(ROOT, "new", 2), Write(2, 0, b"x" * 1000)]


def after(ops: list[Op], variant: str, seed: int = 0) -> dict[str, bytes]:
    tree = survivors(Recording(Tree(), ops), len(ops), variant, seed)
    return {str(path): bytes(node.data) for path, node in tree.walk(ROOT, Path())}


def test_nothing_is_durable_without_a_sync():
    assert after(NEW, "lost") == {}
    assert after(NEW, "data") == {}
    assert after(NEW, "names") == {"new": b""}
    assert after(NEW, "zeros") == {"new": bytes(1000)}
    assert after(NEW, "all") == {"new": b"x" * 1000}


def test_a_synced_file_needs_a_synced_folder():
    assert after([*NEW, Sync(2)], "lost") == {}
    assert after([*NEW, Sync(ROOT)], "lost") == {"new": b""}
    for variant in VARIANTS:
        assert after([*NEW, Sync(2), Sync(ROOT)], variant) == {"new": b"x" * 1000}


def test_a_rename_is_atomic_and_lost_unless_a_folder_was_synced():
    ops = [*NEW, Sync(2), Sync(ROOT), Move(ROOT, "new", ROOT, "final", 2)]
    assert after(ops, "lost") == {"new": b"x" * 1000}
    assert after([*ops, Sync(ROOT)], "lost") == {"final": b"x" * 1000}
    for seed in range(20):
        assert after(ops, "prefix", seed) in ({"new": b"x" * 1000}, {"final": b"x" * 1000})


def test_a_folder_takes_what_is_in_it_along():
    ops = [Make(3, FOLDER), Add(ROOT, "folder", 3), Make(2, FILE), Add(3, "new", 2), Sync(2), Sync(3)]
    assert after(ops, "lost") == {}
    assert after([*ops, Sync(ROOT)], "lost") == {"folder": b"", "folder/new": b""}


def test_a_removed_file_comes_back():
    ops = [*NEW, Sync(2), Sync(ROOT), Remove(ROOT, "new", 2)]
    assert after(ops, "lost") == {"new": b"x" * 1000}
    assert after([*ops, Sync(ROOT)], "lost") == {}


def test_what_a_failed_sync_left_is_never_durable():
    ops = [*NEW, Sync(ROOT), Sync(2, failed=True), Sync(2)]
    assert after(ops, "lost") == {"new": b""}
    assert after([*ops, Truncate(2, 0), Write(2, 0, b"again"), Sync(2)], "lost") == {"new": b"again"}


def test_torn_writes_lose_whole_sectors():
    seen = {after([*NEW, Sync(ROOT)], "torn", seed).get("new") for seed in range(50)}
    assert seen == {b"", b"x" * 512, bytes(512) + b"x" * 488, b"x" * 1000}


def test_marks_stand_where_they_were_made():
    assert Recording(Tree(), [Mark("a"), *NEW, Mark("b")]).marks() == [(0, "a"), (4, "b")]


def _write_elsewhere(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("INSERT INTO t VALUES (99)")
    database.close()


def test_sqlite_works_on_the_layer(tmp_path: Path):
    missing = mounted.missing()
    if missing:
        pytest.skip(missing)
    (tmp_path / "source").mkdir()
    with mounted.Mounted(tmp_path / "source", tmp_path / "layer") as layer:
        path = layer.point / "db"
        database = sqlite3.connect(path, isolation_level=None)
        assert database.execute("PRAGMA journal_mode=WAL").fetchone() == ("wal",)
        database.execute("PRAGMA synchronous=FULL")
        database.execute("CREATE TABLE t (x)")
        for number in range(20):
            database.execute("INSERT INTO t VALUES (?)", (number,))
            os.setxattr(layer.point, "user.hermetic.mark", str(number).encode())
        other = multiprocessing.get_context("spawn").Process(target=_write_elsewhere, args=(path,))
        other.start()
        other.join()
        assert database.execute("SELECT count(*) FROM t").fetchone() == (21,)
        database.close()
    recording = layer.recording
    for at, text in recording.marks():
        for variant in VARIANTS:
            root = tmp_path / f"{text}-{variant}"
            survivors(recording, at, variant, 0).write(root)
            with sqlite3.connect(root / "db") as database:
                assert database.execute("SELECT max(x) FROM t").fetchone() == (int(text),)
            database.close()
