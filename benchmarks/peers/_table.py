"""The tables and the goals of DESIGN section 10, from what was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from _contenders import ARROW, BASELINES, CONTENDERS, LOAD, MEANINGS, ONE, OPEN, PANDAS, SEAL

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hermetic.bench.measuring import Summary

    Found = Mapping[tuple[str, str], Summary]

MIB = 1024 * 1024
ENCRYPTING = [one.label for one in CONTENDERS if one.encrypts and not one.label.startswith("hermetic")]


class Goal(NamedTuple):
    """A row of DESIGN section 10: `label` in `work`, at most `most` times `against`, or so many seconds."""

    work: str
    label: str
    most: float
    against: str | None


GOALS = (
    Goal(SEAL, "hermetic, pipeline", 0.8, "cp"),
    Goal(SEAL, "hermetic, pipeline", 1.4, "copy loop in Python"),
    Goal(SEAL, "hermetic, command", 1.0, "cp, then sync of the copy"),
    Goal(OPEN, "hermetic, pipeline", 0.85, "cp"),
    Goal(OPEN, "hermetic, API", 0.85, "cp"),
    Goal(LOAD, "hermetic, API", 0.5, "safetensors, mmap and clone"),
    Goal(LOAD, "hermetic, API", 1 / 2.5, "the fastest that encrypts"),
    Goal(ONE, "hermetic, API", 0.010, None),
    Goal(PANDAS, "hermetic, API", 1.1, "plain file"),
    Goal(ARROW, "hermetic, API", 1.1, "plain file"),
)


def tables(found: Found, works: tuple[str, ...]) -> Iterator[str]:
    """Yield the lines of a table for each work."""
    width = max(len(one.label) for one in CONTENDERS)
    for work in works:
        rows = [one for one in CONTENDERS if (work, one.label) in found]
        if not rows:
            continue
        base = found.get((work, BASELINES[work]))
        yield f"\n{MEANINGS[work]}"
        against = f"x {BASELINES[work]}"
        yield f"  {'':{width}} {'least s':>8} {'median':>8} {'spread':>7} {'cpu s':>7} {'peak MiB':>9} {against:>29}   terms"
        for one in rows:
            figure = found[work, one.label]
            ratio = f"{figure.median / base.median:.2f}" if base else "-"
            memory = "-" if figure.memory is None else f"{figure.memory / MIB:.0f}"
            numbers = f"{figure.least:8.3f} {figure.median:8.3f} {figure.spread:7.0%} {figure.processor:7.2f} {memory:>9} {ratio:>29}"
            yield f"  {one.label:{width}} {numbers}   {one.terms}"


def goals(found: Found) -> Iterator[str]:
    """Yield a line for each goal: met, missed, or not measured."""
    yield "\ngoals (medians)"
    for goal in GOALS:
        value, unit = _value(found, goal), f" x {goal.against}" if goal.against else " s"
        said = "not measured" if value is None else f"{value:.3g}, {'met' if value <= goal.most else 'MISSED'}"
        yield f"  {MEANINGS[goal.work]}; {goal.label}: <= {goal.most:.3g}{unit}: {said}"


def to_json(found: Found) -> list[dict[str, object]]:
    """Return every figure as an object."""
    return [
        {"work": work, "contender": label} | {name: getattr(figure, name) for name in (*figure.__slots__, "spread")}
        for (work, label), figure in found.items()
    ]


def _value(found: Found, goal: Goal) -> float | None:
    ours = found.get((goal.work, goal.label))
    if ours is None or goal.against is None:
        return ours.median if ours else None
    labels = ENCRYPTING if goal.against.startswith("the fastest") else [goal.against]
    theirs = [found[goal.work, label].median for label in labels if (goal.work, label) in found]
    return ours.median / min(theirs) if theirs else None
