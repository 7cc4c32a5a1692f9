"""Is this certificate good, at this time, for this use? The rules of spec/identity.md, stricter than a TLS library's.

The chain is built from authorities that are trusted already; what a peer sends along proves nothing here. A path goes up by name,
key identifier and signature to an anchor. Refused: anything outside of its time, an authority that is none or whose path is too long,
a leaf that may sign certificates, a use that is not its own, critical extensions that nobody here understands, weak keys and
digests, name constraints that exclude the name, more or less than one URI.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtensionOID, SignatureAlgorithmOID

from hermetic.crypto.x509 import CLIENT, SERVER, Certificate, is_strong, parse
from hermetic.errors import NotAuthenticated

if TYPE_CHECKING:
    from collections.abc import Sequence

DEPTH: Final = 4  # authorities above a leaf
_KNOWN: Final = {
    ExtensionOID.BASIC_CONSTRAINTS,
    ExtensionOID.KEY_USAGE,
    ExtensionOID.EXTENDED_KEY_USAGE,
    ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    ExtensionOID.NAME_CONSTRAINTS,
}
_DIGESTS: Final = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
_URI: Final = re.compile(r"spiffe://([a-z0-9][a-z0-9._-]{0,253})/((?:person|workload|service)/[A-Za-z0-9][A-Za-z0-9._-]{0,119})")


@dataclass(frozen=True, slots=True)
class Believed:
    """A leaf that is good: whom it names, and the authorities on its path, the one that signed it first."""

    certificate: Certificate
    uri: str
    path: tuple[Certificate, ...]


def verify(der: bytes, authorities: Sequence[bytes], anchors: Sequence[bytes], *, at_ms: int, use: str = "client") -> Believed:
    """Return what a leaf says if it is good at `at_ms`. Raises NotAuthenticated, FormatError.

    `authorities` are those that may stand on the path; those among them that are `anchors` end it.
    """
    leaf = parse(der)
    uri = _leaf(leaf, at_ms, SERVER if use == "server" else CLIENT)
    known, ends = [parse(item) for item in authorities], set(anchors)
    path, below = [], leaf
    for depth in range(DEPTH):
        issuer = _issuer(below, known)
        _authority(issuer, at_ms, depth)
        _may_issue(issuer, leaf, uri, SERVER if use == "server" else CLIENT)
        path.append(issuer)
        if issuer.der in ends:
            return Believed(leaf, uri, tuple(path))
        below = issuer
    raise NotAuthenticated("the certificate's path to a trusted authority is too long")


def parts_of(uri: str) -> tuple[str, str]:
    """Return domain and path of a URI that names somebody. Raises NotAuthenticated for any other, one with a wildcard included."""
    found = _URI.fullmatch(uri)
    if found is None:
        raise NotAuthenticated(
            "the certificate names nobody that a domain could know", hint="one URI: spiffe://DOMAIN/person/NAME or /workload/NAME"
        )
    return found[1], found[2]


def check_leaf(der: bytes, *, at_ms: int) -> Certificate:
    """Return a client's certificate that is good as far as it goes by itself; who signed it is not looked at. Raises as `verify`."""
    leaf = parse(der)
    _leaf(leaf, at_ms, CLIENT)
    return leaf


def check_authority(der: bytes, *, at_ms: int) -> Certificate:
    """Return a certificate that may be trusted as an authority. Raises NotAuthenticated, FormatError."""
    found = parse(der)
    _authority(found, at_ms, 0)
    if found.self_signed:
        _signed_by(found, found)
    return found


def issuer_among(below: Certificate, known: Sequence[Certificate]) -> Certificate | None:
    """Return the one that signed a certificate, not itself; None where it is not among those known."""
    try:
        return _issuer(below, list(known))
    except NotAuthenticated:
        return None


def _leaf(leaf: Certificate, at_ms: int, use: x509.ObjectIdentifier) -> str:
    _alive(leaf, at_ms, "certificate")
    _sound(leaf)
    constraints = _extension(leaf, x509.BasicConstraints)
    usage = _extension(leaf, x509.KeyUsage)
    if constraints is not None and constraints.ca:
        raise NotAuthenticated("the certificate is an authority's, and authenticates nobody")
    if usage is None or not usage.digital_signature or usage.key_cert_sign or usage.crl_sign:
        raise NotAuthenticated("the certificate is not for signatures of its holder")
    uses = _extension(leaf, x509.ExtendedKeyUsage)
    if uses is None or use not in set(uses):
        raise NotAuthenticated("the certificate is for another use")
    if len(leaf.uris) != 1:
        raise NotAuthenticated(f"the certificate names {len(leaf.uris)} URIs, and not one")
    parts_of(leaf.uris[0])
    return leaf.uris[0]


