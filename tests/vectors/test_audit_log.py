"""Every vector of the audit log does what it says, and the files are exactly those that the script makes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hermetic.audit.leaf import Leaf, RowState
from hermetic.audit.note import Checkpoint, Note, Origin, VerifierKey
from hermetic.audit.openings import Opening, check_opening
from hermetic.audit.pins import Pin
from hermetic.audit.proof import Receipt
from hermetic.audit.receipts import verify_receipt
from hermetic.audit.scan import Scanner
from hermetic.audit.store import Batch, CheckpointRow, MemoryStore
from hermetic.audit.tree import EMPTY_ROOT, Frontier, leaf_hash, verify_consistency, verify_inclusion
from hermetic.audit.verify import VerifyReport, verify
from hermetic.errors import FormatError, HermeticError, IntegrityError, LogTampered, SignatureError
from hermetic.ids import DomainId

if TYPE_CHECKING:
    from collections.abc import Callable

VECTORS = Path(__file__).resolve().parents[2] / "vectors"
CLASSES = {"format": FormatError, "signature": SignatureError, "integrity": IntegrityError, "log-tampered": LogTampered}


def keys_of(scenario: dict[str, Any]) -> list[VerifierKey]:
    return [VerifierKey.parse(text) for text in scenario["keys"]]


def stored(scenario: dict[str, Any]) -> MemoryStore:
    """Put the leaves and checkpoints of a scenario into a store, with the hashes they have."""
    store = MemoryStore()
    for held in scenario["generations"]:
        rows, hashes = [], []
        for index, text in enumerate(held["leaves"]):
            says = json.loads(text)
            hashes.append(leaf_hash(text.encode()))
            rows.append((index, says["at_ms"], says["kind"], text.encode(), hashes[-1]))
        nodes = Frontier().extended(hashes).stored()
        for number, note in enumerate(held["checkpoints"]):
            kept = Checkpoint.parse(Note.parse(note.encode()).text)
            row = CheckpointRow(kept.size, kept.root, note, 0)
            store.append(held["generation"], Batch([] if number else rows, [] if number else nodes, [], row, None))
    return store


def run_log(scenario: dict[str, Any]) -> VerifyReport:
    pins = [
        Pin(Checkpoint(Origin.parse(pin["origin"]), pin["size"], bytes.fromhex(pin["root"])), pin["where"], pin["external"])
        for pin in scenario.get("pins", [])
    ]
    rows = scenario.get("rows")
    return verify(
        stored(scenario),
        DomainId(scenario["domain"]),
        keys=keys_of(scenario),
        pins=pins,
        receipts=[Receipt.parse(text.encode()) for text in scenario.get("receipts", [])],
        rows=None if rows is None else [RowState(*row[:3], bytes.fromhex(row[3])) for row in rows],
    )


def check_log(scenario: dict[str, Any]) -> None:
    report = run_log(scenario)
    if scenario["expect"] == "ok":
        assert (report.newest.size, report.newest.root.hex(), report.open_intents) == tuple(
            scenario[name] for name in ("size", "root", "open_intents")
        )
        assert sorted({finding.code for finding in report.findings}) == scenario["findings"]


def check_receipt(scenario: dict[str, Any]) -> None:
    receipt = Receipt.parse(scenario["receipt"].encode())
    logged = verify_receipt(receipt, keys_of(scenario))
    if scenario["expect"] == "ok":
        assert (receipt.leaf.decode(), receipt.index, logged.checkpoint.size) == tuple(
            scenario[name] for name in ("leaf", "index", "size")
        )
        assert bytes(receipt) == scenario["receipt"].encode()


def check_leaf(scenario: dict[str, Any]) -> None:
    raw = scenario["leaf"].encode()
    if scenario["expect"] == "refused":
        with pytest.raises(FormatError):
            Scanner().read(raw)
    leaf = Leaf.parse(raw)
    assert Scanner().read(raw)[:4] == (leaf.generation, leaf.index, leaf.at_ms, leaf.kind)
    assert leaf_hash(raw).hex() == scenario["hash"]


def check_opening_of(scenario: dict[str, Any]) -> None:
    given = scenario["opening"]
    check_opening(Leaf.parse(scenario["leaf"].encode()), Opening(given["field"], bytes.fromhex(given["salt"]), given["value"]))


def check_tree(scenario: dict[str, Any]) -> None:
    hashes = [leaf_hash(b"leaf %d" % number) for number in range(70_001)]
    roots = {size: Frontier().extended(hashes[:size]).after.root() for size in {item["size"] for item in scenario["roots"]}}
    assert roots == {item["size"]: bytes.fromhex(item["root"]) for item in scenario["roots"]}
    assert roots[0] == EMPTY_ROOT
    for item in scenario["inclusion"]:
        root = Frontier().extended(hashes[: item["size"]]).after.root()
        verify_inclusion(hashes[item["index"]], item["index"], item["size"], list(map(bytes.fromhex, item["proof"])), root=root)
    for item in scenario["consistency"]:
        pair = [(size, Frontier().extended(hashes[:size]).after.root()) for size in (item["old"], item["new"])]
        verify_consistency(pair[0], pair[1], list(map(bytes.fromhex, item["proof"])))


def check_inclusion(scenario: dict[str, Any]) -> None:
    leaf, root = (bytes.fromhex(scenario[name]) for name in ("leaf_hash", "root"))
    verify_inclusion(leaf, scenario["index"], scenario["size"], list(map(bytes.fromhex, scenario["proof"])), root=root)


def check_consistency(scenario: dict[str, Any]) -> None:
    old, new = ((scenario[name], bytes.fromhex(scenario[f"{name}_root"])) for name in ("old", "new"))
    verify_consistency(old, new, list(map(bytes.fromhex, scenario["proof"])))


CHECKS: dict[str, Callable[[dict[str, Any]], None]] = {
    "audit-log": check_log,
    "audit-receipt": check_receipt,
    "audit-leaf": check_leaf,
    "audit-opening": check_opening_of,
    "audit-tree": check_tree,
    "audit-inclusion": check_inclusion,
    "audit-consistency": check_consistency,
}


@pytest.mark.parametrize("path", sorted((VECTORS / "audit-log" / "valid").glob("*.json")), ids=lambda path: path.stem)
def test_valid_vectors_are_accepted(path: Path, count_vector: Callable[[Path], None]) -> None:
    scenario = json.loads(path.read_text())
    assert scenario["expect"] == "ok"
    CHECKS[scenario["kind"]](scenario)
    count_vector(path)


@pytest.mark.parametrize("path", sorted((VECTORS / "audit-log" / "invalid").glob("*.json")), ids=lambda path: path.stem)
def test_invalid_vectors_are_refused_for_the_right_reason(path: Path, count_vector: Callable[[Path], None]) -> None:
    scenario = json.loads(path.read_text())
    assert scenario["expect"] == "refused"
    with pytest.raises(HermeticError) as caught:
        CHECKS[scenario["kind"]](scenario)
    assert caught.type in {CLASSES[name] for name in scenario["classes"]}
    count_vector(path)


def test_the_script_makes_exactly_these_files(tmp_path: Path) -> None:
    subprocess.run([sys.executable, VECTORS / "make_audit.py", "--into", tmp_path], check=True, capture_output=True)
    made = {path.relative_to(tmp_path): path for path in tmp_path.rglob("*.json")}
    kept = {path.relative_to(VECTORS): path for path in (VECTORS / "audit-log").rglob("*.json")}
    assert made.keys() == kept.keys(), "run `python vectors/make_audit.py` and remove what it does not make"
    for name, path in made.items():
        assert path.read_bytes() == kept[name].read_bytes(), f"{name}: run `python vectors/make_audit.py`"
