"""Build sealed objects piece by piece, honest or not: what `make_objects` shapes into scenarios.

`Forged` holds the parts of an object. `reseal` makes leaves, root and trailer agree with the parts again, as somebody who may write
and sign could; without it, an edit is that of somebody who can only change stored bytes.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, field
from functools import partial

from hermetic.crypto.digests import digest
from hermetic.crypto.floe import HEADER, FloeEncryptor
from hermetic.crypto.secret import Secret
from hermetic.formats import canonical
from hermetic.formats.object_header import FIXED, MAGIC
from hermetic.formats.suites import SUITES, Suite
from hermetic.formats.trailer import ROOT_LABEL, TRAILER, Layout, length_prefixed, parse_trailer
from hermetic.ids import id_from_bytes
from hermetic.sealed._binding import METADATA, PAYLOAD, associated_data, parameters

KEY = bytes(range(32))
SMALL = "FLOE-AES256-GCM-64K-BLAKE3"
NAMES = ("domain", "asset", "version", "object", "data_key")
IDS = {name: id_from_bytes(bytes([number]) * 16) for number, name in enumerate(NAMES, 1)}
OTHER_ID = id_from_bytes(b"\x09" * 16)


def stream(label: str, length: int) -> bytes:
    """The deterministic content of a scenario: SHAKE-256 of its label."""
    return hashlib.shake_256(label.encode()).digest(length)


class Randomness:
    """Successive bytes of SHAKE-256("randomness/" + scenario)."""

    def __init__(self, scenario: str) -> None:
        self._all, self._used = stream(f"randomness/{scenario}", 100_000), 0

    def __call__(self, length: int) -> bytes:
        self._used += length
        return self._all[self._used - length : self._used]


def header_value(**changes: object) -> dict[str, object]:
    return {**IDS, "index": 0, "padding": "none", "suite": SMALL, **changes}


def prefix_of(body: bytes, *, magic: bytes = MAGIC, version: int = 1) -> bytes:
    return FIXED.pack(magic, version, len(body)) + body


def metadata_value(length: int, **changes: object) -> dict[str, object]:
    base = {"details": {}, "format": "hermetic/v1/object-metadata", "labels": {}, "media_type": "", "name": ""}
    return {**base, "length": length, **changes}


@dataclass
class Forged:
    """The parts of an object; `length`, `root` and `record` may lie."""

    prefix: bytes
    floe_header: bytes
    segments: list[bytes]
    metadata: bytes
    suite: Suite = field(default_factory=lambda: SUITES[SMALL])
    leaf_table: bytes = b""
    trailer: bytes = b""
    record: dict[str, object] = field(default_factory=dict)

    @classmethod
    def parse(cls, data: bytes, record: dict[str, object]) -> Forged:
        """Take an honest object of the small suite apart."""
        layout, _ = parse_trailer(data[-TRAILER:], len(data))
        body, stored = data[layout.prefix : layout.metadata_offset], layout.suite.stored_segment
        segments = [body[start : start + stored] for start in range(HEADER, len(body), stored)]
        metadata = data[layout.metadata_offset : layout.leaf_offset]
        return cls(data[: layout.prefix], body[:HEADER], segments, metadata, layout.suite, record=dict(record))

    @property
    def payload(self) -> bytes:
        return self.floe_header + b"".join(self.segments)

    def data(self) -> bytes:
        return self.prefix + self.payload + self.metadata + self.leaf_table + self.trailer

    def reseal(self, leaf_table: bytes | None = None) -> Forged:
        """Make leaf table (unless one is given), trailer and record agree with the parts."""
        name = self.suite.digest
        self.leaf_table = b"".join(digest(name, segment) for segment in self.segments) if leaf_table is None else leaf_table
        layout = Layout(self.suite, len(self.prefix), len(self.payload), len(self.metadata), len(self.leaf_table))
        number, hashed = struct.Struct(">Q").pack, partial(digest, name)
        parts = (
            *(ROOT_LABEL, name.encode(), number(layout.file_length), hashed(self.prefix), hashed(self.metadata)),
            *(hashed(self.floe_header), number(len(self.segments)), number(len(self.payload)), hashed(self.leaf_table)),
        )
        root = hashed(length_prefixed(parts))
        self.trailer = layout.encode(root)
        self.record |= {"root": root.hex(), "algorithm": name, "length": len(self.data())}
        return self


def forge(
    scenario: str,
    content: bytes = b"",
    *,
    body: bytes | None = None,
    prefix: bytes | None = None,
    metadata: bytes | None = None,
    suite: str = SMALL,
) -> Forged:
    """Encrypt `content` as it is (padding is the caller's affair) under any prefix and metadata, and seal it consistently."""
    random, key, chosen = Randomness(scenario), Secret(KEY), SUITES[suite]
    prefix = prefix if prefix is not None else prefix_of(body if body is not None else canonical.encode(header_value()))
    if metadata is None:
        metadata = canonical.encode(metadata_value(len(content)))
    made = [
        FloeEncryptor(key, associated_data(label, prefix), parameters(chosen), deterministic_randomness_for_vectors=random)
        for label in (PAYLOAD, METADATA)
    ]
    payload = made[0].message(content)
    stored = chosen.stored_segment
    segments = [payload[start : start + stored] for start in range(HEADER, len(payload), stored)]
    forged = Forged(prefix, payload[:HEADER], segments, made[1].message(metadata), chosen)
    forged.record = {"domain": IDS["domain"], "asset": IDS["asset"], "version": IDS["version"], "index": 0}
    forged.record |= {"id": IDS["object"], "data_key": IDS["data_key"]}
    return forged.reseal()
