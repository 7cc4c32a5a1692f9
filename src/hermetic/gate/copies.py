"""Copies of known assets, told by the digest of the whole file; custody, which keeps keyed fingerprints, answers `Recognise`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hermetic.crypto import digests
from hermetic.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    Recognise = Callable[[Sequence[bytes]], Sequence[str]]  # for each digest the reference it is a copy of, or ""

ALGORITHM = "sha256"  # what `recognise-digests` of the port asks for
BATCH = 4096  # digests a question: well below the 4 MiB of a message
_BUFFER = 1 << 20
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def digest_files(paths: Iterable[str], algorithm: str = ALGORITHM) -> Iterator[tuple[str, bytes | None]]:
    """Yield (path, 32-byte digest of the file's bytes), None for a file that cannot be read. Memory is bounded by 1 MiB.

    `algorithm` is a name of `crypto.digests`. Raises FormatError for an unknown one.
    """
    digests.new(algorithm)
    buffer = bytearray(_BUFFER)
    for path in paths:
        try:
            yield path, _digest(path, algorithm, buffer)
        except OSError:
            yield path, None


def find_copies(paths: Iterable[str], recognise: Recognise) -> dict[str, str]:
    """Return {path: reference} of the files that are copies of known assets. Raises what `recognise` raises."""
    found: dict[str, str] = {}
    batch: list[tuple[str, bytes]] = []
    for path, digest in digest_files(paths):
        if digest is not None:
            batch.append((path, digest))
        if len(batch) == BATCH:
            found |= _ask(batch, recognise)
            batch = []
    return found | _ask(batch, recognise)


def _ask(batch: Sequence[tuple[str, bytes]], recognise: Recognise) -> dict[str, str]:
    if not batch:
        return {}
    answers = recognise([digest for _, digest in batch])
    if len(answers) != len(batch):
        raise IntegrityError(f"asked about {len(batch)} digests and got {len(answers)} answers")
    return {path: ref for (path, _), ref in zip(batch, answers, strict=True) if ref}


def _digest(path: str, algorithm: str, buffer: bytearray) -> bytes:
    running, view = digests.new(algorithm), memoryview(buffer)
    fd = os.open(path, _READ)
    try:
        while count := os.readv(fd, [buffer]):
            running.update(view[:count])
    finally:
        os.close(fd)
    return running.digest()
