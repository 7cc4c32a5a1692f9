"""A power cut at every named durable step: what was not synced is lost, in part or as a whole (`fuse_layer`).

Each scenario runs once with project, custody home and backup place on the layer. Then for every cut and every variant of
`fuse_layer.journal` the surviving files are laid out in a folder, and a fresh process checks them as after kill -9 (`checking`).

In `make test`, one occurrence of every step, and some moments between. HERMETIC_KILLS=N (make soak) takes up to N occurrences of every
step and the moment before every sync, when most is pending. Where there is no FUSE the tests are skipped, unless CI or
HERMETIC_UNSYNCED=required is set (make interop-unsynced): then they fail.
"""

from __future__ import annotations

import collections
import os
import random
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.faults.fuse_layer import mounted
from tests.faults.fuse_layer.journal import VARIANTS, Recording, Sync, survivors
from tests.faults.places import Zygote, copy_template, move_in
from tests.faults.recovery import recover
from tests.faults.scenarios import SCENARIOS

if TYPE_CHECKING:
    from pathlib import Path

ROUNDS = int(os.environ.get("HERMETIC_KILLS", "1"))
REQUIRED = bool(os.environ.get("CI")) or os.environ.get("HERMETIC_UNSYNCED") == "required"
BETWEEN = 10  # moments before a sync, in each half, when not all are taken
SEEDS = ROUNDS  # for variants that leave something to chance
CHANCE = ("prefix", "torn")
HALVES = 2


@pytest.fixture(autouse=True)
def fuse() -> None:
    """Say what is missing for the layer."""
    missing = mounted.missing()
    if missing and REQUIRED:
        pytest.fail(f"power cuts cannot be tested: {missing}")
    if missing:
        pytest.skip(f"power cuts were not tested: {missing}")


@pytest.mark.parametrize("half", range(HALVES))
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_power_is_cut_at_every_step(
    scenario: str, half: int, template: Path, zygote: Zygote, tmp_path: Path, record_property: pytest.FixtureRequest
) -> None:
    recording = record(scenario, template, zygote, tmp_path)
    seen: set[bytes] = set()
    unrepeatable = []
    for at, why in cuts(recording, random.Random(scenario))[half::HALVES]:
        lines = [text for end, text in recording.marks() if end < at and not text.startswith("step ")]
        for variant in VARIANTS:
            for seed in range(SEEDS if variant in CHANCE else 1):
                tree = survivors(recording, at, variant, seed)
                digest = tree.digest(leaving_out=("-shm",)) + repr(lines).encode()
                if digest in seen:
                    continue
                seen.add(digest)
                root = tmp_path / "after"
                tree.write(root)
                move_in(root)
                if recover(zygote, root, scenario):
                    problem = zygote.check(root, scenario, lines)
                    assert problem is None, f"power cut after operation {at} ({why}) of {scenario}, {variant}, seed {seed}:\n{problem}"
                else:
                    unrepeatable.append(why)
                shutil.rmtree(root)
    record_property("summary", f"power cuts in {scenario}, half {half}: {len(seen)} states checked")
    if unrepeatable:
        pytest.skip(f"a restore interrupted at {', '.join(sorted(set(unrepeatable)))} cannot be repeated yet")


def record(scenario: str, template: Path, zygote: Zygote, root: Path) -> Recording:
    """Run a scenario on the layer; return what it did."""
    source, point = root / "source", root / "layer"
    copy_template(template, source, scenario, point)
    with mounted.Mounted(source, point) as layer:
        lines = zygote.run(point, scenario, layer=point)
    assert lines[-1] == "finished"
    recording = layer.recording
    assert [text for _, text in recording.marks()] == lines
    return recording


def cuts(recording: Recording, chance: random.Random) -> list[tuple[int, str]]:
    """Return (number of operations that happened, what the last one was) of the cuts to try."""
    steps: dict[str, list[int]] = collections.defaultdict(list)
    for at, text in recording.marks():
        steps[text if text.startswith("step ") else text.partition(" ")[0]].append(at + 1)
    chosen = {at: step for step, places in steps.items() for at in chance.sample(places, min(ROUNDS, len(places)))}
    before = [at for at, op in enumerate(recording.ops) if isinstance(op, Sync)]
    if ROUNDS == 1:
        before = chance.sample(before, min(BETWEEN * HALVES, len(before)))
    return sorted((chosen | {at: "before a sync" for at in before if at not in chosen}).items())
