"""Budgets: limits on metrics, recorded on a machine or agreed on, in a YAML or JSON file.

    format: hermetic-bench-budget/1
    budgets:
      - {metric: load/blake3/2, max_ratio: 0.8}
      - {metric: release, max_seconds: 0.005}
      - {metric: seal/blake3/2, max_mib: 32}

`max_ratio` is the one that carries over from machine to machine. A metric that is not among those measured is a mistake, not a pass:
a budget that nothing is compared with would hold whatever happens.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hermetic.bench.report import MEASURES, WORKS, Figure, Report, find
from hermetic.errors import ConfigError, NotFound, StorageError
from hermetic.formats.findings import Finding
from hermetic.stores.base import hint_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FORMAT = "hermetic-bench-budget/1"
LIMIT = 1024 * 1024
SLACK = 1.25  # what --record allows beyond what it measured
SLACK_MIB = 8
_KEYS = {f"max_{measure}": measure for measure in MEASURES}
_UNITS = {"ratio": " x plain", "seconds": " s", "mib": " MiB"}


@dataclass(frozen=True, slots=True)
class Limit:
    """The most that a measure of a metric may be, and the line that says so."""

    metric: str
    measure: str
    most: float
    line: int


def read(path: Path) -> tuple[Limit, ...]:
    """Read a budget file. Raises NotFound, StorageError, ConfigError with file and line."""
    try:
        with path.open("rb") as file:
            raw = file.read(LIMIT + 1)
    except FileNotFoundError:
        raise NotFound(f"there is no budget file {str(path)!r}", hint=f"make one from this machine: --record {path}") from None
    except OSError as error:
        raise StorageError(f"cannot read {path}: {(error.strerror or str(error)).lower()}", hint=hint_for(error)) from error
    if len(raw) > LIMIT:
        raise ConfigError(f"over {LIMIT} bytes", file=str(path))
    return parse(raw, str(path))


def parse(raw: bytes, file: str) -> tuple[Limit, ...]:
    """Return the limits in a budget's bytes. Raises ConfigError."""
    from ruamel.yaml import YAML  # noqa: PLC0415 - heavy
    from ruamel.yaml.error import YAMLError  # noqa: PLC0415 - see above

    try:
        body = YAML(typ="rt").load(raw.decode("utf-8"))
    except (
        YAMLError,
        ValueError,
        TypeError,
        AttributeError,
        LookupError,
        OverflowError,
        RecursionError,
        NotImplementedError,
    ) as error:
        raise ConfigError(f"not YAML: {str(error).partition(chr(10))[0]}", file=file) from None
    if not isinstance(body, dict) or body.get("format") != FORMAT or not isinstance(body.get("budgets"), list):
        raise ConfigError("no budget file", hint=f"it begins with `format: {FORMAT}` and has a list `budgets:`", file=file)
    if extra := set(body) - {"format", "budgets", "machine", "measured"}:
        raise ConfigError(f"unknown key {min(map(str, extra))[:40]!r}", hint="budgets are in the list `budgets:`", file=file)
    limits = tuple(limit for item in body["budgets"] for limit in _limits(item, file))
    if not limits:
        raise ConfigError("the list `budgets:` is empty", hint="a budget without limits would always hold", file=file)
    return limits


def check(limits: tuple[Limit, ...], report: Report, file: str) -> tuple[Finding, ...]:
    """Return what is over its limit, in the order of the file. Raises ConfigError for a metric that was not measured."""
    return tuple(finding for limit in limits for finding in _over(limit, report, file))


def check_names(limits: tuple[Limit, ...], metrics: frozenset[str], file: str) -> None:
    """Refuse limits on metrics that will not be measured, before an hour is spent measuring. Raises ConfigError."""
    for limit in limits:
        if limit.metric not in metrics:
            raise _unknown(limit, metrics, file)


def record(report: Report, *, slack: float = SLACK) -> str:
    """Return a budget file that this run keeps within, with some slack: a ratio and a peak of memory for each metric."""
    from ruamel.yaml import YAML  # noqa: PLC0415 - heavy

    budgets: list[dict[str, Any]] = []
    for figure in report.figures:
        limit: dict[str, Any] = {"metric": figure.metric, "max_ratio": _round_up(figure.ratio * slack)}
        if figure.sealed.memory is not None and figure.work != "release":
            limit["max_mib"] = _round_up((figure.value("mib") or 0.0) * slack + SLACK_MIB)
        budgets.append(limit)
    machine = f"{report.machine.processor}, {report.machine.processors} processors, {report.machine.file_system}"
    measured = f"{report.label}, {sum(report.sizes)} bytes in {len(report.sizes)} files, {report.rounds} rounds, slack {slack:g}"
    noisy = [figure.metric for figure in report.figures if figure.noisy]
    measured += f"; noisy, measure again: {', '.join(noisy)}" if noisy else ""
    out = io.StringIO()
    YAML().dump({"format": FORMAT, "machine": machine, "measured": measured, "budgets": budgets}, out)
    return out.getvalue()


def _limits(item: Any, file: str) -> Iterator[Limit]:
    line = item.lc.line + 1 if hasattr(item, "lc") else None
    if not isinstance(item, dict) or not isinstance(item.get("metric"), str):
        raise ConfigError(
            "a budget names a metric and a limit", hint="write {metric: load/blake3/2, max_ratio: 0.8}", file=file, line=line
        )
    keys = [str(key) for key in item if key != "metric"]
    if not keys or not set(keys) <= set(_KEYS):
        raise ConfigError(f"a limit on {item['metric']} is one of {', '.join(_KEYS)}", file=file, line=line)
    for key in keys:
        most = item[key]
        if isinstance(most, bool) or not isinstance(most, int | float) or not 0 < most < math.inf:
            raise ConfigError(f"{key} of {item['metric']} is a number above 0", file=file, line=line)
        yield Limit(str(item["metric"]), _KEYS[key], float(most), line or 0)


def _over(limit: Limit, report: Report, file: str) -> Iterator[Finding]:
    figure = find(report.figures, limit.metric)
    if figure is None:
        raise _unknown(limit, frozenset(figure.metric for figure in report.figures), file)
    value = figure.value(limit.measure)
    if value is None:
        raise ConfigError(f"memory is not known here, so that max_mib of {limit.metric} cannot be checked", file=file, line=limit.line)
    if value > limit.most:
        yield Finding(
            code="over-budget",
            severity="medium",
            subject=limit.metric,
            message=f"{_amount(value, limit.measure)}, over the budget of {_amount(limit.most, limit.measure)}" + _doubt(figure),
            remedy="measure again on a quiet machine; if it stays, find what changed, or record a new budget",
        )


def _unknown(limit: Limit, metrics: frozenset[str], file: str) -> ConfigError:
    work = limit.metric.partition("/")[0]
    near = sorted(metric for metric in metrics if metric.partition("/")[0] == work) or sorted(metrics)
    why = "is not measured in this run" if work in WORKS else "is no metric"
    return ConfigError(f"{limit.metric[:60]!r} {why}", hint=f"measured are: {', '.join(near[:12])}", file=file, line=limit.line)


def _amount(value: float, measure: str) -> str:
    return f"{value:.3g}{_UNITS[measure]}"


def _doubt(figure: Figure) -> str:
    return "; the measurement was noisy" if figure.noisy else ""


def _round_up(value: float) -> float:
    """Round up to three significant digits: a limit must not lie below what was measured."""
    scale: float = 10.0 ** (2 - math.floor(math.log10(value)))
    return float(math.ceil(value * scale)) / scale
