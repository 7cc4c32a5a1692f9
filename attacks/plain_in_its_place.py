"""A plain file takes the place of the sealed one.

Attacker: whoever can write the store.
Tries:    put plain safetensors, Parquet, CSV and pickle bytes where the object lies; a sealed object of the attacker's own domain; an
          empty file; and plain files of the expected names beside it, for readers that look for `model.safetensors` first.
Stops it: a reader of a governed asset requires the sealed object that was signed; there is no fallback to plain files.
"""

from __future__ import annotations

import json
import pickle
import struct

from _stage import ROWS, Stage, main

from hermetic.crypto.secret import Secret
from hermetic.errors import HermeticError, IntegrityError, NotFound
from hermetic.formats.object_header import ObjectHeader
from hermetic.formats.object_metadata import ObjectMetadata
from hermetic.ids import AssetId, DataKeyId, DomainId, ObjectId, VersionId, id_from_bytes
from hermetic.sealed.writer import ObjectWriter
from hermetic.stores.output import DescriptorOutput


def attack(stage: Stage) -> None:
    version = stage.create().seal("model/risk", ROWS, data_class="confidential", member="model.safetensors").version
    path = stage.object(version)
    good = path.read_bytes()
    stage.honest("reading", stage.read("model/risk"), ROWS)

    for what, raw in _impostors(stage, version, len(good)).items():
        path.write_bytes(raw)
        stage.refused(f"reading, {what} in its place", lambda: stage.read("model/risk"), IntegrityError)
        stage.refused(f"verify, {what} in its place", lambda: stage.connect().verify("model/risk"), IntegrityError)
        done = stage.cli("cat", "model/risk", "--purpose", "serve")
        stage.found(f"hermetic cat, {what} in its place", done.returncode == 4 and not done.stdout and done.stderr.decode())
    path.unlink()
    for name in ("0", "model.safetensors", "0.safetensors", "0.plain", "0.sealed.safetensors"):
        path.with_name(name).write_bytes(_safetensors(666.0))
    stage.refused("plain files of likely names beside a missing object", lambda: stage.read("model/risk"), NotFound)
    path.write_bytes(good)
    stage.honest("reading with those still there", stage.read("model/risk"), ROWS)
    stage.refused("asking for one of them", lambda: stage.read("model/risk", "0.safetensors"), HermeticError)


def _impostors(stage: Stage, version: str, length: int) -> dict[str, bytes]:
    return {
        "plain safetensors": _safetensors(1337.0),
        "plain safetensors of the same length": _safetensors(1337.0).ljust(length, b" ")[:length],
        "a Parquet file": b"PAR1" + bytes(100) + b"PAR1",
        "CSV": ROWS,
        "a pickle": pickle.dumps({"weights": [1337.0]}),
        "an empty file": b"",
        "an object sealed under the attacker's own key": _own_object(stage, version),
    }


def _safetensors(value: float) -> bytes:
    header = json.dumps({"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()
    return struct.pack("<Q", len(header)) + header + struct.pack("<4f", *([value] * 4))


def _own_object(stage: Stage, version: str) -> bytes:
    path = stage.base / "own"
    fresh = id_from_bytes(bytes(16))
    header = ObjectHeader(
        DomainId(stage.domain), AssetId(fresh), VersionId(version), ObjectId(fresh), DataKeyId(fresh), 0, "FLOE-AES256-GCM-1M-BLAKE3"
    )
    with path.open("wb") as file:
        writer = ObjectWriter(DescriptorOutput(file.fileno()), header, Secret(bytes(32)))
        writer.write(_safetensors(1337.0))
        writer.finish(ObjectMetadata(name="model.safetensors"))
    return path.read_bytes()


if __name__ == "__main__":
    main(attack)
