"""Attackers' tools for sealed objects: take a file apart, change it, and put it together so that it agrees with itself again.

Root and leaf table need no key, so whoever can write the store can always make a file that hashes to its own root. What they cannot
make is the signature over that root.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hermetic.crypto.digests import digest
from hermetic.formats.object_header import FIXED, MAGIC, parse_fixed
from hermetic.formats.suites import FLOE_HEADER, SUITES
from hermetic.formats.trailer import TRAILER, Layout, parse_trailer
from hermetic.sealed._binding import object_root

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Parts:
    """The parts of an object as they lie in the file."""

    prefix: bytes
    floe_header: bytes
    segments: tuple[bytes, ...]
    metadata: bytes
    suite: str

    @classmethod
    def of(cls, raw: bytes) -> Parts:
        layout, _ = parse_trailer(raw[-TRAILER:], len(raw))
        body = raw[layout.prefix + FLOE_HEADER : layout.metadata_offset]
        step = layout.suite.stored_segment
        return cls(
            raw[: layout.prefix],
            raw[layout.prefix : layout.prefix + FLOE_HEADER],
            tuple(body[at : at + step] for at in range(0, len(body), step)),
            raw[layout.metadata_offset : layout.leaf_offset],
            layout.suite.name,
        )

    @classmethod
    def read(cls, path: Path) -> Parts:
        return cls.of(path.read_bytes())

    def build(self, *, version: int | None = None) -> bytes:
        """Return a whole file: leaf table, lengths and root are computed anew, so that it is consistent."""
        suite = SUITES[self.suite]
        prefix = self.prefix if version is None else self.prefix[:8] + struct.pack(">H", version) + self.prefix[10:]
        leaves = b"".join(digest(suite.digest, segment) for segment in self.segments)
        payload = self.floe_header + b"".join(self.segments)
        layout = Layout(suite, len(prefix), len(payload), len(self.metadata), len(leaves))
        root = object_root(layout, prefix=prefix, metadata=self.metadata, floe_header=self.floe_header, leaf_table=leaves)
        return prefix + payload + self.metadata + leaves + layout.encode(root)

    @property
    def header(self) -> dict:
        return json.loads(self.prefix[FIXED.size : FIXED.size + parse_fixed(self.prefix)])

    def with_header(self, **changes) -> Parts:
        """Return the object under an edited header."""
        body = json.dumps({**self.header, **changes}, separators=(",", ":"), sort_keys=True).encode()
        return replace(self, prefix=FIXED.pack(MAGIC, 1, len(body)) + body, suite=changes.get("suite", self.suite))

    def with_segments(self, *segments: bytes) -> Parts:
        return replace(self, segments=segments)
