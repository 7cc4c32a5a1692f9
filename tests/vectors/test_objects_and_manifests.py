"""Every vector does what it says, the files are exactly those that the script makes, and every kind of damage is there."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from hermetic.crypto.secret import Secret
from hermetic.errors import FormatError, IntegrityError, SignatureError, WrongKey
from hermetic.formats.manifest import ManifestObject, ManifestOpenings, Opening
from hermetic.sealed.reader import ObjectReader
from hermetic.signing.manifests import check_openings, manifest_hash, verify_manifest
from tests.unit.sealed.objects import BytesSource

VECTORS = Path(__file__).resolve().parents[2] / "vectors"
CLASSES = {"format": FormatError, "integrity": IntegrityError, "wrong-key": WrongKey, "signature": SignatureError}


def scenarios(kind: str, folder: str):
    paths = sorted((VECTORS / kind / folder).glob("*.json"))
    assert paths
    return pytest.mark.parametrize("path", paths, ids=lambda path: path.stem)


def assemble(pieces) -> bytes:
    parts = []
    for piece in pieces:
        if "file" in piece:
            parts.append((VECTORS / piece["file"]).read_bytes()[piece["start"] : piece["end"]])
        else:
            parts.append(bytes.fromhex(piece["hex"]) if "hex" in piece else bytes.fromhex(piece["repeat"]) * piece["times"])
    return b"".join(parts)


def open_object(scenario) -> ObjectReader:
    record = ManifestObject(**{**scenario["record"], "root": bytes.fromhex(scenario["record"]["root"])})
    return ObjectReader(BytesSource(assemble(scenario["file"])), Secret(bytes.fromhex(scenario["key"])), record)


def class_of(error: BaseException) -> str:
    return next((name for name, kind in CLASSES.items() if type(error) is kind), type(error).__name__)


@scenarios("sealed-object", "valid")
def test_valid_object_opens(path, count_vector):
    scenario = json.loads(path.read_text())
    assert scenario["expect"] == "ok"
    with open_object(scenario) as reader:
        content = bytearray(reader.length)
        reader.readinto_at(0, content)
        expected = scenario["content"]
        assert len(content) == expected["length"]
        assert content == hashlib.shake_256(expected["shake256_of"].encode()).digest(expected["length"])
        assert hashlib.sha256(content).hexdigest() == expected["sha256"]
        assert json.loads(reader.metadata.encode()) == scenario["metadata"]
        for read in expected["reads"]:
            buffer = bytearray(read["wanted"])
            count = reader.readinto_at(read["offset"], buffer)
            assert count == read["length"]
            assert hashlib.sha256(buffer[:count]).hexdigest() == read["sha256"]
    count_vector(path)


@scenarios("sealed-object", "invalid")
def test_invalid_object_is_refused(path, count_vector):
    scenario = json.loads(path.read_text())
    assert scenario["expect"] == "refused"
    with pytest.raises(IntegrityError) as caught:
        reader = open_object(scenario)
        buffer = bytearray(b"\xaa" * reader.length)
        try:
            reader.readinto_at(0, buffer)
        finally:
            assert not any(buffer), "a refused read leaves nothing behind"
    assert class_of(caught.value) in scenario["classes"]
    assert caught.value.exit_code == 4
    count_vector(path)


def check_manifest(scenario):
    raw = base64.b64decode(scenario["envelope"])
    trusted = {key_id: bytes.fromhex(public) for key_id, public in scenario["trusted"].items()}
    manifest = verify_manifest(raw, trusted)
    if "openings" in scenario:
        shown = [scenario["openings"][name] for name in ("name", "class", "writer")]
        check_openings(manifest, ManifestOpenings(*(Opening(bytes.fromhex(one["salt"]), one["value"]) for one in shown)))
    return raw, manifest


@scenarios("manifest", "valid")
def test_valid_manifest_verifies(path, count_vector):
    scenario = json.loads(path.read_text())
    raw, manifest = check_manifest(scenario)
    assert json.loads(manifest.encode()) == scenario["payload"]
    assert manifest_hash(raw).hex() == scenario["manifest_hash"]
    count_vector(path)


@scenarios("manifest", "invalid")
def test_invalid_manifest_is_refused(path, count_vector):
    scenario = json.loads(path.read_text())
    with pytest.raises(IntegrityError) as caught:
        check_manifest(scenario)
    assert class_of(caught.value) in scenario["classes"]
    count_vector(path)


def test_the_script_makes_exactly_these_files(tmp_path):
    subprocess.run([sys.executable, VECTORS / "make.py", "--into", tmp_path], check=True, capture_output=True)
    for kind in ("sealed-object", "manifest"):
        made = {path.relative_to(tmp_path) for path in (tmp_path / kind).rglob("*") if path.is_file()}
        kept = {path.relative_to(VECTORS) for path in (VECTORS / kind).rglob("*") if path.is_file()}
        assert made == kept, "run `python vectors/make.py` and remove what it does not make"
        for name in made:
            assert (tmp_path / name).read_bytes() == (VECTORS / name).read_bytes(), f"{name}: run `python vectors/make.py`"
