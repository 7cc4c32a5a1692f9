"""Grants: terms, matching, ending, using up, and how they enter a decision."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

from hermetic.access import grants, identity
from hermetic.access.grants import Grant, Terms, Wanted
from hermetic.errors import Conflict, NotFound, PolicyDenied, UsageError
from hermetic.ids import DataClass, Environment, Purpose
from hermetic.policy.request import Action, DecisionRequest, Principal
from tests.unit.access.conftest import KEYS, NOW
from tests.unit.policy.values import asset, context, shipped

if TYPE_CHECKING:
    from hermetic.db.engine import Database
    from hermetic.db.rows import Session

HOUR = 3_600_000
TERMS = Terms("os:d:7", Action.OPEN, "dataset/patients*", (Purpose.PREPARE,), NOW + HOUR, "ticket 7: look at the import")
WANTED = Wanted("os:d:7", Action.OPEN, "dataset/patients", Environment.DEVELOPMENT, 3, Purpose.PREPARE)
GRANT = Grant("g", "os:d:7", Action.OPEN, "dataset/patients*", (Purpose.PREPARE,), NOW + HOUR, None, "active", NOW, "r", 1)


def terms(**changes: Any) -> Terms:
    return dataclasses.replace(TERMS, **changes)


@pytest.fixture
def bob(session: Session, owner: Principal) -> Principal:
    who = Principal("os:d:7", "bob", roles=("auditor",))
    return identity.enrol(session, who, document=shipped().document, by=owner, now_ms=NOW).principal


def give(session: Session, owner: Principal, **changes: Any) -> Grant:
    return grants.give(session, terms(**changes), by=owner, now_ms=NOW)


# Matching, without a database


def test_a_grant_matches_what_it_is_for() -> None:
    assert grants.matches(GRANT, WANTED, now_ms=NOW)


@pytest.mark.parametrize(
    "changes",
    [
        {"principal_id": "os:d:8"},
        {"action": Action.EXPOSE},
        {"name": "dataset/other"},
        {"name": "dataset/patients/part"},
        {"name": None},
        {"purpose": Purpose.TRAIN},
        {"purpose": None},
        {"environment": Environment.PRODUCTION},
    ],
    ids=str,
)
def test_a_grant_matches_nothing_else(changes: dict[str, Any]) -> None:
    assert not grants.matches(GRANT, dataclasses.replace(WANTED, **changes), now_ms=NOW)


@pytest.mark.parametrize(
    ("changes", "now", "why"),
    [
        ({}, NOW + HOUR - 1, None),
        ({}, NOW + HOUR, "expired"),
        ({"state": "revoked"}, NOW, "revoked"),
        ({"uses_left": 1}, NOW, None),
        ({"uses_left": 0}, NOW, "used up"),
        ({"state": "unheard of"}, NOW, "revoked"),
    ],
)
def test_a_grant_ends(changes: dict[str, Any], now: int, why: str | None) -> None:
    grant = dataclasses.replace(GRANT, **changes)
    assert grant.ended(now) == why
    assert grants.matches(grant, WANTED, now_ms=now) is (why is None)


@pytest.mark.parametrize(
    ("pattern", "environment", "number", "expected"),
    [
        ("dataset/*", Environment.DEVELOPMENT, 1, True),
        ("dataset/*", Environment.STAGING, 1, True),
        ("dataset/*", Environment.PRODUCTION, 1, False),
        ("production:dataset/*", Environment.PRODUCTION, 1, True),
        ("production:dataset/*", Environment.DEVELOPMENT, 1, False),
        ("dataset/patients@3", Environment.DEVELOPMENT, 3, True),
        ("dataset/patients@3", Environment.DEVELOPMENT, 4, False),
        ("dataset/patients@3", Environment.DEVELOPMENT, None, False),
        ("**", Environment.DEVELOPMENT, 1, True),
        ("**", Environment.PRODUCTION, 1, False),
        ("not a@pattern", Environment.DEVELOPMENT, 1, False),
    ],
)
def test_patterns(pattern: str, environment: Environment, number: int | None, expected: bool) -> None:
    wanted = dataclasses.replace(WANTED, environment=environment, number=number)
    assert grants.pattern_matches(pattern, wanted) is expected


def test_actions_on_the_domain_are_granted_by_two_stars() -> None:
    grant = dataclasses.replace(GRANT, action=Action.READ_LOG, pattern="**", purposes=())
    wanted = Wanted("os:d:7", Action.READ_LOG)
    assert grants.matches(grant, wanted, now_ms=NOW)
    assert not grants.matches(dataclasses.replace(grant, pattern="dataset/*"), wanted, now_ms=NOW)


def test_the_grant_that_costs_least_is_used() -> None:
    counted = dataclasses.replace(GRANT, id="counted", uses_left=1, expires_ms=NOW + 1)
    late, soon = dataclasses.replace(GRANT, id="late", expires_ms=NOW + 9), dataclasses.replace(GRANT, id="soon", expires_ms=NOW + 5)
    assert grants.best([counted, late, soon], WANTED, now_ms=NOW) == soon
    assert grants.best([counted], WANTED, now_ms=NOW) == counted
    assert grants.best([], WANTED, now_ms=NOW) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"action": Action.ADMINISTER_KEYS},
        {"action": Action.GRANT},
        {"action": Action.ENROL},
        {"pattern": "data/**"},
        {"pattern": "dataset"},
        {"pattern": "dataset/[ab]"},
        {"pattern": "moon:dataset/x"},
        {"pattern": "dataset/x@0"},
        {"pattern": ""},
        {"purposes": ()},
        {"expires_ms": NOW},
        {"expires_ms": NOW + 400 * 24 * HOUR},
        {"uses": 0},
        {"reason": "  "},
        {"reason": "x" * 501},
    ],
    ids=str,
)
def test_terms_that_no_grant_may_have(changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        grants.check_terms(terms(**changes), now_ms=NOW)


# On record


def test_a_grant_is_given_found_and_listed(session: Session, owner: Principal, bob: Principal) -> None:
    grant = give(session, owner, uses=2)
    assert grants.require(session, grant.id) == grant
    assert grants.listing(session, now_ms=NOW) == (grant,)
    assert grants.find_match(session, WANTED, now_ms=NOW) == grant
    assert grants.find_match(session, WANTED, now_ms=NOW + HOUR) is None
    assert grants.listing(session, now_ms=NOW + HOUR) == ()
    assert grants.listing(session, now_ms=NOW + HOUR, ended=True) == (grant,)
    assert grants.listing(session, now_ms=NOW, principal_id="os:d:8") == ()


def test_nobody_grants_to_themselves_nor_to_strangers(session: Session, owner: Principal, bob: Principal) -> None:
    with pytest.raises(PolicyDenied):
        give(session, owner, principal_id=owner.id)
    with pytest.raises(NotFound):
        give(session, owner, principal_id="os:d:99")
    identity.disable(session, bob.id, by=owner)
    with pytest.raises(Conflict):
        give(session, owner)


def test_a_revoked_grant_is_over_at_once(session: Session, owner: Principal, bob: Principal) -> None:
    grant = give(session, owner)
    assert grants.revoke(session, grant.id, now_ms=NOW).ended(NOW) == "revoked"
    assert grants.find_match(session, WANTED, now_ms=NOW) is None
    with pytest.raises(PolicyDenied, match="revoked"):
        grants.consume(session, grant, now_ms=NOW)
    with pytest.raises(Conflict):
        grants.revoke(session, grant.id, now_ms=NOW)
    with pytest.raises(NotFound):
        grants.revoke(session, "a" * 26, now_ms=NOW)


def test_uses_are_counted_down_to_nothing(session: Session, owner: Principal, bob: Principal) -> None:
    grant = give(session, owner, uses=2)
    grants.consume(session, grant, now_ms=NOW)
    assert grants.consume(session, grant, now_ms=NOW).uses_left == 0
    with pytest.raises(PolicyDenied, match="used up"):
        grants.consume(session, grant, now_ms=NOW)


def test_a_grant_that_expired_after_it_was_matched_is_refused(session: Session, owner: Principal, bob: Principal) -> None:
    grant = give(session, owner)
    assert grants.consume(session, grant, now_ms=NOW).uses_left is None
    with pytest.raises(PolicyDenied, match="expired"):
        grants.consume(session, grant, now_ms=NOW + HOUR)


def test_the_decision_names_the_policy_granted_access(session: Session, owner: Principal, bob: Principal) -> None:
    on = asset(data_class=DataClass.INTERNAL)

    def decide(now_ms: int) -> Any:
        grant = grants.find_match(session, WANTED, now_ms=now_ms)
        asked = DecisionRequest(bob, Action.OPEN, on, context(now_ms=now_ms, granted=grant is not None))
        return shipped().judge(asked)

    assert not decide(NOW).allowed
    give(session, owner)
    assert decide(NOW).policies == ("granted-access",)
    assert not decide(NOW + HOUR).allowed


def test_patterns_and_reasons_are_not_readable_in_the_database(database: Database) -> None:
    with database.write(KEYS) as session:
        owner = identity.bind_owner(session, identity.local_principal("d" * 26, user="ana", uid=1), now_ms=NOW).principal
        bob = Principal("os:d:7", "bob", roles=("auditor",))
        identity.enrol(session, bob, document=shipped().document, by=owner, now_ms=NOW)
        give(session, owner, pattern="dataset/telling-pattern", reason="telling reason")
    raw = database.snapshot_bytes()
    assert b"telling" not in raw
