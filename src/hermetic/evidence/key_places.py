"""Findings about where KEKs live: in a provider alone, or elsewhere than their class wants them now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermetic.formats.findings import Finding
from hermetic.ids import KeyState
from hermetic.policy.model import KekPlace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermetic.evidence.surroundings import Surroundings
    from hermetic.formats.messages.domain import Facts
    from hermetic.formats.messages.keys import KeyRow, KeyVersionRow


def find(facts: Facts, around: Surroundings) -> Iterator[Finding]:
    """Yield what stands out about the places of keys."""
    for key in facts.keys:
        living = [version for version in key.versions if version.state != KeyState.DESTROYED]
        yield from _alone(key, living)
        yield from _elsewhere(key, living, around)


def _alone(key: KeyRow, living: list[KeyVersionRow]) -> Iterator[Finding]:
    """What no recovery brings back: said as long as it is so, also where the policy wants it so."""
    counts: dict[str, int] = {}
    for version in living:
        if version.home:
            counts[version.home] = counts.get(version.home, 0) + version.data_keys
    for home, count in counts.items():
        yield Finding(
            "key-in-one-provider",
            "low",
            key.kek,
            f"{count} data keys of {_name(key)} open through {home} alone: no share, escrow or other root brings them back",
            "back that key up with its provider; with `kek: wrapped` in hermetic.yaml the next version has slots under every root",
        )


def _elsewhere(key: KeyRow, living: list[KeyVersionRow], around: Surroundings) -> Iterator[Finding]:
    """Data keys that hang on a version of the kind that the class does not want any more, or not yet."""
    rules = around.document.classes.get(key.data_class)
    if rules is None:
        return
    wish = _wish(rules.kek, rules.kek_provider)
    for version in living:
        wanted = rules.kek is KekPlace.IN_PROVIDER
        fits = bool(version.home) == wanted and (rules.kek_provider is None or version.home.partition(":")[0] == rules.kek_provider)
        if fits or not (version.data_keys or version.state == KeyState.ACTIVE):
            continue
        here = f"lives in {version.home} alone" if version.home else "has its key under slots here"
        yield Finding(
            "key-not-where-wanted",
            "medium" if wanted else "low",
            key.kek,
            f"version {version.number} of {_name(key)} {here}, with {version.data_keys} data keys, and its class says {wish}",
            f"hermetic key rotate {key.kek}, which moves its data keys",
        )


def _wish(place: KekPlace, provider: str | None) -> str:
    return f"`kek: {place.value}`" + (f", `kek_provider: {provider}`" if provider else "")


def _name(key: KeyRow) -> str:
    return f"{key.environment}/{key.data_class}/{key.project}"
