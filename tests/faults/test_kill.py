"""kill -9 at every named durable step of what Hermetic does (docs/adr/0005). `checking` says what must hold afterwards.

Each step once in `make test`, in the scenario that `step_homes` names. HERMETIC_KILLS=N (make soak: 3) kills at N occurrences of each
step of each scenario: the first, the last and some between. HERMETIC_KILL_TABLE names a file that gets a line for each kill, which
scripts/kill_table.py sums up and compares with the names in the code.
"""

from __future__ import annotations

import collections
import os
import random
import shutil
import time
from pathlib import Path

import pytest

from scripts import kill_table
from tests.faults import step_homes
from tests.faults.places import Zygote, copy_template
from tests.faults.recovery import recover
from tests.faults.scenarios import SCENARIOS

ROUNDS = int(os.environ.get("HERMETIC_KILLS", "1"))
MOMENTS = 2 if ROUNDS == 1 else 10 * ROUNDS
TABLE = os.environ.get("HERMETIC_KILL_TABLE")
HALVES = 1 if ROUNDS == 1 else 2  # a scenario is several tests in the long run, so that workers share it
_whole: dict[str, tuple[collections.Counter[str], float]] = {}  # what a scenario reaches, and how long it takes


def occurrences(times: int, rounds: int, chance: random.Random) -> list[int]:
    """Return which of `times` occurrences to kill at: all of them again when there are too few, else first, last and some between."""
    if times < rounds:
        return [number % times + 1 for number in range(rounds)]
    chosen = [1, times][:rounds]
    return sorted(chosen + chance.sample(range(2, times), rounds - len(chosen)))


@pytest.mark.parametrize("half", range(HALVES))
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_killed_at_every_step(scenario: str, half: int, template: Path, zygote: Zygote, tmp_path: Path) -> None:
    counts, _ = dry_run(scenario, template, zygote, tmp_path / "dry")
    steps = sorted(counts) if ROUNDS > 1 else step_homes.tried(scenario, list(counts))
    for step in steps[half::HALVES]:
        for occurrence in occurrences(counts[step], ROUNDS, random.Random(step)):
            root = tmp_path / "place"
            copy_template(template, root, scenario)
            lines = zygote.run(root, scenario, step=step, occurrence=occurrence)
            assert lines[-1] == f"killed {step}"
            recover(zygote, root, scenario)
            problem = zygote.check(root, scenario, lines)
            assert problem is None, f"after a kill at the {occurrence}. {step} of {scenario}:\n{problem}"
            shutil.rmtree(root)
            count(scenario, step)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_killed_at_any_moment(scenario: str, template: Path, zygote: Zygote, tmp_path: Path) -> None:
    """Between the steps, too."""
    _, longest = dry_run(scenario, template, zygote, tmp_path / "dry")
    chance = random.Random(scenario)
    for _ in range(MOMENTS):
        root = tmp_path / "place"
        copy_template(template, root, scenario)
        lines = zygote.run(root, scenario, after_s=max(0.001, chance.random() * longest))
        recover(zygote, root, scenario)
        problem = zygote.check(root, scenario, lines)
        assert problem is None, f"killed in {scenario} after {lines[-1:]}:\n{problem}"
        shutil.rmtree(root)
        count(scenario, "between-steps")


def test_every_named_step_is_reached(template: Path, zygote: Zygote, tmp_path: Path) -> None:
    """A step that nothing reaches was never tested; `kill_table.ELSEWHERE` says why for the few that cannot occur here."""
    reached = {scenario: set(dry_run(scenario, template, zygote, tmp_path / scenario)[0]) for scenario in SCENARIOS}
    missing = kill_table.missing(set().union(*reached.values()))
    assert not missing, "\n".join(missing)
    assert not step_homes.stale(reached), "run `python -m tests.faults.step_homes`: some steps are tried nowhere"


def dry_run(scenario: str, template: Path, zygote: Zygote, root: Path) -> tuple[collections.Counter[str], float]:
    """Run a scenario to its end, once in this process; return how often each step was reached, and seconds."""
    if scenario not in _whole:
        copy_template(template, root, scenario)
        began = time.monotonic()
        lines = zygote.run(root, scenario)
        took = time.monotonic() - began
        assert lines[-1] == "finished"
        problem = zygote.check(root, scenario, lines)
        assert problem is None, f"after {scenario} without a kill:\n{problem}"
        counts = collections.Counter(line.removeprefix("step ") for line in lines if line.startswith("step "))
        _whole[scenario] = counts, took
    return _whole[scenario]


def count(scenario: str, step: str) -> None:
    if TABLE:
        with Path(TABLE).open("a") as table:  # one short line: written at once, also beside other workers
            table.write(f"{scenario} {step}\n")
