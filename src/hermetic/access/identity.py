"""Principals: who is known to the domain, with which roles, and whether still.

A local user is `os:DOMAIN:UID`: the number, not the name, since only the number is what the kernel vouches for. The operating-system
user who initialises a domain becomes its `domain-owner`; nobody else is known until enrolled.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hermetic.db import tables
from hermetic.errors import Conflict, IntegrityError, NotAuthenticated, NotFound, PolicyDenied, UsageError
from hermetic.policy import duties
from hermetic.policy.model import Duty
from hermetic.policy.request import Principal, PrincipalKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hermetic.db.rows import ReadSession, Session
    from hermetic.policy.model import PolicyDocument

OWNER = "domain-owner"
ACTIVE, DISABLED = "active", "disabled"

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9:@._/+-]{0,199}")
_NAME = re.compile(r"[^\s/\\][^/\\]{0,119}")  # what `owner:` in hermetic.yaml accepts


@dataclass(frozen=True, slots=True)
class Enrolled:
    """A principal as the domain knows it. `state` is active or disabled; `revision` is the row's, for changes."""

    principal: Principal
    state: str
    created_ms: int
    revision: int

    @property
    def active(self) -> bool:
        """Whether it may authenticate."""
        return self.state == ACTIVE


def local_id(domain: str, uid: int) -> str:
    """Return the id of the operating-system user `uid` in a domain."""
    return f"os:{domain}:{uid}"


def local_principal(domain: str, *, user: str, uid: int, roles: Sequence[str] = ()) -> Principal:
    """Return the principal of an operating-system user. Raises UsageError for a user name that cannot be a principal's."""
    return Principal(local_id(domain, uid), _checked_name(user), PrincipalKind.PERSON, tuple(roles))


def bind_owner(session: Session, principal: Principal, *, now_ms: int) -> Enrolled:
    """Enrol the initialising user as domain-owner. Raises Conflict if the domain knows anybody already."""
    if listing(session):
        raise Conflict("this domain has an owner already", hint="the owner gives roles with `hermetic identity`")
    owner = Principal(_checked_id(principal.id), _checked_name(principal.name), principal.kind, (OWNER,))
    return _insert(session, owner, now_ms)


def enrol(session: Session, principal: Principal, *, document: PolicyDocument, by: Principal, now_ms: int) -> Enrolled:
    """Make a principal known, with the roles it comes with.

    Raises Conflict if id or name is taken; UsageError for unknown roles, or roles from opposite sides of the separation of duties;
    PolicyDenied if anybody but a domain-owner makes a domain-owner.
    """
    _checked_roles(document, principal, (), by)
    if _row(session, principal.id) is not None:
        hint = f"change its roles instead: `hermetic access roles {principal.name} --role ROLE --reason WHY`"
        raise Conflict("this principal is enrolled already", hint=hint)
    if by_name(session, _checked_name(principal.name)) is not None:
        raise Conflict(f"another principal is called {principal.name!r}", hint="owners are named by name: choose another one")
    checked = Principal(_checked_id(principal.id), principal.name, principal.kind, principal.roles)
    return _insert(session, checked, now_ms)


def find(session: ReadSession, principal_id: str) -> Enrolled | None:
    """Return the principal with this id, disabled or not, or None. Raises RowTampered."""
    row = _row(session, principal_id)
    return None if row is None else _enrolled(row)


def by_name(session: ReadSession, name: str) -> Enrolled | None:
    """Return the principal with this name, disabled or not, or None. Raises RowTampered."""
    row = session.first(tables.principal, name=name)
    return None if row is None else _enrolled(row)


def require(session: ReadSession, principal_id: str) -> Enrolled:
    """Return the principal with this id. Raises NotFound, RowTampered."""
    enrolled = find(session, principal_id)
    if enrolled is None:
        raise NotFound("no such principal", hint="`hermetic identity` lists those the domain knows")
    return enrolled


def authenticated(session: ReadSession, principal_id: str) -> Principal:
    """Return the active principal that a connection was authenticated as.

    Raises NotAuthenticated for one that is unknown or disabled: custody calls this for every request, so that disabling works at once.
    """
    enrolled = find(session, principal_id)
    if enrolled is None or not enrolled.active:
        state = "not known to" if enrolled is None else "disabled in"
        raise NotAuthenticated(f"{principal_id} is {state} this domain", hint="ask the domain owner to enrol you")
    return enrolled.principal


def silenced(session: ReadSession, principal_id: str | None, name: str) -> bool:
    """Whether somebody is disabled, by id or by name: what they sign as an approver, or signed before, does not count meanwhile.

    Names are compared as they are where nobody approves their own request: without regard to capitals.
    """
    gone = (item.principal for item in listing(session) if not item.active)
    return any(who.id == principal_id or who.name.casefold() == name.casefold() for who in gone)


