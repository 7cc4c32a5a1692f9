"""WebAuthn (Level 2): what a security key, or the unlock of a phone or laptop, says to a page of ours. Extra `mfa`.

    registered    a new credential: its id and public key (COSE)
    asserted      a signature by one, made after the person was verified (PIN, finger, face)

A signature is over SHA-256 of the browser's client data, which names the challenge and the page's origin, and over the authenticator's
data, which names the relying party, whether the person was there and was verified, and a count of signatures. All of that is checked
here in our own words, then once more by the library, which checks the signature.

What must hold for every answer:

1. It answers `challenge` and nothing else; what a challenge is bound to is the caller's to choose.
2. It was made at an origin that the party has: a page on this machine's loopback by its name `localhost`, at any port or at one.
3. The person was present and verified. An authenticator that cannot verify people is refused.
4. The count of signatures grew, where the authenticator counts.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from hermetic.errors import FormatError, SignatureError, Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable

RP_ID: Final = "localhost"
LIMIT: Final = 8192  # bytes of any part of an answer
CREDENTIAL_LIMIT: Final = 1023  # bytes of a credential's id (WebAuthn section 5.8.3)
ALGORITHMS: Final = (-8, -7, -257)  # EdDSA, ES256, RS256
_PORT: Final = re.compile(r"http://localhost:([1-9][0-9]{0,4})")
_PRESENT, _VERIFIED = 0x01, 0x04


@dataclass(frozen=True, slots=True)
class Party:
    """Who asks: the relying party's id, and the one origin that its page has; without one any port of the loopback is right."""

    rp_id: str = RP_ID
    origin: str | None = None

    def check(self, origin: object) -> str:
        """Return the origin if a page of this party has it. Raises SignatureError."""
        if isinstance(origin, str):
            if self.origin is not None and origin == self.origin:
                return origin
            port = _PORT.fullmatch(origin)
            if self.origin is None and self.rp_id == RP_ID and port is not None and int(port[1]) < 65_536:
                return origin
        raise SignatureError("the authenticator was asked by a page of another origin", hint="start again from the command line")


@dataclass(frozen=True, slots=True)
class Registered:
    """A new credential."""

    credential: bytes
    public: bytes
    count: int


@dataclass(frozen=True, slots=True)
class Assertion:
    """What an authenticator signed. `user` is empty where the authenticator does not say whose credential it is."""

    credential: bytes
    authenticator: bytes
    client: bytes
    signature: bytes
    user: bytes = b""

    @property
    def count(self) -> int:
        """How many signatures the authenticator says it made; 0 where it does not count."""
        return int.from_bytes(self.authenticator[33:37], "big")


def registered(attestation: bytes, client: bytes, *, challenge: bytes, party: Party) -> Registered:
    """Return the credential that was made for `challenge`. Raises SignatureError, FormatError, Unsupported."""
    _check_sizes(attestation, client)
    origin = _check_client(client, "webauthn.create", challenge, party)
    library: Any = _library()
    algorithms = [library.helpers.cose.COSEAlgorithmIdentifier(one) for one in ALGORITHMS]

    def verify() -> Any:
        form = library.helpers.parse_attestation_object(attestation)
        if str(getattr(form.fmt, "value", form.fmt)) not in {"none", "packed"}:
            raise SignatureError("the authenticator vouches for itself in a way that was not asked for")
        if not form.auth_data.flags.uv:
            raise _unverified()
        structs = library.helpers.structs
        said = structs.AuthenticatorAttestationResponse(client_data_json=client, attestation_object=attestation)
        raw = form.auth_data.attested_credential_data.credential_id
        return library.verify_registration_response(
            credential=structs.RegistrationCredential(id=_text(raw), raw_id=raw, response=said),
            expected_challenge=challenge,
            expected_rp_id=party.rp_id,
            expected_origin=origin,
            require_user_verification=True,
            supported_pub_key_algs=algorithms,
        )

    found = _guarded(verify)
    if not 0 < len(found.credential_id) <= CREDENTIAL_LIMIT or len(found.credential_public_key) > LIMIT:
        raise FormatError("the credential's id or key is too long")
    return Registered(bytes(found.credential_id), bytes(found.credential_public_key), int(found.sign_count))


