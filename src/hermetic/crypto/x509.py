"""X.509 certificates in the one profile of spec/identity.md: made and read here, verified in `x509_chain`.

Authorities have ECDSA P-256 keys. Ed25519 would be as good, but Mozilla's profile for TLS, which sslyze checks, browsers, and most
hardware do not take it in certificates. A P-256 private key has 32 bytes, so that it is wrapped like any other secret key.
Whom a certificate names is its one URI, `spiffe://DOMAIN/person/NAME` or `spiffe://DOMAIN/workload/NAME`; the subject is for people.

An authority's certificates carry a name constraint: what they issue names this domain or is no good anywhere.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hermetic.crypto.x509_keys import (
    DER_LIMIT,
    UNREADABLE,
    AuthorityKey,
    SigningRequest,
    is_modern,
    is_strong,
    names_of,
    new_request,
    parse_request,
    private_pem,
    public_key,
    public_of,
    request_again,
    request_in,
    spki,
)
from hermetic.errors import FormatError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hermetic.crypto.secret import Secret

__all__ = [
    "DER_LIMIT",
    "AuthorityKey",
    "Certificate",
    "Issuer",
    "SigningRequest",
    "Span",
    "certificates_in",
    "client_certificate",
    "intermediate_certificate",
    "is_modern",
    "is_strong",
    "new_request",
    "parse",
    "parse_request",
    "public_of",
    "request_again",
    "request_in",
    "root_certificate",
    "server_certificate",
    "spki",
    "to_pem",
]

ALGORITHM: Final = "ecdsa-p256"
CHAIN_LIMIT: Final = 16  # certificates in one file
SKEW_MS: Final = 60_000  # how long before it is made a certificate is valid: clocks differ
PATH: Final = 2  # certificates of authorities that may stand under a root's
CLIENT: Final = ExtendedKeyUsageOID.CLIENT_AUTH
SERVER: Final = ExtendedKeyUsageOID.SERVER_AUTH


@dataclass(frozen=True, slots=True)
class Span:
    """From when to when, Unix milliseconds; certificates count whole seconds."""

    start_ms: int
    end_ms: int

    @classmethod
    def of(cls, now_ms: int, seconds: int, *, at_most_ms: int | None = None) -> Span:
        """Return the time of a certificate made now for so long, within that of its issuer."""
        end = now_ms + seconds * 1000
        return cls(now_ms - SKEW_MS, end if at_most_ms is None else min(end, at_most_ms))


@dataclass(frozen=True, slots=True)
class Issuer:
    """An authority that can sign: its certificate and its key."""

    certificate: bytes
    key: AuthorityKey


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate as read. `raw` is the library's object, for `x509_chain`; everything else is plain values."""

    der: bytes
    raw: x509.Certificate
    start_ms: int
    end_ms: int

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 of the certificate."""
        return hashlib.sha256(self.der).digest()

    @property
    def serial(self) -> str:
        """The serial number, in hexadecimal."""
        return f"{self.raw.serial_number:x}"

    @property
    def subject(self) -> str:
        """The subject's common name, empty where there is none."""
        found = self.raw.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return str(found[0].value) if found else ""

    @property
    def public(self) -> bytes:
        """The subject's public key, SubjectPublicKeyInfo in DER."""
        return spki(self.raw.public_key())

    @property
    def uris(self) -> tuple[str, ...]:
        """Every URI that the certificate names."""
        return names_of(self.raw.extensions)

    @property
    def self_signed(self) -> bool:
        """Whether issuer and subject have the same name; that it is really signed by itself is for `x509_chain` to see."""
        return self.raw.issuer == self.raw.subject


def parse(der: bytes) -> Certificate:
    """Read a certificate. Raises FormatError for what is too long, is none, or has extensions nobody can read."""
    if len(der) > DER_LIMIT:
        raise FormatError(f"a certificate has at most {DER_LIMIT} bytes")
    try:
        raw = x509.load_der_x509_certificate(der)
        _ = (raw.extensions, raw.subject, raw.issuer, raw.version, spki(raw.public_key()))
        span = _ms(raw.not_valid_before_utc), _ms(raw.not_valid_after_utc)
    except UNREADABLE as error:
        raise FormatError(f"not a certificate that can be read: {type(error).__name__}") from None
    if raw.version is not x509.Version.v3:
        raise FormatError("a certificate of an old version", hint="certificates are of version 3")
    return Certificate(der, raw, *span)


def root_certificate(key: AuthorityKey, subject: str, domain: str, span: Span) -> bytes:
    """Make the certificate of a root, signed by itself, for names of `domain` only."""
    public = key.key.public_key()
    builder = _authority(_named(subject), _named(subject), public, span, path=PATH)
    return _signed(_constrained(builder, domain), public, key)


