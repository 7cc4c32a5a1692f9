"""Signing keys inside a token: the private half is generated there and stays there.

    ed25519              CKM_EDDSA (RFC 8032), where the token has it: 64 bytes, and a public key of 32, as in `crypto.sign`
    ecdsa-p256-sha256    CKM_ECDSA over a SHA-256 digest made here (not every token hashes): DER signature, and the uncompressed
                         point of 65 bytes as public key

Every signature is verified before it is handed over: a fault while signing could otherwise give the key away.
"""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn, TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from hermetic.crypto import sign
from hermetic.errors import Conflict, IntegrityError, KeyServiceUnavailable, SignatureError, Unsupported, UsageError
from hermetic.providers.pkcs11_errors import Gone
from hermetic.providers.pkcs11_module import library
from hermetic.providers.pkcs11_wrapping import listed_mechanisms

if TYPE_CHECKING:
    from hermetic.providers.pkcs11_token import Token

Algorithm: TypeAlias = Literal["ed25519", "ecdsa-p256-sha256"]

_EDWARDS_PAIR, _EC_PAIR = 0x1055, 0x1040  # mechanisms that generate
_EDDSA, _ECDSA = 0x1057, 0x1041  # mechanisms that sign
_CKK_EC, _CKK_EDWARDS = 0x03, 0x40
_KINDS: Final = (  # in order of preference: how it is generated, how it signs, and the curve
    (_EDWARDS_PAIR, _EDDSA, bytes.fromhex("06032b6570")),  # by its OID
    (_EDWARDS_PAIR, _EDDSA, bytes.fromhex("130c656477617264733235353139")),  # by its name, for tokens from before that was settled
    (_EC_PAIR, _ECDSA, bytes.fromhex("06082a8648ce3d030107")),  # P-256
)


@dataclass(frozen=True, slots=True)
class TokenSigner:
    """A signing key in a token, found by its label."""

    token: Token
    label: str
    algorithm: Algorithm
    public: bytes

    def sign(self, data: bytes) -> bytes:
        """Return the signature. Raises UsageError (no data), Locked, KeyServiceUnavailable, IntegrityError (it does not verify)."""
        if not data:
            raise UsageError("there is nothing to sign")
        signed = self.token.run(lambda session: self._signed(session, data))
        try:
            verify(self.algorithm, self.public, signed, data)
        except SignatureError:
            raise IntegrityError(f"token {self.token.name} made a signature that does not verify", hint="do not trust it") from None
        return signed

    def _signed(self, session: Any, data: bytes) -> bytes:
        pykcs11 = library()
        handle = _one(session, self.token, self.label, pykcs11.CKO_PRIVATE_KEY)
        if self.algorithm == "ed25519":
            return bytes(session.sign(handle, data, pykcs11.Mechanism(_EDDSA)))
        raw = bytes(session.sign(handle, hashlib.sha256(data).digest(), pykcs11.Mechanism(_ECDSA)))
        half = len(raw) // 2
        return encode_dss_signature(int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big"))

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise UsageError("a TokenSigner cannot be pickled or copied")


def generate(token: Token, label: str) -> TokenSigner:
    """Let the token make a key pair: Ed25519 if it can, else P-256. Raises Conflict (label taken), Unsupported, Locked, and so on."""
    token.run(lambda session: _make(session, token, label), write=True)
    return open_(token, label)


def open_(token: Token, label: str) -> TokenSigner:
    """Return the signer of an existing pair. Raises KeyServiceUnavailable (none), IntegrityError (several, or not as made)."""
    algorithm, public = token.run(lambda session: _public(session, token, label))
    return TokenSigner(token, label, algorithm, public)


def verify(algorithm: Algorithm, public: bytes, signature: bytes, data: bytes) -> bytes:
    """Return `data` if the signature over it is by `public`. Raises SignatureError."""
    if algorithm == "ed25519":
        return sign.verify(public, signature, data)
    try:
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public)
        key.verify(signature, data, ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, ValueError):
        raise SignatureError("signature does not verify") from None
    return data


