"""Families as OpenMetrics text (openmetrics.io, version 1.0), which Prometheus reads. Pure.

The same words that `metrics` allows come out; they need no escaping, and none is done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hermetic.telemetry.metrics import BUCKETS, COUNTER, Histogram

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hermetic.telemetry.metrics import Family, Point

CONTENT_TYPE: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"


def text(families: Iterable[Family]) -> str:
    """Return the exposition."""
    return "\n".join([line for family in families for line in _lines(family)] + ["# EOF", ""])


def _lines(family: Family) -> Iterator[str]:
    metric = family.metric
    yield f"# TYPE {metric.name} {metric.kind}"
    yield f"# HELP {metric.name} {metric.help}"
    for point in family.points:
        pairs = list(zip(metric.labels, point.labels, strict=True))
        if isinstance(point.value, Histogram):
            yield from _histogram(metric.name, pairs, point.value)
        else:
            suffix = "_total" if metric.kind == COUNTER else ""
            yield f"{metric.name}{suffix}{_labels(pairs)} {_number(point.value)}"


def _histogram(name: str, pairs: list[tuple[str, str]], value: Histogram) -> Iterator[str]:
    below = 0
    for bound, count in zip([*map(str, BUCKETS), "+Inf"], value.counts, strict=True):
        below += count
        yield f"{name}_bucket{_labels([*pairs, ('le', bound)])} {below}"
    yield f"{name}_count{_labels(pairs)} {below}"
    yield f"{name}_sum{_labels(pairs)} {_number(value.total)}"


def _labels(pairs: list[tuple[str, str]]) -> str:
    return "{" + ",".join(f'{name}="{value}"' for name, value in pairs) + "}" if pairs else ""


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))


def table(families: Iterable[Family]) -> list[tuple[str, str, float]]:
    """Return plain values as rows of name, labels and value; histograms as how many there were."""
    return [row for family in families for point in family.points for row in [_row(family, point)]]


def _row(family: Family, point: Point) -> tuple[str, str, float]:
    labels = ", ".join(f"{name}={value}" for name, value in zip(family.metric.labels, point.labels, strict=True))
    value = sum(point.value.counts) if isinstance(point.value, Histogram) else point.value
    return family.metric.name, labels, value
