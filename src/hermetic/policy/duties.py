"""Separation of duties: who reads data does not administer keys, and the other way round.

Two checks: of roles given to one principal (`check_roles`), and of the policies themselves (`check`), which are tried role by role
over classes, environments, kinds and purposes with custody apart from the caller. In cooperative mode the owner holds the root
anyway and may do both.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from hermetic.errors import ConfigError, UsageError
from hermetic.ids import DataClass, Enforcement, Environment, Kind, Purpose
from hermetic.policy.model import Duty
from hermetic.policy.request import Action, AssetResource, Context, DecisionRequest, DomainResource, Principal, PrincipalKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from hermetic.policy.cedar import Engine
    from hermetic.policy.model import PolicyDocument

_TIME_MS = 1_767_225_600_000  # any moment will do; policies that go by the clock are tried at this one
_READS = (Action.OPEN, Action.EXPOSE)
_KEYS = (Action.ADMINISTER_KEYS, Action.DESTROY_KEYS)
_KINDS = (Kind.DATASET, Kind.MODEL)


def check_roles(document: PolicyDocument, roles: Sequence[str]) -> None:
    """Raise UsageError unless every role is known, spelt NAME or NAME@PROJECT, and no two are from opposite sides."""
    sides: dict[Duty, str] = {}
    for role in roles:
        name, at, project = role.partition("@")
        if name not in document.roles or (at and not project):
            raise UsageError(f"unknown role {role[:80]!r}", hint=f"roles are: {', '.join(document.roles)}, each also as ROLE@PROJECT")
        sides.setdefault(document.roles[name].duty, role)
    if Duty.DATA in sides and Duty.KEYS in sides:
        message = f"{sides[Duty.DATA]} reads data and {sides[Duty.KEYS]} administers keys; nobody does both"
        raise UsageError(message, hint="give one of the two to somebody else")


def check(engine: Engine, document: PolicyDocument) -> None:
    """Raise ConfigError, with the policies concerned, if some role alone may both read data and administer keys."""
    for role in document.roles:
        keys = next(_permits(engine, _key_requests(role)), ())
        data = next(_permits(engine, _data_requests(role)), ()) if keys else ()
        if keys and data:
            policy = next(entry for entry in engine.policies if entry.id in data)
            message = f"role {role!r} may read data ({', '.join(data)}) and administer keys ({', '.join(keys)})"
            hint = "take one of the two from the role, or limit it to cooperative enforcement"
            raise ConfigError(message, hint=hint, file=policy.file, line=policy.line, column=1)


def _permits(engine: Engine, requests: Iterable[DecisionRequest]) -> Iterator[tuple[str, ...]]:
    for request in requests:
        decision = engine.decide(request)
        if decision.allowed:
            yield decision.policies


def _principals(role: str) -> Iterator[Principal]:
    for kind in PrincipalKind:
        yield Principal("duties", "duties", kind, (role,))


def _contexts(purposes: Iterable[Purpose | None]) -> Iterator[Context]:
    for purpose, enforcement in itertools.product(purposes, (Enforcement.SEPARATED, Enforcement.SERVICE)):
        yield Context(_TIME_MS, enforcement, purpose=purpose, run=True, approvals=9, mfa_age_ms=0)


def _key_requests(role: str) -> Iterator[DecisionRequest]:
    resource = DomainResource("duties", Environment.DEVELOPMENT, "duties", DataClass.INTERNAL)
    for principal, action, context in itertools.product(_principals(role), _KEYS, _contexts([None])):
        yield DecisionRequest(principal, action, resource, context)


def _data_requests(role: str) -> Iterator[DecisionRequest]:
    contexts = list(_contexts(Purpose))
    for principal, action, kind in itertools.product(_principals(role), _READS, _KINDS):
        for data_class, environment, context in itertools.product(DataClass, Environment, contexts):
            asset = AssetResource("duties", f"{kind}/duties", kind, data_class, environment, "duties", "duties")
            yield DecisionRequest(principal, action, asset, context)
