"""Requests and files that the tests of the policy room share."""

from __future__ import annotations

from functools import cache
from typing import Any

from hermetic.ids import DataClass, Enforcement, Environment, Kind, Purpose
from hermetic.policy import defaults
from hermetic.policy.request import (
    ASSET_ACTIONS,
    Action,
    AssetResource,
    Context,
    DecisionRequest,
    DomainResource,
    Principal,
    PrincipalKind,
)
from hermetic.policy.rulebook import Rulebook

DOMAIN = "a" * 26
NOW = 1_790_000_000_123
HEAD = f"format: hermetic-policy/1\ndomain: {DOMAIN}\nproject: risk\n"
ASSET = AssetResource("asset", "dataset/patients", Kind.DATASET, DataClass.RESTRICTED, Environment.DEVELOPMENT, "risk", "ana", 3)


@cache
def shipped() -> Rulebook:
    return Rulebook.load(defaults.default_bundle(DOMAIN, "risk"))


def rulebook(document: str, cedar: dict[str, str] | None = None) -> Rulebook:
    from hermetic.policy import bundle

    return Rulebook.load(bundle.of_texts(HEAD + document, defaults.cedar_texts() if cedar is None else cedar))


def principal(*roles: str, **changes: Any) -> Principal:
    kind = PrincipalKind.WORKLOAD if "service" in roles else PrincipalKind.PERSON
    return Principal(**({"id": "os:x:1000", "name": "ana", "kind": kind, "roles": roles} | changes))


def asset(**changes: Any) -> AssetResource:
    values = {name: getattr(ASSET, name) for name in ASSET.__slots__}
    return AssetResource(**(values | changes))


def context(**changes: Any) -> Context:
    return Context(**({"now_ms": NOW, "enforcement": Enforcement.COOPERATIVE, "purpose": Purpose.PREPARE} | changes))


def request(action: Action, *roles: str, on: Any = None, who: Principal | None = None, **circumstances: Any) -> DecisionRequest:
    resource = on if on is not None else ASSET if action in ASSET_ACTIONS else DomainResource(DOMAIN)
    return DecisionRequest(who or principal(*roles), action, resource, context(**circumstances))
