"""Whether an answer with keys is the answer to this request: its entry in the log has to name the request and this caller's key.

HPKE in base mode does not say who sealed. Without this, somebody in between who may ask custody too could ask in their own name, and
pass on a key that they know: what is sealed under it they could read. The entry that custody makes before it hands over names the
hash of the public key that was in the request, and the receipt, checked under pinned log keys, proves that the entry is custody's.
A replayed answer names an earlier key.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from hermetic.audit.leaf import Leaf
from hermetic.errors import IntegrityError
from hermetic.formats.binary_text import to_base64url

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hermetic.formats.messages.base import Receipt


def check_addressed(receipt: Receipt, request: str, versions: Sequence[str], public: bytes) -> None:
    """Raise IntegrityError unless the entry is the intent to hand keys of these versions to `public` for this request.

    That the entry is in custody's log is for whoever checks the receipt.
    """
    leaf = Leaf.parse(receipt.leaf)
    said = (leaf.kind, leaf.index, leaf.generation, leaf.facts.get("request"), leaf.facts.get("versions"), leaf.facts.get("recipient"))
    recipient = to_base64url(hashlib.sha256(public).digest())
    if said != ("release.intent", receipt.index, receipt.generation, request, list(versions), recipient):
        raise IntegrityError(
            "the answer's entry in the log is not about this request and this process's key: somebody stands in between",
            hint="ask who runs custody here, then run `hermetic log verify`",
        )
