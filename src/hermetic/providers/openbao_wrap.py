"""The bytes of a wrap of `openbao:` and the text that its server knows; `openbao` says what they are."""

from __future__ import annotations

import hashlib
import re
from base64 import b64decode
from binascii import a2b_base64, b2a_base64
from typing import TYPE_CHECKING, Final, NamedTuple

from hermetic.crypto import aead
from hermetic.crypto.secret import Secret
from hermetic.errors import FormatError, UsageError, WrongKey
from hermetic.keys.provider import CONTEXT_LIMIT, SECRET_LIMIT

if TYPE_CHECKING:
    from hermetic.keys.provider import RootId

KEY: Final = 32
_MARKER: Final = b"HBW\x01"
_VERSION: Final = 4
_WRAPPED_KEY: Final = aead.OVERHEAD + KEY
_HEAD: Final = len(_MARKER) + _VERSION + _WRAPPED_KEY
_LARGEST: Final = 10**9
_LABEL: Final = b"hermetic/v1/openbao\n"
_CIPHERTEXT: Final = re.compile(r"vault:v([1-9][0-9]{0,8}):([A-Za-z0-9+/]{80})")  # 60 bytes need no padding


class Wrapped(NamedTuple):
    """A wrap in parts: what the server holds the key to, as its text, and what is sealed here."""

    version: int
    ciphertext: str
    sealed: bytes

    def encode(self) -> bytes:
        """Return the bytes."""
        raw = a2b_base64(self.ciphertext[-80:])
        return _MARKER + self.version.to_bytes(_VERSION, "big") + raw + self.sealed


def decode(wrapped: bytes) -> Wrapped:
    """Read a wrap. Raises FormatError."""
    version = int.from_bytes(wrapped[len(_MARKER) : len(_MARKER) + _VERSION], "big")
    fits = _HEAD + aead.OVERHEAD < len(wrapped) <= _HEAD + aead.OVERHEAD + SECRET_LIMIT
    if not fits or not wrapped.startswith(_MARKER) or not 0 < version < _LARGEST:
        raise FormatError("not a wrap of a root in OpenBao: wrong length, marker or version")
    text = b2a_base64(wrapped[len(_MARKER) + _VERSION : _HEAD], newline=False).decode("ascii")
    return Wrapped(version, f"vault:v{version}:{text}", wrapped[_HEAD:])


def joined(ciphertext: str, sealed: bytes) -> Wrapped:
    """Put together what the server encrypted and what was sealed here. Raises FormatError."""
    found = _CIPHERTEXT.fullmatch(ciphertext)
    if found is None:
        raise FormatError("OpenBao gives a ciphertext of an unknown form")
    return Wrapped(int(found[1]), ciphertext, sealed)


def seal(key: Secret, secret: Secret, root_id: RootId, context: bytes) -> bytes:
    """Seal a secret under the key of its wrap. Raises UsageError for sizes."""
    if not 0 < len(secret) <= SECRET_LIMIT or len(context) > CONTEXT_LIMIT:
        raise UsageError(f"a provider wraps 1 to {SECRET_LIMIT} bytes under at most {CONTEXT_LIMIT} bytes of context")
    return aead.seal(key, secret.view(), _aad(root_id, context))


def open_(plaintext: str, sealed: bytes, root_id: RootId, context: bytes) -> Secret:
    """Open a secret with the key that the server decrypted. Raises FormatError, WrongKey."""
    try:
        key = Secret(b64decode(plaintext, validate=True))
    except ValueError:
        key = Secret(b"")
    if len(key) != KEY:
        raise FormatError("OpenBao decrypted something that is no key of a wrap")
    try:
        return Secret(aead.open_(key, sealed, _aad(root_id, context)))
    except WrongKey:
        raise WrongKey(
            f"a wrapped key does not open under root {root_id}",
            hint="it was changed, or belongs to another root or place: `hermetic log verify`, then restore a backup",
        ) from None


def derivation(root_id: RootId, context: bytes) -> str:
    """Return what the server derives its key from, as base64."""
    digest = hashlib.sha256(_LABEL + root_id.encode("ascii") + b"\n" + context).digest()
    return b2a_base64(digest, newline=False).decode("ascii")


def _aad(root_id: RootId, context: bytes) -> bytes:
    return _MARKER + root_id.encode("ascii") + b"\n" + context
