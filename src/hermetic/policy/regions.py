"""Where keys and objects may lie: `regions:` of a class and of an environment, `region:` of a store. Names mean what the domain says.

Both lists hold where there are both: what is in neither, or in one of them only, is elsewhere. A place without a region is elsewhere
for whatever is pinned, since nobody said where it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermetic.ids import DataClass, Environment

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hermetic.policy.model import PolicyDocument


def allowed(document: PolicyDocument, data_class: DataClass, environment: Environment) -> tuple[str, ...] | None:
    """Return the regions that keys and objects of a class in an environment may lie in; None for anywhere, () for nowhere at all."""
    of_class, of_environment = document.classes[data_class].regions, document.environments[environment].regions
    if of_class is None or of_environment is None:
        return of_environment if of_class is None else of_class
    return tuple(region for region in of_class if region in of_environment)


def elsewhere(within: tuple[str, ...] | None, found: Iterable[str]) -> bool:
    """Whether what is in the regions `found` is out of those allowed. Nothing found is elsewhere: fails closed."""
    regions = tuple(found)
    return within is not None and (not regions or any(region not in within for region in regions))


def region_of(document: PolicyDocument, store: str) -> tuple[str, ...]:
    """Return the region of a store, () where the policy names none."""
    rules = document.stores.get(store)
    return () if rules is None or rules.region is None else (rules.region,)


def any_pinned(document: PolicyDocument) -> bool:
    """Whether anything may not lie anywhere."""
    of_classes = any(rules.regions is not None for rules in document.classes.values())
    return of_classes or any(rules.regions is not None for rules in document.environments.values())


def widened(old: PolicyDocument, new: PolicyDocument) -> bool:
    """Whether a policy lets something lie where it may not now: by its lists, or by what it says of a store that had a region."""
    if not any_pinned(old):
        return False
    for data_class in DataClass:
        for environment in Environment:
            before, after = allowed(old, data_class, environment), allowed(new, data_class, environment)
            if before is not None and (after is None or not set(after) <= set(before)):
                return True
    return any(region_of(new, name) not in {(), region_of(old, name)} for name in old.stores if region_of(old, name))
