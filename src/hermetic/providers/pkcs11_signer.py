"""Signing keys inside a token: Ed25519 (CKM_EDDSA), generated there, never out of it.

A key is found by its label, the `object` of the URI, and by its CKA_ID, the key's id in ASCII: keys that follow each other may share a
label. Whoever has the PIN may put another key there; so each signature is verified by the public key *on record* before anybody gets
it, which also keeps a fault while signing from giving the key away.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NoReturn

from hermetic.crypto import sign
from hermetic.errors import HermeticError, IntegrityError, KeyServiceUnavailable, SignatureError, Unsupported, UsageError
from hermetic.providers.pkcs11_errors import Gone
from hermetic.providers.pkcs11_module import library
from hermetic.providers.pkcs11_wrapping import listed_mechanisms

if TYPE_CHECKING:
    from hermetic.providers.pkcs11_token import Token

_GENERATE, _EDDSA, _CKK_EDWARDS = 0x1055, 0x1057, 0x40
_CURVE: Final = (  # in order of preference
    bytes.fromhex("06032b6570"),  # by its OID
    bytes.fromhex("130c656477617264733235353139"),  # by its name, for tokens from before that was settled
)
_TRIAL: Final = b"hermetic/v1/token-key-trial\n"


@dataclass(frozen=True, slots=True)
class TokenSigner:
    """A signing key in a token (`crypto.sign.Signer`); `public` is what the record says, not what the token says."""

    token: Token
    key_id: str
    public: bytes

    def sign(self, data: bytes) -> bytes:
        """Return the signature. Raises UsageError (no data), Locked, KeyServiceUnavailable, IntegrityError (it does not verify)."""
        if not data:
            raise UsageError("there is nothing to sign")
        signed = self.token.run(lambda session: self._signed(session, data))
        try:
            sign.verify(self.public, signed, data)
        except SignatureError:
            raise IntegrityError(
                f"token {self.token.name} signed for key {self.key_id} with a key that is not the one on record",
                hint="somebody put another one in its place, or the token is at fault: find out before you sign anything",
            ) from None
        return signed

    def _signed(self, session: Any, data: bytes) -> bytes:
        handle = _private(session, self.token, self.key_id)
        return bytes(session.sign(handle, data, library().Mechanism(_EDDSA)))

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise UsageError("a TokenSigner cannot be pickled or copied")


def generate(token: Token, key_id: str) -> TokenSigner:
    """Let the token make a key pair, and try it. Raises Unsupported (no Ed25519), Locked, KeyServiceUnavailable, IntegrityError."""

    def work(session: Any) -> bytes:
        _delete(session, token, key_id)  # of a try before this one that was cut off: nobody else knows the id yet
        _make(session, token, key_id)
        return _public(session, token, key_id)

    signer = TokenSigner(token, key_id, token.run(work, write=True))
    try:
        signer.sign(_TRIAL)
    except HermeticError:
        with contextlib.suppress(HermeticError):
            remove(token, key_id)
        raise
    return signer


def remove(token: Token, key_id: str) -> None:
    """Delete a key pair, if it is there. Raises Locked, KeyServiceUnavailable."""
    token.run(lambda session: _delete(session, token, key_id), write=True)


def _make(session: Any, token: Token, key_id: str) -> None:
    pykcs11 = library()
    if {_GENERATE, _EDDSA} <= listed_mechanisms(session.pykcs11, session.getSessionInfo().slotID):
        for curve in _CURVE:
            with contextlib.suppress(pykcs11.PyKCS11Error):
                session.generateKeyPair(*_templates(token, key_id, curve), mecha=pykcs11.Mechanism(_GENERATE))
                return
    raise Unsupported(
        f"token {token.name} makes no Ed25519 keys, and signatures here are Ed25519",
        hint="it has to offer CKM_EC_EDWARDS_KEY_PAIR_GEN and CKM_EDDSA; else the key stays under the roots (`--in roots`)",
    )


def _templates(token: Token, key_id: str, curve: bytes) -> tuple[list[tuple[int, Any]], list[tuple[int, Any]]]:
    pykcs11 = library()
    both = [
        (pykcs11.CKA_KEY_TYPE, _CKK_EDWARDS),
        (pykcs11.CKA_LABEL, token.wanted.label),
        (pykcs11.CKA_ID, key_id.encode("ascii")),
        (pykcs11.CKA_TOKEN, True),
        (pykcs11.CKA_MODIFIABLE, False),
    ]
    public = [(pykcs11.CKA_CLASS, pykcs11.CKO_PUBLIC_KEY), *both, (pykcs11.CKA_VERIFY, True), (pykcs11.CKA_EC_PARAMS, curve)]
    private = [
        (pykcs11.CKA_CLASS, pykcs11.CKO_PRIVATE_KEY),
        *both,
        (pykcs11.CKA_PRIVATE, True),
        (pykcs11.CKA_SENSITIVE, True),
        (pykcs11.CKA_EXTRACTABLE, False),
        (pykcs11.CKA_SIGN, True),
    ]
    return public, private


def _private(session: Any, token: Token, key_id: str) -> Any:
    """Return the private half, if it is such that it cannot leave the token. Raises IntegrityError otherwise."""
    pykcs11 = library()
    private = _one(session, token, key_id, pykcs11.CKO_PRIVATE_KEY)
    sensitive, extractable = session.getAttributeValue(private, [pykcs11.CKA_SENSITIVE, pykcs11.CKA_EXTRACTABLE])
    if not sensitive or extractable:
        raise IntegrityError(f"signing key {key_id} can leave token {token.name}", hint="somebody put it there: find out who")
    return private


def _public(session: Any, token: Token, key_id: str) -> bytes:
    """Return the public key: a DER octet string, or as some tokens have it, the bytes themselves. Raises IntegrityError."""
    pykcs11 = library()
    public = _one(session, token, key_id, pykcs11.CKO_PUBLIC_KEY)
    point = bytes(session.getAttributeValue(public, [pykcs11.CKA_EC_POINT])[0])
    if len(point) == sign.PUBLIC + 2 and point[:2] == bytes([4, sign.PUBLIC]):
        return point[2:]
    if len(point) != sign.PUBLIC:
        raise IntegrityError(f"a public key of {sign.PUBLIC} bytes was expected of token {token.name}, not {len(point)}")
    return point


def _one(session: Any, token: Token, key_id: str, kind: int) -> Any:
    found = session.findObjects([(library().CKA_CLASS, kind), *_name(token, key_id)])
    if len(found) > 1:
        raise IntegrityError(f"token {token.name} has {len(found)} signing keys {key_id}", hint="find out who made the others")
    if not found:
        raise Gone(
            KeyServiceUnavailable(
                f"token {token.name} has no signing key {key_id} under the label {token.wanted.label!r}",
                hint="was it deleted? restore the token from its own backup; or `hermetic key signing rotate manifest --in … --lost`",
            )
        )
    return found[0]


def _delete(session: Any, token: Token, key_id: str) -> None:
    for handle in session.findObjects(_name(token, key_id)):
        session.destroyObject(handle)


def _name(token: Token, key_id: str) -> list[tuple[int, Any]]:
    pykcs11 = library()
    return [(pykcs11.CKA_LABEL, token.wanted.label), (pykcs11.CKA_ID, key_id.encode("ascii"))]
