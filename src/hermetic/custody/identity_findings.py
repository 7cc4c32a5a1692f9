"""What people should look at around certificates, for `status`: those that end before anybody renewed them, and authorities that do.

`tls: warn_before` says how long before. A certificate that is good for less than that is renewed at half of its time; with a
quarter of it left, nobody did.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hermetic.access import authorities, credentials, identity
from hermetic.formats.messages.base import Pair

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermetic.access.credentials import Credential
    from hermetic.custody.call import Call
    from hermetic.custody.inforce import InForce
    from hermetic.db.rows import ReadSession

DAY_MS: Final = 86_400_000
LISTED: Final = 100
LEFT: Final = 4  # a certificate with less than one of so many parts of its time left is late


def gather(call: Call, session: ReadSession, policy: InForce) -> Iterator[Pair]:
    """Yield what ends soon."""
    warn_ms = policy.document.tls.warn_before * DAY_MS
    for item in authorities.believed(session):
        left = item.not_after_ms - call.now_ms
        if item.state == authorities.ACTIVE and item.kind != authorities.CROSS and left < warn_ms:
            yield Pair("authority-ending", f"{item.kind} {item.id[:8]}|{max(0, left) // DAY_MS}")
    late = (found for item in identity.listing(session) if item.active and (found := _last(session, item.principal.id, call.now_ms)))
    for listed, found in enumerate(one for one in late if _is_late(one, warn_ms, call.now_ms)):
        if listed == LISTED:
            return
        name = identity.require(session, found.principal_id).principal.name
        yield Pair("certificate-ending", f"{name}|{((found.not_after_ms or 0) - call.now_ms) // 60_000}")


def _last(session: ReadSession, principal_id: str, now_ms: int) -> Credential | None:
    """Return the certificate of a principal that ends last, if one is good."""
    good = [item for item in credentials.of_principal(session, principal_id) if item.state_at(now_ms) == credentials.ACTIVE]
    # what came for a token ends with the login
    mine = [item for item in good if item.kind == credentials.CERTIFICATE and item.about.get("token") is None]
    ending = [item for item in mine if item.not_after_ms is not None]
    return max(ending, key=lambda item: item.not_after_ms or 0, default=None)


def _is_late(item: Credential, warn_ms: int, now_ms: int) -> bool:
    end = item.not_after_ms or 0
    return end - now_ms < min(warn_ms, (end - item.created_ms) // LEFT)
