"""Sign and verify DSSE envelopes with Ed25519."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermetic.crypto import sign
from hermetic.errors import SignatureError
from hermetic.formats.dsse import Envelope, pae, parse_envelope

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hermetic.crypto.sign import Signer


def sign_envelope(payload: bytes, payload_type: str, signing_key: Signer, key_id: str) -> bytes:
    """Return the canonical bytes of an envelope around `payload`. Raises FormatError for a bad type or key id, and as `sign`."""
    signature = signing_key.sign(pae(payload_type, payload))
    return Envelope(payload_type, payload, key_id, signature).encode()


def verify_envelope(raw: bytes, payload_type: str, trusted: Mapping[str, bytes], *, limit: int) -> Envelope:
    """Return the envelope in `raw` once a trusted key's signature on it is verified.

    `trusted` maps key ids to 32-byte public keys; `limit` is the most bytes to look at. Raises FormatError, SignatureError.
    """
    # 1. Canonical bytes, exactly the known fields, one signature.
    envelope = parse_envelope(raw, limit=limit)
    # 2. The payload is of the kind that the caller expects.
    if envelope.payload_type != payload_type:
        raise SignatureError(f"signed document is {envelope.payload_type!r}, expected {payload_type!r}")
    # 3. The key is one that the caller trusts; the id only chooses it.
    public = trusted.get(envelope.key_id)
    if public is None:
        raise SignatureError(
            f"signed by key {envelope.key_id!r}, which is not trusted here", hint="pin the signer's key if you do trust it"
        )
    # 4. The signature is that key's, over type and payload.
    sign.verify(public, envelope.signature, envelope.signed_bytes())
    return envelope