def intermediate_certificate(issuer: Issuer, public: bytes, subject: str, domain: str, *, span: Span, path: int = 0) -> bytes:
    """Make the certificate of an authority under another one; `public` is the point of its key."""
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public)
    above = parse(issuer.certificate)
    builder = _authority(_named(subject), above.raw.subject, key, span, path=path)
    builder = builder.add_extension(x509.ExtendedKeyUsage([CLIENT, SERVER]), critical=False)
    return _signed(_constrained(builder, domain), above.raw.public_key(), issuer.key)


def client_certificate(issuer: Issuer, public: bytes, uri: str, subject: str, *, span: Span) -> bytes:
    """Make a certificate that names `uri` for the key `public` (SubjectPublicKeyInfo), to authenticate with as a client."""
    key = public_key(public)
    above = parse(issuer.certificate)
    builder = _leaf(subject, above.raw.subject, key, span, use=CLIENT)
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)])
    return _signed(builder.add_extension(names, critical=False), above.raw.public_key(), issuer.key)


def server_certificate(issuer: Issuer, uri: str, names: Sequence[str], *, span: Span) -> tuple[bytes, Secret]:
    """Make a key and a certificate for a server reached by `names`, host names or IP addresses; return certificate and key as PEM.

    Raises UsageError for a name with a wildcard, or none.
    """
    if not names:
        raise UsageError("a server's certificate needs a name", hint="the host name or address that clients use")
    known = [*map(_host, names), x509.UniformResourceIdentifier(uri)]
    key = ec.generate_private_key(ec.SECP256R1())
    above = parse(issuer.certificate)
    builder = _leaf(names[0][:64], above.raw.subject, key.public_key(), span, use=SERVER)
    builder = builder.add_extension(x509.SubjectAlternativeName(known), critical=False)
    return _signed(builder, above.raw.public_key(), issuer.key), private_pem(key)


def to_pem(certificates: Sequence[bytes], label: str = "CERTIFICATE") -> bytes:
    """Return certificates, or requests, in DER as one PEM text."""
    blocks = []
    for der in certificates:
        body = base64.b64encode(der).decode("ascii")
        lines = "\n".join(body[at : at + 64] for at in range(0, len(body), 64))
        blocks.append(f"-----BEGIN {label}-----\n{lines}\n-----END {label}-----\n")
    return "".join(blocks).encode("ascii")


def certificates_in(pem: bytes) -> tuple[bytes, ...]:
    """Return the certificates of a PEM text in DER. Raises FormatError for none, too many, or other things."""
    if len(pem) > CHAIN_LIMIT * DER_LIMIT * 2:
        raise FormatError("too long for a file of certificates")
    try:
        found = x509.load_pem_x509_certificates(pem)
    except UNREADABLE as error:
        raise FormatError(
            f"no certificates in PEM: {type(error).__name__}",
            hint="a certificate is the file that `hermetic identity issue` wrote; authorities, `hermetic identity export-trust`",
        ) from None
    if len(found) > CHAIN_LIMIT:
        raise FormatError(f"a file has at most {CHAIN_LIMIT} certificates")
    return tuple(item.public_bytes(serialization.Encoding.DER) for item in found)


def _authority(subject: x509.Name, issuer: x509.Name, key: Any, span: Span, *, path: int) -> x509.CertificateBuilder:
    builder = _started(subject, issuer, key, span).add_extension(x509.BasicConstraints(ca=True, path_length=path), critical=True)
    return builder.add_extension(_usage(authority=True), critical=True)


def _leaf(subject: str, issuer: x509.Name, key: Any, span: Span, *, use: x509.ObjectIdentifier) -> x509.CertificateBuilder:
    builder = _started(_named(subject), issuer, key, span)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(authority=False), critical=True)
    return builder.add_extension(x509.ExtendedKeyUsage([use]), critical=False)


def _started(subject: x509.Name, issuer: x509.Name, key: Any, span: Span) -> x509.CertificateBuilder:
    if span.end_ms // 1000 <= span.start_ms // 1000:
        raise UsageError("a certificate would end before it begins", hint="its authority ends: rotate it")
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(_when(span.start_ms)).not_valid_after(_when(span.end_ms))
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)


def _constrained(builder: x509.CertificateBuilder, domain: str) -> x509.CertificateBuilder:
    only = x509.NameConstraints([x509.UniformResourceIdentifier(domain)], None)
    return builder.add_extension(only, critical=True)


def _signed(builder: x509.CertificateBuilder, issuer_public: Any, key: AuthorityKey) -> bytes:
    above = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_public)
    made = builder.add_extension(above, critical=False).sign(key.key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.DER)


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _named(subject: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject[:64])])


def _host(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    labels = name.split(".")
    if not all(label and label.isascii() and label.replace("-", "").isalnum() for label in labels):
        raise UsageError(f"{name!r} is no host name for a certificate", hint="letters, digits, dots and dashes; no wildcard")
    return x509.DNSName(name)


def _when(at_ms: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(at_ms // 1000, dt.UTC)


def _ms(at: dt.datetime) -> int:
    return int(at.timestamp()) * 1000
