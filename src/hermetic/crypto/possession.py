"""Signatures by the key of an X.509 certificate: that who shows the certificate has its key, and said this.

The algorithm follows from the key, so that none is negotiated: Ed25519; ECDSA over P-256, P-384 or P-521 with SHA-256, SHA-384 or
SHA-512; RSASSA-PSS with SHA-256 and a salt of 32 bytes, of 2,048 bits or more. Whether the certificate is believed is asked elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from hermetic.errors import FormatError, SignatureError, Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from hermetic.crypto.secret import Secret

_CURVES: Final[dict[str, Callable[[], hashes.HashAlgorithm]]] = {
    "secp256r1": hashes.SHA256,
    "secp384r1": hashes.SHA384,
    "secp521r1": hashes.SHA512,
}
_RSA_BITS: Final = 2048
_Private = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class CertificateKey:
    """The private key of a certificate. It signs and refuses to be shown."""

    __slots__ = ("_key",)

    def __init__(self, pem: Secret) -> None:
        """Read a private key in PEM, not encrypted. Raises FormatError, Unsupported."""
        try:
            key = load_pem_private_key(pem.view().tobytes(), password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise FormatError("this is no private key in PEM, or an encrypted one") from None
        if not isinstance(key, _Private):
            raise Unsupported("a certificate's key is Ed25519, ECDSA or RSA")
        self._key: _Private = key

    def sign(self, data: bytes) -> bytes:
        """Return the signature of `data`. Raises Unsupported for a curve or a length that is not accepted."""
        if isinstance(self._key, ed25519.Ed25519PrivateKey):
            return self._key.sign(data)
        if isinstance(self._key, ec.EllipticCurvePrivateKey):
            return self._key.sign(data, ec.ECDSA(_hash_of(self._key.curve)))
        _check_length(self._key.key_size)
        return self._key.sign(data, _pss(), hashes.SHA256())

    def __repr__(self) -> str:
        return "<CertificateKey withheld>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise Unsupported("a CertificateKey cannot be pickled or copied")


def check_signed(certificate: bytes, signature: bytes, data: bytes) -> None:
    """Raise SignatureError unless `signature` over `data` is by the key of the certificate (DER). Raises FormatError, Unsupported."""
    try:
        public = x509.load_der_x509_certificate(certificate).public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise FormatError("this is no X.509 certificate") from None
    try:
        if isinstance(public, ed25519.Ed25519PublicKey):
            public.verify(signature, data)
        elif isinstance(public, ec.EllipticCurvePublicKey):
            public.verify(signature, data, ec.ECDSA(_hash_of(public.curve)))
        elif isinstance(public, rsa.RSAPublicKey):
            _check_length(public.key_size)
            public.verify(signature, data, _pss(), hashes.SHA256())
        else:
            raise Unsupported("a certificate's key is Ed25519, ECDSA or RSA")
    except InvalidSignature:
        raise SignatureError("the signature is not by the key of this certificate") from None


def _hash_of(curve: ec.EllipticCurve) -> hashes.HashAlgorithm:
    if curve.name not in _CURVES:
        raise Unsupported(f"a certificate's key is not on {curve.name}", hint="use P-256 or P-384")
    return _CURVES[curve.name]()


def _check_length(bits: int) -> None:
    if bits < _RSA_BITS:
        raise Unsupported(f"an RSA key has at least {_RSA_BITS} bits")


def _pss() -> padding.PSS:
    return padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=32)
