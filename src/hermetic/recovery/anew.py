"""Versions sealed anew: each as the next version of its asset, with a new data key, new ciphertext, a new signature, and verified.

`compromise` does that for what a stolen key could open, `suites` for what a retired suite sealed. What was sealed anew says in its
labels of what, so that whoever is interrupted goes on, and nothing is done twice. Who may write an asset may still label another
version of it, with files of the same names and lengths, as if it were that: what is passed over is counted (`before`).
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

from hermetic.assets.resealing import reseal
from hermetic.errors import HermeticError, NotFound
from hermetic.ids import Purpose

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hermetic.assets.workspace import Workspace
    from hermetic.formats.findings import Finding
    from hermetic.formats.messages.catalogue import VersionDetails

LABEL: Final = "sealed-anew-from"
_NUMBERED: Final = re.compile(r".*@[1-9][0-9]{0,8}")

_Copied: TypeAlias = tuple[str, int, tuple[tuple[str, int], ...]]
"""A version by asset and number, and its files by path and length."""


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
    done: set[_Copied] = set()
    for details in _versions(h):
        done |= _copied(details)
        if wanted(details):
            found.append(details)
    left = [details for details in found if (details.asset, details.number, _files(details)) not in done]
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


def _copied(details: VersionDetails) -> set[_Copied]:
    """Return which versions this one holds, by its labels. Anybody who seals writes labels, and assets are renamed.

    So a label counts only for an earlier version of the same asset, with the same files.
    """
    refs = [label[1] for label in details.labels if label[0] == LABEL]
    numbers = {int(text.rpartition("@")[2]) for text in refs if _NUMBERED.fullmatch(text)}
    return {(details.asset, number, _files(details)) for number in numbers if number < details.number}


def _files(details: VersionDetails) -> tuple[tuple[str, int], ...]:
    return tuple(sorted((member.path, member.length) for member in details.members))


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
