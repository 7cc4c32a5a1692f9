"""A power cut at every named durable step: what was not synced is lost, in part or as a whole (`fuse_layer`).

Each scenario runs once with project, custody home and backup place on the layer. Then for every cut and every variant of
`fuse_layer.journal` the surviving files are laid out in a folder, and a fresh process checks them as after kill -9 (`checking`).

In `make test`, one occurrence of every step, in the scenario that `step_homes` names, and some moments between; of the variants the
one that loses most, and some in turn. HERMETIC_KILLS=N (make soak) takes up to N occurrences of every step of every scenario, the
moment before every sync, when most is pending, and every variant. Where there is no FUSE the tests are skipped, unless CI or
HERMETIC_UNSYNCED=required is set (make interop-unsynced): then they fail.
"""

from __future__ import annotations

import collections
import os
import random
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.faults import step_homes
from tests.faults.fuse_layer import mounted
from tests.faults.fuse_layer.journal import VARIANTS, Recording, Sync, Tree, survivors
from tests.faults.places import Zygote, copy_template, move_in
from tests.faults.recovery import recover
from tests.faults.scenarios import SCENARIOS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ROUNDS = int(os.environ.get("HERMETIC_KILLS", "1"))
REQUIRED = bool(os.environ.get("CI")) or os.environ.get("HERMETIC_UNSYNCED") == "required"
BETWEEN = 4  # moments before a sync, when not all are taken
SEEDS = ROUNDS  # for variants that leave something to chance
CHANCE = ("prefix", "torn")
OTHERS = 2  # variants besides "lost", when not all are taken
HALVES = 1 if ROUNDS == 1 else 2
FAILING = ("seal", "release", "rotate", "run", "expose", "manage", "init")
FAILURES = 3 if ROUNDS == 1 else 10_000


@pytest.fixture(autouse=True)
def fuse(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> None:
    """Say what is missing for the layer."""
    missing = mounted.missing()
    if missing and REQUIRED:
        pytest.fail(f"power cuts cannot be tested: {missing}")
    if missing:
        record_property("summary", f"not tested: {request.node.name}: {missing}")
        pytest.skip(missing)


@pytest.mark.parametrize("half", range(HALVES))
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_power_is_cut_at_every_step(
    scenario: str, half: int, template: Path, zygote: Zygote, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    recording = record(scenario, template, zygote, tmp_path)
    seen: set[bytes] = set()
    for at, why in cuts(recording, scenario, random.Random(scenario))[half::HALVES]:
        lines = [text for end, text in recording.marks() if end < at and not text.startswith("step ")]
        for variant in variants(scenario, at):
            for seed in range(SEEDS if variant in CHANCE else 1):
                tree = survivors(recording, at, variant, seed)
                digest = tree.digest(leaving_out=("-shm",)) + repr(lines).encode()
                if digest in seen:
                    continue
                seen.add(digest)
                problem = check(zygote, scenario, tree, lines, tmp_path / "after")
                assert problem is None, f"power cut after operation {at} ({why}) of {scenario}, {variant}, seed {seed}:\n{problem}"
                shutil.rmtree(tmp_path / "after")
    record_property("summary", f"power cuts in {scenario}, half {half}: {len(seen)} states checked")


@pytest.mark.parametrize("scenario", FAILING)
def test_a_sync_fails(
    scenario: str, template: Path, zygote: Zygote, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """EIO from fsync, of an object, a folder, the database or the backup: StorageError or a remembered problem, and nothing lost."""
    whole = record(scenario, template, zygote, tmp_path / "whole")
    syncs = sum(isinstance(op, Sync) for op in whole.ops)
    failed = tried = 0
    for number in random.Random(scenario).sample(range(1, syncs + 1), syncs):
        if failed and tried >= FAILURES:
            break
        tried += 1
        root = tmp_path / str(number)
        recording = record(scenario, template, zygote, root, fail_sync=number, may_fail=True)
        lines = [text for _, text in recording.marks() if not text.startswith("step ")]
        failed += any(line.startswith("failed ") for line in lines)
        for variant in ("all", "lost", "torn"):  # as it is, and after a power cut
            problem = check(zygote, scenario, survivors(recording, len(recording.ops), variant, number), lines, root / variant)
            assert problem is None, f"after sync {number} of {scenario} failed, {variant}:\n{problem}"
        shutil.rmtree(root)
    assert failed, "no failed sync was noticed"
    record_property("summary", f"failed syncs in {scenario}: {tried}, of which {failed} ended the command")


@pytest.mark.parametrize(
    ("without", "scenario"), [("syncs of files", "seal"), ("syncs of folders", "seal"), ("syncs of commits", "release")]
)
def test_a_missing_sync_is_noticed(without: str, scenario: str, template: Path, zygote: Zygote, tmp_path: Path) -> None:
    """The tests above are worth something: they fail without the syncs."""
    recording = record(scenario, template, zygote, tmp_path, without=without)
    for at, _ in cuts(recording, scenario, random.Random(scenario)):
        for variant in ("lost", "names"):
            lines = [text for end, text in recording.marks() if end < at]
            if check(zygote, scenario, survivors(recording, at, variant, 0), lines, tmp_path / "after"):
                return
            shutil.rmtree(tmp_path / "after")
    pytest.fail(f"nobody noticed that there were no {without}")


def variants(scenario: str, at: int) -> tuple[str, ...]:
    """Return what is tried of one cut: everything in the long run, and else "lost" and some that change from cut to cut."""
    if ROUNDS > 1:
        return VARIANTS
    return ("lost", *random.Random(f"{scenario} {at}").sample([one for one in VARIANTS if one != "lost"], OTHERS))


def record(scenario: str, template: Path, zygote: Zygote, root: Path, **how: object) -> Recording:
    """Run a scenario on the layer; return what it did."""
    root.mkdir(exist_ok=True)
    source, point = root / "source", root / "layer"
    copy_template(template, source, scenario, point)
    with mounted.Mounted(source, point) as layer:
        lines = zygote.run(point, scenario, layer=point, **how)
    assert lines[-1] == "finished"
    recording = layer.recording
    assert [text for _, text in recording.marks()] == lines
    return recording


def check(zygote: Zygote, scenario: str, tree: Tree, lines: list[str], root: Path) -> str | None:
    """Lay out what has survived in the new folder `root`, and return what is wrong with it."""
    tree.write(root)
    move_in(root)
    recover(zygote, root, scenario)
    return zygote.check(root, scenario, lines)


def cuts(recording: Recording, scenario: str, chance: random.Random) -> list[tuple[int, str]]:
    """Return (number of operations that happened, what the last one was) of the cuts to try."""
    steps: dict[str, list[int]] = collections.defaultdict(list)
    found = {text.removeprefix("step ") for _, text in recording.marks() if text.startswith("step ")}
    tried = found if ROUNDS > 1 else set(step_homes.tried(scenario, list(found)))
    for at, text in recording.marks():
        if text.startswith("step ") and text.removeprefix("step ") not in tried:
            continue
        steps[text if text.startswith("step ") else text.partition(" ")[0]].append(at + 1)
    chosen = {at: step for step, places in steps.items() for at in chance.sample(places, min(ROUNDS, len(places)))}
    before = [at for at, op in enumerate(recording.ops) if isinstance(op, Sync)]
    if ROUNDS == 1:
        before = chance.sample(before, min(BETWEEN, len(before)))
    return sorted((chosen | {at: "before a sync" for at in before if at not in chosen}).items())
