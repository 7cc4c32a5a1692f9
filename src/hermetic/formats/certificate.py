"""A certificate of destruction as bytes (spec/certificate.md): canonical JSON in a DSSE envelope, signed by the manifest-signing key.

    payload  {approvers, domain, done_ms, format, kind, log, made_ms, missing, reason, relies, remains?, requester, state, subjects}

It says what was done, on what that relies, what is missing before the data is gone everywhere, and (`remains`, left out when nothing
is known) who and what can still read it. Names are in it: it goes to people.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hermetic.formats import canonical
from hermetic.formats.binary_text import to_base64url
from hermetic.formats.fields import Fields
from hermetic.ids import DomainId

FORMAT: Final = "hermetic/certificate/v1"
PAYLOAD_TYPE: Final = "application/vnd.hermetic.certificate.v1+json"
LIMIT: Final = 2 * 1024 * 1024
TEXTS: Final = 10_000  # entries of a list
_TEXT: Final = 4096  # UTF-8 bytes of one text
_FIELDS: Final = {
    *("approvers", "domain", "done_ms", "format", "kind", "log", "made_ms", "missing", "reason", "relies", "requester", "state"),
    "subjects",
}
_REMAINS: Final = "remains"


@dataclass(frozen=True, slots=True)
class Logged:
    """Where the act stands in the log: generation, index, SHA-256 of the leaf (RFC 9162 leaf hash)."""

    generation: int
    index: int
    leaf_hash: bytes


@dataclass(frozen=True, slots=True)
class Certificate:
    """What was destroyed: `kind` is shred or kek; `subjects` are versions or KEK/NUMBER; `state` is deleted, complete or destroyed."""

    domain: DomainId
    kind: str
    subjects: tuple[str, ...]
    state: str
    relies: tuple[str, ...]
    missing: tuple[str, ...]
    reason: str
    requester: str
    approvers: tuple[str, ...]
    done_ms: int
    made_ms: int
    log: Logged
    remains: tuple[str, ...] = ()

    def encode(self) -> bytes:
        """Return the canonical payload."""
        return canonical.encode(
            {
                **({"remains": list(self.remains)} if self.remains else {}),
                "approvers": list(self.approvers),
                "domain": self.domain,
                "done_ms": self.done_ms,
                "format": FORMAT,
                "kind": self.kind,
                "log": {
                    "generation": self.log.generation,
                    "index": self.log.index,
                    "leaf_hash": to_base64url(self.log.leaf_hash),
                },
                "made_ms": self.made_ms,
                "missing": list(self.missing),
                "reason": self.reason,
                "relies": list(self.relies),
                "requester": self.requester,
                "state": self.state,
                "subjects": list(self.subjects),
            }
        )


def parse_certificate(payload: bytes) -> Certificate:
    """Return the certificate in a payload. Raises FormatError."""
    body = canonical.decode(payload, limit=LIMIT)
    more = isinstance(body, dict) and bool(body.get(_REMAINS))  # an empty list is not how it is written
    fields = Fields(body, "certificate", _FIELDS | {_REMAINS} if more else _FIELDS)
    fields.constant("format", FORMAT)
    log = Fields(fields.get("log"), "certificate log", {"generation", "index", "leaf_hash"})
    return Certificate(
        domain=DomainId(fields.identifier("domain")),
        kind=fields.text("kind", limit=32),
        subjects=_texts(fields, "subjects"),
        state=fields.text("state", limit=32),
        relies=_texts(fields, "relies"),
        missing=_texts(fields, "missing"),
        reason=fields.text("reason", limit=_TEXT),
        requester=fields.text("requester", limit=_TEXT),
        approvers=_texts(fields, "approvers"),
        done_ms=fields.integer("done_ms", minimum=0, maximum=canonical.MAX_INTEGER),
        made_ms=fields.integer("made_ms", minimum=0, maximum=canonical.MAX_INTEGER),
        log=Logged(
            generation=log.integer("generation", minimum=1, maximum=canonical.MAX_INTEGER),
            index=log.integer("index", minimum=0, maximum=canonical.MAX_INTEGER),
            leaf_hash=log.binary("leaf_hash", length=32),
        ),
        remains=_texts(fields, _REMAINS) if more else (),
    )


def _texts(fields: Fields, name: str) -> tuple[str, ...]:
    whole = {str(at): item for at, item in enumerate(fields.items(name, limit=TEXTS))}
    each = Fields(whole, f"certificate {name}", set(whole))
    return tuple(each.text(at, limit=_TEXT) for at in whole)
