"""Principals of the service and their certificates: enrol, issue, renew, revoke, list.

Whoever may enrol may issue; for a domain owner, only a domain owner: a certificate for somebody is the power to be them. A renewal
asks nothing of policy, since it gives the caller what they have: to the very principal, for the same name, for a fresh key, as long
as the certificate that authenticated them is good. Asked again with the same key, after an answer that got lost, custody gives the
same certificate again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from hermetic.access import authorities, credentials, identity
from hermetic.access.credentials import Credential
from hermetic.audit.leaf import Entry, Hidden
from hermetic.catalog.values import fresh_id
from hermetic.crypto import x509
from hermetic.custody import authorising, authority_keys, callers
from hermetic.custody.decide import allowed_caller, still_the_same
from hermetic.custody.identities import issued, lifetime_ms, sweep
from hermetic.custody.paging import page
from hermetic.custody.work import unit
from hermetic.errors import Conflict, Denied, NotFound, PolicyDenied, UsageError
from hermetic.formats.binary_text import from_base64url, to_base64url
from hermetic.formats.messages.identity import (
    CertificateIssued,
    CredentialRow,
    CredentialsEnded,
    Identity,
    IdentityList,
    IdentityRow,
)
from hermetic.policy import duties
from hermetic.policy.request import Action, Principal, PrincipalKind

if TYPE_CHECKING:
    from hermetic.access.identity import Enrolled
    from hermetic.custody.call import Call
    from hermetic.custody.callers import Caller
    from hermetic.custody.work import Work
    from hermetic.db.rows import ReadSession
    from hermetic.formats.messages.identity import (
        EnrolIdentity,
        IssueCertificate,
        ListIdentities,
        RenewCertificate,
        RevokeCredential,
        ShowIdentity,
    )

LISTED: Final = 100  # credentials of one principal that are told
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A certificate that is about to be made: for whom, for which key, how long, as a renewal of which one, for which token."""

    whom: Enrolled
    public: bytes
    seconds: int
    renews: Credential | None = None
    token: str | None = None  # the credential that stands for the token it was exchanged for


def list_identities(call: Call, request: ListIdentities) -> IdentityList:
    """List everybody, as many as fit. Raises PolicyDenied, UsageError for no cursor."""
    allowed_caller(call, Action.READ_CATALOG)
    with call.custodian.database.read(call.custodian.row_keys) as session:
        everybody = identity.listing(session)
        return IdentityList(
            *page(everybody, request.after, lambda item: _row(session, item, call.now_ms), name=lambda item: item.principal.id)
        )


def show_identity(call: Call, request: ShowIdentity) -> Identity:
    """Show one. Raises PolicyDenied, NotFound."""
    allowed_caller(call, Action.READ_CATALOG)
    with call.custodian.database.read(call.custodian.row_keys) as session:
        return _shown(session, _by_text(session, request.principal), call.now_ms)


def enrol_identity(call: Call, request: EnrolIdentity) -> Identity:
    """Make a principal of the service known. Raises UsageError, Conflict, PolicyDenied."""
    caller = allowed_caller(call, Action.ENROL)
    if request.kind not in PrincipalKind._value2member_map_:
        raise UsageError(f"{request.kind!r} is no kind of principal", hint="person or workload")
    if not _NAME.fullmatch(request.name):
        raise UsageError(f"{request.name[:60]!r} cannot stand in a certificate", hint="letters, digits, dot, dash, underscore")
    _because(request.reason)
    with unit(call.custodian, "custody.identity.enrolled", call.now_ms) as work:
        still_the_same(call, work.session, caller)
        current = call.custodian.policy.current(work.session)
        duties.check_roles(current.document, request.roles)
        duties.check_principal(current.rulebook.engine, current.document, request.name, request.roles)
        if not request.roles:
            raise UsageError("say which roles", hint="--role ROLE")
        uri = f"spiffe://{call.custodian.domain}/{request.kind}/{request.name}"
        new = Principal(uri, request.name, PrincipalKind(request.kind), request.roles)
        made = identity.enrol(work.session, new, document=current.document, by=caller.principal, now_ms=call.now_ms)
        subject = f"principal:{uri}"
        hidden = {
            "principal": caller.hidden(),
            "subject": Hidden(request.name, subject),
            "roles": Hidden(list(request.roles), subject),
            "reason": Hidden(request.reason, f"principal:{caller.id}"),
        }
        work.log(Entry("principal.enrolled", {"principal": uri, "state": made.state}, hidden))
        return _shown(work.session, made, call.now_ms)


