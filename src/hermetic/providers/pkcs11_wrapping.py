"""Wrapping inside a token: which mechanism, and the bytes of a wrap.

    wrapped   "HRP" 01 || way || body
    place     "HRP" 01 || way || root id (26 ASCII) || context

    way 01    CKM_AES_GCM: nonce (12) || ciphertext || tag (16), associated data `place`; the token checks the context
    way 02    CKM_AES_KEY_WRAP_KWP (0x210B): AES key wrap with padding (RFC 5649) of SHA-384(place) || 16 random bytes || u16 length ||
              secret || zeros to a multiple of 8 (SoftHSM does not open all that it padded itself); this process checks the context
    way 03    CKM_AES_KEY_WRAP_PAD (0x210A): what tokens from before version 3.0, SoftHSM among them, call the same

A root key may do one of the two kinds only, by its attributes: a key that both wraps other keys and decrypts would give out any key of
the token that can be extracted. So the way is chosen once, when the root is made: the first of the list that the token offers.

Nonces are random. One root makes a few wraps per KEK version and signing key, and where KEKs live in it (`kek: in-provider`) one for
each data key, which `hierarchy.count_wraps` stops at 2^31.
Every wrap is opened once before it is handed over: some tokens take nonces of their own, and a wrap that nothing opens is a loss.
"""

from __future__ import annotations

import contextlib
import enum
import hashlib
import hmac
import os
from typing import TYPE_CHECKING, Any, Final

from hermetic.crypto.secret import Secret
from hermetic.errors import FormatError, Unsupported, WrongKey
from hermetic.keys.provider import SECRET_LIMIT
from hermetic.providers.pkcs11_errors import DOES_NOT_OPEN, MECHANISM_INVALID, PERHAPS_DOES_NOT_OPEN
from hermetic.providers.pkcs11_module import library

if TYPE_CHECKING:
    from collections.abc import Iterator

MARKER: Final = b"HRP\x01"
_HEAD: Final = len(MARKER) + 1
_NONCE, _TAG, _DIGEST, _SALT, _KWP_OVERHEAD = 12, 16, 48, 16, 8  # bytes
_TAG_BITS: Final = 128


class Way(enum.IntEnum):
    """How a secret is wrapped; the byte that says so."""

    GCM = 1
    KWP = 2
    KEY_WRAP_PAD = 3

    @property
    def mechanism(self) -> int:
        """The number of the mechanism."""
        return {Way.GCM: 0x1087, Way.KWP: 0x210B, Way.KEY_WRAP_PAD: 0x210A}[self]

    @property
    def attributes(self) -> tuple[bool, bool]:
        """Whether a root of this way may encrypt and decrypt, and whether it may wrap and unwrap."""
        return (self is Way.GCM, self is not Way.GCM)


class Doubtful(Exception):
    """The token refused to open a wrap, with an error that can also mean something else."""


def offered(lib: Any, slot: int, ways: tuple[Way, ...] = tuple(Way)) -> Way:
    """Return the first way that a token offers. Raises Unsupported when it offers none."""
    pykcs11, listed = library(), listed_mechanisms(lib, slot)
    for way in ways:
        needed = pykcs11.CKF_ENCRYPT | pykcs11.CKF_DECRYPT if way is Way.GCM else pykcs11.CKF_WRAP | pykcs11.CKF_UNWRAP
        if way.mechanism in listed and lib.getMechanismInfo(slot, pykcs11.CKM[way.mechanism]).flags & needed == needed:
            return way
    raise Unsupported("this token cannot hold a root", hint="it has to offer AES-GCM, or AES key wrap with padding")


def listed_mechanisms(lib: Any, slot: int) -> set[int]:
    """Return the numbers of the mechanisms that a token says it has."""
    return {library().CKM[name] for name in lib.getMechanismList(slot)}


def way_of(wrapped: bytes) -> Way:
    """Return how something was wrapped. Raises FormatError for what is no wrap, or has a length that no wrap has."""
    if not wrapped.startswith(MARKER) or len(wrapped) < _HEAD or wrapped[_HEAD - 1] not in set(Way):
        raise FormatError("not a wrap of a root in a PKCS#11 token: wrong length or marker")
    way, body = Way(wrapped[_HEAD - 1]), len(wrapped) - _HEAD
    if way is Way.GCM:
        good = _NONCE + _TAG < body <= _NONCE + _TAG + SECRET_LIMIT
    else:
        good = body % 8 == 0 and 8 <= body - _DIGEST - _SALT - _KWP_OVERHEAD <= SECRET_LIMIT + 8
    if not good:
        raise FormatError("not a wrap of a root in a PKCS#11 token: wrong length or marker")
    return way


