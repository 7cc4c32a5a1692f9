"""Suites: one name fixes cipher, segment size and digest of a sealed object (spec/sealed-object.md section 3).

A stored segment is its plaintext plus 32 bytes (length 4, IV 12, tag 16); the FLOE header before the segments has 74 bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

from hermetic.errors import FormatError

FLOE_HEADER = 74
SEGMENT_OVERHEAD = 32
DIGEST = 32  # bytes of every digest and leaf
MAX_SEGMENTS = 2**24  # of one payload: 16 TiB in 1 MiB segments; a leaf table of at most 512 MiB
ENCRYPTION_FLOE = 1  # trailer id: FLOE with AES-256-GCM and HKDF-Expand-SHA-384

KIB = 1024
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Suite:
    """What a suite name stands for; lengths in bytes."""

    name: str
    plain_segment: int
    digest: str  # name in crypto.digests
    digest_id: int  # number in the trailer

    @property
    def stored_segment(self) -> int:
        """Length of a segment in the file, which is ENC_SEG_LEN of FLOE."""
        return self.plain_segment + SEGMENT_OVERHEAD

    def segments(self, plain_length: int) -> int:
        """Return how many segments a plaintext has; an empty one has one, empty, final segment."""
        return max(1, -(-plain_length // self.plain_segment))

    def message_length(self, plain_length: int) -> int:
        """Return the length of the FLOE message of a plaintext."""
        return FLOE_HEADER + plain_length + SEGMENT_OVERHEAD * self.segments(plain_length)

    def plain_length(self, message_length: int) -> int:
        """Return the plaintext length of a FLOE message. Raises FormatError for a length that no message has."""
        body = message_length - FLOE_HEADER
        segments = -(-body // self.stored_segment)
        plain = body - SEGMENT_OVERHEAD * segments
        if plain < 0 or segments < 1 or self.message_length(plain) != message_length:
            raise FormatError(f"no FLOE message of this suite has {message_length} bytes")
        return plain


def _suite(size: str, plain_segment: int, digest: str, digest_id: int) -> Suite:
    return Suite(f"FLOE-AES256-GCM-{size}-{digest.upper()}", plain_segment, digest, digest_id)


SUITES: dict[str, Suite] = {
    suite.name: suite
    for suite in (
        _suite("1M", MIB, "blake3", 1),
        _suite("1M", MIB, "sha256", 2),
        _suite("64K", 64 * KIB, "blake3", 1),
        _suite("64K", 64 * KIB, "sha256", 2),
    )
}
DEFAULT_SUITE = SUITES["FLOE-AES256-GCM-1M-BLAKE3"]
APPROVED_SUITE = SUITES["FLOE-AES256-GCM-1M-SHA256"]


def suite(name: str) -> Suite:
    """Return the suite of that name. Raises FormatError for an unknown one."""
    if name not in SUITES:
        raise FormatError(f"unknown suite {name[:64]!r}", hint="written by a newer release, or not a sealed object")
    return SUITES[name]
