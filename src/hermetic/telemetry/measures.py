"""Counters and histograms of one process. Thread safe; a lock is held for a dictionary look-up and an addition only.

Servers do not call this by hand: `watching.Watch.request` does, around each request. What they call themselves:

    measures.connected() / measures.left()      a connection was opened, closed
    measures.turned_away("connections")         a limit was hit: connections, strangers, turn, body, rate, size, time
"""

from __future__ import annotations

import re
import threading
from bisect import bisect_left
from typing import TYPE_CHECKING, Final

from hermetic.errors import HermeticError
from hermetic.telemetry.metrics import BUCKETS, BY_NAME, HISTOGRAM, LIMIT, METRICS, OTHER, Family, Histogram, Point, word

if TYPE_CHECKING:
    from collections.abc import Iterator

_PARTS: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")


class Measures:
    """What one process counted since it started."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counted: dict[tuple[str, tuple[str, ...]], float] = {}
        self._observed: dict[str, tuple[list[int], float]] = {
            metric.name: ([0] * (len(BUCKETS) + 1), 0.0) for metric in METRICS if metric.kind == HISTOGRAM
        }
        for name in ("hermetic_releases", "hermetic_requests_at_work", "hermetic_connections"):
            self._counted[name, ()] = 0

    def released(self, seconds: float) -> None:
        """A request for a key was answered with one."""
        self._add("hermetic_releases")
        self._observe("hermetic_release_duration_seconds", seconds)

    def refused(self, error: BaseException) -> None:
        """A request was refused or failed; only what kind of error it is counts."""
        self.refused_for(reason_of(error))

    def refused_for(self, reason: str) -> None:
        """The same, where the reason is known."""
        self._add("hermetic_refusals", reason)

    def answered(self, request: str, outcome: str, seconds: float) -> None:
        """A request, by wire name, came to its end: answered, refused or failed."""
        self._add("hermetic_requests", request, outcome)
        self._observe("hermetic_request_duration_seconds", seconds)

    def at_work(self, change: int) -> None:
        """A request began (1), or ended (-1)."""
        self._add("hermetic_requests_at_work", by=change)

    def connected(self) -> None:
        """A connection was opened."""
        self._add("hermetic_connections")

    def left(self) -> None:
        """A connection was closed."""
        self._add("hermetic_connections", by=-1)

    def turned_away(self, why: str) -> None:
        """A limit of the service was hit."""
        self._add("hermetic_turned_away", why)

    def notified(self, outcome: str) -> None:
        """A notification was tried: sent, failed or dead."""
        self._add("hermetic_notification_tries", outcome)

    def families(self) -> Iterator[Family]:
        """Yield what was counted."""
        with self._lock:
            counted = dict(self._counted)
            observed = {name: Histogram(tuple(counts), total) for name, (counts, total) in self._observed.items()}
        for metric in METRICS:
            if metric.kind == HISTOGRAM:
                yield Family(metric, (Point((), observed[metric.name]),))
                continue
            points = [Point(labels, value) for (name, labels), value in counted.items() if name == metric.name]
            if points:
                yield Family(metric, tuple(sorted(points)))

    def _add(self, name: str, *values: str, by: float = 1) -> None:
        labels = tuple(word(label, value) for label, value in zip(BY_NAME[name].labels, values, strict=True))
        with self._lock:
            if (name, labels) not in self._counted and sum(known == name for known, _ in self._counted) >= LIMIT * 3:
                labels = (OTHER,) * len(labels)
            self._counted[name, labels] = self._counted.get((name, labels), 0) + by

    def _observe(self, name: str, seconds: float) -> None:
        with self._lock:
            counts, total = self._observed[name]
            counts[bisect_left(BUCKETS, seconds)] += 1
            self._observed[name] = (counts, total + seconds)


def reason_of(error: BaseException) -> str:
    """Return the reason that is counted for an error: its class, or the nearest above it that the table knows."""
    for cls in type(error).__mro__:
        if cls is HermeticError:
            break
        name = _PARTS.sub("-", cls.__name__).lower().removesuffix("-error")
        if word("reason", name) == name:
            return name
    return "failed"
