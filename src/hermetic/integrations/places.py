"""Paths of hermetic://, before anybody is asked what exists.

    dataset/patients            the latest version: a file if it has one member, else a folder of members
    dataset/patients@3          version 3
    dataset/patients@3/a.csv    a member; also dataset/patients/a.csv where no asset of that name makes it ambiguous
    scratch/part.bin            the run's scratch

`strip` takes `hermetic://…` and bare paths, and refuses what would end elsewhere or nowhere: chained URLs (`::`), other protocols,
`..`, empty segments, backslashes, control characters.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from hermetic.errors import InvalidName
from hermetic.ids import AssetName, Kind, check_member

PROTOCOL = "hermetic"
LATEST = "latest"
_NUMBER = re.compile(r"[1-9][0-9]{0,9}")
_HINT = "write hermetic://KIND/NAME, hermetic://KIND/NAME@NUMBER or hermetic://KIND/NAME@NUMBER/MEMBER"


@dataclass(frozen=True, slots=True)
class Place:
    """A path taken apart. `name` is set if an `@` says where the name ends; else any prefix of `path` may be the name."""

    path: str
    name: AssetName | None = None
    number: int | None = None
    member: str = ""

    @property
    def is_scratch(self) -> bool:
        """Whether it lies in the scratch of a run."""
        return self.path == Kind.SCRATCH.value or self.path.startswith(f"{Kind.SCRATCH.value}/")

    def candidates(self) -> tuple[tuple[AssetName, str], ...]:
        """Return every (name, member) that the path can mean, the shortest name first."""
        if self.name is not None:
            return ((self.name, self.member),)
        parts = self.path.split("/")
        found = []
        for count in range(2, len(parts) + 1):
            try:
                found.append((AssetName.parse("/".join(parts[:count])), "/".join(parts[count:])))
            except InvalidName:
                break  # a segment that no name has: longer ones have it too
        return tuple(found)


def strip(path: str | os.PathLike[str]) -> str:
    """Return the path without protocol and without slashes at its ends. Raises InvalidName."""
    text = os.fspath(path)
    if not isinstance(text, str):
        raise InvalidName("a hermetic:// path is text", hint=_HINT)
    bare = text.removeprefix(f"{PROTOCOL}://").strip("/")
    if "::" in bare or "://" in bare:
        raise InvalidName(f"{text[:200]!r} is a chained or foreign URL", hint=_HINT)
    if bare:
        check_member(bare)
    return bare


def parse(path: str) -> Place:
    """Take a stripped path apart. Raises InvalidName."""
    head = path.partition("/")[0].partition("@")[0]
    if path and head not in Kind._value2member_map_:
        raise InvalidName(f"{path[:200]!r} does not start with a kind", hint=_HINT)
    name, at, rest = path.partition("@")
    if not at or path.startswith(f"{Kind.SCRATCH.value}/"):
        return Place(path)
    number, _, member = rest.partition("/")
    if number != LATEST and not _NUMBER.fullmatch(number):
        raise InvalidName(f"{number[:40]!r} is not a version number", hint="numbers count from 1; or write @latest")
    return Place(path, AssetName.parse(name), None if number == LATEST else int(number), member)