def place_of(way: Way, root_id: str, context: bytes) -> bytes:
    """Return what a wrap is bound to."""
    return MARKER + bytes([way]) + root_id.encode("ascii") + context


def seal(session: Any, key: Any, secret: Secret, way: Way, *, place: bytes) -> bytes:
    """Return the wrap. Raises what the library raises."""
    if way is Way.GCM:
        nonce = os.urandom(_NONCE)
        mechanism = library().AES_GCM_Mechanism(nonce, place, _TAG_BITS)
        body = nonce + bytes(session.encrypt(key, bytes(secret.view()), mechanism))
    else:
        bound = Secret(hashlib.sha384(place).digest() + os.urandom(_SALT) + _padded(secret))
        with _in_token(session, bound) as handle:
            body = bytes(session.wrapKey(key, handle, library().Mechanism(way.mechanism)))
    return MARKER + bytes([way]) + body


def open_(session: Any, key: Any, wrapped: bytes, *, place: bytes) -> Secret:
    """Return the secret. Raises FormatError, WrongKey, Doubtful, and what the library raises."""
    way, body = way_of(wrapped), wrapped[_HEAD:]
    try:
        if way is Way.GCM:
            mechanism = library().AES_GCM_Mechanism(body[:_NONCE], place, _TAG_BITS)
            return Secret(bytes(session.decrypt(key, body[_NONCE:], mechanism)))
        opened = _taken_out(session, key, body, way)
    except library().PyKCS11Error as error:
        if error.value == MECHANISM_INVALID:
            raise FormatError("wrapped by a mechanism that the token does not have") from None
        if error.value in DOES_NOT_OPEN:
            raise WrongKey("it does not open") from None
        if error.value in PERHAPS_DOES_NOT_OPEN:
            raise Doubtful(str(error)) from error
        raise
    if not hmac.compare_digest(opened.view()[:_DIGEST], hashlib.sha384(place).digest()):
        raise WrongKey("it was wrapped for another place")
    return _stripped(opened.view()[_DIGEST + _SALT :])


def _padded(secret: Secret) -> bytes:
    body = len(secret).to_bytes(2, "big") + bytes(secret.view())
    return body + bytes(-len(body) % 8)


def _stripped(body: memoryview) -> Secret:
    """Return what `_padded` was given. Raises WrongKey for what it never makes."""
    length = int.from_bytes(body[:2], "big")
    found = Secret(body[2 : 2 + length])
    if not 0 < length <= SECRET_LIMIT or not hmac.compare_digest(_padded(found), body):
        raise WrongKey("what was wrapped has another form")
    return found


def _taken_out(session: Any, key: Any, body: bytes, way: Way) -> Secret:
    """Unwrap into an object of the session, and read that."""
    pykcs11 = library()
    handle = session.unwrapKey(key, body, _passing(pykcs11), pykcs11.Mechanism(way.mechanism))
    try:
        return Secret(bytes(session.getAttributeValue(handle, [pykcs11.CKA_VALUE])[0]))
    finally:
        session.destroyObject(handle)


@contextlib.contextmanager
def _in_token(session: Any, secret: Secret) -> Iterator[Any]:
    """Put bytes into the token as an object of this session, since only keys can be wrapped."""
    pykcs11 = library()
    handle = session.createObject([*_passing(pykcs11), (pykcs11.CKA_VALUE, bytes(secret.view()))])
    try:
        yield handle
    finally:
        session.destroyObject(handle)


def _passing(pykcs11: Any) -> list[tuple[int, Any]]:
    """Return the template of an object that lives as long as an operation."""
    return [
        (pykcs11.CKA_CLASS, pykcs11.CKO_SECRET_KEY),
        (pykcs11.CKA_KEY_TYPE, pykcs11.CKK_GENERIC_SECRET),
        (pykcs11.CKA_TOKEN, False),
        (pykcs11.CKA_PRIVATE, True),
        (pykcs11.CKA_SENSITIVE, False),
        (pykcs11.CKA_EXTRACTABLE, True),
    ]
