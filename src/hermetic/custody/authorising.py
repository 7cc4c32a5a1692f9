"""Authorities: make the domain's own, rotate, retire, trust somebody else's, list.

A rotation is one transaction: new key, certificate under the root, and the old key's wraps overwritten. What the old intermediate
signed stays good, so that nobody who is connected notices; `retire` ends it. When the root changes, the old one signs for the new
one's key first, and the service shows that certificate along: clients that pin the old root go on, and learn the new one when they
renew their own certificate.

To make the first authority, to rotate the intermediate and to retire is administration of keys. To trust somebody else's, or change
the root, is to decide whose word counts: `change-roots`, which asks for approvals.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hermetic.access import authorities
from hermetic.access.authorities import Authority
from hermetic.audit.leaf import Entry, Hidden
from hermetic.catalog.values import fresh_id
from hermetic.crypto import x509, x509_chain
from hermetic.custody import authority_keys, callers, signing_keys
from hermetic.custody.decide import allowed_caller, allowed_everywhere, still_the_same
from hermetic.custody.finishing import told_as_done
from hermetic.custody.work import unit
from hermetic.errors import Conflict, NotAuthenticated, NotFound, UsageError
from hermetic.formats.binary_text import to_base64url
from hermetic.formats.messages.identity import AuthorityList, AuthorityRow, TrustedAuthorities
from hermetic.policy.request import Action

if TYPE_CHECKING:
    from hermetic.custody.call import Call
    from hermetic.custody.callers import Caller
    from hermetic.db.rows import ReadSession
    from hermetic.formats.messages.identity import (
        CreateAuthority,
        ExportTrust,
        ListAuthorities,
        RetireAuthority,
        RotateAuthority,
        TrustAuthority,
    )

FILE_LIMIT: Final = 8  # external authorities in one request


def list_authorities(call: Call, _request: ListAuthorities) -> AuthorityList:
    """List every authority. Raises PolicyDenied."""
    allowed_caller(call, Action.READ_CATALOG)
    return _listed(call)


def export_trust(call: Call, _request: ExportTrust) -> TrustedAuthorities:
    """Return what clients pin: anybody who is enrolled may know it. Raises NotFound where there is no authority."""
    with call.custodian.database.read(call.custodian.row_keys) as session:
        callers.require(call, session)
        return TrustedAuthorities(call.custodian.domain, own_roots(session))


def own_roots(session: ReadSession) -> tuple[bytes, ...]:
    """Return the certificates that the service's chain may end in, the one in force first. Raises NotFound."""
    now = authorities.root(session)
    older = [item for item in authorities.believed(session) if item.kind == authorities.ROOT and item.id != now.id]
    return (now.certificate, *(item.certificate for item in older))


def create_authority(call: Call, request: CreateAuthority) -> AuthorityList:
    """Make root and intermediate. Raises UsageError, Conflict when there are, PolicyDenied, KeyServiceUnavailable."""
    _because(request.reason)
    caller = allowed_caller(call, Action.ADMINISTER_KEYS)
    with unit(call.custodian, "custody.authority.created", call.now_ms) as work:
        still_the_same(call, work.session, caller)
        if any((item.kind, item.state) == (authorities.ROOT, authorities.ACTIVE) for item in authorities.ls(work.session)):
            raise Conflict("this domain has an authority", hint="`hermetic identity authority rotate` gives it new keys")
        (root,) = authority_keys.make_root(call.custodian, work)
        under = authority_keys.make_intermediate(call.custodian, work, root)
        for made in (root, under):
            authority_keys.told(work, made, _said(caller, request.reason))
    return _listed(call)


