"""What must agree within and between the lists of hermetic.yaml: rules, exceptions, budgets, TLS suites, pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermetic.ids import Kind
from hermetic.policy import globs
from hermetic.policy._units import DAY_MS
from hermetic.policy._yaml import Node, Place, Wrong, place_of
from hermetic.policy.globals import runs_code
from hermetic.policy.model import Algorithms, TlsRules

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hermetic.policy._fields import Raw
    from hermetic.policy.model import StoreRules

_YEAR_MS = 366 * DAY_MS


def flaws(raw: Raw, root: Node, stores: Mapping[str, StoreRules], now_ms: int | None) -> list[Wrong]:
    """Return every mistake in the lists. With `now_ms`, exceptions that have expired are mistakes."""
    return [
        *_rules(raw, root, stores),
        *_exceptions(raw, root, now_ms),
        *_budgets(raw, root),
        *_tls(raw, root),
        *_pipeline(raw, root, stores),
        *_pickles(raw, root),
        *_retired_suites(raw, root),
    ]


def _rules(raw: Raw, root: Node, stores: Mapping[str, StoreRules]) -> Iterator[Wrong]:
    seen: dict[tuple[str, str], list[tuple[str, int]]] = {}
    for index, rule in enumerate(raw.rules):
        if bool(rule.paths) == bool(rule.assets):
            yield Wrong(rule.place, "a rule has either `path` or `asset`", "write one of the two")
            continue
        yield from _path_rule(raw, root, index, stores) if rule.paths else _asset_rule(raw, root, index)
        key = "path" if rule.paths else "asset"
        earlier = seen.setdefault((key, rule.store or ""), [])
        for at, glob in enumerate(rule.paths or rule.assets):
            place = place_of(root, "rules", index, key, at)
            yield from _shadowed(glob, place, earlier)
            earlier.append((glob, place.line))


def _shadowed(glob: str, place: Place, earlier: list[tuple[str, int]]) -> Iterator[Wrong]:
    """A glob that an earlier one covers would never decide: the file says two things about the same assets."""
    for wide, line in earlier:
        if globs.covers(wide, glob):
            message = f"{glob!r} never decides: {wide!r} in line {line} matches first"
            yield Wrong(place, message, "put the narrower rule first, or remove one of the two")
            return


def _path_rule(raw: Raw, root: Node, index: int, stores: Mapping[str, StoreRules]) -> Iterator[Wrong]:
    rule = raw.rules[index]
    if rule.kind is None:
        yield Wrong(rule.place, "a rule over paths has no `kind`", "add `kind: dataset`, or what it is")
    if rule.store is not None and rule.store not in stores:
        place = place_of(root, "rules", index, "store")
        yield Wrong(place, f"no store is named {rule.store!r}", "declare it under `stores:`")


def _asset_rule(raw: Raw, root: Node, index: int) -> Iterator[Wrong]:
    rule = raw.rules[index]
    for key in ("kind", "name", "store"):
        if getattr(rule, key) is not None:
            place = place_of(root, "rules", index, key)
            yield Wrong(place, f"{key!r} has no meaning in a rule over assets", f"remove `{key}`; the asset's name says it")
    starts = [kind.value for kind in Kind] + ["*", "**"]
    for at, glob in enumerate(rule.assets):
        if glob.split("/")[0] not in starts:
            place = place_of(root, "rules", index, "asset", at)
            yield Wrong(place, f"{glob!r} does not begin with a kind", f"begin with one of {', '.join(starts)}")


def _exceptions(raw: Raw, root: Node, now_ms: int | None) -> Iterator[Wrong]:
    names: set[str] = set()
    for index, entry in enumerate(raw.exceptions):
        if entry.id in names:
            place = place_of(root, "exceptions", index, "id")
            yield Wrong(place, f"two exceptions are called {entry.id!r}", "give each an id of its own")
        names.add(entry.id)
        place = place_of(root, "exceptions", index, "expires")
        if now_ms is not None and not entry.active(now_ms):
            remedy = "fix what it excuses and remove it, or have it approved again with a new date"
            yield Wrong(place, f"exception {entry.id!r} has expired", remedy)
        elif now_ms is not None and entry.expires > now_ms + _YEAR_MS:
            yield Wrong(place, f"exception {entry.id!r} runs for over a year", "choose an earlier day and review it then")


def _retired_suites(raw: Raw, root: Node) -> Iterator[Wrong]:
    named: set[str] = set()
    for index, entry in enumerate(raw.retired_suites):
        if entry.suite in named:
            yield Wrong(place_of(root, "retired_suites", index, "suite"), f"{entry.suite} is retired twice", "remove one of the two")
        named.add(entry.suite)


def _budgets(raw: Raw, root: Node) -> Iterator[Wrong]:
    for index, budget in enumerate(raw.budgets):
        if budget.releases_per_day is None and budget.epsilon is None:
            yield Wrong(budget.place, "a budget without a limit", "add `releases_per_day` or `epsilon`")
        if budget.delta is not None and budget.epsilon is None:
            place = place_of(root, "budgets", index, "delta")
            yield Wrong(place, "`delta` needs `epsilon`", "add `epsilon`, or remove `delta`")


def _tls(raw: Raw, root: Node) -> Iterator[Wrong]:
    if raw.tls.warn_before >= raw.tls.certificate_lifetime:
        remedy = "write `warn_before` shorter than `certificate_lifetime`"
        yield Wrong(place_of(root, "tls", "warn_before"), "every certificate would be a finding at once", remedy)
    if raw.algorithms is Algorithms.APPROVED_ONLY and raw.tls.suites != TlsRules().suites:
        for at, suite in enumerate(raw.tls.suites):
            if "CHACHA20" in suite:
                yield Wrong(place_of(root, "tls", "suites", at), f"{suite} is not for approved-only", "remove it from the list")


def _pipeline(raw: Raw, root: Node, stores: Mapping[str, StoreRules]) -> Iterator[Wrong]:
    for stage, rules in raw.pipeline.items():
        for at, store in enumerate(rules.stores):
            if store not in stores:
                place = place_of(root, "pipeline", stage, "stores", at)
                yield Wrong(place, f"no store is named {store!r}", "declare it under `stores:`")


def _pickles(raw: Raw, root: Node) -> Iterator[Wrong]:
    for at, name in enumerate(raw.pickles):
        if runs_code(name):
            remedy = "remove it: whoever can seal a pickle could run anything as whoever reads it"
            yield Wrong(place_of(root, "pickles", at), f"{name!r} can run programs or code", remedy)
