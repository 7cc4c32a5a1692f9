"""Content digests: a digest of plaintext that two threads can compute, by which a copy of sealed data is recognised.

    H(length-prefixed("hermetic/v1/content", algorithm, u64 length, H(piece 0) || H(piece 1) || ...)), pieces of 1 MiB

It tells whoever knows it whether a guess at the content is right, so it is never stored in clear: custody keeps a keyed
fingerprint of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermetic.crypto.digests import digest
from hermetic.formats.leaf_table import LeafTable
from hermetic.formats.suites import MIB
from hermetic.formats.trailer import length_prefixed
from hermetic.sealed._io import read_at
from hermetic.sealed._parallel import Claims, share

if TYPE_CHECKING:
    from typing_extensions import Buffer

PIECE = MIB
LABEL = b"hermetic/v1/content"


class ContentDigest:
    """Collects the digests of pieces, in any order and from several threads once the number of pieces is reserved."""

    def __init__(self, algorithm: str) -> None:
        self.algorithm = algorithm
        self.pieces = LeafTable()

    def add(self, piece: int, data: Buffer) -> None:
        """Take in piece number `piece`; all but the last have 1 MiB."""
        self.pieces.set(piece, digest(self.algorithm, data))

    def finish(self, length: int) -> bytes:
        """Return the 32-byte digest of a content of `length` bytes."""
        parts = (LABEL, self.algorithm.encode("ascii"), length.to_bytes(8, "big"), self.pieces.encode())
        return digest(self.algorithm, length_prefixed(parts))


def content_digest(fd: int, length: int, algorithm: str, *, threads: int | None = None) -> bytes:
    """Return the content digest of the first `length` bytes of a file. Raises StorageError."""
    collected = ContentDigest(algorithm)
    pieces = -(-length // PIECE)
    collected.pieces.reserve(pieces)

    def work(claims: Claims) -> None:
        view = memoryview(bytearray(PIECE))
        for piece in claims:
            count = read_at(fd, view[: min(PIECE, length - piece * PIECE)], piece * PIECE)
            collected.add(piece, view[:count])

    share(pieces, threads, work)
    return collected.finish(length)
