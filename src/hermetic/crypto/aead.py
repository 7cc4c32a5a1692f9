"""AES-256-GCM (NIST SP 800-38D) for small values: `nonce (12) || ciphertext || tag (16)`, random nonce.

One key seals at most 2^31 values (SP 800-38D section 8.3 allows 2^32 random nonces); callers that could come near count them.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hermetic.errors import WrongKey

if TYPE_CHECKING:
    from hermetic.crypto.secret import Secret

NONCE = 12
TAG = 16
OVERHEAD = NONCE + TAG


class Box:
    """One key in use for many small values: what `seal` and `open_` do, without setting the cipher up each time."""

    __slots__ = ("_cipher",)

    def __init__(self, key: Secret) -> None:
        self._cipher = AESGCM(key.view())

    def seal(self, plaintext: bytes | bytearray | memoryview, aad: bytes) -> bytes:
        """Encrypt and authenticate under a fresh random nonce."""
        nonce = os.urandom(NONCE)
        return nonce + self._cipher.encrypt(nonce, plaintext, aad)

    def open_into(self, sealed: bytes, aad: bytes, out: bytearray) -> None:
        """Decrypt into `out`, which has exactly the plaintext's length. Raises WrongKey, and leaves zeros."""
        try:
            self._cipher.decrypt_into(sealed[:NONCE], sealed[NONCE:], aad, out)
        except (InvalidTag, ValueError):
            out[:] = bytes(len(out))
            raise WrongKey("sealed value does not open: other key, other place, or changed bytes") from None

    def __repr__(self) -> str:
        return "<Box withheld>"


def seal(key: Secret, plaintext: bytes | memoryview, aad: bytes) -> bytes:
    """Encrypt and authenticate; `aad` is bound but not stored."""
    nonce = os.urandom(NONCE)
    return nonce + AESGCM(key.view()).encrypt(nonce, plaintext, aad)


def open_(key: Secret, sealed: bytes, aad: bytes) -> bytes:
    """Return the plaintext. Raises WrongKey when key, bytes or `aad` do not belong together."""
    if len(sealed) < OVERHEAD:
        raise WrongKey("sealed value is too short")
    try:
        return AESGCM(key.view()).decrypt(sealed[:NONCE], sealed[NONCE:], aad)
    except InvalidTag:
        raise WrongKey("sealed value does not open: other key, other place, or changed bytes") from None
