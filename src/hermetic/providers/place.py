"""Values that every backend is given."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hermetic.crypto.kdf import Argon2Parameters
from hermetic.errors import UsageError
from hermetic.ids import DomainId, check_id

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from hermetic.crypto.secret import Secret
    from hermetic.keys.provider import RootId


def wall_ms() -> int:
    """Return Unix time in milliseconds."""
    return time.time_ns() // 1_000_000


def boot_ms() -> int:
    """Return milliseconds since boot, sleep included (CLOCK_BOOTTIME where there is one): nobody sets this clock back."""
    return time.clock_gettime_ns(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)) // 1_000_000


@dataclass(frozen=True, slots=True)
class Place:
    """The custody home of a domain, one of its roots, and the clocks (milliseconds).

    `settings` is what the user's config.yaml says of the provider (see `settings`).
    """

    home: Path
    domain: DomainId
    root_id: RootId
    wall: Callable[[], int] = field(default=wall_ms, repr=False)
    boot: Callable[[], int] = field(default=boot_ms, repr=False)
    settings: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        check_id(self.domain)
        check_id(self.root_id)


@dataclass(frozen=True, slots=True)
class Asked:
    """What making a root may need from a person.

    `ask` prompts for a new passphrase, or reads it from a private file. `root` brings an existing root (32 bytes) to a new place,
    which is what a restore does; None makes a random one.
    """

    ask: Callable[[], Secret] | None = field(default=None, repr=False)
    parameters: Argon2Parameters = field(default_factory=Argon2Parameters)
    root: Secret | None = None

    def passphrase(self) -> Secret:
        """Ask. Raises UsageError when nobody can be asked."""
        if self.ask is None:
            raise UsageError("a passphrase is needed and nobody can be asked", hint="use a terminal, or --passphrase-file FILE")
        return self.ask()
