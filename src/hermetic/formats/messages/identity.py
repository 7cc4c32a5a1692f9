"""Who may call, and how they show it: principals with certificates, and the authorities that are believed."""

from __future__ import annotations

from dataclasses import dataclass

from hermetic.formats.codec import message
from hermetic.formats.messages.base import Request


@dataclass(frozen=True, slots=True)
class CredentialRow:
    """A certificate or a device. `fingerprint` is the SHA-256 of the certificate or of the device's key; `serial` is in hexadecimal.

    `kind` is certificate, device or token; `state` is active, revoked, expired, or of a token used; `family` is the id of the first of
    those that are renewals of each other.
    """

    id: str
    kind: str
    fingerprint: bytes
    serial: str
    authority: str
    family: str
    created_ms: int
    not_after_ms: int | None
    state: str
    ended_ms: int | None


@dataclass(frozen=True, slots=True)
class IdentityRow:
    """A principal with what it may show: `active` credentials, the last of which ends at `not_after_ms`."""

    id: str
    name: str
    kind: str
    roles: tuple[str, ...]
    state: str
    active: int
    not_after_ms: int | None


@message("list-identities")
@dataclass(frozen=True, slots=True)
class ListIdentities(Request["IdentityList"]):
    """Every principal, with how many credentials of theirs are good. As many as fit; `after` is the `next` of the page before."""

    after: str | None = None


@message("identity-list")
@dataclass(frozen=True, slots=True)
class IdentityList:
    """In name order; `next` says where the next page begins, None at the end."""

    identities: tuple[IdentityRow, ...]
    next: str | None = None


@message("show-identity")
@dataclass(frozen=True, slots=True)
class ShowIdentity(Request["Identity"]):
    """A principal by name or id."""

    principal: str


@message("identity")
@dataclass(frozen=True, slots=True)
class Identity:
    """A principal and its credentials, oldest first; those over long ago are left out when there are many."""

    identity: IdentityRow
    credentials: tuple[CredentialRow, ...]


@message("enrol-identity")
@dataclass(frozen=True, slots=True)
class EnrolIdentity(Request["Identity"]):
    """Make `spiffe://DOMAIN/KIND/NAME` known; `kind` is person or workload."""

    name: str
    kind: str
    roles: tuple[str, ...]
    reason: str


@message("issue-certificate")
@dataclass(frozen=True, slots=True)
class IssueCertificate(Request["CertificateIssued"]):
    """Give a principal a certificate for the key of a signing request (PKCS #10, DER), for `seconds`.

    The same request again is answered with the same certificate.
    """

    principal: str
    csr: bytes
    seconds: int
    reason: str


@message("renew-certificate")
@dataclass(frozen=True, slots=True)
class RenewCertificate(Request["CertificateIssued"]):
    """Give the very caller, who authenticated with a certificate, another one of the same length for the fresh key of `csr`."""

    csr: bytes


@message("exchange-token")
@dataclass(frozen=True, slots=True)
class ExchangeToken(Request["CertificateIssued"]):
    """Give whom an ID token names a certificate for the key of `csr`; taken only by the listener for logins (`serve --login`).

    The same token with the same key again is answered with the same certificate; with another key it is refused.
    """

    token: str
    csr: bytes


@message("certificate-issued")
@dataclass(frozen=True, slots=True)
class CertificateIssued:
    """`chain` begins with the new certificate, the authorities under the root follow; `authorities` are what clients pin (DER)."""

    credential: str
    principal: str
    chain: tuple[bytes, ...]
    authorities: tuple[bytes, ...]
    not_after_ms: int


@message("revoke-credential")
@dataclass(frozen=True, slots=True)
class RevokeCredential(Request["CredentialsEnded"]):
    """End all credentials of a principal, or one with its family; `subject` is a name, an id, or a fingerprint in hexadecimal."""

    subject: str
    reason: str


@message("credentials-ended")
@dataclass(frozen=True, slots=True)
class CredentialsEnded:
    """Ids of those that were good until now."""

    principal: str
    ended: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AuthorityRow:
    """An authority: `kind` is root, intermediate, cross or external, `state` active, retiring or retired."""

    id: str
    kind: str
    subject: str
    fingerprint: bytes
    parent: str
    state: str
    created_ms: int
    not_after_ms: int
    certificate: bytes


@message("list-authorities")
@dataclass(frozen=True, slots=True)
class ListAuthorities(Request["AuthorityList"]):
    """Every authority, those that are trusted no more too."""


@message("authority-list")
@dataclass(frozen=True, slots=True)
class AuthorityList:
    """Oldest first."""

    authorities: tuple[AuthorityRow, ...]


@message("create-authority")
@dataclass(frozen=True, slots=True)
class CreateAuthority(Request["AuthorityList"]):
    """Make the domain's own authority: a root and an intermediate."""

    reason: str


@message("rotate-authority")
@dataclass(frozen=True, slots=True)
class RotateAuthority(Request["AuthorityList"]):
    """Give the intermediate, or with `root` both, new keys; what the old ones signed stays good until they are retired."""

    root: bool
    reason: str


@message("retire-authority")
@dataclass(frozen=True, slots=True)
class RetireAuthority(Request["AuthorityList"]):
    """Believe an authority no more, nor anything that it signed."""

    authority: str
    reason: str


@message("trust-authority")
@dataclass(frozen=True, slots=True)
class TrustAuthority(Request["AuthorityList"]):
    """Believe authorities that are somebody else's (certificates in DER)."""

    certificates: tuple[bytes, ...]
    reason: str


@message("export-trust")
@dataclass(frozen=True, slots=True)
class ExportTrust(Request["TrustedAuthorities"]):
    """What clients of this domain pin."""


@message("trusted-authorities")
@dataclass(frozen=True, slots=True)
class TrustedAuthorities:
    """The certificates (DER) that the service's own chain ends in."""

    domain: str
    certificates: tuple[bytes, ...]
