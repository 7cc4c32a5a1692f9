"""What the key of a lease is bound to on its way to another process (spec/port.md section 4): the `info` of its HPKE message.

    "hermetic/v1/lease-key" LF || canonical {data_key, domain, index, lease, recipient, request, version}

`recipient` is the SHA-256 of the caller's fresh public key, which the intent's entry names too; `index` is that entry's place in the
log. A key that somebody in between takes out of one answer and puts into another does not open there.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from hermetic.formats import canonical
from hermetic.formats.binary_text import to_base64url

if TYPE_CHECKING:
    from hermetic.formats.canonical import JsonValue
    from hermetic.formats.messages.versions import Lease

LABEL: Final = b"hermetic/v1/lease-key\n"


def binding(domain: str, request: str, index: int, lease: Lease, recipient: bytes) -> bytes:  # noqa: PLR0917 - five parts of one name
    """Return the `info` under which the key of `lease` travels to the public key `recipient`."""
    named: dict[str, JsonValue] = {
        "data_key": lease.data_key,
        "domain": domain,
        "index": index,
        "lease": lease.id,
        "recipient": to_base64url(hashlib.sha256(recipient).digest()),
        "request": request,
        "version": lease.version,
    }
    return LABEL + canonical.encode(named)
