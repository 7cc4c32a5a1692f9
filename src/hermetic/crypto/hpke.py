"""HPKE (RFC 9180), base mode, to a hybrid key: X25519 with ML-KEM-768, HKDF-SHA-384, AES-256-GCM. One message to one key.

    KEM        0x647a  MLKEM768-X25519, which is X-Wing (draft-ietf-hpke-pq, draft-connolly-cfrg-xwing-kem)
    KDF        0x0002  HKDF-SHA384
    AEAD       0x0002  AES-256-GCM
    private    32 bytes, a seed: SHAKE-256(seed, 96) is the seed of ML-KEM (d, z), then the scalar of X25519 (both drafts)
    public     1,216 bytes: the key of ML-KEM-768 (1,184), the key of X25519 (32)
    message    enc (1,120) || ciphertext || tag (16)

Whoever breaks one of the two still does not open a message. HPKE in base mode says nothing about who sealed: anybody with the
public key can. What a message is for and where it belongs goes into `info`, which the key schedule binds; the associated data of
RFC 9180 stays empty, since the library takes none in its one-shot call (and `info` binds no less).

Callers: recovery roots (`providers.recovery`), and packages for named recipients. Each has an `info` that begins with a label of
its own, "hermetic/v1/" NAME LF, so that a message for one is none for the other.
"""

from __future__ import annotations

import functools
import hashlib
from typing import Final, NoReturn

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from hermetic.crypto.secret import Secret
from hermetic.errors import FormatError, Unsupported, UsageError, WrongKey

SEED: Final = 32
PUBLIC: Final = 1216
ENC: Final = 1120
TAG: Final = 16
OVERHEAD: Final = ENC + TAG
LIMIT: Final = 64 * 1024 * 1024  # bytes of one message: keys and small files; large data has a format of its own
_MLKEM_PUBLIC: Final = 1184
_MLKEM_SEED: Final = 64
_SMALL_ORDER: Final = "not a hybrid public key: its X25519 half is of small order"


class PrivateKey:
    """A key that opens. It keeps only its seed, as a Secret: what the library makes of it lives for one call."""

    __slots__ = ("_seed", "public")

    def __init__(self, seed: Secret) -> None:
        """Take a seed of 32 random bytes; it is copied. Raises UsageError for another length, Unsupported without ML-KEM."""
        if len(seed) != SEED:
            raise UsageError(f"the seed of a hybrid key has {SEED} bytes")
        self._seed = Secret(seed.view())
        self.public = _public_of(*_expanded(self._seed))

    @classmethod
    def generate(cls) -> PrivateKey:
        """Make a key from fresh random bytes."""
        return cls(Secret.random(SEED))

    def seed(self) -> Secret:
        """Return a copy of the seed: what is kept, split into shares, or wrapped under a passphrase."""
        return Secret(self._seed.view())

    def open(self, sealed: bytes, info: bytes) -> Secret:
        """Return what was sealed. Raises FormatError (no message by its length), WrongKey (another key, `info`, or changed bytes)."""
        if not OVERHEAD <= len(sealed) <= LIMIT + OVERHEAD:
            raise FormatError("not a message to a hybrid key: wrong length")
        mlkem, x25519 = _expanded(self._seed)
        try:
            return Secret(_suite().decrypt(sealed, hpke.MLKEM768X25519PrivateKey(mlkem, x25519), info))
        except (InvalidTag, ValueError):  # ValueError: a point of small order, which nobody who keeps to the standard sends
            raise WrongKey("a sealed message does not open: other key, other place, or changed bytes") from None

    def wipe(self) -> None:
        """Overwrite the seed; nothing opens afterwards."""
        self._seed.wipe()

    def __repr__(self) -> str:
        return "<PrivateKey withheld>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise UsageError("a private key cannot be pickled or copied")


def seal(public: bytes, plaintext: bytes | memoryview, info: bytes) -> bytes:
    """Return `plaintext` sealed to a public key, bound to `info`. Raises FormatError (not a key), UsageError (over LIMIT)."""
    if len(plaintext) > LIMIT:
        raise UsageError(f"one message holds at most {LIMIT} bytes")
    mlkem, x25519 = _public(public)
    try:
        return _suite().encrypt(plaintext, hpke.MLKEM768X25519PublicKey(mlkem, x25519), info)
    except ValueError:  # a point of small order gives a shared secret of zeros
        raise FormatError(_SMALL_ORDER) from None


def check_public(public: bytes) -> bytes:
    """Return a public key that things can be sealed to. Raises FormatError."""
    _, x25519 = _public(public)
    try:
        _probe().exchange(x25519)
    except ValueError:
        raise FormatError(_SMALL_ORDER) from None
    return public


def fingerprint(public: bytes) -> str:
    """Return 32 hexadecimal digits, in eights, that two people compare by voice: the first 16 bytes of the key's SHA-256."""
    digest = hashlib.sha256(public).hexdigest()[:32]
    return " ".join(digest[at : at + 8] for at in range(0, 32, 8))


@functools.cache
def _probe() -> X25519PrivateKey:
    """Return a key that is nobody's: with a point of small order any gives a shared secret of zeros, which the library refuses."""
    return X25519PrivateKey.from_private_bytes(bytes(range(32)))


def _suite() -> hpke.Suite:
    return hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA384, hpke.AEAD.AES_256_GCM)


def _expanded(seed: Secret) -> tuple[MLKEM768PrivateKey, X25519PrivateKey]:
    full = Secret(hashlib.shake_256(seed.view()).digest(_MLKEM_SEED + 32))
    try:
        mlkem = MLKEM768PrivateKey.from_seed_bytes(full.view()[:_MLKEM_SEED])
        return mlkem, X25519PrivateKey.from_private_bytes(full.view()[_MLKEM_SEED:])
    except UnsupportedAlgorithm:
        raise _no_mlkem() from None


def _public_of(mlkem: MLKEM768PrivateKey, x25519: X25519PrivateKey) -> bytes:
    return mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()


@functools.lru_cache(maxsize=32)
def _public(public: bytes) -> tuple[MLKEM768PublicKey, X25519PublicKey]:
    if len(public) != PUBLIC:
        raise FormatError(f"a hybrid public key has {PUBLIC} bytes, not {len(public)}")
    try:
        mlkem = MLKEM768PublicKey.from_public_bytes(public[:_MLKEM_PUBLIC])
    except UnsupportedAlgorithm:
        raise _no_mlkem() from None
    except ValueError:  # FIPS 203 section 7.2: coefficients out of range
        raise FormatError("not a hybrid public key: its ML-KEM half is not in range") from None
    return mlkem, X25519PublicKey.from_public_bytes(public[_MLKEM_PUBLIC:])


def _no_mlkem() -> Unsupported:
    return Unsupported("this build of `cryptography` has no ML-KEM", hint="pip install --upgrade 'cryptography>=50', from a wheel")
