"""Separation of duties: who reads data does not administer keys, and the other way round.

Three checks: of roles given to one principal by their sides (`check_roles`), of the policies themselves (`check`), which are tried
role by role over classes, environments, kinds and purposes with custody apart from the caller, and of what the roles of one principal
may do together (`check_principal`). In cooperative mode the owner holds the root anyway and may do both, unless a class says
`separation: required`; where it does not and there are others to share the work, `together` makes it a finding.
"""

from __future__ import annotations

import itertools
from functools import lru_cache
from typing import TYPE_CHECKING

from hermetic.errors import ConfigError, UsageError
from hermetic.ids import DataClass, Enforcement, Environment, Kind, Purpose
from hermetic.policy.model import Duty, Separation
from hermetic.policy.request import Action, AssetResource, Context, DecisionRequest, DomainResource, Principal, PrincipalKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from hermetic.policy.cedar import Engine
    from hermetic.policy.model import PolicyDocument

_TIME_MS = 1_767_225_600_000  # any moment will do; policies that go by the clock are tried at this one
_READS = (Action.OPEN, Action.EXPOSE)
_KEYS = (Action.ADMINISTER_KEYS, Action.CHANGE_ROOTS, Action.DESTROY_KEYS)
_KEPT = 128  # answers about roles, of the policies that were looked at last
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
        _check_held(engine, document, (role,), f"role {role!r}")


def check_principal(engine: Engine, document: PolicyDocument, name: str, roles: Sequence[str]) -> None:
    """Raise ConfigError, with the policies concerned, if the roles of a principal together may do both. Projects are left aside."""
    held = tuple(dict.fromkeys(role.partition("@")[0] for role in roles))
    if len(held) > 1:  # one alone was looked at with the policy
        _check_held(engine, document, held, f"{name} with the roles {', '.join(held)}")


def together(engine: Engine, roles: Sequence[str]) -> tuple[DataClass, ...]:
    """Return the classes whose data a principal with these roles reads and whose keys it administers in cooperative mode."""
    held = tuple(dict.fromkeys(role.partition("@")[0] for role in roles))
    return tuple(one for one in DataClass if all(_permitted(engine, held, (Enforcement.COOPERATIVE,), one)))


def _check_held(engine: Engine, document: PolicyDocument, held: tuple[str, ...], who: str) -> None:
    apart = (Enforcement.SEPARATED, Enforcement.SERVICE)
    keys = _administers(engine, held, apart, DataClass.INTERNAL)
    data = _reads(engine, held, apart, tuple(DataClass)) if keys else ()
    if keys and data:
        raise _both(engine, who, "", (data, keys))
    for one, rules in document.classes.items():
        if rules.separation is Separation.REQUIRED and all(found := _permitted(engine, held, tuple(Enforcement), one)):
            raise _both(engine, who, f" of class {one}, which requires separation,", found)


def _permitted(
    engine: Engine, held: tuple[str, ...], levels: tuple[Enforcement, ...], one: DataClass
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the policies that let these roles read data of a class, and those that let them administer its keys."""
    keys = _administers(engine, held, levels, one)
    return (_reads(engine, held, levels, (one,)) if keys else ()), keys


@lru_cache(maxsize=_KEPT)
def _administers(engine: Engine, held: tuple[str, ...], levels: tuple[Enforcement, ...], one: DataClass) -> tuple[str, ...]:
    """Return the first policies that let these roles administer keys of a class. Kept: an engine always says the same."""
    return next(_permits(engine, _key_requests(held, levels, one)), ())


@lru_cache(maxsize=_KEPT)
def _reads(engine: Engine, held: tuple[str, ...], levels: tuple[Enforcement, ...], classes: tuple[DataClass, ...]) -> tuple[str, ...]:
    """Return the first policies that let these roles read data of some class. Kept as above: it asks up to 1,700 times."""
    return next(_permits(engine, _data_requests(held, levels, classes)), ())


def _both(engine: Engine, who: str, of_class: str, policies: tuple[tuple[str, ...], tuple[str, ...]]) -> ConfigError:
    data, keys = policies
    policy = next(entry for entry in engine.policies if entry.id in data)
    message = f"{who} may read data{of_class} ({', '.join(data)}) and administer keys ({', '.join(keys)})"
    hint = "take one of the two from the role, or limit it to cooperative enforcement"
    if of_class:
        hint = "take one of the two from the role, or do not require separation of the class"
    return ConfigError(message, hint=hint, file=policy.file, line=policy.line, column=1)


def _permits(engine: Engine, requests: Iterable[DecisionRequest]) -> Iterator[tuple[str, ...]]:
    for request in requests:
        decision = engine.decide(request)
        if decision.allowed:
            yield decision.policies


def _principals(held: tuple[str, ...]) -> Iterator[Principal]:
    for kind in PrincipalKind:
        yield Principal("duties", "duties", kind, held)


def _contexts(purposes: Iterable[Purpose | None], levels: Iterable[Enforcement]) -> Iterator[Context]:
    for purpose, enforcement in itertools.product(purposes, levels):
        yield Context(_TIME_MS, enforcement, purpose=purpose, run=True, approvals=9, mfa_age_ms=0)


def _key_requests(held: tuple[str, ...], levels: Sequence[Enforcement], data_class: DataClass) -> Iterator[DecisionRequest]:
    resource = DomainResource("duties", Environment.DEVELOPMENT, "duties", data_class)
    for principal, action, context in itertools.product(_principals(held), _KEYS, _contexts([None], levels)):
        yield DecisionRequest(principal, action, resource, context)


def _data_requests(held: tuple[str, ...], levels: Sequence[Enforcement], classes: Sequence[DataClass]) -> Iterator[DecisionRequest]:
    contexts = list(_contexts(Purpose, levels))
    for principal, action, kind in itertools.product(_principals(held), _READS, _KINDS):
        for data_class, environment, context in itertools.product(classes, Environment, contexts):
            asset = AssetResource("duties", f"{kind}/duties", kind, data_class, environment, "duties", "duties")
            yield DecisionRequest(principal, action, asset, context)