def _make(session: Any, token: Token, label: str) -> None:
    pykcs11 = library()
    if session.findObjects([(pykcs11.CKA_LABEL, label)]):
        raise Conflict(f"token {token.name} holds an object {label!r} already", hint="name another one")
    listed = listed_mechanisms(session.pykcs11, session.getSessionInfo().slotID)
    for mechanism, signs, parameters in _KINDS:
        if {mechanism, signs} <= listed:
            with contextlib.suppress(pykcs11.PyKCS11Error):
                session.generateKeyPair(*_templates(label, mechanism, parameters), mecha=pykcs11.Mechanism(mechanism))
                return
    raise Unsupported(f"token {token.name} makes no signing keys", hint="it has to offer Ed25519, or ECDSA with P-256")


def _templates(label: str, mechanism: int, parameters: bytes) -> tuple[list[tuple[int, Any]], list[tuple[int, Any]]]:
    pykcs11 = library()
    kind = (pykcs11.CKA_KEY_TYPE, _CKK_EDWARDS if mechanism == _EDWARDS_PAIR else _CKK_EC)
    both = [kind, (pykcs11.CKA_LABEL, label), (pykcs11.CKA_TOKEN, True), (pykcs11.CKA_MODIFIABLE, False)]
    public = [(pykcs11.CKA_CLASS, pykcs11.CKO_PUBLIC_KEY), *both, (pykcs11.CKA_VERIFY, True), (pykcs11.CKA_EC_PARAMS, parameters)]
    private = [
        (pykcs11.CKA_CLASS, pykcs11.CKO_PRIVATE_KEY),
        *both,
        (pykcs11.CKA_PRIVATE, True),
        (pykcs11.CKA_SENSITIVE, True),
        (pykcs11.CKA_EXTRACTABLE, False),
        (pykcs11.CKA_SIGN, True),
    ]
    return public, private


def _public(session: Any, token: Token, label: str) -> tuple[Algorithm, bytes]:
    """Return algorithm and public key, once the private half is such that it cannot leave the token."""
    pykcs11 = library()
    private = _one(session, token, label, pykcs11.CKO_PRIVATE_KEY)
    sensitive, extractable = session.getAttributeValue(private, [pykcs11.CKA_SENSITIVE, pykcs11.CKA_EXTRACTABLE])
    if not sensitive or extractable:
        raise IntegrityError(f"signing key {label!r} can leave token {token.name}", hint="somebody put it there: find out who")
    public = _one(session, token, label, pykcs11.CKO_PUBLIC_KEY)
    kind, point = session.getAttributeValue(public, [pykcs11.CKA_KEY_TYPE, pykcs11.CKA_EC_POINT])
    if kind == _CKK_EDWARDS:
        return "ed25519", _unwrapped(bytes(point), sign.PUBLIC)
    return "ecdsa-p256-sha256", _unwrapped(bytes(point), 65)


def _unwrapped(point: bytes, length: int) -> bytes:
    """Return a point that is a DER octet string, or as some tokens have it, the bytes themselves. Raises IntegrityError."""
    if len(point) == length + 2 and point[:2] == bytes([4, length]):
        return point[2:]
    if len(point) != length:
        raise IntegrityError(f"a public key of {length} bytes was expected, not {len(point)}")
    return point


def _one(session: Any, token: Token, label: str, kind: int) -> Any:
    pykcs11 = library()
    found = session.findObjects([(pykcs11.CKA_CLASS, kind), (pykcs11.CKA_LABEL, label)])
    if len(found) > 1:
        raise IntegrityError(f"token {token.name} has several signing keys {label!r}", hint="find out who made the others")
    if not found:
        raise Gone(KeyServiceUnavailable(f"token {token.name} has no signing key {label!r}", hint="was it deleted?"))
    return found[0]
