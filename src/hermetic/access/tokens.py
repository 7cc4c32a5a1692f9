"""Tokens by which people and workloads show who they are: JSON Web Tokens of issuers that the custody host trusts (RFC 7519, 8725).

    signed = desk.read(token)                             the signature is the issuer's
    found = desk.admit(signed, nonce=…, now_ms=…)         it is for us, now, and says whom

A token is believed if an allowed algorithm fits the key that its issuer publishes under its `kid`; keys and addresses that a token
brings along are never used. Issuer and audience are compared as they are. `iat` and `exp` are required. A person's token carries the
nonce that binds it to the key which asked for it (`key_nonce`); a workload's cannot, so that its use once is what custody remembers.

`digest` names a token: it covers what is signed, not the signature, which whoever has an ECDSA one can write in a second way.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from hermetic.access.issuers import PERSON, strict_json
from hermetic.crypto.mac import sha256
from hermetic.errors import FormatError, NotAuthenticated, Unsupported
from hermetic.formats.binary_text import from_base64url, to_base64url

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hermetic.access.issuers import Issuer, IssuerKeys

LIMIT: Final = 16_384  # characters of a token
SKEW_S: Final = 60
LONGEST_S: Final = 86_400  # between `iat` and `exp`
RSA_BITS: Final = 2048
HINT: Final = "get a fresh token"
KEY_TYPES: Final = {"ES256": ("EC", "P-256"), "EdDSA": ("OKP", "Ed25519"), "RS256": ("RSA", None), "PS256": ("RSA", None)}
"""The algorithms that are allowed, and the keys that each goes with. None that shares a secret, and not `none`."""
_TYPES: Final = {PERSON: {"jwt"}, "workload": {"jwt", "at+jwt"}}
_KEY_PARTS: Final = ("kty", "crv", "x", "y", "n", "e")
_KEPT: Final = 200  # characters of a claim that go on record
_TOLD: Final = ("iss", "sub", "aud", "azp", "jti")


@dataclass(frozen=True, slots=True)
class Signed:
    """A token with a good signature; nothing of what it says was compared yet."""

    issuer: Issuer
    header: Mapping[str, Any]
    claims: Mapping[str, Any]
    digest: bytes

    def told(self) -> dict[str, str]:
        """Return the claims that go on record, as hidden values: who it is for, and what its issuer's rules look at."""
        names = dict.fromkeys((*_TOLD, *(name for rule in self.issuer.rules for name in rule.claims)))
        found = ((name, self.claims[name]) for name in names if name in self.claims)
        return {name: (value if isinstance(value, str) else json.dumps(value))[:_KEPT] for name, value in found}


@dataclass(frozen=True, slots=True)
class Admitted:
    """Whom a token is about: kind and name of an enrolled principal, and until when it may be used."""

    kind: str
    name: str
    end_ms: int


def key_nonce(public: bytes) -> str:
    """Return the nonce that a person's login carries: SHA-256 of the key's SubjectPublicKeyInfo, base64url."""
    return to_base64url(sha256(public))


class TokenDesk:
    """Looks at tokens of the trusted issuers. Thread safe."""

    def __init__(self, issuers: Iterable[IssuerKeys]) -> None:
        self._issuers = {item.issuer.url: item for item in issuers}

    def read(self, token: str) -> Signed:
        """Return a token whose signature is its issuer's. Raises FormatError, NotAuthenticated, KeyServiceUnavailable, Unsupported."""
        header, claims = _parts(token)
        algorithm, kid, said = header.get("alg"), header.get("kid"), claims.get("iss")
        if not isinstance(algorithm, str) or algorithm not in KEY_TYPES:
            raise NotAuthenticated("the token is signed in a way that is not allowed", hint=", ".join(KEY_TYPES))
        if not isinstance(kid, str) or "crit" in header or "b64" in header:
            raise NotAuthenticated("the token's header names no key, or asks for more than is done here")
        keys = self._issuers.get(said) if isinstance(said, str) else None
        if keys is None:
            raise NotAuthenticated("the token is of an issuer that custody does not trust", hint="`oidc:` in custody's config.yaml")
        fitting = [key for key in keys.named(kid) if _fits(key, algorithm)]
        if len(fitting) != 1:
            raise NotAuthenticated("the token's algorithm is not that of its issuer's key")
        _check_signature(token, fitting[0], algorithm)
        return Signed(keys.issuer, header, claims, sha256(token.rpartition(".")[0].encode("ascii")))

    def admit(self, signed: Signed, public: bytes, *, now_ms: int) -> Admitted:
        """Return whom a token is about, that came with a request for a certificate for the key `public`. Raises NotAuthenticated."""
        issuer, claims = signed.issuer, signed.claims
        if str(signed.header.get("typ", "JWT")).lower() not in _TYPES[issuer.kind]:
            raise NotAuthenticated("the token is of another type than this issuer's login gives")
        if claims.get("aud") not in (issuer.audience, [issuer.audience]):
            raise NotAuthenticated("the token is for somebody else", hint="its audience has to be custody's, and only that")
        if issuer.kind == PERSON:
            _check_person(issuer, claims, public)
        end_ms = _check_times(claims, issuer.most_s, now_ms)
        names = {rule.name for rule in issuer.rules if rule.fits(claims)}
        if len(names) != 1:
            more = "several principals" if names else "nobody whom custody's config.yaml names"
            raise NotAuthenticated(f"the token's claims are those of {more}", hint="`oidc:`, `principals:`")
        return Admitted(issuer.kind, names.pop(), end_ms)


