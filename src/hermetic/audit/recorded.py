"""What a service's own record says of a root, in words that are the same for all services. Pure; readers are in `providers`.

Everything in it was written by others, and may have been changed by whoever can write the file: it is text to be shown, never obeyed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

What: TypeAlias = Literal["use", "login", "change"]

TEXT_LIMIT: Final = 200  # characters of a name or an address that are kept
REVEALS: Final = frozenset({"unwrap", "rewrap", "datakey", "export", "backup"})
"""Operations that give out what is wrapped, or the key itself; `rewrap` gives a wrap that opens under the newest version only."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One request that the service answered.

    `what` is a use of the root, a login, or a change of the key and of what surrounds it, which `operation` names. `granted` is
    False for a refusal. `login` tells the tokens or access keys of one record from one another, `identity` whom the service took
    them for. `items` is how many wraps were in it. `place` is where it stands: file, and byte or number. `grave` marks a change that
    lets the key out.
    """

    what: What
    at_ms: int
    operation: str
    request: str
    who: str = ""
    identity: str = ""
    address: str = ""
    login: str = ""
    granted: bool = True
    items: int = 1
    place: str = ""
    grave: bool = False


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A part of the record that says nothing that the service writes: damaged, cut, or changed by hand."""

    place: str
    why: str


@dataclass(slots=True)
class Coverage:
    """What time a record covers, whatever it is about: its reader notes each entry."""

    first_ms: int | None = None
    last_ms: int | None = None
    entries: int = 0
    files: list[str] = field(default_factory=list)

    def saw(self, at_ms: int) -> None:
        """Note the time of an entry."""
        self.entries += 1
        self.first_ms = at_ms if self.first_ms is None else min(at_ms, self.first_ms)
        self.last_ms = at_ms if self.last_ms is None else max(at_ms, self.last_ms)


def text(value: object) -> str:
    """Return what a record says as a short text; "" for what is none."""
    return value[:TEXT_LIMIT] if isinstance(value, str) else ""
