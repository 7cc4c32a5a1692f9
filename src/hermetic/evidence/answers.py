"""The parts a StatusReport is made of. Times are Unix milliseconds, lengths bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from hermetic.ids import DataClass, Environment, Purpose


@dataclass(frozen=True, slots=True)
class Protection:
    """Question 1: the keys behind one asset. `chain` runs from the root's URI to the KEK; empty `kek` means no key was found."""

    name: str
    data_class: DataClass
    environment: Environment
    owner: str
    latest: int
    kek: str
    kek_number: int
    kek_state: str
    roots: tuple[str, ...]
    rotation_due_ms: int | None


@dataclass(frozen=True, slots=True)
class Opener:
    """Somebody who may open an asset, for what, and by which policies."""

    principal: str
    purposes: tuple[Purpose, ...]
    policies: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Openness:
    """Question 2: who can open one asset, and how often somebody did."""

    name: str
    data_class: DataClass
    environment: Environment
    openers: tuple[Opener, ...]
    releases: int
    last_release_ms: int | None


@dataclass(frozen=True, slots=True)
class Recording:
    """Question 2, what is logged: size and root of the log, how far outside anchors vouch for it, intents without outcome."""

    generation: int
    size: int
    root: bytes
    releases: int
    denials: int
    open_intents: int
    pinned_size: int
    externally_anchored: str  # "never", or how far and what that is worth


@dataclass(frozen=True, slots=True)
class Plaintext:
    """Question 3: one place where plaintext lies or may lie; `until_ms` None means nobody said until when."""

    kind: Literal["exposure", "copy", "file", "swap"]
    where: str
    ref: str | None
    owner: str
    since_ms: int | None
    until_ms: int | None
    overdue: bool


@dataclass(frozen=True, slots=True)
class Retention:
    """Question 4: what is kept of one asset, and until when; `due_ms` counts from the last change."""

    name: str
    environment: Environment
    versions: int
    length: int
    retention_days: int | None
    due_ms: int | None
    overdue: bool


@dataclass(frozen=True, slots=True)
class BackupAnswer:
    """State of the encrypted copy of custody. `behind` is how many log entries it lacks; `taken_over`: the place holds a state of this
    domain that is later than this one, or another."""

    place: str | None
    last_ms: int | None
    log_size: int
    behind: int
    checked_ms: int | None
    has_recovery: bool
    problem: str | None
    taken_over: bool = False