def asserted(said: Assertion, public: bytes, *, challenge: bytes, party: Party, count: int = 0, user: bytes = b"") -> int:
    """Return the new count if the credential with this public key answered `challenge`; `count` is the last one seen.

    `user` is the handle that the credential was made for. Raises SignatureError, FormatError, Unsupported.
    """
    _check_sizes(said.credential, said.authenticator, said.client, said.signature)
    origin = _check_client(said.client, "webauthn.get", challenge, party)
    _check_data(said.authenticator, party)
    if said.user and said.user != user:
        raise SignatureError("the authenticator says that this credential is somebody else's")
    if (said.count or count) and said.count <= count:
        raise SignatureError(
            "the authenticator's count of signatures went back: this answer is an old one, or the authenticator was copied",
            hint="if you did not hand it in twice, have this factor removed",
        )
    library: Any = _library()

    def verify() -> Any:
        structs = library.helpers.structs
        response = structs.AuthenticatorAssertionResponse(
            client_data_json=said.client, authenticator_data=said.authenticator, signature=said.signature
        )
        return library.verify_authentication_response(
            credential=structs.AuthenticationCredential(id=_text(said.credential), raw_id=said.credential, response=response),
            expected_challenge=challenge,
            expected_rp_id=party.rp_id,
            expected_origin=origin,
            credential_public_key=public,
            credential_current_sign_count=count,
            require_user_verification=True,
        )

    return int(_guarded(verify).new_sign_count)


def _check_sizes(*parts: bytes) -> None:
    if any(not 0 < len(part) <= LIMIT for part in parts):
        raise FormatError(f"a part of an authenticator's answer has 1 to {LIMIT} bytes")


def _check_client(client: bytes, kind: str, challenge: bytes, party: Party) -> str:
    """Return the origin in the client data if they are about this challenge."""
    try:
        document = json.loads(client.decode("utf-8"))
        given = base64.urlsafe_b64decode(document["challenge"] + "==")
    except (ValueError, TypeError, KeyError, binascii.Error, RecursionError):
        raise FormatError("the browser's part of the answer cannot be read") from None
    if document.get("type") != kind:
        raise SignatureError("the authenticator was asked something else")
    if given != challenge or document["challenge"] != _text(challenge):
        raise SignatureError("the authenticator answered another question than this", hint="start again")
    if document.get("crossOrigin") or document.get("topOrigin") is not None:
        raise SignatureError("the authenticator was asked from within another page")
    return party.check(document.get("origin"))


def _check_data(data: bytes, party: Party) -> None:
    if len(data) < 37:
        raise FormatError("the authenticator's part of the answer is cut")
    if data[:32] != hashlib.sha256(party.rp_id.encode("ascii")).digest():
        raise SignatureError("the authenticator answered another relying party")
    if not data[32] & _PRESENT:
        raise SignatureError("nobody touched the authenticator")
    if not data[32] & _VERIFIED:
        raise _unverified()


def _unverified() -> SignatureError:
    hint = "set a PIN on it, or use one that knows your finger or face"
    return SignatureError("the authenticator did not verify who touched it", hint=hint)


def _guarded(verify: Callable[[], Any]) -> Any:
    """Run the library over bytes from outside; whatever it stumbles over is an answer that does not verify."""
    try:
        return verify()
    except SignatureError:
        raise
    except _foreign() as error:
        raise SignatureError("the authenticator's answer does not verify") from error


def _foreign() -> tuple[type[Exception], ...]:
    """Return what the library and its parsers raise over bytes that are wrong."""
    import cbor2  # noqa: PLC0415 - comes with the library
    from webauthn.helpers.exceptions import WebAuthnException  # noqa: PLC0415

    plain = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError, struct.error)
    return (*plain, InvalidSignature, UnsupportedAlgorithm, WebAuthnException, cbor2.CBORError)


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def _library() -> Any:
    try:
        import webauthn  # noqa: PLC0415 - an extra
        import webauthn.helpers.cose  # noqa: PLC0415 - an extra
    except ImportError:
        raise Unsupported("webauthn is not installed", hint="pip install '.[mfa]'") from None
    return webauthn
