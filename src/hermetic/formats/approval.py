"""An approver's yes or no, as bytes (spec/approval.md): a canonical statement in a DSSE envelope, signed with the approver's own key.

    payload     {approver, domain, expires_ms, format, made_ms, reason, request, request_hash, verdict}
    envelope    payload type PAYLOAD_TYPE, key id = the approver's key

A statement speaks about one request of one domain: `request` is its random id, `request_hash` what is asked, to the byte. So it cannot
be used for another request, nor a second time for an equal one. Nothing here checks a signature (`signing.envelopes`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, cast

from hermetic.errors import FormatError, UsageError
from hermetic.formats import canonical
from hermetic.formats.binary_text import to_base64url
from hermetic.formats.fields import Fields
from hermetic.ids import DomainId

Decided: TypeAlias = Literal["approve", "deny"]

FORMAT: Final = "hermetic/approval/v1"
PAYLOAD_TYPE: Final = "application/vnd.hermetic.approval.v1+json"
LIMIT: Final = 16_384  # bytes of an envelope
REASON_LIMIT: Final = 2000  # UTF-8 bytes
LONGEST_MS: Final = 7 * 86_400_000
_FIELDS: Final = {"approver", "domain", "expires_ms", "format", "made_ms", "reason", "request", "request_hash", "verdict"}


@dataclass(frozen=True, slots=True)
class Statement:
    """What an approver signs. `approver` is the id of the key, `request` of the request; it counts from `made_ms` to `expires_ms`."""

    domain: DomainId
    request: str
    request_hash: bytes
    verdict: Decided
    approver: str
    reason: str
    made_ms: int
    expires_ms: int

    def encode(self) -> bytes:
        """Return the canonical payload. Raises UsageError for a reason that is too long or missing, or a life over seven days."""
        if len(self.reason.encode("utf-8")) > REASON_LIMIT:
            raise UsageError(f"a reason has at most {REASON_LIMIT} bytes")
        if self.verdict == "deny" and not self.reason.strip():
            raise UsageError("a no has a reason", hint="--reason TEXT goes on record")
        if not self.made_ms < self.expires_ms <= self.made_ms + LONGEST_MS:
            raise UsageError("an approval counts for some time, at most seven days")
        return canonical.encode(
            {
                "approver": self.approver,
                "domain": self.domain,
                "expires_ms": self.expires_ms,
                "format": FORMAT,
                "made_ms": self.made_ms,
                "reason": self.reason,
                "request": self.request,
                "request_hash": to_base64url(self.request_hash),
                "verdict": self.verdict,
            }
        )


def parse_statement(payload: bytes) -> Statement:
    """Return the statement in a payload. Raises FormatError."""
    fields = Fields(canonical.decode(payload, limit=LIMIT), "approval", _FIELDS)
    fields.constant("format", FORMAT)
    verdict = fields.text("verdict", limit=16)
    if verdict not in {"approve", "deny"}:
        raise FormatError("approval: verdict is not approve or deny")
    made = fields.integer("made_ms", minimum=0, maximum=canonical.MAX_INTEGER)
    expires = fields.integer("expires_ms", minimum=0, maximum=canonical.MAX_INTEGER)
    if not made < expires <= made + LONGEST_MS:
        raise FormatError("approval: it does not count for a time of at most seven days")
    return Statement(
        domain=DomainId(fields.identifier("domain")),
        request=fields.identifier("request"),
        request_hash=fields.binary("request_hash", length=32),
        verdict=cast("Decided", verdict),
        approver=fields.identifier("approver"),
        reason=fields.text("reason", limit=REASON_LIMIT),
        made_ms=made,
        expires_ms=expires,
    )
