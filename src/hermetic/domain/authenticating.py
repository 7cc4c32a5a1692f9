"""What is asked of an authenticator through a page, and what it answered, as values. Serving the page is a door's.

    creation     make a credential (factor or approver)
    assertion    sign a challenge with one of these credentials, after showing what for

A person's approval by touch: `unsigned` is the statement, its challenge is SHA-256 over label and statement, `signed` the envelope.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from hermetic.crypto import authenticator
from hermetic.crypto.authenticator import ALGORITHMS, RP_ID, Assertion, Party
from hermetic.errors import Denied, FormatError, UsageError
from hermetic.formats.approval import PAYLOAD_TYPE
from hermetic.formats.binary_text import from_base64url, to_base64url
from hermetic.formats.dsse import Envelope, pae
from hermetic.keys import approver_key, webauthn_approver

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hermetic.formats.messages.approvals import ApproverRow
    from hermetic.formats.messages.base import Pair

TIMEOUT_MS: Final = 240_000


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to touch for: `options` for the browser (binary as base64url), a title, and what it is about, in words."""

    kind: str  # create, get
    options: Mapping[str, Any]
    title: str
    lines: tuple[tuple[str, str], ...] = ()


def creation(challenge: bytes, user: bytes, name: str, known: Sequence[bytes] = (), *, title: str) -> Step:
    """Return the step that makes a credential."""
    options = {
        "rp": {"id": RP_ID, "name": "Hermetic"},
        "user": {"id": to_base64url(user), "name": name, "displayName": name},
        "challenge": to_base64url(challenge),
        "pubKeyCredParams": [{"type": "public-key", "alg": one} for one in ALGORITHMS],
        "authenticatorSelection": {"userVerification": "required", "residentKey": "discouraged"},
        "attestation": "none",
        "excludeCredentials": _listed(known),
        "timeout": TIMEOUT_MS,
    }
    return Step("create", options, title, (("for", name),))


def assertion(challenge: bytes, credentials: Sequence[bytes], *, title: str, lines: Iterable[Pair] = ()) -> Step:
    """Return the step that signs a challenge."""
    options = {
        "challenge": to_base64url(challenge),
        "rpId": RP_ID,
        "allowCredentials": _listed(credentials),
        "userVerification": "required",
        "timeout": TIMEOUT_MS,
    }
    return Step("get", options, title, tuple((pair.name, pair.value) for pair in lines))


def created(answer: Mapping[str, Any]) -> tuple[bytes, bytes]:
    """Return client data and attestation object of a new credential. Raises Denied, FormatError."""
    _check(answer)
    return _binary(answer, "client"), _binary(answer, "attestation")


def asserted(answer: Mapping[str, Any]) -> Assertion:
    """Return what an authenticator signed. Raises Denied, FormatError."""
    _check(answer)
    credential, said, client, signature = (_binary(answer, name) for name in ("credential", "authenticator", "client", "signature"))
    return Assertion(credential, said, client, signature, _binary(answer, "user") if answer.get("user") else b"")


def _check(answer: Mapping[str, Any]) -> None:
    error = answer.get("error")
    if error is not None:
        name = error if isinstance(error, str) and error.isalpha() and len(error) < 40 else "an error"
        raise Denied(f"the browser or the authenticator said no ({name})", hint="run the command again; it waits for four minutes")


def _binary(answer: Mapping[str, Any], name: str) -> bytes:
    value = answer.get(name)
    if not isinstance(value, str):
        raise FormatError(f"the page's answer has no {name}")
    return from_base64url(value)


def _listed(credentials: Sequence[bytes]) -> list[dict[str, str]]:
    return [{"type": "public-key", "id": to_base64url(one)} for one in credentials]


# Approvers


def approver_kept(answer: Mapping[str, Any], challenge: bytes, origin: str) -> tuple[bytes, bytes]:
    """Return what a domain keeps of an approver's new credential, and its id. Raises SignatureError, FormatError, Denied."""
    client, attestation = created(answer)
    made = authenticator.registered(attestation, client, challenge=challenge, party=Party(origin=origin))
    return webauthn_approver.kept(made.credential, made.public), made.credential


def approver_file(kept: bytes, answer: Mapping[str, Any]) -> bytes:
    """Return the public file of an approver's authenticator, whose answer proves that it is there. Raises SignatureError."""
    raw = webauthn_approver.public_file(kept, asserted(answer))
    webauthn_approver.parse_public(raw)
    return raw


def proof_challenge(kept: bytes) -> bytes:
    """Return what an approver's authenticator answers for its public file."""
    return webauthn_approver.proof_challenge(kept)


def own_authenticator(rows: Sequence[ApproverRow], name: str) -> tuple[str, bytes]:
    """Return key id and credential of the approver who is to touch. Raises UsageError for one without an authenticator."""
    there = [row for row in rows if row.state == "active" and approver_key.is_authenticator(row.public)]
    mine = [row for row in there if row.name.casefold() == name.casefold()]
    if len(mine) != 1:
        known = ", ".join(row.name for row in there) or "nobody"
        raise UsageError(f"approvers with an authenticator: {known}", hint="say who approves: --as NAME")
    return mine[0].key, webauthn_approver.parse_kept(mine[0].public)[0]


def challenge_of(payload: bytes) -> bytes:
    """Return the challenge that approves this statement and nothing else."""
    return webauthn_approver.approval_challenge(pae(PAYLOAD_TYPE, payload))


def signed(payload: bytes, key_id: str, answer: Mapping[str, Any]) -> bytes:
    """Return a statement with an authenticator's answer as its signature. Raises Denied, FormatError."""
    return Envelope(PAYLOAD_TYPE, payload, key_id, webauthn_approver.signature_of(asserted(answer))).encode()