def listing(session: ReadSession) -> tuple[Enrolled, ...]:
    """Return everybody the domain knows, in order of name."""
    return tuple(sorted(map(_enrolled, session.find(tables.principal)), key=lambda enrolled: enrolled.principal.name))


def set_roles(session: Session, principal_id: str, roles: Sequence[str], *, document: PolicyDocument, by: Principal) -> Enrolled:
    """Give a principal these roles instead of those it has, and make it active; no roles disables it.

    Raises NotFound; UsageError as `enrol`; PolicyDenied if `by` changes its own roles without being domain-owner, or makes or
    unmakes a domain-owner without being one; Conflict if no domain-owner would be left.
    """
    enrolled = require(session, principal_id)
    changed = Principal(principal_id, enrolled.principal.name, enrolled.principal.kind, tuple(dict.fromkeys(roles)))
    _checked_roles(document, changed, enrolled.principal.roles, by)
    if not changed.roles:
        return disable(session, principal_id, by=by)
    if OWNER not in changed.roles:
        _leave_an_owner(session, enrolled)
    return _update(session, enrolled, roles=list(changed.roles), state=ACTIVE)


def disable(session: Session, principal_id: str, *, by: Principal) -> Enrolled:
    """Take a principal out: it keeps its name and roles on record and is authenticated no more.

    Raises NotFound; PolicyDenied as `set_roles`; Conflict if no domain-owner would be left.
    """
    enrolled = require(session, principal_id)
    if OWNER in enrolled.principal.roles and OWNER not in by.roles:
        raise PolicyDenied("only a domain owner disables a domain owner", reasons=("owner-by-owner",))
    _leave_an_owner(session, enrolled)
    return _update(session, enrolled, state=DISABLED)


def _checked_roles(document: PolicyDocument, principal: Principal, held: Sequence[str], by: Principal) -> None:
    duties.check_roles(document, principal.roles)
    if any(role.partition("@")[0] == OWNER != role for role in principal.roles):
        raise UsageError("a domain has one owner for all projects", hint=f"write {OWNER} without a project")
    if OWNER in by.roles:
        return
    if principal.id == by.id:
        raise PolicyDenied("nobody but a domain owner changes their own roles", reasons=("own-roles",))
    sides = {document.roles[role.partition("@")[0]].duty for role in principal.roles}
    if Duty.OWNER in sides or OWNER in held:
        raise PolicyDenied("only a domain owner makes or unmakes a domain owner", reasons=("owner-by-owner",))


def _leave_an_owner(session: ReadSession, leaving: Enrolled) -> None:
    if OWNER not in leaving.principal.roles or not leaving.active:
        return
    others = (entry for entry in listing(session) if entry.principal.id != leaving.principal.id and entry.active)
    if not any(OWNER in entry.principal.roles for entry in others):
        raise Conflict("this is the last domain owner", hint="make somebody else domain-owner first")


def _checked_id(principal_id: str) -> str:
    if not _ID.fullmatch(principal_id):
        raise UsageError("not the id of a principal", hint="letters, digits and :@._/+- up to 200 characters")
    return principal_id


def _checked_name(name: str) -> str:
    unprintable = any(unicodedata.category(char)[0] == "C" for char in name)
    if unprintable or not _NAME.fullmatch(name):
        raise UsageError(f"{name[:60]!r} cannot be a principal's name", hint="up to 120 printable characters without slashes")
    return name


def _insert(session: Session, principal: Principal, now_ms: int) -> Enrolled:
    session.insert(
        tables.principal,
        id=principal.id,
        name=principal.name,
        kind=str(principal.kind),
        roles=list(principal.roles),
        state=ACTIVE,
        created_ms=now_ms,
    )
    return require(session, principal.id)


def _update(session: Session, enrolled: Enrolled, **changes: Any) -> Enrolled:
    return _enrolled(session.update(tables.principal, enrolled.principal.id, enrolled.revision, **changes))


def _row(session: ReadSession, principal_id: str) -> dict[str, Any] | None:
    return session.get(tables.principal, principal_id)


def _enrolled(row: dict[str, Any]) -> Enrolled:
    try:
        kind = PrincipalKind(row["kind"])
    except ValueError:
        raise IntegrityError(
            "a principal is of a kind this release does not know", hint="it was enrolled by a newer release"
        ) from None
    principal = Principal(row["id"], row["name"], kind, tuple(row["roles"]))
    return Enrolled(principal, row["state"], row["created_ms"], row["revision"])
