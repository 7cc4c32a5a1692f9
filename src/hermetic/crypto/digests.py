"""Collision-resistant digests by name: BLAKE3 (the default) and SHA-256 (where policy says `algorithms: approved-only`)."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Protocol

from blake3 import blake3

from hermetic.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer

LENGTH = 32


class Digest(Protocol):
    """A running digest."""

    def update(self, data: Buffer, /) -> object:
        """Take in more bytes."""

    def digest(self) -> bytes:
        """Return the 32-byte result so far."""


_ALGORITHMS: dict[str, Callable[[], Digest]] = {"blake3": blake3, "sha256": hashlib.sha256}
_ONE_SHOT: dict[str, Callable[[Buffer], bytes]] = {
    "blake3": lambda data: blake3(data).digest(),
    "sha256": lambda data: hashlib.sha256(data).digest(),
}


def new(algorithm: str) -> Digest:
    """Start a digest. Raises FormatError for a name that is not `blake3` or `sha256`."""
    if algorithm not in _ALGORITHMS:
        raise FormatError(f"unknown digest algorithm {algorithm!r}")
    return _ALGORITHMS[algorithm]()


def digest(algorithm: str, data: Buffer) -> bytes:
    """Return the 32-byte digest of `data`. Raises FormatError for an unknown name."""
    if algorithm not in _ONE_SHOT:
        raise FormatError(f"unknown digest algorithm {algorithm!r}")
    return _ONE_SHOT[algorithm](data)