def _parts(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what a token says of itself. Nothing of it is believed yet."""
    if len(token) > LIMIT:
        raise FormatError(f"a token has at most {LIMIT} characters")
    parts = token.split(".")
    try:
        if len(parts) != 3 or not all(parts[:2]):
            raise ValueError("three parts")  # noqa: TRY301 - one place says what is wrong
        return strict_json(from_base64url(parts[0])), strict_json(from_base64url(parts[1]))
    except (ValueError, FormatError):
        raise FormatError("not a signed token (JWT)") from None


def _fits(key: Mapping[str, Any], algorithm: str) -> bool:
    """Whether a published key is for signatures of this algorithm."""
    kind, curve = KEY_TYPES[algorithm]
    uses = key.get("key_ops", ["verify"])
    return (
        key.get("kty") == kind
        and (curve is None or key.get("crv") == curve)
        and key.get("use", "sig") == "sig"
        and isinstance(uses, list)
        and "verify" in uses
        and key.get("alg", algorithm) in {algorithm, *({"Ed25519"} if algorithm == "EdDSA" else ())}
        and "d" not in key
    )


def _check_signature(token: str, key: Mapping[str, Any], algorithm: str) -> None:
    try:
        from joserfc import jwk, jws  # noqa: PLC0415 - for those who take tokens
        from joserfc.errors import JoseError  # noqa: PLC0415
    except ImportError as error:
        raise Unsupported(f"tokens need {error.name}", hint="pip install 'hermetic[oidc]'") from None
    try:
        if key["kty"] == "RSA" and int.from_bytes(from_base64url(key["n"]), "big").bit_length() < RSA_BITS:
            raise NotAuthenticated("the issuer's key is too short")
        made = jwk.import_key({name: key[name] for name in _KEY_PARTS if name in key})
        jws.deserialize_compact(token, made, registry=_registry(jws.JWSRegistry, algorithm))
    except (JoseError, FormatError, ValueError, TypeError, KeyError):
        raise NotAuthenticated("the token's signature is not its issuer's", hint=HINT) from None


def _registry(base: Any, algorithm: str) -> Any:
    """Return what takes this one algorithm. The library warns of the name EdDSA, which RFC 9864 replaces; issuers write it."""

    class One(base):  # type: ignore[misc]
        def get_alg(self, name: str) -> Any:
            if name != algorithm:
                raise ValueError("another algorithm")
            return self.algorithms["Ed25519" if name == "EdDSA" else name]

    made = One(algorithms=[algorithm], strict_check_header=False)
    made.max_header_length = made.max_payload_length = LIMIT
    made.max_signature_length = LIMIT
    return made


def _check_person(issuer: Issuer, claims: Mapping[str, Any], public: bytes) -> None:
    if claims.get("azp", issuer.audience) != issuer.audience:
        raise NotAuthenticated("the token was given to another client")
    if claims.get("nonce") != key_nonce(public):
        raise NotAuthenticated("the token was not asked for with this key", hint="log in again: `hermetic identity login`")


def _check_times(claims: Mapping[str, Any], most_s: int, now_ms: int) -> int:
    """Return until when the token may be used, Unix milliseconds: clocks differ. Raises NotAuthenticated."""
    now = now_ms / 1000
    end, start, issued = (_moment(claims, name, required=name != "nbf") for name in ("exp", "nbf", "iat"))
    assert end is not None
    assert issued is not None
    if end + SKEW_S <= now:
        raise NotAuthenticated("the token has expired", hint=HINT)
    if issued - SKEW_S > now or (start is not None and start - SKEW_S > now):
        raise NotAuthenticated("the token is not good yet", hint="do the clocks agree?")
    if end <= issued or end - issued > LONGEST_S:
        raise NotAuthenticated(f"a token is good for at most {LONGEST_S} seconds")
    if now - issued > most_s + SKEW_S:
        raise NotAuthenticated("the token is too old", hint=HINT)
    return int((end + SKEW_S) * 1000)


def _moment(claims: Mapping[str, Any], name: str, *, required: bool) -> float | None:
    value = claims.get(name)
    if value is None and not required:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**40:
        raise NotAuthenticated(f"the token's `{name}` is missing, or no time")
    return float(value)
