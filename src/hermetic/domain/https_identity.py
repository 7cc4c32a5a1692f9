"""What a client of the service shows, and whom it believes: read from the identity folder, and again when a file there changes.

A context of TLS and the key that signs for recipients are made from the same bytes, so that a signature is by the key of the
certificate that the connection showed. Only the authorities of the folder are believed, none of the machine's.
"""

from __future__ import annotations

import os
import ssl
import stat
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NoReturn

from hermetic.crypto import x509
from hermetic.crypto.possession import CertificateKey
from hermetic.crypto.secret import Secret
from hermetic.errors import ConfigError, Denied, FormatError, NotAuthenticated
from hermetic.formats import recipient_proof
from hermetic.formats.binary_text import to_base64url

if TYPE_CHECKING:
    from hermetic.domain.identity_files import ClientIdentity

HINT = "ask who administers the domain for a certificate"
_END = "-----END CERTIFICATE-----"


@dataclass(frozen=True, slots=True)
class Presented:
    """A certificate with its key, ready for connections. `version` says which files it was read from."""

    certificate: bytes
    context: ssl.SSLContext
    version: tuple[tuple[int, int, int], ...]
    _key: CertificateKey = field(repr=False)

    def over(self, now: float) -> NotAuthenticated | None:
        """Return the error for a certificate whose time has ended by this machine's clock, None for one that is good."""
        ended = x509.parse(self.certificate).end_ms / 1000
        if now < ended:
            return None
        told = datetime.fromtimestamp(ended, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
        hint = "`hermetic identity request NAME` makes a key for a new one; `hermetic identity agent` renews in time"
        return NotAuthenticated(f"your certificate is over since {told}", hint=hint)

    def proof(self, domain: str, request: str, recipient: bytes) -> str:
        """Return the signature that says: the keys for this request go to this public key."""
        said = recipient_proof.statement(domain, request, recipient=recipient, certificate=self.certificate)
        return to_base64url(self._key.sign(said))


def version_of(paths: ClientIdentity) -> tuple[tuple[int, int, int], ...]:
    """Return what changes when a file is replaced. Raises ConfigError for a missing one, Denied for a key that others can read."""
    found = []
    for path in (paths.chain, paths.key, paths.authorities):
        try:
            facts = path.stat()
        except OSError as error:
            raise ConfigError(f"no identity for the service: {path}: {error.strerror}", hint=HINT) from None
        if path is paths.key and (facts.st_uid != os.geteuid() or stat.S_IMODE(facts.st_mode) & 0o077):
            raise Denied(f"{path} can be read by others", hint=f"chmod 600 {path}")
        found.append((facts.st_dev, facts.st_ino, facts.st_mtime_ns))
    return tuple(found)


def present(paths: ClientIdentity) -> Presented:
    """Read the files. Raises ConfigError, Denied, FormatError, Unsupported."""
    version = version_of(paths)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.load_verify_locations(cadata=paths.authorities.read_text("ascii"))
        context.load_cert_chain(paths.chain, paths.key, password=_no_password)
        first = paths.chain.read_text("ascii").partition(_END)
        certificate = ssl.PEM_cert_to_DER_cert(first[0] + first[1])
        key = CertificateKey(Secret(paths.key.read_bytes()))
    except (ssl.SSLError, OSError, ValueError) as error:
        raise FormatError(f"the identity beside {paths.chain} is not whole: {error}", hint=HINT) from None
    if version_of(paths) != version:  # it was replaced meanwhile: certificate and key may not belong together
        return present(paths)
    return Presented(certificate, context, version, key)


def _no_password() -> NoReturn:
    raise ValueError("the private key is encrypted")
