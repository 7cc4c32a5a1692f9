"""DSSE envelopes v1 (github.com/secure-systems-lab/dsse), in canonical bytes and with exactly one signature.

Stricter than DSSE on purpose: the envelope is RFC 8785 JSON, base64 is standard and padded, the fields are exactly the known ones.
So a changed byte is always found, even one that other readers would ignore.
"""

from __future__ import annotations

from dataclasses import dataclass

from hermetic.errors import FormatError
from hermetic.formats import canonical
from hermetic.formats.binary_text import from_base64, to_base64
from hermetic.formats.fields import Fields

KEY_ID_LIMIT = 128
TYPE_LIMIT = 255
SIGNATURE_LIMIT = 8192  # room for post-quantum signatures


@dataclass(frozen=True, slots=True)
class Envelope:
    """A payload, its type, and one signature by the key that `key_id` names."""

    payload_type: str
    payload: bytes
    key_id: str
    signature: bytes

    def encode(self) -> bytes:
        """Return the envelope as canonical JSON. Raises FormatError if `key_id` or type is not allowed."""
        _check_names(self.payload_type, self.key_id)
        return canonical.encode(
            {
                "payload": to_base64(self.payload),
                "payloadType": self.payload_type,
                "signatures": [{"keyid": self.key_id, "sig": to_base64(self.signature)}],
            }
        )

    def signed_bytes(self) -> bytes:
        """Return what the signature is over."""
        return pae(self.payload_type, self.payload)


def pae(payload_type: str, payload: bytes) -> bytes:
    """Pre-authentication encoding of DSSE v1: "DSSEv1" SP length SP type SP length SP payload."""
    kind = payload_type.encode("utf-8")
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def parse_envelope(raw: bytes, *, limit: int) -> Envelope:
    """Return the envelope. The signature is NOT checked here. Raises FormatError."""
    outer = Fields(canonical.decode(raw, limit=limit), "DSSE envelope", {"payload", "payloadType", "signatures"})
    signatures = outer.items("signatures", limit=1)
    if len(signatures) != 1:
        raise FormatError("DSSE envelope: expected exactly one signature")
    inner = Fields(signatures[0], "DSSE signature", {"keyid", "sig"})
    envelope = Envelope(
        payload_type=outer.text("payloadType", limit=TYPE_LIMIT),
        payload=from_base64(outer.text("payload", limit=limit)),
        key_id=inner.text("keyid", limit=KEY_ID_LIMIT),
        signature=from_base64(inner.text("sig", limit=SIGNATURE_LIMIT)),
    )
    _check_names(envelope.payload_type, envelope.key_id)
    return envelope


def _check_names(payload_type: str, key_id: str) -> None:
    for what, text, limit in (("payload type", payload_type, TYPE_LIMIT), ("key id", key_id, KEY_ID_LIMIT)):
        if not 0 < len(text) <= limit or not text.isascii() or not text.isprintable() or " " in text:
            raise FormatError(f"DSSE envelope: {what} is not 1 to {limit} printable ASCII characters")