def issue_certificate(call: Call, request: IssueCertificate) -> CertificateIssued:
    """Issue a certificate. Raises FormatError, SignatureError, UsageError, NotFound, Conflict, PolicyDenied, KeyServiceUnavailable."""
    caller = allowed_caller(call, Action.ENROL)
    _because(request.reason)
    asked = x509.parse_request(request.csr)
    with unit(call.custodian, "custody.certificate.issued", call.now_ms) as work:
        still_the_same(call, work.session, caller)
        whom = _by_text(work.session, request.principal)
        _check_issue(whom, asked, caller)
        _check_seconds(call, work.session, request.seconds)
        said = {"principal": caller.hidden(), "reason": Hidden(request.reason, f"principal:{caller.id}")}
        wanted = Wanted(whom, asked.public, request.seconds)
        before = same(work, wanted)
        if before is not None:
            _check_time(work, before, request.seconds)
        return before or issue(call, work, wanted, ("credential.issued", caller, said))


def renew_certificate(call: Call, request: RenewCertificate) -> CertificateIssued:
    """Renew the caller's own certificate. Raises FormatError, SignatureError, Denied, NotAuthenticated, Conflict."""
    with call.custodian.database.read(call.custodian.row_keys) as session:
        callers.require(call, session)
    if call.credential is None:
        raise Denied("you are not known by a certificate here", hint="`hermetic identity issue` gives one to who is enrolled")
    asked = x509.parse_request(request.csr)
    with unit(call.custodian, "custody.certificate.renewed", call.now_ms) as work:
        caller = callers.require(call, work.session)
        old = credentials.check(work.session, call.credential, caller.id, now_ms=call.now_ms)
        if old.kind != credentials.CERTIFICATE or "certificate" not in old.about:
            raise Denied("this domain's authority did not issue your certificate", hint="renew it where it came from")
        if old.about.get("token") is not None:
            raise Denied("a certificate that came for a token is not renewed", hint="log in again: `hermetic identity login`")
        whom = identity.require(work.session, caller.id)
        check_names(whom, asked)
        seconds = min(int(old.about["seconds"]), lifetime_ms(call.custodian, work.session) // 1000)
        wanted = Wanted(whom, asked.public, seconds, old)
        return same(work, wanted) or issue(call, work, wanted, ("credential.renewed", caller, {"principal": caller.hidden()}))


def revoke_credential(call: Call, request: RevokeCredential) -> CredentialsEnded:
    """End credentials at once. Raises UsageError, NotFound, Conflict, PolicyDenied."""
    caller = allowed_caller(call, Action.ENROL)
    _because(request.reason)
    with unit(call.custodian, "custody.certificate.revoked", call.now_ms) as work:
        still_the_same(call, work.session, caller)
        whose, found = _named(work.session, request.subject)
        ended = [item for item in found if item.state == credentials.ACTIVE]
        if not ended:
            raise Conflict("nothing of that is good any more", hint=f"`hermetic identity show {request.subject}`")
        for item in ended:
            credentials.end(work.session, item, credentials.REVOKED, now_ms=call.now_ms)
            facts = {"credential": item.id, "state": credentials.REVOKED, "principal": whose, "family": item.family}
            more = {"fingerprint": to_base64url(item.fingerprint), "policies": list(caller.policies)}
            said = {"principal": caller.hidden(), "reason": Hidden(request.reason, f"principal:{caller.id}")}
            work.log(Entry("credential.ended", {**facts, **more}, said))
    return CredentialsEnded(whose, tuple(item.id for item in ended))


def issue(call: Call, work: Work, wanted: Wanted, said: tuple[str, Caller, dict[str, Hidden]]) -> CertificateIssued:
    """Make the certificate, its row and its entry. `said` is the entry's kind, who had it made, and hidden values."""
    kind, caller, hidden = said
    issuer, above = authority_keys.signer(call.custodian, work.session)
    whom, made_id = wanted.whom.principal, fresh_id()
    span = x509.Span.of(call.now_ms, wanted.seconds, at_most_ms=above.not_after_ms)
    der = x509.client_certificate(issuer, wanted.public, whom.id, whom.name, span=span)
    made = x509.parse(der)
    about: dict[str, Any] = {"serial": made.serial, "certificate": to_base64url(der), "seconds": wanted.seconds, "by": caller.id}
    about["family"] = made_id if wanted.renews is None else wanted.renews.family
    about["renews"] = None if wanted.renews is None else wanted.renews.id
    about["token"] = wanted.token
    row = Credential(
        id=made_id,
        principal_id=whom.id,
        kind=credentials.CERTIFICATE,
        fingerprint=made.fingerprint,
        public=wanted.public,
        authority_id=above.id,
        not_after_ms=made.end_ms,
        created_ms=call.now_ms,
        about=about,
    )
    credentials.add(work.session, row)
    work.log(issued(kind, row, caller.policies, hidden))
    sweep(call.custodian, work)
    return answer(work.session, row)


def same(work: Work, wanted: Wanted) -> CertificateIssued | None:
    """Return the certificate that was made for this key already, if it is the same question again. Raises Conflict."""
    before = credentials.by_public(work.session, wanted.public)
    if not before:
        return None
    (last, renews) = (before[-1], None if wanted.renews is None else wanted.renews.id)
    again = last.principal_id == wanted.whom.principal.id and last.about.get("renews") == renews and "certificate" in last.about
    if len(before) > 1 or not again or last.state_at(work.now_ms) != credentials.ACTIVE:
        raise Conflict("there was a certificate for this key before", hint="make a fresh key: `hermetic identity request NAME`")
    return answer(work.session, last)


def _check_time(work: Work, before: CertificateIssued, seconds: int) -> None:
    """Raise Conflict where the same request is to be answered with a certificate for another time than asked for now."""
    given = credentials.get(work.session, before.credential).about.get("seconds")
    if given != seconds:
        raise Conflict(
            f"this request was answered with a certificate for {given} seconds, and now {seconds} are asked for",
            hint="the same time gives that one again; for another, install it and ask anew: `hermetic identity request NAME`",
        )


def answer(session: ReadSession, row: Credential) -> CertificateIssued:
    """Return a certificate that was issued, with what a client needs to show it."""
    der = from_base64url(str(row.about["certificate"]))
    above = next(item for item in authorities.ls(session) if item.id == row.authority_id)
    chain = (der, *authority_keys.chain_of(session, above))
    return CertificateIssued(row.id, row.principal_id, chain, authorising.own_roots(session), row.not_after_ms or 0)


def _check_issue(whom: Enrolled, asked: x509.SigningRequest, caller: Caller) -> None:
    if not whom.active:
        raise Denied(f"{whom.principal.name} is disabled in this domain", hint="give roles first: `hermetic access roles`")
    if not whom.principal.id.startswith("spiffe://"):
        raise UsageError(
            f"{whom.principal.name} is a user of this machine", hint="`hermetic identity enrol` makes one for certificates"
        )
    if identity.OWNER in whom.principal.roles and identity.OWNER not in caller.principal.roles:
        raise PolicyDenied("only a domain owner issues certificates for a domain owner", reasons=("owner-by-owner",))
    check_names(whom, asked)


def check_names(whom: Enrolled, asked: x509.SigningRequest) -> None:
    """Raise Denied unless a signing request names this principal, and nobody else."""
    if asked.uris != (whom.principal.id,):
        raise Denied("the request is for another name", hint=f"it has to name {whom.principal.id}, and nothing else")


def _check_seconds(call: Call, session: ReadSession, seconds: int) -> None:
    most = lifetime_ms(call.custodian, session) // 1000
    if not 0 < seconds <= most:
        raise UsageError(f"certificates are good for 1 to {most} seconds here", hint="`tls: certificate_lifetime` in the policy")


def _named(session: ReadSession, text: str) -> tuple[str, tuple[Credential, ...]]:
    """Return the principal and the credentials that `text` names: all of a principal, or one with its family."""
    known = identity.by_name(session, text) or identity.find(session, text)
    if known is not None:
        return known.principal.id, credentials.of_principal(session, known.principal.id)
    found = credentials.named(session, text)
    if found is None:
        raise NotFound(
            f"no principal and no credential {text!r}",
            hint="`hermetic identity show NAME`; of one from long ago the log has the family: `hermetic log ls --kind credential`",
        )
    return found.principal_id, credentials.family_of(session, found)


def _by_text(session: ReadSession, text: str) -> Enrolled:
    found = identity.by_name(session, text) or identity.find(session, text)
    if found is None:
        new = f"`hermetic identity enrol {text} --kind person --role ROLE --reason WHY`"
        raise NotFound(f"no principal {text!r}", hint=f"`hermetic identity ls` lists who is known; somebody new: {new}")
    return found


def _because(reason: str) -> None:
    if not reason.strip():
        raise UsageError("say why", hint="--reason TEXT goes on record")


def _shown(session: ReadSession, item: Enrolled, now_ms: int) -> Identity:
    found = credentials.of_principal(session, item.principal.id)[-LISTED:]
    return Identity(_row(session, item, now_ms), tuple(_credential(one, now_ms) for one in found))


def _row(session: ReadSession, item: Enrolled, now_ms: int) -> IdentityRow:
    who = item.principal
    good = [one for one in credentials.of_principal(session, who.id) if one.state_at(now_ms) == credentials.ACTIVE]
    ends = [one.not_after_ms for one in good if one.not_after_ms is not None]
    return IdentityRow(who.id, who.name, who.kind.value, who.roles, item.state, len(good), max(ends, default=None))


def _credential(item: Credential, now_ms: int) -> CredentialRow:
    return CredentialRow(
        id=item.id,
        kind=item.kind,
        fingerprint=item.fingerprint,
        serial=str(item.about.get("serial", "")),
        authority=item.authority_id or "",
        family=item.family,
        created_ms=item.created_ms,
        not_after_ms=item.not_after_ms,
        state=item.state_at(now_ms),
        ended_ms=item.ended_ms,
    )
