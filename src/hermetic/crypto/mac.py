"""HMAC-SHA-256 (RFC 2104) and salted commitments.

A commitment is HMAC-SHA-256(salt, "hermetic/v1/commitment" LF field LF value), 32-byte random salt: it hides the value until the
salt is shown, and binds it because SHA-256 is collision resistant.
"""

from __future__ import annotations

import hashlib
import hmac as _hmac

from hermetic.crypto.secret import Secret
from hermetic.errors import IntegrityError

SALT = 32


def hmac_sha256(key: Secret | bytes | memoryview, data: bytes) -> bytes:
    """Return the 32-byte tag."""
    raw = key.view() if isinstance(key, Secret) else key
    return _hmac.digest(raw, data, "sha256")


class Keyed:
    """HMAC-SHA-256 under one key, set up once: for a million small messages, where setting up takes longer. Threads may share it."""

    __slots__ = ("_start",)

    def __init__(self, key: Secret) -> None:
        from cryptography.hazmat.primitives import hashes, hmac  # noqa: PLC0415 - whoever makes single tags does without

        self._start = hmac.HMAC(key.view(), hashes.SHA256())

    def tag(self, data: bytes) -> bytes:
        """Return what `hmac_sha256` would."""
        state = self._start.copy()
        state.update(data)
        return state.finalize()

    def __repr__(self) -> str:
        return "<Keyed withheld>"


def check(expected: bytes | bytearray, got: bytes | bytearray, what: str) -> None:
    """Compare two tags in constant time. Raises IntegrityError naming `what` when they differ."""
    if not _hmac.compare_digest(expected, got):
        raise IntegrityError(f"{what} does not match")


def commitment(salt: bytes, field: str, value: bytes) -> bytes:
    """Commit to `value` under a 32-byte salt. Raises IntegrityError for a salt of another length."""
    if len(salt) != SALT:
        raise IntegrityError("a commitment salt has 32 bytes")
    return hmac_sha256(salt, b"hermetic/v1/commitment\n" + field.encode("ascii") + b"\n" + value)


def sha256(data: bytes) -> bytes:
    """Return SHA-256(data), 32 bytes."""
    return hashlib.sha256(data).digest()


def sha384(data: bytes) -> bytes:
    """Return SHA-384(data), 48 bytes."""
    return hashlib.sha384(data).digest()
