"""Who is known, with which roles, and who was granted what."""

from __future__ import annotations

import pwd
from typing import TYPE_CHECKING

from hermetic.access import grants, identity
from hermetic.access.grants import Terms
from hermetic.audit.leaf import Entry, Hidden
from hermetic.custody import disabling
from hermetic.custody.decide import allowed_caller, still_the_same
from hermetic.custody.paging import page
from hermetic.custody.work import unit
from hermetic.errors import NotFound, UsageError
from hermetic.formats.messages.base import Done
from hermetic.formats.messages.policy import (
    GiveGrant,
    GrantList,
    GrantRow,
    ListGrants,
    ListPrincipals,
    PrincipalList,
    PrincipalRow,
    RevokeGrant,
    SetRoles,
)
from hermetic.policy import duties
from hermetic.policy.request import Action, Principal

if TYPE_CHECKING:
    from hermetic.access.grants import Grant
    from hermetic.access.identity import Enrolled
    from hermetic.custody.call import Call
    from hermetic.db.rows import ReadSession
    from hermetic.formats.canonical import JsonValue


def give_grant(call: Call, request: GiveGrant) -> GrantRow:
    """Give a grant. Raises UsageError, NotFound, Conflict, PolicyDenied."""
    if request.action not in Action._value2member_map_:
        raise UsageError(f"unknown action {request.action!r}", hint=f"actions are {', '.join(Action)}")
    caller = allowed_caller(call, Action.GRANT)
    with unit(call.custodian, "custody.grant.given", call.now_ms) as work:
        still_the_same(call, work.session, caller)
        grantee = _by_text(work.session, request.principal)
        terms = Terms(
            principal_id=grantee.principal.id,
            action=Action(request.action),
            pattern=request.pattern,
            purposes=request.purposes,
            expires_ms=request.expires_ms,
            reason=request.reason,
            uses=request.uses,
            length=request.length,
        )
        grant = grants.give(work.session, terms, by=caller.principal, now_ms=call.now_ms)
        subject = f"principal:{grantee.principal.id}"
        hidden = {
            "principal": caller.hidden(),
            "grantee": Hidden(grantee.principal.name, subject),
            "pattern": Hidden(request.pattern, subject),
            "reason": Hidden(request.reason, subject),
        }
        facts: dict[str, JsonValue] = {"grant": grant.id, "action": request.action, "expires_ms": grant.expires_ms}
        work.log(Entry("grant.given", {**facts, "uses": grant.uses_left, "length": grant.bytes_left}, hidden))
        return grant_row(work.session, grant, call.now_ms)


def revoke_grant(call: Call, request: RevokeGrant) -> Done:
    """End a grant. Raises NotFound, Conflict, PolicyDenied."""
    caller = allowed_caller(call, Action.GRANT)
    with unit(call.custodian, "custody.grant.revoked", call.now_ms) as work:
        still_the_same(call, work.session, caller)
        grant = grants.revoke(work.session, request.grant, now_ms=call.now_ms)
        hidden = {"principal": caller.hidden(), "reason": Hidden(request.reason, f"principal:{caller.id}")}
        work.log(Entry("grant.revoked", {"grant": grant.id}, hidden))
    return Done()


def list_grants(call: Call, request: ListGrants) -> GrantList:
    """List grants, as many as fit. Raises UsageError for no cursor."""
    allowed_caller(call, Action.READ_CATALOG)
    with call.custodian.database.read(call.custodian.row_keys) as session:
        found, follows = page(
            grants.listing(session, now_ms=call.now_ms, ended=True),
            request.after,
            lambda grant: grant_row(session, grant, call.now_ms),
            name=lambda grant: grant.id,
            keep=lambda grant: request.ended or grant.ended(call.now_ms) is None,
        )
    return GrantList(found, follows)


def grant_row(session: ReadSession, grant: Grant, now_ms: int) -> GrantRow:
    """Return a grant as the port tells it."""
    return GrantRow(
        id=grant.id,
        principal=identity.require(session, grant.principal_id).principal.name,
        action=grant.action.value,
        pattern=grant.pattern,
        purposes=grant.purposes,
        expires_ms=grant.expires_ms,
        uses_left=grant.uses_left,
        state=grant.ended(now_ms) or grant.state,
        created_ms=grant.created_ms,
        reason=grant.reason,
        bytes_left=grant.bytes_left,
        kind=grant.kind or "",
        approvals=grant.approvals,
        reviewed_ms=grant.reviewed_ms,
    )


def list_principals(call: Call, request: ListPrincipals) -> PrincipalList:
    """List everyone, as many as fit. Raises UsageError for no cursor."""
    allowed_caller(call, Action.READ_CATALOG)
    with call.custodian.database.read(call.custodian.row_keys) as session:
        return PrincipalList(*page(identity.listing(session), request.after, _row, name=lambda item: item.principal.id))


def set_roles(call: Call, request: SetRoles) -> PrincipalRow:
    """Enrol a user of this machine, or change a principal's roles; no roles disables it. Raises as `identity.set_roles`."""
    caller = allowed_caller(call, Action.ENROL)
    with unit(call.custodian, "custody.roles.set", call.now_ms) as work:
        still_the_same(call, work.session, caller)
        current = call.custodian.policy.current(work.session)
        document = current.document
        duties.check_roles(document, request.roles)
        duties.check_principal(current.rulebook.engine, document, request.principal, request.roles)
        known = identity.by_name(work.session, request.principal) or identity.find(work.session, request.principal)
        if known is not None and not request.roles:
            return disabling.end(call, work, caller, (known, request.reason)).principal
        if known is not None:
            changed = identity.set_roles(work.session, known.principal.id, request.roles, document=document, by=caller.principal)
        else:
            new = local_user(call, request.principal, request.roles)
            changed = identity.enrol(work.session, new, document=document, by=caller.principal, now_ms=call.now_ms)
        hidden = {
            "principal": caller.hidden(),
            "subject": Hidden(changed.principal.name, f"principal:{changed.principal.id}"),
            "roles": Hidden(list(changed.principal.roles), f"principal:{changed.principal.id}"),
            "reason": Hidden(request.reason, f"principal:{caller.id}"),
        }
        entry = {"principal": changed.principal.id, "state": changed.state}
        work.log(Entry("principal.state" if known else "principal.enrolled", entry, hidden))
    return _row(changed)


def local_user(call: Call, name: str, roles: tuple[str, ...]) -> Principal:
    """Return the operating-system user `name` as a principal. Raises NotFound."""
    try:
        uid = pwd.getpwnam(name).pw_uid
    except (KeyError, ValueError):  # a name with a zero byte, or one that cannot be encoded
        raise NotFound(f"no user {name!r} on this machine", hint="others are made known by `hermetic identity enrol NAME`") from None
    return identity.local_principal(call.custodian.domain, user=name, uid=uid, roles=roles)


def _by_text(session: ReadSession, text: str) -> Enrolled:
    found = identity.by_name(session, text) or identity.find(session, text)
    if found is None:
        known = "`hermetic access roles` lists those the domain knows"
        user = f"a user of this machine is enrolled by `hermetic access roles {text} --role ROLE --reason WHY`"
        raise NotFound(f"no principal {text!r}", hint=f"{known}\n{user}; who calls from another one, by `hermetic identity enrol`")
    return found


def _row(item: Enrolled) -> PrincipalRow:
    return PrincipalRow(item.principal.id, item.principal.name, item.principal.kind.value, item.principal.roles, item.state)
