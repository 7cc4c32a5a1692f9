"""What approvers do on their own machine: make a key, look at a request, sign a statement. None of it needs the domain's root.

make_key(path, passphrase)                      path (mode 0600) and path.pub, which goes to the domain's owner
statement(shown, path, passphrase, …)           the signed bytes, after the request was seen to be what its hash says
request_file(row) / read_request_file(raw)      a request on its way to an approver who cannot reach custody
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from hermetic.errors import FormatError, IntegrityError, Unsupported
from hermetic.formats import canonical, codec
from hermetic.formats.approval import NAME_LIMIT, PAYLOAD_TYPE, Decided, Statement
from hermetic.formats.binary_text import from_base64url, to_base64url
from hermetic.formats.fields import Fields
from hermetic.formats.messages.approvals import EnrolApprover
from hermetic.formats.messages.base import Pair, hash_of
from hermetic.formats.messages.policy import ApplyPolicy
from hermetic.formats.readable import LAST_MS, pairs, spelled
from hermetic.ids import DomainId
from hermetic.keys import approver_key
from hermetic.policy.bundle import PolicyBundle
from hermetic.providers import private_file
from hermetic.signing.envelopes import sign_envelope

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hermetic.crypto.kdf import Argon2Parameters
    from hermetic.crypto.secret import Secret
    from hermetic.formats.messages.approvals import RequestRow

REQUEST_FORMAT: Final = "hermetic/approval-request/v2"
REQUEST_LIMIT: Final = 8 * 1024 * 1024
_FIELDS: Final = {"domain", "expires_ms", "format", "hash", "request", "request_id", "requester", "requester_name"}


@dataclass(frozen=True, slots=True)
class Shown:
    """What an approver decides about: ids, and the canonical bytes of what is asked."""

    domain: str
    id: str
    hash: bytes
    request: bytes
    requester: str  # id of the principal; signed, and so is the name
    requester_name: str
    expires_ms: int

    def fields(self) -> tuple[Pair, ...]:
        """Return what a signature would cover, all of it: who asks, what, every field. Raises as `checked`."""
        request = self.checked()
        return (
            Pair("request", self.id),
            Pair("domain", spelled(self.domain)),
            Pair("asked by", f"{spelled(self.requester_name)} ({spelled(self.requester)})"),
            Pair("until", f"{self.expires_ms} ms" if self.expires_ms >= LAST_MS else _moment(self.expires_ms)),
            Pair("request hash", self.hash.hex()),
            Pair("asks", codec.name_of(type(request))),
            *pairs(request),
            *_inside(request),
        )

    def bundle(self) -> PolicyBundle | None:
        """Return the policy that the request would put in force, if it is one of those. Raises as `checked`."""
        request = self.checked()
        return PolicyBundle.from_bytes(request.bundle) if isinstance(request, ApplyPolicy) else None

    def checked(self) -> Any:
        """Return the request itself, decoded, all of it: what is not known here might be what matters.

        Raises IntegrityError when its bytes are not those of the hash, FormatError, Unsupported when it is of another release.
        """
        if hash_of(self.request) != self.hash:
            raise IntegrityError("the request shown is not the one its hash names", hint="do not sign it; ask who gave it to you")
        try:
            asked = codec.decode(self.request)
        except Unsupported as error:
            raise Unsupported(f"the request is of a newer release: {error.message}", hint="sign with that release, not here") from None
        if not codec.asks(type(asked)):
            raise FormatError("the request shown asks for nothing", hint="do not sign it; ask who gave it to you")
        return asked


def _inside(request: Any) -> Iterator[Pair]:
    """Say what binary fields hold."""
    if isinstance(request, EnrolApprover):
        yield Pair("public: key", public_of(request.public))
    if isinstance(request, ApplyPolicy):
        for name, content in sorted(PolicyBundle.from_bytes(request.bundle).files.items()):
            yield Pair(f"bundle: {name}", f"{len(content)} bytes, SHA-256 {hashlib.sha256(content).hexdigest()}")


def _moment(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M:%SZ}"


def shown(row: RequestRow) -> Shown:
    """Return what custody shows of a request."""
    return Shown(row.domain, row.id, row.hash, row.request, row.requester_id, row.requester, row.expires_ms)


def make_key(path: Path, passphrase: Secret, parameters: Argon2Parameters | None = None) -> str:
    """Make a key in `path` and its public half in `path`.pub; return its id. Raises Conflict, UsageError, StorageError."""
    private, public = approver_key.create(passphrase, parameters)
    private_file.write(path, private, replace=False)
    private_file.write(path.with_name(path.name + ".pub"), public, replace=False)
    return approver_key.key_id_of(approver_key.parse_public(public))


def public_of(raw: bytes) -> str:
    """Return the key id in a public file. Raises FormatError, SignatureError."""
    return approver_key.key_id_of(approver_key.parse_public(raw))


def statement(asked: Shown, path: Path, passphrase: Secret, *, verdict: Decided, reason: str, now_ms: int) -> bytes:
    """Return a signed statement about a request, good until the request ends.

    Raises IntegrityError (the request is not what it says; the key file is open to others), WrongKey, FormatError, UsageError.
    """
    asked.checked()
    key = approver_key.open_file(private_file.read(path, approver_key.LIMIT), passphrase)
    payload = unsigned(asked, key.key_id, verdict=verdict, reason=reason, now_ms=now_ms)
    return sign_envelope(payload, PAYLOAD_TYPE, key.signing, key.key_id)


def unsigned(asked: Shown, key_id: str, *, verdict: Decided, reason: str, now_ms: int) -> bytes:
    """Return a statement about a request, to be signed by the key with this id. Raises IntegrityError, FormatError, UsageError."""
    asked.checked()
    said = Statement(
        domain=DomainId(asked.domain),
        request=asked.id,
        request_hash=asked.hash,
        requester=asked.requester,
        requester_name=asked.requester_name,
        verdict=verdict,
        approver=key_id,
        reason=reason,
        made_ms=now_ms,
        expires_ms=asked.expires_ms,
    )
    return said.encode()


def request_file(asked: Shown) -> bytes:
    """Return a request as a file for an approver elsewhere."""
    return canonical.encode(
        {
            "domain": asked.domain,
            "expires_ms": asked.expires_ms,
            "format": REQUEST_FORMAT,
            "hash": to_base64url(asked.hash),
            "request": to_base64url(asked.request),
            "request_id": asked.id,
            "requester": asked.requester,
            "requester_name": asked.requester_name,
        }
    )


def read_request_file(raw: bytes) -> Shown:
    """Return what such a file asks. Raises FormatError, IntegrityError when request and hash do not fit."""
    fields = Fields(canonical.decode(raw, limit=REQUEST_LIMIT), "request for approval", _FIELDS)
    fields.constant("format", REQUEST_FORMAT)
    text = fields.get("request")
    if not isinstance(text, str):
        raise FormatError("request for approval: request is not base64url text")
    found = Shown(
        domain=fields.identifier("domain"),
        id=fields.identifier("request_id"),
        hash=fields.binary("hash", length=32),
        request=from_base64url(text),
        requester=fields.text("requester", limit=NAME_LIMIT),
        requester_name=fields.text("requester_name", limit=NAME_LIMIT),
        expires_ms=fields.integer("expires_ms", minimum=0, maximum=canonical.MAX_INTEGER),
    )
    found.checked()
    return found
