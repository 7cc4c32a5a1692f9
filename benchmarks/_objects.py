"""Sealed objects without custody, as sealed_object.py and peers/ measure them: a key of zeros, and the record in a file beside."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from hermetic.crypto.secret import Secret
from hermetic.formats.manifest import ManifestObject
from hermetic.formats.object_header import ObjectHeader
from hermetic.formats.object_metadata import ObjectMetadata
from hermetic.formats.suites import SUITES as ALL
from hermetic.sealed.files import seal_file
from hermetic.sealed.reader import ObjectReader
from hermetic.stores.local import LocalStore
from hermetic.stores.output import DescriptorOutput

if TYPE_CHECKING:
    from pathlib import Path

SUITES = {"blake3": "FLOE-AES256-GCM-1M-BLAKE3", "sha256": "FLOE-AES256-GCM-1M-SHA256", "blake3, 64K": "FLOE-AES256-GCM-64K-BLAKE3"}
_ID = "a" * 26


def seal(source: Path, target: Path, *, suite: str, sync: bool = False, content: bool = False) -> None:
    """Seal a file into a new one; with `content` its content digest is made too, as a version needs it."""
    header = ObjectHeader(*[_ID] * 5, index=0, suite_name=suite)
    algorithm = ALL[suite].digest if content else None
    with source.open("rb") as reads, target.open("xb+") as writes:
        sealed = seal_file(
            reads.fileno(),
            DescriptorOutput(writes.fileno()),
            header,
            _key(),
            metadata=ObjectMetadata(),
            content_algorithm=algorithm,
            write_behind=sync,
        )
        if sync:
            os.fsync(writes.fileno())
    record = {name: getattr(sealed.record, name) for name in sealed.record.__slots__}
    _record(target).write_text(json.dumps(record | {"root": record["root"].hex()}))


def reader(sealed: Path) -> ObjectReader:
    """Open a file that `seal` wrote."""
    record = json.loads(_record(sealed).read_text())
    expected = ManifestObject(**(record | {"root": bytes.fromhex(record["root"])}))
    return ObjectReader(LocalStore(sealed.parent).open(sealed.name), _key(), expected)


def expose(sealed: Path, target: Path, *, sync: bool = False) -> None:
    """Open a sealed file into a new one, every digest checked."""
    with reader(sealed) as opened, target.open("xb+") as writes:
        opened.expose_to(writes.fileno(), write_behind=sync)
        if sync:
            os.fsync(writes.fileno())


def _key() -> Secret:
    return Secret(bytes(32))


def _record(sealed: Path) -> Path:
    return sealed.with_name(f"{sealed.name}.json")
