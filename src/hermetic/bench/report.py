"""What a benchmark found: a figure for each cell, metrics with stable names, and how far to trust them.

A metric is named `WORK/SUITE/THREADS`, for example `load/blake3/2`. What runs with as many threads as the library chooses is named
without them (`tensors/blake3`), and `release`, which has no suite either, is just `release`. A metric has a ratio (median of the
sealed side over that of the plain side, so that below 1 is faster than plain), seconds (median of the sealed side), and memory (its
highest peak above what the process held before, in MiB).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hermetic.bench.measuring import FOREIGN, Summary
from hermetic.bench.shape import MIB

if TYPE_CHECKING:
    from collections.abc import Sequence

TENSOR_WORKS = ("tensors", "tensor")
WORKS = ("seal", "expose", "load", "lazy", *TENSOR_WORKS, "epoch", "release")
NOISY = 0.10  # spread of the middle half, as a part of the median
MEASURES = ("ratio", "seconds", "mib")


@dataclass(frozen=True, slots=True)
class Figure:
    """One cell; `bytes` is what the sealed side moves in one measurement, 0 for releases."""

    work: str
    suite: str
    threads: int
    bytes: int
    sealed: Summary
    plain: Summary

    @property
    def metric(self) -> str:
        """The metric's name."""
        return metric_name(self.work, self.suite, self.threads)

    @property
    def ratio(self) -> float:
        """How long the sealed side takes, as a multiple of the plain side."""
        return self.sealed.median / self.plain.median

    @property
    def noisy(self) -> bool:
        """Whether the figure should be taken again on a quieter machine."""
        return max(self.sealed.spread, self.plain.spread) > NOISY or max(self.sealed.foreign, self.plain.foreign) > FOREIGN

    def value(self, measure: str) -> float | None:
        """Return one measure of the metric; None for memory where the kernel does not tell it."""
        if measure == "mib":
            return None if self.sealed.memory is None else self.sealed.memory / MIB
        return self.ratio if measure == "ratio" else self.sealed.median

    def to_json(self) -> dict[str, Any]:
        """Return the figure as one JSON object."""
        return {
            "metric": self.metric,
            "work": self.work,
            "suite": self.suite,
            "threads": self.threads,
            "bytes": self.bytes,
            "ratio": self.ratio,
            "sealed": _side(self.sealed, self.bytes),
            "plain": _side(self.plain, self.bytes),
            "noisy": self.noisy,
        }


@dataclass(frozen=True, slots=True)
class Machine:
    """Where it was measured."""

    processor: str
    processors: int
    memory: int
    file_system: str
    system: str
    python: str
    hermetic: str


@dataclass(frozen=True, slots=True)
class Report:
    """All figures of one run, in the order they were taken."""

    label: str
    sizes: tuple[int, ...]
    rounds: int
    loader: str
    machine: Machine
    figures: tuple[Figure, ...]

    def notes(self) -> list[str]:
        """Return what a reader of the figures has to know."""
        said = []
        if noisy := [figure.metric for figure in self.figures if figure.noisy]:
            which = "every figure" if len(noisy) == len(self.figures) else ", ".join(noisy)
            said.append(
                f"noisy: {which}: the middle half of the rounds lies more than {NOISY:.0%} apart, or other processes were"
                " busy; repeat it on a quiet machine before you rely on it"
            )
        if self.machine.file_system == "tmpfs":
            said.append("the folder is in memory (tmpfs), where syncing costs nothing; name one on a disk with --folder")
        if any(figure.sealed.memory is None for figure in self.figures):
            said.append("this kernel does not let a process forget its peak of memory: memory is not known")
        return said


def metric_name(work: str, suite: str, threads: int) -> str:
    """Return the name of a metric; `suite` is the short word for it, `threads` 0 for as many as the library chooses."""
    if work == "release":
        return work
    return f"{work}/{suite}/{threads}" if threads else f"{work}/{suite}"


def find(figures: Sequence[Figure], metric: str) -> Figure | None:
    """Return the figure of a metric."""
    return next((figure for figure in figures if figure.metric == metric), None)


def _side(side: Summary, size: int) -> dict[str, Any]:
    return {
        "seconds": side.median,
        "least_seconds": side.least,
        "low_seconds": side.low,
        "high_seconds": side.high,
        "spread": side.spread,
        "bytes_per_second": size / side.median if size and side.median else None,
        "processor_seconds": side.processor,
        "foreign_processors": side.foreign,
        "memory_bytes": side.memory,
        "rounds": side.count,
    }
