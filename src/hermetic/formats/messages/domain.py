"""The domain as a whole: what is the state of things, and what goes on record about its recovery."""

from __future__ import annotations

from dataclasses import dataclass

from hermetic.formats.codec import message
from hermetic.formats.messages.base import Done, Pair, Request
from hermetic.formats.messages.catalogue import AssetRow, ExposureRow
from hermetic.formats.messages.keys import KeyRow
from hermetic.formats.messages.runs import RunRow
from hermetic.ids import Environment, Purpose


@dataclass(frozen=True, slots=True)
class RootFact:
    """One root: provider URI, state, and what the provider itself says is wrong with it: `code|severity|message|remedy`, or a text."""

    id: str
    uri: str
    state: str
    remarks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UseFact:
    """Who was released what: counts of releases by principal, asset and purpose, and the last time."""

    principal: str
    name: str
    purpose: Purpose
    count: int
    last_ms: int
    environment: Environment | None = None  # the asset's: names may be the same in several


@dataclass(frozen=True, slots=True)
class OpenerFact:
    """A principal who may open an asset now, and by which policies."""

    name: str
    principal: str
    purposes: tuple[Purpose, ...]
    policies: tuple[str, ...]
    environment: Environment | None = None  # the asset's


@message("gather-facts")
@dataclass(frozen=True, slots=True)
class GatherFacts(Request["Facts"]):
    """Everything `status` and `map` need, in one consistent read."""


@message("facts")
@dataclass(frozen=True, slots=True)
class Facts:
    """The state of the domain at `at_ms`."""

    at_ms: int
    domain: str
    generation: int
    enforcement: str
    roots: tuple[RootFact, ...]
    keys: tuple[KeyRow, ...]
    assets: tuple[AssetRow, ...]
    openers: tuple[OpenerFact, ...]
    uses: tuple[UseFact, ...]
    denials: int
    exposures: tuple[ExposureRow, ...]
    runs: tuple[RunRow, ...]
    unknown_owners: tuple[str, ...]
    open_intents: int
    log_size: int
    log_root: bytes
    policy_digest: bytes
    backup: tuple[Pair, ...]
    edges: tuple[Pair, ...]
    critical: tuple[Pair, ...] = ()  # what stands out about approvals, destruction and duties: code, and subject with a detail


@message("record-recovery")
@dataclass(frozen=True, slots=True)
class RecordRecovery(Request[Done]):
    """The root with this id is about to be wrapped under a recovery passphrase; that opens everything, so it goes on record."""

    root: str


@message("record-check")
@dataclass(frozen=True, slots=True)
class RecordRestoreCheck(Request[Done]):
    """`restore --check` has opened `ref` from the copy whose log had this size and root."""

    ref: str
    log_size: int
    log_root: bytes
