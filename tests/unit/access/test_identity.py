"""Principals: enrolment, roles, disabling."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hermetic.access import identity
from hermetic.db import tables
from hermetic.errors import Conflict, NotAuthenticated, NotFound, PolicyDenied, RowTampered, UsageError
from hermetic.policy.request import Principal, PrincipalKind
from tests.unit.access.conftest import KEYS, NOW
from tests.unit.policy.values import shipped

if TYPE_CHECKING:
    from hermetic.access.identity import Enrolled
    from hermetic.db.engine import Database
    from hermetic.db.rows import Session

DOMAIN = "d" * 26
DOCUMENT = shipped().document


def enrol(session: Session, by: Principal, name: str, *roles: str, uid: int = 2000) -> Enrolled:
    who = identity.local_principal(DOMAIN, user=name, uid=uid, roles=roles)
    return identity.enrol(session, who, document=DOCUMENT, by=by, now_ms=NOW)


def test_a_local_user_is_named_by_number(owner: Principal) -> None:
    assert owner == Principal(f"os:{DOMAIN}:1000", "ana", PrincipalKind.PERSON, ("domain-owner",))


def test_only_the_first_user_becomes_owner_by_initialising(session: Session, owner: Principal) -> None:
    with pytest.raises(Conflict):
        identity.bind_owner(session, identity.local_principal(DOMAIN, user="eve", uid=1001), now_ms=NOW)


def test_enrolled_principals_are_found_by_id_and_name(session: Session, owner: Principal) -> None:
    bob = enrol(session, owner, "bob", "ml-engineer")
    assert identity.find(session, bob.principal.id) == bob == identity.by_name(session, "bob")
    assert identity.authenticated(session, bob.principal.id).roles == ("ml-engineer",)
    assert [entry.principal.name for entry in identity.listing(session)] == ["ana", "bob"]
    assert identity.find(session, "os:other:1") is None
    with pytest.raises(NotFound):
        identity.require(session, "os:other:1")


def test_ids_and_names_are_taken_once(session: Session, owner: Principal) -> None:
    enrol(session, owner, "bob", "auditor")
    with pytest.raises(Conflict):
        enrol(session, owner, "robert", "auditor")
    with pytest.raises(Conflict, match="called 'bob'"):
        enrol(session, owner, "bob", "auditor", uid=3000)


def test_an_unknown_or_disabled_principal_is_not_authenticated(session: Session, owner: Principal) -> None:
    with pytest.raises(NotAuthenticated, match="not known"):
        identity.authenticated(session, "os:x:5")
    bob = enrol(session, owner, "bob", "auditor").principal
    identity.disable(session, bob.id, by=owner)
    with pytest.raises(NotAuthenticated, match="disabled"):
        identity.authenticated(session, bob.id)


def test_no_roles_disable_and_roles_bring_back(session: Session, owner: Principal) -> None:
    bob = enrol(session, owner, "bob", "auditor").principal
    assert not identity.set_roles(session, bob.id, (), document=DOCUMENT, by=owner).active
    assert identity.set_roles(session, bob.id, ("approver",), document=DOCUMENT, by=owner).active
    assert identity.authenticated(session, bob.id).roles == ("approver",)


@pytest.mark.parametrize("roles", [("king",), ("ml-engineer", "security-engineer"), ("domain-owner@risk",)])
def test_roles_that_nobody_may_hold_are_refused(session: Session, owner: Principal, roles: tuple[str, ...]) -> None:
    with pytest.raises(UsageError):
        enrol(session, owner, "bob", *roles)
    bob = enrol(session, owner, "bob", "auditor").principal
    with pytest.raises(UsageError):
        identity.set_roles(session, bob.id, roles, document=DOCUMENT, by=owner)


def test_nobody_but_the_owner_changes_their_own_roles(session: Session, owner: Principal) -> None:
    """Otherwise whoever administers keys would read data in two steps."""
    sue = enrol(session, owner, "sue", "security-engineer").principal
    with pytest.raises(PolicyDenied):
        identity.set_roles(session, sue.id, ("ml-engineer",), document=DOCUMENT, by=sue)
    assert identity.set_roles(session, owner.id, ("domain-owner", "auditor"), document=DOCUMENT, by=owner).active


def test_only_owners_make_and_unmake_owners(session: Session, owner: Principal) -> None:
    sue = enrol(session, owner, "sue", "security-engineer").principal
    bob = enrol(session, sue, "bob", "auditor", uid=3000).principal
    with pytest.raises(PolicyDenied):
        identity.set_roles(session, bob.id, ("domain-owner",), document=DOCUMENT, by=sue)
    with pytest.raises(PolicyDenied):
        identity.set_roles(session, owner.id, ("auditor",), document=DOCUMENT, by=sue)
    with pytest.raises(PolicyDenied):
        identity.disable(session, owner.id, by=sue)
    with pytest.raises(PolicyDenied):
        enrol(session, sue, "eve", "domain-owner", uid=4000)


def test_the_last_owner_stays(session: Session, owner: Principal) -> None:
    for roles in ((), ("auditor",)):
        with pytest.raises(Conflict, match="last domain owner"):
            identity.set_roles(session, owner.id, roles, document=DOCUMENT, by=owner)
    enrol(session, owner, "bob", "domain-owner")
    assert not identity.disable(session, owner.id, by=owner).active


@pytest.mark.parametrize("name", ["", " x", "a/b", "a\\b", "x" * 121, "a\x00b", "a\u202eb"])
def test_names_that_are_none(session: Session, owner: Principal, name: str) -> None:
    with pytest.raises(UsageError):
        identity.local_principal(DOMAIN, user=name, uid=1)
    with pytest.raises(UsageError):
        identity.enrol(session, Principal("w:1", name), document=DOCUMENT, by=owner, now_ms=NOW)


def test_ids_that_are_none(session: Session, owner: Principal) -> None:
    for principal_id in ("", " ", "a b", "x" * 201, "é"):
        with pytest.raises(UsageError):
            identity.enrol(session, Principal(principal_id, "n"), document=DOCUMENT, by=owner, now_ms=NOW)


def test_roles_changed_in_the_database_are_noticed(database: Database) -> None:
    with database.write(KEYS) as session:
        owner = identity.bind_owner(session, identity.local_principal(DOMAIN, user="ana", uid=1), now_ms=NOW).principal
        bob = enrol(session, owner, "bob", "auditor").principal
    with database.write(KEYS) as session:
        promote = tables.principal.update().where(tables.principal.c.id == bob.id).values(roles='["domain-owner"]')
        session.connection.execute(promote)
    with database.read(KEYS) as session, pytest.raises(RowTampered):
        identity.authenticated(session, bob.id)


def test_names_are_not_readable_in_the_database(database: Database) -> None:
    with database.write(KEYS) as session:
        identity.bind_owner(session, identity.local_principal(DOMAIN, user="very-telling-name", uid=1), now_ms=NOW)
    assert b"very-telling-name" not in database.snapshot_bytes()
