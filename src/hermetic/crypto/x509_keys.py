"""Keys of certificates, and requests to certify them: what `crypto.x509` builds on, and offers as its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from hermetic.crypto.secret import Secret
from hermetic.errors import FormatError, SignatureError, UsageError

DER_LIMIT: Final = 16 * 1024  # bytes of one certificate or request
RSA_BITS: Final = 2048
UNREADABLE: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    x509.InvalidVersion,
)


class AuthorityKey:
    """The private key of an authority: signs certificates and refuses to be shown."""

    __slots__ = ("key",)

    def __init__(self, seed: Secret) -> None:
        """Take the 32-byte private scalar. Raises UsageError for bytes that are none."""
        try:
            self.key = ec.derive_private_key(int.from_bytes(seed.view(), "big"), ec.SECP256R1())
        except ValueError:
            raise UsageError("not the private key of an authority") from None

    @classmethod
    def generate(cls) -> AuthorityKey:
        """Return a fresh key."""
        number = ec.generate_private_key(ec.SECP256R1()).private_numbers().private_value
        return cls(Secret(number.to_bytes(32, "big")))

    def seed(self) -> Secret:
        """Return the 32-byte private scalar, for wrapping under a root."""
        return Secret(self.key.private_numbers().private_value.to_bytes(32, "big"))

    @property
    def public(self) -> bytes:
        """The public point, uncompressed, 65 bytes."""
        return self.key.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)

    def __repr__(self) -> str:
        return "<AuthorityKey withheld>"

    def __reduce_ex__(self, protocol: object) -> tuple[object, ...]:
        raise UsageError("an AuthorityKey cannot be pickled or copied")


@dataclass(frozen=True, slots=True)
class SigningRequest:
    """A certificate signing request whose signature was verified: who asks has the private key."""

    public: bytes
    uris: tuple[str, ...]


def parse_request(der: bytes) -> SigningRequest:
    """Read a signing request and verify its signature. Raises FormatError, SignatureError, UsageError for a key that is too weak."""
    if len(der) > DER_LIMIT:
        raise FormatError(f"a signing request has at most {DER_LIMIT} bytes")
    try:
        raw = x509.load_der_x509_csr(der)
        key, uris, valid = raw.public_key(), names_of(raw.extensions), raw.is_signature_valid
    except (*UNREADABLE, InvalidSignature) as error:
        raise FormatError(
            f"not a signing request that can be read: {type(error).__name__}",
            hint="it is the file that `hermetic identity request` wrote",
        ) from None
    if not valid:
        raise SignatureError("the request is not signed with the key that it names")
    if not is_modern(key):
        raise UsageError("a key of another kind than certificates are issued for", hint="ECDSA P-256 or P-384, or Ed25519")
    return SigningRequest(spki(key), uris)


def new_request(uri: str) -> tuple[Secret, bytes]:
    """Make a private key and a request for a certificate that names `uri`; return the key as PEM, and the request in DER."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)])
    request = builder.add_extension(names, critical=True).sign(key, hashes.SHA256())
    return private_pem(key), request.public_bytes(serialization.Encoding.DER)


def request_again(key_pem: Secret, uri: str) -> bytes:
    """Return a request in DER for a key made before. Raises FormatError."""
    key = _private(key_pem)
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)])
    return builder.add_extension(names, critical=True).sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def public_of(key_pem: Secret) -> bytes:
    """Return the public half of a private key in PEM, SubjectPublicKeyInfo in DER. Raises FormatError."""
    return spki(_private(key_pem).public_key())


def request_in(pem: bytes) -> bytes:
    """Return the signing request of a PEM text in DER; DER is returned as it is. Raises FormatError."""
    if not pem.lstrip().startswith(b"-----"):
        return pem
    try:
        return x509.load_pem_x509_csr(pem).public_bytes(serialization.Encoding.DER)
    except UNREADABLE as error:
        raise FormatError(f"no signing request in PEM: {type(error).__name__}") from None


def is_modern(key: Any) -> bool:
    """Whether certificates are issued for such a key."""
    curves = isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, (ec.SECP256R1, ec.SECP384R1))
    return curves or isinstance(key, ed25519.Ed25519PublicKey)


def is_strong(key: Any) -> bool:
    """Whether a certificate with such a key is believed: RSA of other people's authorities too, if it is long enough."""
    return is_modern(key) or (isinstance(key, rsa.RSAPublicKey) and key.key_size >= RSA_BITS)


def names_of(extensions: x509.Extensions) -> tuple[str, ...]:
    """Return the URIs among the alternative names."""
    try:
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(names.get_values_for_type(x509.UniformResourceIdentifier))


def spki(key: Any) -> bytes:
    """Return a public key as SubjectPublicKeyInfo in DER."""
    encoded: bytes = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return encoded


def public_key(der: bytes) -> Any:
    """Read a public key, SubjectPublicKeyInfo in DER. Raises FormatError."""
    try:
        return serialization.load_der_public_key(der)
    except UNREADABLE as error:
        raise FormatError(f"not a public key: {type(error).__name__}") from None


def _private(pem: Secret) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(bytes(pem.view()), password=None)
    except UNREADABLE as error:
        raise FormatError(f"not a private key: {type(error).__name__}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise FormatError("a private key of another kind than was made here")
    return key


def private_pem(key: ec.EllipticCurvePrivateKey) -> Secret:
    """Return a private key as PEM, not encrypted."""
    form = serialization.PrivateFormat.PKCS8
    return Secret(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
