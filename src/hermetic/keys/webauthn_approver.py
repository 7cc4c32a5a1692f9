"""An approver's authenticator: a WebAuthn credential that approves, beside the Ed25519 keys of `approver_key`.

    what is kept   {credential, format: "hermetic/approver-webauthn/v1", public}: id and COSE public key
    public file    {credential, format: "hermetic/approver-webauthn-public/v1", key, proof, public}
        proof      an answer of the authenticator to SHA-256("hermetic/v1/approver-webauthn" LF || what is kept)
    key            the first 16 bytes of SHA-256 of what is kept, as every id is written
    a signature    {authenticator, client, format: "hermetic/webauthn-signature/v1", signature} in a DSSE envelope
        challenge  SHA-256("hermetic/v1/approval-webauthn" LF || the bytes that DSSE signs: payload type and statement)

So one touch approves one statement: request, requester, approver, verdict, reason and end are under the challenge, to the byte. All
documents are canonical JSON. The authenticator verifies the person each time, and pages of other origins get no answer that counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hermetic.crypto import authenticator, mac
from hermetic.crypto.authenticator import Assertion, Party
from hermetic.errors import FormatError
from hermetic.formats import canonical
from hermetic.formats.binary_text import from_base64url, to_base64url
from hermetic.ids import id_from_bytes
from hermetic.keys import documents

if TYPE_CHECKING:
    from hermetic.formats.fields import Fields

KEPT_FORMAT: Final = "hermetic/approver-webauthn/v1"
PUBLIC_FORMAT: Final = "hermetic/approver-webauthn-public/v1"
SIGNATURE_FORMAT: Final = "hermetic/webauthn-signature/v1"
LIMIT: Final = 16_384
_KEPT: Final = {"credential", "format", "public"}
_PUBLIC: Final = {"credential", "format", "key", "proof", "public"}
_SIGNATURE: Final = {"authenticator", "client", "format", "signature"}
_PROOF: Final = b"hermetic/v1/approver-webauthn\n"
_APPROVAL: Final = b"hermetic/v1/approval-webauthn\n"


def kept(credential: bytes, public: bytes) -> bytes:
    """Return what a domain keeps of an authenticator."""
    return canonical.encode({"credential": to_base64url(credential), "format": KEPT_FORMAT, "public": to_base64url(public)})


def key_id_of(raw: bytes) -> str:
    """Return the id of what is kept."""
    return id_from_bytes(mac.sha256(raw)[:16])


def parse_kept(raw: bytes) -> tuple[bytes, bytes]:
    """Return credential id and public key. Raises FormatError."""
    fields = documents.parse(raw, KEPT_FORMAT, _KEPT, limit=LIMIT)
    return _binary(fields, "credential"), _binary(fields, "public")


def proof_challenge(raw: bytes) -> bytes:
    """Return what an authenticator answers to show that it is there."""
    return mac.sha256(_PROOF + raw)


def approval_challenge(signed: bytes) -> bytes:
    """Return the challenge for a statement; `signed` are the bytes that DSSE signs."""
    return mac.sha256(_APPROVAL + signed)


def signature_of(said: Assertion) -> bytes:
    """Return an authenticator's answer as the signature of an envelope."""
    return canonical.encode(
        {
            "authenticator": to_base64url(said.authenticator),
            "client": to_base64url(said.client),
            "format": SIGNATURE_FORMAT,
            "signature": to_base64url(said.signature),
        }
    )


def parse_signature(raw: bytes, credential: bytes) -> Assertion:
    """Read such a signature. Raises FormatError."""
    fields = documents.parse(raw, SIGNATURE_FORMAT, _SIGNATURE, limit=LIMIT)
    return Assertion(credential, _binary(fields, "authenticator"), _binary(fields, "client"), _binary(fields, "signature"))


def verify(raw: bytes, signature: bytes, signed: bytes, *, count: int = 0) -> int:
    """Return the authenticator's new count if it answered the challenge of `signed`. Raises SignatureError, FormatError."""
    credential, public = parse_kept(raw)
    said = parse_signature(signature, credential)
    return authenticator.asserted(said, public, challenge=approval_challenge(signed), party=Party(), count=count)


def count_of(raw: bytes, signature: bytes) -> int:
    """Return the count in a signature that was verified before."""
    return parse_signature(signature, parse_kept(raw)[0]).count


def public_file(raw: bytes, proof: Assertion) -> bytes:
    """Return what is handed to the domain."""
    credential, public = parse_kept(raw)
    return canonical.encode(
        {
            "credential": to_base64url(credential),
            "format": PUBLIC_FORMAT,
            "key": key_id_of(raw),
            "proof": to_base64url(signature_of(proof)),
            "public": to_base64url(public),
        }
    )


def is_public_file(raw: bytes) -> bool:
    """Whether bytes say that they are such a file; that they are is seen by `parse_public`."""
    return PUBLIC_FORMAT.encode("ascii") in raw[:LIMIT]


def parse_public(raw: bytes) -> bytes:
    """Return what to keep of a public file. Raises FormatError, SignatureError when its proof is not that authenticator's."""
    fields = documents.parse(raw, PUBLIC_FORMAT, _PUBLIC, limit=LIMIT)
    credential, public = _binary(fields, "credential"), _binary(fields, "public")
    found = kept(credential, public)
    if fields.identifier("key") != key_id_of(found):
        raise FormatError("approver's authenticator: the id is not that of the credential")
    said = parse_signature(_binary(fields, "proof"), credential)
    authenticator.asserted(said, public, challenge=proof_challenge(found), party=Party())
    return found


def _binary(fields: Fields, name: str) -> bytes:
    return from_base64url(fields.text(name, limit=LIMIT))
