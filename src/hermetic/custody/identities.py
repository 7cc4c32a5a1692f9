"""What a transport asks of custody about certificates: who is that, what shall the service show, whom may clients believe.

A TLS library has seen already that a peer has the private key, and that the chain leads to a trusted authority. Custody looks again,
by its own rules and clock (`crypto.x509_chain`), and finds the credential that the certificate is. One that this domain's authority
signed is known since it was issued, or it is refused. One of an external authority is put on record when it is met first, and is from
then on a credential like others, which can be revoked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hermetic.access import authorities, credentials, identity
from hermetic.access.credentials import Credential
from hermetic.audit.leaf import Entry, Hidden
from hermetic.catalog.values import fresh_id
from hermetic.crypto import x509, x509_chain
from hermetic.crypto.mac import sha256
from hermetic.custody import authority_keys
from hermetic.custody.work import unit
from hermetic.errors import Conflict, FormatError, NotAuthenticated
from hermetic.formats.binary_text import to_base64url

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hermetic.access.authorities import Authority
    from hermetic.crypto.secret import Secret
    from hermetic.crypto.x509_chain import Believed
    from hermetic.custody.custodian import Custodian
    from hermetic.custody.work import Work
    from hermetic.db.rows import ReadSession
    from hermetic.formats.canonical import JsonValue

SERVICE_SECONDS: Final = 24 * 3600  # how long a certificate of the service is good: it is made anew when it is asked for
DAY_MS: Final = 86_400_000
REMEMBERED: Final = 4096  # chains that were verified
SWEPT: Final = 100  # certificates marked as expired, and removed, at a time


@dataclass(frozen=True, slots=True)
class _Seen:
    """A certificate whose chain was verified: whom it names, its credential, and when it and all above it are good."""

    uri: str
    credential: str
    start_ms: int
    end_ms: int


_SEEN: dict[tuple[str, bytes], _Seen] = {}
"""By domain and fingerprint. Signatures do not change; what may change is asked of the rows each time: who is active, the credential's
state, and that of its authority, which is retired with whatever stands above it."""


def vouch_certificate(custodian: Custodian, der: bytes) -> tuple[str, str]:
    """Return principal id and credential id of a client certificate. Raises NotAuthenticated, RowTampered, StorageError."""
    now_ms, place = custodian.clock(), (custodian.domain, sha256(der))
    seen = _SEEN.get(place)
    if seen is not None and seen.start_ms <= now_ms < seen.end_ms:
        with custodian.database.read(custodian.row_keys, plan=("vouch", place)) as session:
            identity.authenticated(session, seen.uri)
            return seen.uri, credentials.check(session, seen.credential, seen.uri, now_ms=now_ms).id
    _mark_over(custodian, place[1], now_ms)
    with custodian.database.read(custodian.row_keys) as session:
        believed, above = _believed(custodian, session, der, now_ms)
        identity.authenticated(session, believed.uri)
        known = credentials.by_fingerprint(session, believed.certificate.fingerprint)
        if known is None:
            _may_be_new(custodian, session, believed, above)
        else:
            credentials.check(session, known.id, believed.uri, now_ms=now_ms)
    credential = known.id if known is not None else _met(custodian, believed, above, now_ms)
    whole = (believed.certificate, *believed.path)
    if len(_SEEN) >= REMEMBERED:
        _SEEN.clear()
    _SEEN[place] = _Seen(believed.uri, credential, max(item.start_ms for item in whole), min(item.end_ms for item in whole))
    return believed.uri, credential


def _mark_over(custodian: Custodian, fingerprint: bytes, now_ms: int) -> None:
    """Mark a certificate that is shown after its time, so that a clock that is set back does not revive it."""
    with custodian.database.read(custodian.row_keys) as session:
        known = credentials.by_fingerprint(session, fingerprint)
    if known is not None and (known.state, known.state_at(now_ms)) == (credentials.ACTIVE, credentials.EXPIRED):
        with unit(custodian, "custody.credential.expired", now_ms) as work:
            sweep(custodian, work)


def server_certificate(custodian: Custodian, names: Sequence[str]) -> tuple[bytes, Secret]:
    """Make a certificate for the service under `names`; return its chain and its private key, both PEM.

    Good for a day, or as long as policy lets certificates be: ask again before. Raises NotFound where the domain has no authority.
    """
    now_ms = custodian.clock()
    with unit(custodian, "custody.service.certified", now_ms) as work:
        issuer, above = authority_keys.signer(custodian, work.session)
        seconds = min(SERVICE_SECONDS, lifetime_ms(custodian, work.session) // 1000)
        span = x509.Span.of(now_ms, seconds, at_most_ms=above.not_after_ms)
        uri = f"spiffe://{custodian.domain}/service/custody"
        der, key = x509.server_certificate(issuer, uri, names, span=span)
        made = x509.parse(der)
        facts: dict[str, JsonValue] = {
            "fingerprint": to_base64url(made.fingerprint),
            "serial": made.serial,
            "not_after_ms": made.end_ms,
        }
        hidden = {"names": Hidden(list(names), "service:custody")}
        work.log(Entry("service.certificate", facts, hidden))
        chain = authority_keys.chain_of(work.session, above)
    return x509.to_pem((der, *chain)), key


def trusted_authorities(custodian: Custodian) -> tuple[bytes, ...]:
    """Return the certificates (DER) that a TLS library shall accept chains to: the domain's roots and external authorities.

    An external one need not be signed by itself: OpenSSL has to be told to take it as an end (X509_V_FLAG_PARTIAL_CHAIN).
    """
    with custodian.database.read(custodian.row_keys) as session:
        return tuple(item.certificate for item in authorities.believed(session) if item.anchor)


def sweep(custodian: Custodian, work: Work) -> None:
    """Mark certificates whose time was seen to be over: they stay so when the clock is set back afterwards. Remove very old ones."""
    found = credentials.overdue(work.session, work.now_ms, limit=SWEPT)
    for item in found:
        credentials.end(work.session, item, credentials.EXPIRED, now_ms=work.now_ms)
    if found:
        work.log(Entry("credential.expired", {"count": len(found)}))
    now_ms = min(work.now_ms, custodian.steady())  # a clock that jumped ahead does not make what was just used look old
    own = [item.id for item in authorities.ls(work.session) if item.kind != authorities.EXTERNAL]
    old = credentials.forgotten(work.session, now_ms, own, limit=SWEPT)
    for item in old:
        credentials.forget(work.session, item)
    if old:
        work.log(Entry("credential.removed", {"count": len(old)}))


def lifetime_ms(custodian: Custodian, session: ReadSession) -> int:
    """Return how long policy lets a certificate be good."""
    return custodian.policy.current(session).document.tls.certificate_lifetime * DAY_MS


def _believed(custodian: Custodian, session: ReadSession, der: bytes, now_ms: int) -> tuple[Believed, Authority]:
    """Return what a certificate says, and the authority that signed it."""
    everyone = authorities.believed(session)
    anchors = [item.certificate for item in everyone if item.anchor]
    try:
        believed = x509_chain.verify(der, [item.certificate for item in everyone], anchors, at_ms=now_ms)
    except FormatError as error:
        raise NotAuthenticated(error.message) from None
    domain, path = x509_chain.parts_of(believed.uri)
    if domain != custodian.domain or path.startswith("service/"):
        raise NotAuthenticated("the certificate names nobody of this domain")
    signer = believed.path[0].der
    return believed, next(item for item in everyone if item.certificate == signer)


def _may_be_new(custodian: Custodian, session: ReadSession, believed: Believed, above: Authority) -> None:
    if above.kind != authorities.EXTERNAL:
        raise NotAuthenticated("this domain's authority has no record of the certificate", hint="run `hermetic log verify`")
    found = believed.certificate
    if found.end_ms - found.start_ms > lifetime_ms(custodian, session) + x509.SKEW_MS:
        raise NotAuthenticated("the certificate is good for longer than the policy allows", hint="`tls: certificate_lifetime`")


def _met(custodian: Custodian, believed: Believed, above: Authority, now_ms: int) -> str:
    """Put a certificate of an external authority on record; return its credential's id."""
    found, made = believed.certificate, fresh_id()
    try:
        with unit(custodian, "custody.credential.met", now_ms) as work:
            identity.authenticated(work.session, believed.uri)
            row = Credential(
                id=made,
                principal_id=believed.uri,
                kind=credentials.CERTIFICATE,
                fingerprint=found.fingerprint,
                public=found.public,
                authority_id=above.id,
                not_after_ms=found.end_ms,
                created_ms=now_ms,
                about={"serial": found.serial, "family": made},
            )
            credentials.add(work.session, row)
            work.log(issued("credential.met", row, ()))
    except Conflict:  # another connection was first
        with custodian.database.read(custodian.row_keys) as session:
            known = credentials.by_fingerprint(session, found.fingerprint)
            if known is None:
                raise
            return credentials.check(session, known.id, believed.uri, now_ms=now_ms).id
    return made


def issued(kind: str, row: Credential, policies: tuple[str, ...], hidden: dict[str, Hidden] | None = None) -> Entry:
    """Return the entry about a certificate: whose, which, until when."""
    facts: dict[str, JsonValue] = {
        "credential": row.id,
        "principal": row.principal_id,
        "serial": str(row.about["serial"]),
        "fingerprint": to_base64url(row.fingerprint),
        "authority": row.authority_id,
        "family": row.family,
        "not_after_ms": row.not_after_ms,
        "policies": list(policies),
    }
    return Entry(kind, facts, hidden or {})
