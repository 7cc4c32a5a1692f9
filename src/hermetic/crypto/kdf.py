"""Key derivation: HKDF-Expand with SHA-384 (RFC 5869 section 2.3) and Argon2id (RFC 9106).

Expand without Extract is sound here because every input key is 32 uniformly random bytes.
Every derived key has a label of its own, so that no key serves two uses.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from hermetic.crypto.secret import Secret
from hermetic.errors import FormatError

_SHA384 = hashes.SHA384()
EXPAND_LIMIT = 255 * 48  # RFC 5869: at most 255 blocks of the hash


def hkdf_expand_sha384(key: Secret, info: bytes, length: int) -> Secret:
    """Return `length` bytes expanded from `key` under `info`. Raises FormatError over 12,240 bytes."""
    if not 0 < length <= EXPAND_LIMIT:
        raise FormatError(f"HKDF-Expand gives 1 to {EXPAND_LIMIT} bytes")
    return Secret(HKDFExpand(algorithm=hashes.SHA384(), length=length, info=info).derive(key.view()))


def expand_into(key: memoryview, info: bytes, out: bytearray) -> None:
    """Fill `out` as `hkdf_expand_sha384` would; for callers that do it a million times and wipe `out` themselves."""
    HKDFExpand(algorithm=_SHA384, length=len(out), info=info).derive_into(key, out)


def derive(key: Secret, label: str, context: bytes = b"") -> Secret:
    """Return the 32-byte key for one use: HKDF-Expand(key, "hermetic/v1/" label LF context, 32)."""
    return hkdf_expand_sha384(key, b"hermetic/v1/" + label.encode("ascii") + b"\n" + context, 32)


@dataclass(frozen=True, slots=True)
class Argon2Parameters:
    """Cost of Argon2id. The floor keeps guessing dear; the ceiling keeps a hostile file from eating the machine."""

    memory_kib: int = 262_144
    iterations: int = 3
    lanes: int = 2

    def __post_init__(self) -> None:
        in_range = 65_536 <= self.memory_kib <= 4_194_304 and 2 <= self.iterations <= 16 and 1 <= self.lanes <= 16
        if not in_range:
            raise FormatError("Argon2id parameters out of range: 64 MiB to 4 GiB, 2 to 16 passes, 1 to 16 lanes")


def argon2id(passphrase: Secret, salt: bytes, parameters: Argon2Parameters) -> Secret:
    """Return a 32-byte key from a passphrase (RFC 9106). `salt` is 16 bytes or more."""
    if len(salt) < 16:
        raise FormatError("an Argon2id salt has at least 16 bytes")
    function = Argon2id(
        salt=salt,
        length=32,
        iterations=parameters.iterations,
        lanes=parameters.lanes,
        memory_cost=parameters.memory_kib,
    )
    return Secret(function.derive(bytes(passphrase.view())))
