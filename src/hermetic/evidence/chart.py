"""What a pipeline map is made of. Every part says how it is known.

    declared    the pipeline section of hermetic.yaml names it
    discovered  a scan found it lying somewhere
    observed    custody's records show that it is used

Lengths are bytes, times Unix milliseconds.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from hermetic.evidence.jsonable import to_plain

if TYPE_CHECKING:
    from hermetic.formats.findings import Finding
    from hermetic.ids import DataClass, Environment, Purpose, Stage


class Origin(enum.StrEnum):
    """How a part of the map is known."""

    DECLARED = "declared"
    DISCOVERED = "discovered"
    OBSERVED = "observed"


@dataclass(frozen=True, slots=True)
class Holding:
    """One thing that lies in a store: a sealed asset, or an unprotected file (`sealed` False, `data_class` None unless known)."""

    id: str
    name: str
    kind: str
    sealed: bool
    data_class: DataClass | None
    environment: Environment | None
    latest: int
    length: int
    exposed: int  # exposures open now


@dataclass(frozen=True, slots=True)
class StoreNode:
    """A store as one stage uses it, with what lies in it for that stage."""

    id: str
    name: str
    place: str
    stage: Stage
    origins: tuple[Origin, ...]
    holdings: tuple[Holding, ...]


@dataclass(frozen=True, slots=True)
class ComputeNode:
    """Code that runs: all runs of one name and purpose."""

    id: str
    name: str
    stage: Stage
    origins: tuple[Origin, ...]
    purpose: Purpose | None
    runs: int
    failed: int
    last_ms: int | None


@dataclass(frozen=True, slots=True)
class Flow:
    """Something that moves from one node to another. `over` says how; `sealed` None: declared only, so nobody has seen it."""

    source: str
    target: str
    source_stage: Stage | None
    target_stage: Stage | None
    origins: tuple[Origin, ...]
    sealed: bool | None
    over: str


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer to one question about one stage, with a line of evidence."""

    state: Literal["protected", "partial", "open", "unknown"]
    text: str


@dataclass(frozen=True, slots=True)
class StageView:
    """One stage: where its data is stored, how it moves, where it is processed, and what is missing."""

    stage: Stage
    stored: Answer
    moving: Answer
    processed: Answer
    stores: tuple[StoreNode, ...]
    compute: tuple[ComputeNode, ...]
    gaps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PipelineMap:
    """The whole picture at `at_ms`."""

    at_ms: int
    domain: str
    project: str
    enforcement: str
    declared: bool  # hermetic.yaml has a pipeline section
    scanned: tuple[str, ...] | None
    stages: tuple[StageView, ...]
    flows: tuple[Flow, ...]
    beside: tuple[Holding, ...]  # assets of no stage: backups
    findings: tuple[Finding, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the map as one JSON object."""
        document: dict[str, Any] = to_plain(self)
        return document
