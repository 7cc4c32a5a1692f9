"""A reader that was written from the specification alone agrees with every vector, and reads what the product seals and signs."""

from __future__ import annotations

import ast
import base64
import contextlib
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hermetic.crypto.secret import Secret
from hermetic.crypto.sign import SigningKey
from hermetic.errors import IntegrityError
from hermetic.formats.manifest import Manifest, ManifestObject
from hermetic.formats.object_header import ObjectHeader
from hermetic.formats.object_metadata import ObjectMetadata
from hermetic.formats.padding import Padding
from hermetic.formats.suites import SUITES
from hermetic.ids import Environment, id_from_bytes
from hermetic.sealed.files import seal_file
from hermetic.sealed.verification import verify_ciphertext
from hermetic.sealed.writer import ObjectWriter
from hermetic.signing.manifests import new_openings, sign_manifest
from hermetic.stores.output import DescriptorOutput
from tests.unit.sealed.objects import BytesSource
from tests.vectors import independent_log_reader as log_reader
from tests.vectors import independent_reader as reader

if TYPE_CHECKING:
    from collections.abc import Callable

    from hermetic.sealed._sealing import SealedObject

HERE = Path(__file__).resolve().parent
VECTORS = HERE.parents[1] / "vectors"
Scenario = dict[str, Any]


def assemble(pieces: list[dict[str, Any]]) -> bytes:
    parts = []
    for piece in pieces:
        if "file" in piece:
            parts.append((VECTORS / piece["file"]).read_bytes()[piece["start"] : piece["end"]])
        else:
            parts.append(bytes.fromhex(piece["hex"]) if "hex" in piece else bytes.fromhex(piece["repeat"]) * piece["times"])
    return b"".join(parts)


def run_object(scenario: Scenario) -> None:
    record = reader.Record(**{**scenario["record"], "root": bytes.fromhex(scenario["record"]["root"])})
    sealed = reader.SealedObject(assemble(scenario["file"]), record)
    opened = sealed.open(bytes.fromhex(scenario["key"]))
    content = opened.content()
    if scenario["expect"] == "ok":
        sealed.verify()
        expected = scenario["content"]
        assert content == hashlib.shake_256(expected["shake256_of"].encode()).digest(expected["length"])
        assert hashlib.sha256(content).hexdigest() == expected["sha256"]
        for read in expected["reads"]:
            part = opened.read(read["offset"], read["wanted"])
            assert (len(part), hashlib.sha256(part).hexdigest()) == (read["length"], read["sha256"])
        assert opened.metadata == scenario["metadata"]


def run_manifest(scenario: Scenario) -> None:
    trusted = {key_id: bytes.fromhex(public) for key_id, public in scenario["trusted"].items()}
    manifest = reader.read_manifest(base64.b64decode(scenario["envelope"]), trusted)
    for field, opening in scenario.get("openings", {}).items():
        manifest.check_opening(field, bytes.fromhex(opening["salt"]), opening["value"])
    if scenario["expect"] == "ok":
        assert (manifest.payload, manifest.hash.hex()) == (scenario["payload"], scenario["manifest_hash"])


def run_leaf(scenario: Scenario) -> None:
    raw = scenario["leaf"].encode()
    log_reader.read_leaf(raw)
    assert scenario["expect"] != "ok" or log_reader.leaf_hash(raw).hex() == scenario["hash"]


def run_receipt(scenario: Scenario) -> None:
    receipt, _ = log_reader.verify_receipt(scenario["receipt"], [log_reader.VerifierKey.parse(key) for key in scenario["keys"]])
    if scenario["expect"] == "ok":
        assert receipt.leaf.decode() == scenario["leaf"]
        assert (receipt.index, receipt.checkpoint.size) == (scenario["index"], scenario["size"])


def run_opening(scenario: Scenario) -> None:
    opening = scenario["opening"]
    log_reader.check_opening(scenario["leaf"].encode(), opening["field"], bytes.fromhex(opening["salt"]), opening["value"])


def run_log(scenario: Scenario) -> None:
    report = log_reader.verify_log(scenario)
    if scenario["expect"] == "ok":
        assert (report.size, report.root.hex(), report.open_intents) == tuple(
            scenario[name] for name in ("size", "root", "open_intents")
        )
        assert sorted(report.findings) == scenario["findings"]


