"""What a caller of the service signs with the key of its TLS certificate, for each request for keys (spec/port.md section 4.2).

    "hermetic/v1/recipient" LF || canonical {certificate, domain, recipient, request}

`certificate` is the SHA-256 of the caller's certificate (DER), `recipient` that of the fresh public key that keys are to be sealed to,
both base64url. Whoever ends the TLS connection in between has a certificate of their own, or none: they can neither pass on this
signature with another key, nor with their own certificate.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from hermetic.formats import canonical
from hermetic.formats.binary_text import to_base64url

if TYPE_CHECKING:
    from hermetic.formats.canonical import JsonValue

LABEL: Final = b"hermetic/v1/recipient\n"


def statement(domain: str, request: str, *, recipient: bytes, certificate: bytes) -> bytes:
    """Return the bytes to sign: the keys that `request` asks for go to `recipient`, says the holder of `certificate`."""
    named: dict[str, JsonValue] = {
        "certificate": to_base64url(hashlib.sha256(certificate).digest()),
        "domain": domain,
        "recipient": to_base64url(hashlib.sha256(recipient).digest()),
        "request": request,
    }
    return LABEL + canonical.encode(named)
