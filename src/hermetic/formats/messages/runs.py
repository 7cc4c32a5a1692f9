"""Executions of code with a declared purpose."""

from __future__ import annotations

from dataclasses import dataclass

from hermetic.formats.codec import message
from hermetic.formats.messages.base import Pair, Receipt, Request
from hermetic.formats.messages.versions import Lease
from hermetic.formats.parts import binding
from hermetic.ids import DataClass, Environment, Purpose


@dataclass(frozen=True, slots=True)
class ClassDecision:
    """What the run writes as the asset `name` may be of this class although its inputs are stricter, because of `reason`."""

    name: str
    data_class: DataClass
    reason: str


@message("start-run")
@dataclass(frozen=True, slots=True)
class StartRun(Request["RunStarted"]):
    """Begin a run. `facts` are code version, command, parameters, environment: kept encrypted.

    `decisions` speak for a program that cannot: they hold for versions that the run seals without naming class or decision itself.
    """

    request: str
    name: str
    purpose: Purpose
    facts: tuple[Pair, ...] = ()
    recipient: bytes | None = None
    decisions: tuple[ClassDecision, ...] = ()
    environment: Environment | None = None  # what it reads and writes is there; None: what hermetic.yaml says


@message("run-started")
@dataclass(frozen=True, slots=True)
class RunStarted:
    """The run's id."""

    run: str
    receipt: Receipt


@message("open-scratch")
@dataclass(frozen=True, slots=True)
class OpenScratch(Request["Scratch"]):
    """Ask for the key of a run's scratch space; a release like any other."""

    request: str
    run: str
    recipient: bytes | None = None


@message("scratch")
@binding
@dataclass(frozen=True, slots=True)
class Scratch:
    """The scratch space of a run: ids for object headers, and the lease. It ends with the run, and its key with it."""

    domain: str
    asset: str
    version: str
    suite: str
    store: str
    lease: Lease
    receipt: Receipt


@message("finish-run")
@dataclass(frozen=True, slots=True)
class FinishRun(Request["RunRow"]):
    """End a run: `state` is finished or failed. Its scratch key is destroyed."""

    run: str
    state: str
    facts: tuple[Pair, ...] = ()


@message("show-run")
@dataclass(frozen=True, slots=True)
class ShowRun(Request["RunRow"]):
    """One run by id."""

    run: str


@message("list-runs")
@dataclass(frozen=True, slots=True)
class ListRuns(Request["RunList"]):
    """The latest runs first, as many as fit; `after` is the `next` of the page before."""

    limit: int = 100
    after: str | None = None


@message("run-row")
@dataclass(frozen=True, slots=True)
class RunRow:
    """A run with what it read and wrote, as references."""

    run: str
    name: str
    purpose: Purpose
    principal: str
    state: str
    started_ms: int
    ended_ms: int | None
    facts: tuple[Pair, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@message("run-list")
@dataclass(frozen=True, slots=True)
class RunList:
    """Runs, latest first; `next` says where the next page begins, None at the end."""

    runs: tuple[RunRow, ...]
    next: str | None = None
