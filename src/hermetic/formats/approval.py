"""An approver's yes or no, as bytes (spec/approval.md): a canonical statement in a DSSE envelope, signed with the approver's own key.

    payload     {approver, domain, expires_ms, format, made_ms, reason, request, request_hash, requester, requester_name, verdict}
    envelope    payload type PAYLOAD_TYPE, key id = the approver's key

A statement speaks about one request of one principal in one domain: `request` is its random id, `request_hash` what is asked, to the
byte, `requester` and `requester_name` who asks, as the approver was shown. So it cannot be used for another request or by somebody
else, nor a second time for an equal one. Statements of the first form named no requester: they can be read, and never count.
Nothing here checks a signature (`signing.envelopes`).
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

FORMAT: Final = "hermetic/approval/v2"
FIRST: Final = "hermetic/approval/v1"  # without requester
PAYLOAD_TYPE: Final = "application/vnd.hermetic.approval.v1+json"
LIMIT: Final = 16_384  # bytes of an envelope
REASON_LIMIT: Final = 2000  # UTF-8 bytes
NAME_LIMIT: Final = 1000  # of a requester's id or name, the same
LONGEST_MS: Final = 7 * 86_400_000
_FIRST_FIELDS: Final = {"approver", "domain", "expires_ms", "format", "made_ms", "reason", "request", "request_hash", "verdict"}
_FIELDS: Final = _FIRST_FIELDS | {"requester", "requester_name"}


@dataclass(frozen=True, slots=True)
class Statement:
    """What an approver signs. `approver` is the id of the key, `request` of the request, `requester` of the principal who asks.

    It counts from `made_ms` to `expires_ms`. `requester` is empty in a statement of the first form.
    """

    domain: DomainId
    request: str
    request_hash: bytes
    requester: str
    requester_name: str
    verdict: Decided
    approver: str
    reason: str
    made_ms: int
    expires_ms: int

    def encode(self) -> bytes:
        """Return the canonical payload. Raises UsageError for no requester, no or too long a reason, a life over seven days."""
        if len(self.reason.encode("utf-8")) > REASON_LIMIT:
            raise UsageError(f"a reason has at most {REASON_LIMIT} bytes")
        if not self.requester:
            raise UsageError("an approval names who asks")
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
                "requester": self.requester,
                "requester_name": self.requester_name,
                "verdict": self.verdict,
            }
        )


def parse_statement(payload: bytes) -> Statement:
    """Return the statement in a payload. Raises FormatError."""
    document = canonical.decode(payload, limit=LIMIT)
    first = isinstance(document, dict) and document.get("format") == FIRST
    fields = Fields(document, "approval", _FIRST_FIELDS if first else _FIELDS)
    fields.constant("format", FIRST if first else FORMAT)
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
        requester="" if first else _named(fields, "requester"),
        requester_name="" if first else _named(fields, "requester_name"),
        verdict=cast("Decided", verdict),
        approver=fields.identifier("approver"),
        reason=fields.text("reason", limit=REASON_LIMIT),
        made_ms=made,
        expires_ms=expires,
    )


def _named(fields: Fields, name: str) -> str:
    text = fields.text(name, limit=NAME_LIMIT)
    if not text:
        raise FormatError(f"approval: {name} is empty")
    return text
