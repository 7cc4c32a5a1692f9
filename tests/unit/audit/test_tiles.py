"""Exporting the log as tiles, going on with an export, and verifying one without the database."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING

import pytest

from hermetic.audit.pins import Pin
from hermetic.audit.tiles import CHECKPOINT, TileReader, export, tile_path
from hermetic.audit.tree import NodeReader, inclusion_proof, leaf_hash, verify_inclusion
from hermetic.audit.verify import verify
from hermetic.errors import FormatError, IntegrityError, LogTampered, NotFound, SignatureError
from hermetic.stores.local import LocalStore
from hermetic.stores.memory import MemoryStore as Files
from tests.unit.audit.making import DOMAIN, START_MS, intent, make_log, outcome

if TYPE_CHECKING:
    from pathlib import Path

    from hermetic.audit.log import Log
    from hermetic.audit.store import MemoryStore


def grow(store: MemoryStore, log: Log, count: int) -> None:
    log.append(store, [outcome(f"r{number}") for number in range(count)], now_ms=START_MS + 9)


@pytest.mark.parametrize(
    ("level", "number", "width", "path"),
    [
        ("0", 0, 256, "tile/0/000"),
        ("3", 1_234_067, 256, "tile/3/x001/x234/067"),
        ("entries", 999, 17, "tile/entries/999.p/17"),
        ("1", 1000, 1, "tile/1/x001/000.p/1"),
    ],
)
def test_paths_of_the_specification(level: str, number: int, width: int, path: str) -> None:
    assert tile_path(level, number, width) == path


def test_a_log_of_70000_entries_has_the_tiles_that_the_specification_counts(log: Log, memory: MemoryStore) -> None:
    grow(memory, log, 69_996)
    files = Files()
    export(memory, 1, files, keys=[log.verifier_key])
    names = [key for key, _ in files.list("tile/")]
    assert sum(name.startswith("tile/0/") for name in names) == 274
    assert "tile/0/273.p/112" in names
    assert [name for name in names if name.startswith(("tile/1/", "tile/2/"))] == ["tile/1/000", "tile/1/001.p/17", "tile/2/000.p/1"]


def test_an_export_goes_on_and_verifies_without_the_database(log: Log, memory: MemoryStore, tmp_path: Path) -> None:
    files = LocalStore(tmp_path)
    for count in (1, 250, 3, 400):
        grow(memory, log, count)
        exported = export(memory, 1, files, keys=[log.verifier_key])
        reader = TileReader(files, keys=[log.verifier_key])
        report = verify(reader, DOMAIN, keys=[log.verifier_key], pins=[Pin(exported, "export", external=True)])
        assert report.newest == exported == log.head(memory)[0]
    assert [row for rows in reader.leaves(1) for row in rows] == [row for rows in memory.leaves(1) for row in rows]
    assert [row[0] for rows in reader.leaves(1, 255, 258) for row in rows] == [255, 256, 257]
    node = NodeReader(exported.size, lambda level, start, stop: reader.hashes(1, level, start, stop))
    proof = inclusion_proof(node, exported.size, 300)
    verify_inclusion(leaf_hash(memory.data[1].leaves[300][3]), 300, exported.size, proof, root=exported.root)
    assert reader.head(2) is None
    assert reader.checkpoints(2) == list(reader.leaves(2)) == reader.hashes(2, 0, 0, 1) == []


def test_an_export_is_an_anchor(log: Log, memory: MemoryStore) -> None:
    files, older = Files(), deepcopy(memory)
    grow(memory, log, 5)
    export(memory, 1, files, keys=[log.verifier_key])
    with pytest.raises(LogTampered, match="does not continue"):
        export(older, 1, files, keys=[log.verifier_key])
    make_log().append(older, [intent("x")] * 9, now_ms=START_MS)
    with pytest.raises(LogTampered, match="does not continue"):
        export(older, 1, files, keys=[log.verifier_key])
    successor = make_log(generation=2)
    successor.begin(memory, now_ms=START_MS, restored=(log.head(memory)[0], log.head(memory)[0]))
    with pytest.raises(LogTampered, match="another log"):
        export(memory, 2, files, keys=[log.verifier_key, successor.verifier_key])


def test_an_interrupted_export_is_finished_and_a_changed_one_refused(log: Log, memory: MemoryStore) -> None:
    grow(memory, log, 600)
    files = Files()
    files.put_bytes("tile/0/000", b"".join(memory.hashes(1, 0, 0, 256)))
    export(memory, 1, files, keys=[log.verifier_key])
    other = Files()
    other.put_bytes("tile/0/000", bytes(8192))
    with pytest.raises(LogTampered, match="differs"):
        export(memory, 1, other, keys=[log.verifier_key])


def test_what_was_not_signed_is_neither_exported_nor_read(log: Log, memory: MemoryStore) -> None:
    files = Files()
    with pytest.raises(SignatureError):
        export(memory, 1, files, keys=[make_log(key=2).verifier_key])
    with pytest.raises(NotFound):
        export(memory, 2, files, keys=[log.verifier_key])
    export(memory, 1, files, keys=[log.verifier_key])
    with pytest.raises(SignatureError):
        TileReader(files, keys=[make_log(key=2).verifier_key])
    memory.data[1].leaves[2] = (*memory.data[1].leaves[2][:4], bytes(32))
    with pytest.raises(LogTampered):
        export(memory, 1, Files(), keys=[log.verifier_key])


@pytest.mark.parametrize(
    ("path", "data"), [("tile/entries/000.p/4", b"\x00\x05abc"), ("tile/entries/000.p/4", b""), ("tile/0/000.p/4", b"x")]
)
def test_changed_files_are_found(log: Log, memory: MemoryStore, path: str, data: bytes) -> None:
    files = Files()
    export(memory, 1, files, keys=[log.verifier_key])
    assert files.exists(CHECKPOINT)
    files.put_bytes(path, data, replace=True)
    reader = TileReader(files, keys=[log.verifier_key])
    if path.startswith("tile/0"):
        with pytest.raises(FormatError):
            reader.hashes(1, 0, 0, 4)
    else:
        with pytest.raises(IntegrityError):
            verify(reader, DOMAIN)
