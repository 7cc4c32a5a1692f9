"""From values that are right in themselves to a PolicyDocument: defaults, inheritance, and what must agree across keys."""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING, Any

from hermetic.formats.suites import APPROVED_SUITE, DEFAULT_SUITE, SUITES
from hermetic.ids import DataClass, Enforcement, Environment
from hermetic.policy import _check_lists, _class_defaults
from hermetic.policy._yaml import Node, Wrong, place_of
from hermetic.policy.model import (
    Algorithms,
    ClassRules,
    Duty,
    EnvironmentRules,
    KekPlace,
    PolicyDocument,
    RoleRules,
    StoreKind,
    StoreRules,
    TlsRules,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hermetic.policy._fields import Raw


def complete(raw: Raw, root: Node, wrong: list[Wrong], now_ms: int | None) -> PolicyDocument:
    """Return the document that `raw` and the defaults make; mistakes go into `wrong`, and then the document is not to be used."""
    classes = _classes(raw, root, wrong)
    stores = _stores(raw, root, wrong)
    environments = _environments(raw, root, wrong, stores)
    roles = _roles(raw, root, wrong)
    wrong.extend(_check_lists.flaws(raw, root, stores, now_ms))
    return PolicyDocument(
        domain=raw.domain,
        project=raw.project,
        algorithms=raw.algorithms,
        environment=raw.environment,
        stores=stores,
        environments=environments,
        classes=classes,
        operations=dict(_class_defaults.OPERATIONS) | raw.operations,
        roles=roles,
        rules=raw.rules,
        exceptions=raw.exceptions,
        budgets=raw.budgets,
        tls=_tls(raw),
        pipeline=raw.pipeline,
        pickles=frozenset(raw.pickles),
        retired_suites=raw.retired_suites,
    )


# Classes


def _classes(raw: Raw, root: Node, wrong: list[Wrong]) -> Mapping[DataClass, ClassRules]:
    suite = _default_suite(raw)
    classes: dict[DataClass, ClassRules] = {}
    for name in DataClass:
        values = _inherited(raw, root, wrong, name)
        classes[name] = ClassRules(**({"suite": suite} | values))
        _check_class(raw, root, wrong, (name, classes[name]))
    _check_rising(raw, classes, root, wrong)
    return classes


def _default_suite(raw: Raw) -> str:
    """Return the suite of classes that name none: the usual one, unless it is retired. With all retired, `_check_class` refuses."""
    usual = APPROVED_SUITE if raw.algorithms is Algorithms.APPROVED_ONLY else DEFAULT_SUITE
    retired = {item.suite for item in raw.retired_suites}
    fit = [suite for suite in (usual, *SUITES.values()) if suite.digest == "sha256" or raw.algorithms is not Algorithms.APPROVED_ONLY]
    return next((suite.name for suite in fit if suite.name not in retired), usual.name)


def _inherited(raw: Raw, root: Node, wrong: list[Wrong], name: DataClass) -> dict[str, Any]:
    """Follow `like` from a class to the shipped default it ends at; nearer values win."""
    chain: list[DataClass] = []
    at: DataClass | None = name
    while at is not None:
        if at in chain:
            # each class of a loop would tell of it; the one whose chain closes on itself is enough
            if at is name and name is min(chain, key=list(DataClass).index):
                loop = " -> ".join((*chain, name))
                remedy = "remove one `like`, so that one of them takes the shipped defaults"
                wrong.append(Wrong(place_of(root, "classes", name, "like"), f"classes inherit in a loop: {loop}", remedy))
            break
        chain.append(at)
        at = raw.classes.get(at, {}).get("like")
    values: dict[str, Any] = dict(_class_defaults.CLASSES[chain[-1]])
    for link in reversed(chain):
        given = dict(raw.classes.get(link, {}))
        values |= given.pop("lease", {})
        values |= {key: value for key, value in given.items() if key != "like"}
    return values


def _check_class(raw: Raw, root: Node, wrong: list[Wrong], named: tuple[DataClass, ClassRules]) -> None:
    name, rules = named
    if rules.lease_check_ms > rules.lease_offline_ms:
        remedy = "let `check` be at most `offline`"
        wrong.append(
            Wrong(place_of(root, "classes", name, "lease", "check"), f"class {name} checks leases less often than they end", remedy)
        )
    if name is DataClass.RESTRICTED and rules.default_purpose is not None:
        place = place_of(root, "classes", name, "default_purpose")
        wrong.append(Wrong(place, "restricted data has no default purpose", "write `default_purpose: none`; callers declare one"))
    if rules.kek_provider is not None and rules.kek is not KekPlace.IN_PROVIDER:
        place = place_of(root, "classes", name, "kek_provider")
        wrong.append(Wrong(place, f"class {name} names a provider for a wrapped key", "write `kek: in-provider`, or leave it out"))
    if any(item.suite == rules.suite for item in raw.retired_suites):
        place = place_of(root, "classes", name, "suite")
        wrong.append(Wrong(place, f"class {name} seals with {rules.suite}, which is retired", "name another, or leave `suite` out"))
    if raw.algorithms is Algorithms.APPROVED_ONLY and SUITES[rules.suite].digest != "sha256":
        place = place_of(root, "classes", name, "suite")
        wrong.append(Wrong(place, f"suite {rules.suite} is not for approved-only", f"use {APPROVED_SUITE.name}, or leave `suite` out"))


def _check_rising(raw: Raw, classes: Mapping[DataClass, ClassRules], root: Node, wrong: list[Wrong]) -> None:
    """A more sensitive class never asks for less distance than a less sensitive one."""
    order = list(DataClass)
    for lower, higher in itertools.pairwise(order):
        least = classes[lower].require_enforcement
        if classes[higher].require_enforcement.rank < least.rank:
            written = higher if raw.classes.get(higher, {}).get("require_enforcement") else lower
            place = place_of(root, "classes", written, "require_enforcement")
            message = f"class {higher} asks for less enforcement than {lower}"
            wrong.append(Wrong(place, message, f"write `require_enforcement: {least}` or more in class {higher}"))


# Stores and environments


def _stores(raw: Raw, root: Node, wrong: list[Wrong]) -> dict[str, StoreRules]:
    stores = dict(raw.stores) or {"sealed": StoreRules(StoreKind.LOCAL, "sealed")}
    paths: dict[str, str] = {}
    for name, rules in raw.stores.items():
        if (rules.kind is StoreKind.LOCAL) != (rules.path is not None):
            message, remedy = (
                (f"local store {name!r} has no folder", "add `path: FOLDER`")
                if rules.path is None
                else (f"store {name!r} is looked up by name and has no folder here", "remove `path`, or write `kind: local`")
            )
            wrong.append(Wrong(place_of(root, "stores", name, "path"), message, remedy))
        elif rules.path is not None and (other := paths.setdefault(rules.path, name)) != name:
            message = f"stores {other!r} and {name!r} are the same folder"
            wrong.append(Wrong(place_of(root, "stores", name, "path"), message, "give each store a folder of its own"))
    return stores


def _environments(raw: Raw, root: Node, wrong: list[Wrong], stores: dict[str, StoreRules]) -> Mapping[Environment, EnvironmentRules]:
    """Environments left out get the store of their name, development the first one; adds implied stores to `stores`."""
    first = next(iter(stores))
    environments: dict[Environment, EnvironmentRules] = {}
    users: dict[str, Environment] = {}
    for name in Environment:
        given = raw.environments.get(name, {})
        fallback = first if name is Environment.DEVELOPMENT and name.value not in stores else name.value
        least = Enforcement.SEPARATED if name is Environment.PRODUCTION else Enforcement.COOPERATIVE
        rules = EnvironmentRules(**({"store": fallback, "require_enforcement": least} | given))
        if rules.store not in stores and "store" in given:
            place = place_of(root, "environments", name, "store")
            wrong.append(
                Wrong(place, f"no store is named {rules.store!r}", f"declare it under `stores:`, or use: {', '.join(raw.stores)}")
            )
        wrong.extend(_store_elsewhere(raw, root, name, rules))
        if name in (rules.sources or ()):
            place = place_of(root, "environments", name, "from")
            remedy = "name other environments; `hermetic rollback` needs none"
            wrong.append(Wrong(place, f"{name} is not promoted into itself", remedy))
        stores.setdefault(rules.store, StoreRules(StoreKind.NAMED))
        if (other := users.setdefault(rules.store, name)) is not name:
            place = place_of(root, "environments", name, "store")
            message = f"environments {other} and {name} share the store {rules.store!r}"
            wrong.append(Wrong(place, message, "give each environment a store of its own"))
        environments[name] = rules
    _check_production(environments[Environment.PRODUCTION], root, wrong)
    return environments


def _store_elsewhere(raw: Raw, root: Node, name: Environment, rules: EnvironmentRules) -> Iterator[Wrong]:
    """An environment whose own store lies out of its regions could seal nothing."""
    if rules.regions is None:
        return
    region = raw.stores[rules.store].region if rules.store in raw.stores else None
    if region not in rules.regions:
        allowed, said = ", ".join(rules.regions), "says no `region`" if region is None else f"is in {region}"
        place = place_of(root, "environments", name, "regions")
        message = f"{name} stays in {allowed}, and its store {rules.store!r} {said}"
        yield Wrong(
            place, message, f"write `region: {rules.regions[0]}` under `stores: {rules.store}:` if it is there, or name another"
        )


def _check_production(rules: EnvironmentRules, root: Node, wrong: list[Wrong]) -> None:
    if rules.require_enforcement is Enforcement.COOPERATIVE:
        place = place_of(root, "environments", Environment.PRODUCTION, "require_enforcement")
        wrong.append(
            Wrong(place, "production needs separated enforcement or better", "write `require_enforcement: separated` or `service`")
        )
    if rules.allow_insecure_root:
        place = place_of(root, "environments", Environment.PRODUCTION, "allow_insecure_root")
        wrong.append(Wrong(place, "production never accepts an insecure root", "remove `allow_insecure_root`"))


# Roles


def _roles(raw: Raw, root: Node, wrong: list[Wrong]) -> dict[str, RoleRules]:
    roles = dict(_class_defaults.ROLES)
    for name, given in raw.roles.items():
        shipped = _class_defaults.ROLES.get(name)
        if shipped is None and (missing := [key for key in ("description", "duty", "purposes") if key not in given]):
            remedy = f"add `{missing[0]}:`; shipped roles are {', '.join(_class_defaults.ROLES)}"
            wrong.append(Wrong(place_of(root, "roles", name), f"role {name!r} of your own has no {missing[0]!r}", remedy))
        elif shipped is not None and given.get("duty", shipped.duty) is not shipped.duty:
            place = place_of(root, "roles", name, "duty")
            wrong.append(Wrong(place, f"the duty of role {name!r} is {shipped.duty}", "leave `duty` out, or name a role of your own"))
        else:
            base = shipped or RoleRules("", Duty.OVERSIGHT, ())
            values = {"description": base.description, "duty": base.duty, "purposes": base.purposes} | given
            roles[name] = RoleRules(**values)
    return roles


# TLS


def _tls(raw: Raw) -> TlsRules:
    """The default list of suites is narrowed where only approved algorithms are wanted; one that is written out is checked."""
    if raw.algorithms is not Algorithms.APPROVED_ONLY or raw.tls.suites != TlsRules().suites:
        return raw.tls
    return dataclasses.replace(raw.tls, suites=tuple(suite for suite in raw.tls.suites if "CHACHA20" not in suite))
