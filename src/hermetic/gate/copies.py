"""Copies of known assets, told by content digests (`hermetic.sealed.content`); custody keeps keyed fingerprints of them and answers.

An asset's suite decides its digest algorithm, and a file does not say which asset it may be a copy of: a file is read once, and asked
about under every algorithm that sealed objects use.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hermetic.errors import IntegrityError
from hermetic.formats.manifest import DIGESTS
from hermetic.sealed.content import PIECE, ContentDigest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    Recognise = Callable[[Sequence[bytes]], Sequence[str]]  # for each digest the reference it is a copy of, or ""

BATCH = 4096  # digests a question: well below the 4 MiB of a message
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def digest_files(paths: Iterable[str]) -> Iterator[tuple[str, tuple[bytes, ...]]]:
    """Yield (path, content digests of the file, one for each of `DIGESTS`), no digests for a file that cannot be read.

    Memory is bounded by 1 MiB and 64 bytes for each MiB of a file.
    """
    view = memoryview(bytearray(PIECE))
    for path in paths:
        try:
            yield path, _digests(path, view)
        except OSError:
            yield path, ()


def find_copies(paths: Iterable[str], recognise: Recognise) -> dict[str, str]:
    """Return {path: reference} of the files that are copies of known assets. Raises what `recognise` raises."""
    found: dict[str, str] = {}
    batch: list[tuple[str, bytes]] = []
    for path, known in digest_files(paths):
        batch += [(path, digest) for digest in known]
        if len(batch) >= BATCH:
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


def _digests(path: str, view: memoryview) -> tuple[bytes, ...]:
    collected = [ContentDigest(algorithm) for algorithm in DIGESTS]
    length = 0
    fd = os.open(path, _READ)
    try:
        while count := _fill(fd, view):
            for digest in collected:
                digest.pieces.reserve(length // PIECE + 1)
                digest.add(length // PIECE, view[:count])
            length += count
    finally:
        os.close(fd)
    return tuple(digest.finish(length) for digest in collected)


def _fill(fd: int, view: memoryview) -> int:
    """Read until the buffer is full or the file ends; return the bytes read."""
    done = 0
    while done < len(view) and (count := os.readv(fd, [view[done:]])):
        done += count
    return done
