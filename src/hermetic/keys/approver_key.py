"""An approver's own key: Ed25519, its seed under a passphrase in a file that only the approver has.

    key file    {argon2id, format: "hermetic/approver-key/v1", key, public, salt, wrapped}
        key         Argon2id(passphrase, salt, parameters)
        wrapped     AES-256-GCM(derive(key, "approver-key"), seed), nonce in front
        associated  "hermetic/v1/approver-key" LF, then the canonical document without `wrapped`
    public file {format: "hermetic/approver-public/v1", key, proof, public}
        proof       Ed25519 over "hermetic/v1/approver-public" LF, then `public`: whoever hands it in has the private half

`key` is the key's id: the first 16 bytes of SHA-256 of the public key, as every id is written. The domain keeps the public half only.
An approver may have an authenticator instead (`webauthn_approver`): `parse_public`, `key_id_of` and `verify` take either.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from hermetic.crypto import aead, mac, sign
from hermetic.crypto.kdf import Argon2Parameters, derive
from hermetic.crypto.secret import Secret
from hermetic.crypto.sign import SigningKey
from hermetic.errors import FormatError, UsageError, WrongKey
from hermetic.formats import canonical
from hermetic.formats.binary_text import to_base64url
from hermetic.ids import id_from_bytes
from hermetic.keys import documents, webauthn_approver
from hermetic.keys.passphrase_wrap import MINIMUM
from hermetic.keys.stretching import costs_from_json, costs_to_json, stretched

if TYPE_CHECKING:
    from hermetic.formats.canonical import JsonValue

FORMAT: Final = "hermetic/approver-key/v1"
PUBLIC_FORMAT: Final = "hermetic/approver-public/v1"
LIMIT: Final = 4096  # bytes of either file
_SALT: Final = 16
_SEED: Final = 32
_AAD: Final = b"hermetic/v1/approver-key\n"
_PROOF: Final = b"hermetic/v1/approver-public\n"
_FIELDS: Final = {"argon2id", "format", "key", "public", "salt", "wrapped"}
_PUBLIC_FIELDS: Final = {"format", "key", "proof", "public"}


@dataclass(frozen=True, slots=True)
class ApproverKey:
    """An opened key: its id and what signs."""

    key_id: str
    signing: SigningKey = field(repr=False)


def key_id_of(public: bytes) -> str:
    """Return the id of a public key: 32 bytes, or what is kept of an authenticator. Raises FormatError."""
    if is_authenticator(public):
        webauthn_approver.parse_kept(public)
    elif len(public) != sign.PUBLIC:
        raise FormatError("an approver's public key has 32 bytes")
    return id_from_bytes(mac.sha256(public)[:16])


def is_authenticator(public: bytes) -> bool:
    """Whether what is kept of an approver is an authenticator's public half."""
    return len(public) > sign.PUBLIC


def verify(public: bytes, signature: bytes, signed: bytes) -> bytes:
    """Return `signed` if the approver signed it. Raises SignatureError, FormatError."""
    if not is_authenticator(public):
        return sign.verify(public, signature, signed)
    webauthn_approver.verify(public, signature, signed)
    return signed


def create(passphrase: Secret, parameters: Argon2Parameters | None = None) -> tuple[bytes, bytes]:
    """Make a key; return its private and its public file. Raises UsageError for a passphrase under 12 or over 1,024 bytes."""
    if len(passphrase) < MINIMUM:
        raise UsageError(f"a passphrase has at least {MINIMUM} bytes", hint="five or six random words are easy to keep")
    signing, salt = SigningKey.generate(), os.urandom(_SALT)
    costs = parameters or Argon2Parameters()
    head = _head(signing.public, costs, salt)
    key = derive(stretched(passphrase, costs, salt), "approver-key")
    wrapped = aead.seal(key, signing.seed().view(), _AAD + canonical.encode(head))
    return canonical.encode({**head, "wrapped": to_base64url(wrapped)}), public_file(signing)


def public_file(signing: SigningKey) -> bytes:
    """Return what is handed to the domain: the public half and a proof that the private one is there."""
    proof = signing.sign(_PROOF + signing.public)
    return canonical.encode(
        {
            "format": PUBLIC_FORMAT,
            "key": key_id_of(signing.public),
            "proof": to_base64url(proof),
            "public": to_base64url(signing.public),
        }
    )


def parse_public(raw: bytes) -> bytes:
    """Return the public key in a public file. Raises FormatError, SignatureError when the proof is not that key's."""
    if webauthn_approver.is_public_file(raw):
        return webauthn_approver.parse_public(raw)
    document = documents.parse(raw, PUBLIC_FORMAT, _PUBLIC_FIELDS, limit=LIMIT)
    public = document.binary("public", length=sign.PUBLIC)
    if document.identifier("key") != key_id_of(public):
        raise FormatError("approver key: the id is not that of the public key")
    sign.verify(public, document.binary("proof", length=sign.SIGNATURE), _PROOF + public)
    return public


def open_file(raw: bytes, passphrase: Secret) -> ApproverKey:
    """Open a key file. Raises FormatError, WrongKey for another passphrase or a changed file."""
    document = documents.parse(raw, FORMAT, _FIELDS, limit=LIMIT)
    public, salt = document.binary("public", length=sign.PUBLIC), document.binary("salt", length=_SALT)
    if document.identifier("key") != key_id_of(public):
        raise FormatError("approver key: the id is not that of the public key")
    costs = costs_from_json(document.get("argon2id"))
    wrapped = document.binary("wrapped", length=aead.OVERHEAD + _SEED)
    head = _head(public, costs, salt)
    try:
        seed = aead.open_(derive(stretched(passphrase, costs, salt), "approver-key"), wrapped, _AAD + canonical.encode(head))
    except WrongKey:
        raise WrongKey(
            "the passphrase does not open this approver's key",
            hint="try again; if the passphrase is right, the file was changed: make a new key and have it enrolled",
        ) from None
    signing = SigningKey(Secret(seed))
    if signing.public != public:
        raise WrongKey("the key file holds another key than it says", hint="make a new key and have it enrolled")
    return ApproverKey(key_id_of(public), signing)


def _head(public: bytes, costs: Argon2Parameters, salt: bytes) -> dict[str, JsonValue]:
    return {
        "argon2id": costs_to_json(costs),
        "format": FORMAT,
        "key": key_id_of(public),
        "public": to_base64url(public),
        "salt": to_base64url(salt),
    }
