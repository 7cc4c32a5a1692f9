"""The end of a sealed object, and the root that a manifest signs (spec/sealed-object.md sections 5 and 6).

offset size
     0    8  u64 length of the prefix (magic to header)
     8    8  u64 length of the payload message
    16    8  u64 length of the metadata message
    24    8  u64 length of the leaf table
    32    8  u64 length of the trailer, 88
    40    2  u16 encryption: 1 = FLOE, AES-256-GCM, HKDF-Expand-SHA-384
    42    2  u16 digest: 1 = BLAKE3, 2 = SHA-256
    44    4  u32 length of a stored segment
    48   32  root
    80    8  "CITEMREH"
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermetic.errors import FormatError
from hermetic.formats.object_header import FIXED, HEADER_LIMIT
from hermetic.formats.object_metadata import METADATA_LIMIT
from hermetic.formats.suites import DIGEST, ENCRYPTION_FLOE, MAX_SEGMENTS, SUITES, Suite

if TYPE_CHECKING:
    from collections.abc import Sequence

END_MAGIC = b"CITEMREH"
ROOT_LABEL = b"hermetic/v1/object-root"
_LAYOUT = struct.Struct(">QQQQQHHI32s8s")
TRAILER = _LAYOUT.size
MINIMUM_FILE = FIXED.size + TRAILER


@dataclass(frozen=True, slots=True)
class Layout:
    """Where every part of a sealed object lies. Lengths and offsets in bytes; the parts follow each other without gaps."""

    suite: Suite
    prefix: int
    payload: int
    metadata: int
    leaf_table: int

    @classmethod
    def of(cls, suite: Suite, *, prefix: int, plain_length: int, metadata_length: int) -> Layout:
        """Return the layout for (padded) plaintext and metadata lengths. Raises FormatError over the limits."""
        segments = suite.segments(plain_length)
        payload, metadata = suite.message_length(plain_length), suite.message_length(metadata_length)
        return _checked(cls(suite, prefix, payload, metadata, segments * DIGEST))

    @property
    def plain_length(self) -> int:
        """Plaintext length of the payload, padding included."""
        return self.suite.plain_length(self.payload)

    @property
    def segments(self) -> int:
        """Segments of the payload."""
        return self.suite.segments(self.plain_length)

    @property
    def metadata_offset(self) -> int:
        """Start of the metadata message."""
        return self.prefix + self.payload

    @property
    def leaf_offset(self) -> int:
        """Start of the leaf table."""
        return self.metadata_offset + self.metadata

    @property
    def trailer_offset(self) -> int:
        """Start of the trailer."""
        return self.leaf_offset + self.leaf_table

    @property
    def file_length(self) -> int:
        """Length of the whole object."""
        return self.trailer_offset + TRAILER

    def encode(self, root: bytes) -> bytes:
        """Return the 88 bytes of the trailer."""
        lengths = (self.prefix, self.payload, self.metadata, self.leaf_table, TRAILER)
        return _LAYOUT.pack(*lengths, ENCRYPTION_FLOE, self.suite.digest_id, self.suite.stored_segment, root, END_MAGIC)


def parse_trailer(raw: bytes, file_length: int) -> tuple[Layout, bytes]:
    """Return layout and root. Raises FormatError unless every length is possible and they sum to `file_length`."""
    if len(raw) != TRAILER:
        raise FormatError("too short for the trailer of a sealed object")
    prefix, payload, metadata, leaf_table, own, encryption, digest, segment, root, magic = _LAYOUT.unpack(raw)
    if magic != END_MAGIC or own != TRAILER:
        raise FormatError("sealed object has no trailer", hint="it is cut, has bytes after its end, or is something else")
    suite = _suite_of(encryption, digest, segment)
    layout = _checked(Layout(suite, prefix, payload, metadata, leaf_table))
    if layout.file_length != file_length:
        raise FormatError(f"sealed object has {file_length} bytes but its parts add up to {layout.file_length}")
    return layout, root


def _suite_of(encryption: int, digest: int, segment: int) -> Suite:
    for suite in SUITES.values():
        if (encryption, digest, segment) == (ENCRYPTION_FLOE, suite.digest_id, suite.stored_segment):
            return suite
    raise FormatError("sealed object names unknown algorithms", hint="written by a newer release, or changed")


def _checked(layout: Layout) -> Layout:
    if not FIXED.size < layout.prefix <= FIXED.size + HEADER_LIMIT:
        raise FormatError("sealed object has an impossible header length")
    if layout.suite.plain_length(layout.metadata) > METADATA_LIMIT:
        raise FormatError(f"metadata is over the limit of {METADATA_LIMIT} bytes")
    if layout.segments > MAX_SEGMENTS:
        raise FormatError(f"payload has more than {MAX_SEGMENTS} segments")
    if layout.leaf_table != layout.segments * DIGEST:
        raise FormatError("leaf table does not have one leaf a segment")
    return layout


def root_input(layout: Layout, *, prefix: bytes, metadata: bytes, floe_header: bytes, leaf_table: bytes) -> bytes:
    """Return the bytes whose digest is the root; the four keyword arguments are 32-byte digests of those parts."""
    number = struct.Struct(">Q").pack
    parts = (
        ROOT_LABEL,
        layout.suite.digest.encode("ascii"),
        number(layout.file_length),
        prefix,
        metadata,
        floe_header,
        number(layout.segments),
        number(layout.payload),
        leaf_table,
    )
    return length_prefixed(parts)


def length_prefixed(parts: Sequence[bytes]) -> bytes:
    """Return every part after its length as u64, so that no two lists of parts give the same bytes."""
    return b"".join(len(part).to_bytes(8, "big") + part for part in parts)
