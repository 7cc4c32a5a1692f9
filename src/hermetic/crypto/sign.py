"""Ed25519 signatures (RFC 8032). A `Signer` is a key of this process, `SigningKey`, or one in a token (`providers.pkcs11_signer`)."""

from __future__ import annotations

from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from hermetic.crypto.secret import Secret
from hermetic.errors import SignatureError, UsageError

PUBLIC = 32
SIGNATURE = 64


class Signer(Protocol):
    """A private key, wherever it is."""

    @property
    def public(self) -> bytes:
        """The 32-byte public key."""

    def sign(self, data: bytes) -> bytes:
        """Return the 64-byte signature of `data`. Raises Locked, KeyServiceUnavailable, IntegrityError where the key is elsewhere."""


class SigningKey:
    """A private key that signs and refuses to be shown."""

    __slots__ = ("_key", "public")

    def __init__(self, seed: Secret) -> None:
        if len(seed) != 32:
            raise UsageError("an Ed25519 seed has 32 bytes")
        self._key = Ed25519PrivateKey.from_private_bytes(seed.view())
        self.public: bytes = self._key.public_key().public_bytes_raw()

    @classmethod
    def generate(cls) -> SigningKey:
        """Return a fresh key."""
        return cls(Secret.random(32))

    def seed(self) -> Secret:
        """Return the 32-byte private seed, for wrapping under a root."""
        return Secret(self._key.private_bytes_raw())

    def sign(self, data: bytes) -> bytes:
        """Return the 64-byte signature of `data`."""
        return self._key.sign(data)

    def __repr__(self) -> str:
        return "<SigningKey withheld>"

    def __reduce_ex__(self, protocol: object) -> tuple[object, ...]:
        raise UsageError("a SigningKey cannot be pickled or copied")


def verify(public: bytes, signature: bytes, data: bytes) -> bytes:
    """Return `data` if `signature` over it is by `public`. Raises SignatureError otherwise."""
    if len(public) != PUBLIC or len(signature) != SIGNATURE:
        raise SignatureError("an Ed25519 public key has 32 bytes and a signature 64")
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, data)
    except InvalidSignature:
        raise SignatureError("signature does not verify") from None
    return data