def run_tree(scenario: Scenario) -> None:
    hashes = [log_reader.leaf_hash(b"leaf %d" % number) for number in range(70_001)]
    assert hashlib.sha256(b"".join(hashes)).hexdigest() == scenario["all_leaf_hashes_sha256"]
    for item in scenario["roots"]:
        assert log_reader.tree_root(hashes[: item["size"]]).hex() == item["root"]
    for item in scenario["inclusion"]:
        root = log_reader.tree_root(hashes[: item["size"]])
        path = [bytes.fromhex(hash_) for hash_ in item["proof"]]
        log_reader.check_inclusion(hashes[item["index"]], item["index"], item["size"], path, root=root)
    for item in scenario["consistency"]:
        old, new = ((item[name], log_reader.tree_root(hashes[: item[name]])) for name in ("old", "new"))
        log_reader.check_consistency(old, new, [bytes.fromhex(hash_) for hash_ in item["proof"]])


def run_inclusion(scenario: Scenario) -> None:
    leaf, root = (bytes.fromhex(scenario[name]) for name in ("leaf_hash", "root"))
    path = [bytes.fromhex(hash_) for hash_ in scenario["proof"]]
    log_reader.check_inclusion(leaf, scenario["index"], scenario["size"], path, root=root)


def run_consistency(scenario: Scenario) -> None:
    old, new = ((scenario[name], bytes.fromhex(scenario[f"{name}_root"])) for name in ("old", "new"))
    log_reader.check_consistency(old, new, [bytes.fromhex(hash_) for hash_ in scenario["proof"]])


RUN: dict[str, Callable[[Scenario], None]] = {
    "sealed-object": run_object,
    "manifest": run_manifest,
    "audit-leaf": run_leaf,
    "audit-receipt": run_receipt,
    "audit-opening": run_opening,
    "audit-log": run_log,
    "audit-tree": run_tree,
    "audit-inclusion": run_inclusion,
    "audit-consistency": run_consistency,
}


def vectors(folder: str) -> pytest.MarkDecorator:
    paths = sorted(VECTORS.glob(f"*/{folder}/*.json"))
    assert paths
    return pytest.mark.parametrize("path", paths, ids=lambda path: f"{path.parts[-3]}-{path.stem}")


@vectors("valid")
def test_what_is_valid_is_accepted(path: Path, count_vector: Callable[[Path], None]) -> None:
    scenario = json.loads(path.read_text())
    assert scenario["expect"] == "ok"
    RUN[scenario["kind"]](scenario)
    count_vector(path)


@vectors("invalid")
def test_what_is_invalid_is_refused_for_a_listed_reason(path: Path, count_vector: Callable[[Path], None]) -> None:
    scenario = json.loads(path.read_text())
    assert scenario["expect"] == "refused"
    with pytest.raises(reader.Refused) as caught:
        RUN[scenario["kind"]](scenario)
    assert caught.value.kind in scenario["classes"]
    count_vector(path)


@pytest.mark.parametrize("module", [reader, log_reader])
def test_the_reader_imports_nothing_of_the_product(module: Any) -> None:
    tree = ast.parse(Path(module.__file__).read_text())
    names = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    assert not [name for name in names if name.split(".")[0] == "hermetic" or "import_module" in name]


KEY = bytes(range(32))
IDS = [id_from_bytes(bytes([number]) * 16) for number in range(1, 6)]
SEGMENT = 65_536


def header(suite: str, padding: Padding, index: int = 0) -> ObjectHeader:
    names = ("domain", "asset", "version", "object", "data_key")
    return ObjectHeader(**dict(zip(names, IDS, strict=True)), index=index, suite_name=suite, padding=padding)  # type: ignore[arg-type]


