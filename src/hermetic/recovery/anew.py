"""Versions sealed anew: each as the next version of its asset, with a new data key, new ciphertext, a new signature, and verified.

`compromise` does that for what a stolen key could open, `suites` for what a retired suite sealed. What was sealed anew says in its
labels of what, so that whoever is interrupted goes on, and nothing is done twice. Labels are for everybody to write; which of them
are true, custody says (`custody.anew`). What is passed over is counted (`before`).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hermetic.assets.resealing import reseal
from hermetic.errors import HermeticError, NotFound
from hermetic.formats.sealed_anew import LABEL
from hermetic.ids import Purpose

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hermetic.assets.workspace import Workspace
    from hermetic.formats.findings import Finding
    from hermetic.formats.messages.catalogue import VersionDetails


@dataclass(frozen=True, slots=True)
class Anew:
    """One version that was sealed anew: old and new reference, bytes of plaintext, seconds."""

    old: str
    new: str
    bytes: int
    seconds: float


@dataclass(slots=True)
class Affected:
    """Versions that have to be sealed anew, oldest of each asset first, and how many others were sealed anew before."""

    versions: list[VersionDetails] = field(default_factory=list)
    before: int = 0


def find(h: Workspace, wanted: Callable[[VersionDetails], bool]) -> Affected:
    """Return the published versions that are wanted and were not sealed anew yet."""
    found: list[VersionDetails] = []
    done: set[tuple[str, int]] = set()
    for details in _versions(h):
        done |= {(details.asset, number) for number in details.anew}
        if wanted(details):
            found.append(details)
    left = [details for details in found if (details.asset, details.number) not in done]
    return Affected(left, len(found) - len(left))


def seal_all(
    h: Workspace,
    affected: Affected,
    failure: Callable[[str, HermeticError], Finding],
    *,
    after_each: Callable[[], None],
    advance: Callable[[int], None] = lambda _count: None,
) -> tuple[list[Anew], list[Finding]]:
    """Seal everything anew. One that fails is a finding, and the rest goes on; `after_each` is for fault tests."""
    anew, failed = [], []
    advance(affected.before)
    for details in affected.versions:
        try:
            anew.append(_anew(h, details))
            after_each()
        except HermeticError as error:
            failed.append(failure(details.ref, error))
        advance(1)
    return anew, failed


def _versions(h: Workspace) -> Iterator[VersionDetails]:
    for asset in h.list():
        for number in range(1, asset.latest + 1):
            try:
                details = h.show(f"{asset.name}@{number}", environment=asset.environment)
            except NotFound:
                continue
            if details.state == "published":
                yield details


def _anew(h: Workspace, details: VersionDetails) -> Anew:
    start = time.monotonic()
    sealed = reseal(h.session, details, purpose=Purpose.RECOVER, label=LABEL)
    h.verify(sealed.ref, environment=details.environment)  # what was written is what was meant
    return Anew(details.ref, sealed.ref, sealed.bytes, time.monotonic() - start)
