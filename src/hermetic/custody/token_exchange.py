"""A token for a certificate: how people and workloads of a trusted issuer enrol a key of their own (`serve --login`).

Nobody becomes known by a token: its claims have to be those of a principal that was enrolled, by the custody host's config.yaml. A
token is used once; with the same key again, after an answer that got lost, the certificate is the same. The certificate ends with the
token, of a workload after a quarter of an hour at the latest, and is not renewed. Nobody becomes a domain owner by a token: an
issuer's administrators would be owners too.

What is refused is on the log, and equal refusals are counted. Before a signature was verified an entry says nothing that the sender
chose: who sends rubbish fills no log with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hermetic.access import credentials, identity
from hermetic.access.credentials import Credential
from hermetic.access.issuers import WORKLOAD
from hermetic.audit.leaf import Entry, Hidden
from hermetic.audit.tables_store import TablesStore
from hermetic.catalog.values import fresh_id
from hermetic.crypto import x509
from hermetic.custody import certified, seen
from hermetic.custody.callers import Caller
from hermetic.custody.identities import lifetime_ms
from hermetic.custody.work import unit
from hermetic.errors import (
    Conflict,
    Denied,
    HermeticError,
    KeyServiceUnavailable,
    LogTampered,
    NotAuthenticated,
    StorageError,
    Unsupported,
)
from hermetic.formats.binary_text import to_base64url

if TYPE_CHECKING:
    from hermetic.access.tokens import Admitted, Signed
    from hermetic.crypto.x509 import SigningRequest
    from hermetic.custody.call import Call
    from hermetic.custody.work import Work
    from hermetic.formats.canonical import JsonValue
    from hermetic.formats.messages.identity import CertificateIssued, ExchangeToken

LOGIN: Final = "login"  # who asks, until the token says it
WORKLOAD_S: Final = 900
_PASSING: Final = (KeyServiceUnavailable, StorageError, LogTampered)  # no verdict on the token, or no log to write it to


def exchange_token(call: Call, request: ExchangeToken) -> CertificateIssued:
    """Give a certificate for a token. Raises NotAuthenticated, Denied, FormatError, SignatureError, KeyServiceUnavailable."""
    signed: Signed | None = None
    try:
        desk = call.custodian.tokens
        if desk is None:
            raise Unsupported("this domain takes no tokens", hint="`oidc:` in config.yaml where custody runs")
        asked = x509.parse_request(request.csr)
        signed = desk.read(request.token)
        admitted = desk.admit(signed, asked.public, now_ms=call.now_ms)
        return _exchanged(call, signed, admitted, asked)
    except _PASSING:
        raise
    except HermeticError as error:
        _refused(call, signed, error)
        raise


def _exchanged(call: Call, signed: Signed, admitted: Admitted, asked: SigningRequest) -> CertificateIssued:
    uri = f"spiffe://{call.custodian.domain}/{admitted.kind}/{admitted.name}"
    with unit(call.custodian, "custody.token.exchanged", call.now_ms) as work:
        caller = Caller(identity.authenticated(work.session, uri))
        whom = identity.require(work.session, uri)
        if identity.OWNER in caller.principal.roles:
            raise Denied("a domain owner is not let in by a token", hint="`hermetic identity issue` gives a certificate")
        certified.check_names(whom, asked)
        used = credentials.by_fingerprint(work.session, signed.digest)
        if used is not None:
            return _again(work, used, asked)
        token = _kept(work, signed, uri, admitted.end_ms)
        wanted = certified.Wanted(whom, asked.public, _seconds(call, work, admitted), token=token)
        if credentials.by_public(work.session, asked.public):
            raise Conflict("there was a certificate for this key before", hint="log in with a fresh key")
        said = {"claims": Hidden(dict(signed.told()), f"principal:{uri}")} | seen.network_of(call.network, uri)
        made = certified.issue(call, work, wanted, ("credential.issued", caller, {"principal": caller.hidden()}))
        facts: dict[str, JsonValue] = {"credential": made.credential, "principal": uri, "token": token, "policies": []}
        work.log(Entry("token.exchanged", facts | {"digest": to_base64url(signed.digest), "end_ms": admitted.end_ms}, said))
        return made


def _seconds(call: Call, work: Work, admitted: Admitted) -> int:
    """Return how long the certificate is good."""
    left = min(admitted.end_ms - call.now_ms, lifetime_ms(call.custodian, work.session)) // 1000
    return max(1, min(left, WORKLOAD_S) if admitted.kind == WORKLOAD else left)


def _kept(work: Work, signed: Signed, uri: str, end_ms: int) -> str:
    """Remember the token; return the id of what remembers it."""
    row = Credential(
        id=fresh_id(),
        principal_id=uri,
        kind=credentials.TOKEN,
        fingerprint=signed.digest,
        public=b"",
        authority_id=None,
        not_after_ms=end_ms,
        created_ms=work.now_ms,
        state=credentials.USED,
        about={"issuer": signed.issuer.url},
    )
    return credentials.add(work.session, row).id


def _again(work: Work, used: Credential, asked: SigningRequest) -> CertificateIssued:
    """Return the certificate that a token was exchanged for, to whom it is for. Raises NotAuthenticated."""
    for made in credentials.by_public(work.session, asked.public):
        if made.about.get("token") == used.id and made.state_at(work.now_ms) == credentials.ACTIVE:
            return certified.answer(work.session, made)
    raise NotAuthenticated("this token was used before", hint="a token is good for one key: get a fresh one")


def _refused(call: Call, signed: Signed | None, error: HermeticError) -> None:
    """Put a refusal on record. Raises HermeticError when it cannot be."""
    facts: dict[str, JsonValue] = {"error": type(error).__name__, "issuer": None if signed is None else signed.issuer.url}
    hidden = {"message": Hidden(error.message, LOGIN)}
    if signed is not None:
        facts["digest"] = to_base64url(signed.digest)
        hidden |= {"claims": Hidden(dict(signed.told()), LOGIN)} | seen.network_of(call.network, LOGIN)
    custodian = call.custodian
    with custodian.database.write(custodian.row_keys, step="custody.token.refused") as session:
        custodian.log.append_denial(TablesStore(session.connection), Entry("token.refused", facts, hidden), now_ms=custodian.clock())
    custodian.committed()