def _authority(issuer: Certificate, at_ms: int, depth: int) -> None:
    """`depth` is how many authorities stand between this one and the leaf."""
    _alive(issuer, at_ms, "authority")
    _sound(issuer)
    constraints, usage = _extension(issuer, x509.BasicConstraints), _extension(issuer, x509.KeyUsage)
    if constraints is None or not constraints.ca or usage is None or not usage.key_cert_sign:
        raise NotAuthenticated("the certificate was signed by one that is no authority's")
    if constraints.path_length is not None and depth > constraints.path_length:
        raise NotAuthenticated("more authorities stand under this one than it allows")


def _may_issue(issuer: Certificate, leaf: Certificate, uri: str, use: x509.ObjectIdentifier) -> None:
    uses = _extension(issuer, x509.ExtendedKeyUsage)
    if uses is not None and use not in set(uses):
        raise NotAuthenticated("the authority is for another use")
    names = _extension(issuer, x509.NameConstraints)
    if names is None:
        return
    host = urlsplit(uri).hostname or ""
    if any(isinstance(name, x509.DirectoryName) for name in (*(names.permitted_subtrees or ()), *(names.excluded_subtrees or ()))):
        raise NotAuthenticated("the authority's name constraints are of a kind that is not understood here")
    permitted = [name.value for name in names.permitted_subtrees or () if isinstance(name, x509.UniformResourceIdentifier)]
    excluded = [name.value for name in names.excluded_subtrees or () if isinstance(name, x509.UniformResourceIdentifier)]
    if (permitted and not any(_within(host, base) for base in permitted)) or any(_within(host, base) for base in excluded):
        raise NotAuthenticated(f"the authority of {leaf.subject or 'the certificate'} may not issue for this domain")


def _within(host: str, base: str) -> bool:
    """RFC 5280, 4.2.1.10: a base that begins with a dot means every host below it, any other means that host, in any case."""
    base = base.lower()
    return host.endswith(base) and host != base if base.startswith(".") else host == base


def _issuer(below: Certificate, known: list[Certificate]) -> Certificate:
    named = [item for item in known if item.raw.subject == below.raw.issuer and item.der != below.der]
    for item in named:
        try:
            _signed_by(below, item)
        except NotAuthenticated:
            continue
        return item
    raise NotAuthenticated("the certificate is not of an authority that this domain trusts")


def _signed_by(below: Certificate, issuer: Certificate) -> None:
    above, own = _extension(below, x509.AuthorityKeyIdentifier), _extension(issuer, x509.SubjectKeyIdentifier)
    if above is not None and own is not None and above.key_identifier not in {None, own.digest}:
        raise NotAuthenticated("the certificate was signed by another key of this authority")
    try:
        below.raw.verify_directly_issued_by(issuer.raw)
    except (InvalidSignature, ValueError, TypeError, UnsupportedAlgorithm):
        raise NotAuthenticated("the certificate's signature is wrong") from None


def _alive(item: Certificate, at_ms: int, what: str) -> None:
    if at_ms < item.start_ms:
        raise NotAuthenticated(f"the {what} is not valid yet", hint="compare the clocks of both machines")
    if at_ms >= item.end_ms:
        raise NotAuthenticated(f"the {what} has expired", hint="`hermetic identity request` asks for a new one")


def _sound(item: Certificate) -> None:
    if not is_strong(item.raw.public_key()):
        raise NotAuthenticated("the certificate has a key of a kind or length that is not believed")
    digest = item.raw.signature_hash_algorithm
    plain = item.raw.signature_algorithm_oid == SignatureAlgorithmOID.ED25519
    if not plain and not isinstance(digest, _DIGESTS):
        raise NotAuthenticated("the certificate is signed with a digest that is not believed")
    if strange := [ext.oid.dotted_string for ext in item.raw.extensions if ext.critical and ext.oid not in _KNOWN]:
        raise NotAuthenticated(f"the certificate has a critical extension that is not understood here: {strange[0]}")


def _extension(item: Certificate, kind: Any) -> Any:
    try:
        return item.raw.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