def rotate_authority(call: Call, request: RotateAuthority) -> AuthorityList:
    """Give the intermediate, or root and intermediate, new keys. Raises UsageError, NotFound, PolicyDenied, KeyServiceUnavailable."""
    _because(request.reason)
    caller = allowed_everywhere(call, Action.CHANGE_ROOTS) if request.root else allowed_caller(call, Action.ADMINISTER_KEYS)
    custodian = call.custodian
    with unit(custodian, "custody.authority.rotated", call.now_ms) as work:
        still_the_same(call, work.session, caller)
        root, old = authorities.root(work.session), _last_issuing(work.session)
        keys = (old.key_id, root.key_id) if request.root else (old.key_id,)
        gone = authority_keys.wraps_of(work.session, keys)
        made = authority_keys.make_root(custodian, work, old=root) if request.root else ()
        under = authority_keys.make_intermediate(custodian, work, made[0] if made else root, old=old)
        for item in (*made, under):
            authority_keys.told(work, item, _said(caller, request.reason), previous=root.id if item in made else old.id)
    with told_as_done("rotated, and that is on record; the end of the old key waits"):
        custodian.scrub(to_base64url(wrapped).encode("ascii") for wrapped in gone)
        for key_id in filter(None, keys):
            signing_keys.settle(call, key_id, searched=custodian.is_scrubbed())
    return _listed(call)


def retire_authority(call: Call, request: RetireAuthority) -> AuthorityList:
    """Believe an authority and all under it no more. Raises UsageError, NotFound, Conflict, PolicyDenied."""
    _because(request.reason)
    caller = allowed_caller(call, Action.ADMINISTER_KEYS)
    with unit(call.custodian, "custody.authority.retired", call.now_ms) as work:
        still_the_same(call, work.session, caller)
        found = authorities.named(work.session, request.authority)
        for item in (found, *authorities.under(work.session, found)):
            authorities.set_state(work.session, item, authorities.RETIRED)
            if item.kind in {authorities.ROOT, authorities.INTERMEDIATE} and item.key_id is not None:
                authority_keys.end_key(work, item.key_id)
            facts = {"authority": item.id, "state": authorities.RETIRED, "policies": list(caller.policies)}
            work.log(Entry("authority.state", facts, _said(caller, request.reason)))
    signing_keys.finish(call)
    return _listed(call)


def trust_authority(call: Call, request: TrustAuthority) -> AuthorityList:
    """Believe somebody else's authorities. Raises UsageError, FormatError, Conflict, PolicyDenied.

    Each certificate that was signed by another one of the same request stands under it; the others are ends of paths.
    """
    _because(request.reason)
    if not 0 < len(request.certificates) <= FILE_LIMIT:
        raise UsageError(f"give 1 to {FILE_LIMIT} certificates of authorities")
    try:
        found = [x509_chain.check_authority(der, at_ms=call.now_ms) for der in request.certificates]
    except NotAuthenticated as error:
        raise UsageError(f"no authority that can be trusted: {error.message}", hint="give the authorities' own certificates") from None
    caller = allowed_everywhere(call, Action.CHANGE_ROOTS)
    with unit(call.custodian, "custody.authority.trusted", call.now_ms) as work:
        still_the_same(call, work.session, caller)
        ids = {item.der: fresh_id() for item in found}
        for item in found:
            above = x509_chain.issuer_among(item, found)
            parent = None if above is None else ids[above.der]
            made = Authority(ids[item.der], None, parent, item.der, authorities.ACTIVE, item.end_ms, call.now_ms, 1)
            authority_keys.told(work, authorities.add(work.session, made), _said(caller, request.reason))
    return _listed(call)


def _last_issuing(session: ReadSession) -> Authority:
    """Return the intermediate in force, or the newest one where that was retired: its successor is made in the same way."""
    try:
        return authorities.issuing(session)
    except NotFound:
        before = [item for item in authorities.ls(session) if item.kind == authorities.INTERMEDIATE]
        if not before:
            raise
        return before[-1]


def _listed(call: Call) -> AuthorityList:
    with call.custodian.database.read(call.custodian.row_keys) as session:
        return AuthorityList(tuple(map(_row, authorities.ls(session))))


def _row(item: Authority) -> AuthorityRow:
    read = x509.parse(item.certificate)
    return AuthorityRow(
        id=item.id,
        kind=item.kind,
        subject=read.subject,
        fingerprint=read.fingerprint,
        parent=item.parent_id or "",
        state=item.state,
        created_ms=item.created_ms,
        not_after_ms=item.not_after_ms,
        certificate=item.certificate,
    )


def _because(reason: str) -> None:
    if not reason.strip():
        raise UsageError("say why", hint="--reason TEXT goes on record")


def _said(caller: Caller, reason: str) -> dict[str, Hidden]:
    return {"principal": caller.hidden(), "reason": Hidden(reason, f"principal:{caller.id}")}
