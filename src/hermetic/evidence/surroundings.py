"""What is known besides custody: the project's files as they are now, this user's pins, a scan, the machine."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from hermetic.ids import Environment
    from hermetic.policy.model import PolicyDocument

SwapKind = Literal["memory", "encrypted", "plain", "unknown"]


@dataclass(frozen=True, slots=True)
class SwapArea:
    """One swap area. `memory` is compressed memory (zram), `unknown` one whose backing could not be told."""

    name: str
    kind: SwapKind


@dataclass(frozen=True, slots=True)
class PlainFile:
    """An ML file that lies unprotected; `copy_of` is the version it is a copy of, if custody recognised it. `length` in bytes."""

    path: str
    kind: str
    length: int
    copy_of: str | None = None


@dataclass(frozen=True, slots=True)
class Anchoring:
    """What this user keeps outside the domain: the log's size at the highest pin, and whether there was no pin before."""

    pinned_size: int = 0
    first_use: bool = False


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Everything beside custody's facts. `document` is hermetic.yaml as last applied, `edited_policy` the digest of the files now.

    `plain_files` None: nobody scanned. `missing` are assets whose latest version is not in its store; `others` those that somebody
    else sealed into a store of kind local, a folder of each clone's own, so that this clone has no copy. `environment` is
    the one that the connection was told to work in. `apart`: custody runs in another process.
    """

    root: str
    document: PolicyDocument
    edited_policy: bytes
    anchoring: Anchoring = field(default_factory=Anchoring)
    swap: tuple[SwapArea, ...] = ()
    plain_files: tuple[PlainFile, ...] | None = None
    scanned: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    environment: Environment | None = None
    apart: bool = False