def seal(path: Path, content: bytes, made: ObjectHeader, *, from_file: bool) -> SealedObject:
    """Seal content with the product: as a stream in uneven pieces, or as a file."""
    metadata = ObjectMetadata("über/a.bin", "text/plain", {"\ufb33": "2", "\U0001f600": "1"}, {"rows": [1, None, True]})
    with path.open("xb+") as out:
        if from_file:
            source = path.with_suffix(".plain")
            source.write_bytes(content)
            with source.open("rb") as plain:
                output = DescriptorOutput(out.fileno())
                return seal_file(plain.fileno(), output, made, Secret(KEY), metadata=metadata, content_algorithm="blake3")
        writer = ObjectWriter(DescriptorOutput(out.fileno()), made, Secret(KEY), content_algorithm="sha256")
        for start in range(0, len(content), 50_021):
            writer.write(content[start : start + 50_021])
        return writer.finish(metadata)


@pytest.mark.parametrize("suite", sorted(SUITES))
@pytest.mark.parametrize("padding", list(Padding), ids=str)
@pytest.mark.parametrize("length", [0, 1, SEGMENT, 2 * SEGMENT + 77, 2**20, 2**20 + 1])
def test_it_reads_what_the_product_seals(tmp_path: Path, suite: str, padding: Padding, length: int) -> None:
    content = hashlib.shake_256(b"sealed by the product").digest(length)
    path = tmp_path / "object.sealed"
    made = seal(path, content, header(suite, padding), from_file=bool(length % 2))
    assert made.content_digest == reader.content_digest(content, "blake3" if length % 2 else "sha256")
    sealed = made.record
    signer = SigningKey(Secret(bytes(32)))
    openings, commitments = new_openings(name="dataset/a", data_class="internal", writer="ana")
    manifest = Manifest(sealed.domain, sealed.asset, sealed.version, 1, None, Environment.STAGING, 0, commitments, (sealed,))
    raw = sign_manifest(manifest, signer, "key-1")

    read = reader.read_manifest(raw, {"key-1": signer.public})
    for field, opening in (("name", openings.name), ("class", openings.data_class), ("writer", openings.writer)):
        read.check_opening(field, opening.salt, opening.value)
    (record,) = read.records()
    found = reader.SealedObject(path.read_bytes(), record)
    found.verify()
    opened = found.open(KEY)
    assert opened.content() == content
    assert opened.metadata["name"] == "über/a.bin"
    for offset, wanted in ((0, length), (length // 2, 100), (SEGMENT - 1, 2), (length, 1)):
        assert opened.read(offset, wanted) == content[offset : offset + wanted]


def test_no_byte_of_an_object_is_free(tmp_path: Path) -> None:
    """Any change of any byte is refused, without the key too."""
    path = tmp_path / "object.sealed"
    sealed = seal(path, b"content", header("FLOE-AES256-GCM-64K-SHA256", Padding.NONE), from_file=False).record
    data = path.read_bytes()
    record = reader.Record(**{name: getattr(sealed, name) for name in reader.Record.__dataclass_fields__})
    reader.SealedObject(data, record).verify()
    for at in range(len(data)):
        changed = data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :]
        with pytest.raises(reader.Refused):
            reader.SealedObject(changed, record).verify()


def test_without_a_key_both_readers_refuse_the_same() -> None:
    """What only decryption can notice is what somebody made who may write and sign: the rest is refused without a key."""
    escaped: dict[str, set[str]] = {"product": set(), "independent": set()}
    for path in sorted((VECTORS / "sealed-object" / "invalid").glob("*.json")):
        scenario = json.loads(path.read_text())
        data, record = assemble(scenario["file"]), {**scenario["record"], "root": bytes.fromhex(scenario["record"]["root"])}
        try:
            reader.SealedObject(data, reader.Record(**record)).verify()
            escaped["independent"].add(path.stem)
        except reader.Refused as refused:
            assert refused.kind in scenario["classes"]  # noqa: PT017 - one of many
        with contextlib.suppress(IntegrityError):
            verify_ciphertext(BytesSource(data), ManifestObject(**record))
            escaped["product"].add(path.stem)
    names = {path.stem for path in (VECTORS / "sealed-object" / "invalid").glob("*.json")}
    needs_key = {name for name in names if name.startswith(("metadata-", "padding-", "resealed-", "wrong-key"))} - {"resealed-leaf"}
    assert escaped == {"product": needs_key, "independent": needs_key}
