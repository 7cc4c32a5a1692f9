"""All cells of a benchmark, one after the other, in a temporary folder that is gone afterwards."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from hermetic.bench import cell, domains, epochs, place, tensors
from hermetic.bench import shape as shapes
from hermetic.bench.measuring import Sample, Summary, summary
from hermetic.bench.report import TENSOR_WORKS, WORKS, Figure, Machine, Report, metric_name
from hermetic.errors import HermeticError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hermetic.bench.shape import Shape

LEAST_ROUNDS = 7
_WARM = 2  # memory touched before each measurement, in multiples of what is measured
_RELEASES_AND_RANGES = 32 * shapes.MIB
_COMMAND = (sys.executable, "-P", "-m", "hermetic.bench.cell")


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured: `suites` are full names, `folder` is where the temporary folder is made."""

    shape: Shape
    works: tuple[str, ...]
    suites: tuple[str, ...]
    threads: tuple[int, ...]
    rounds: int
    folder: Path

    def cells(self) -> Iterator[tuple[str, str, int]]:
        """Yield (work, suite, threads) in the order they are measured."""
        for work in self.works:
            if work == "release":
                yield work, self.suites[0], 1
                continue
            for suite in self.suites:
                for threads in (0,) if work in TENSOR_WORKS else self.threads:
                    yield work, suite, threads

    def room(self) -> int:
        """Return how many bytes of disk it takes at most: synthetic input, what is sealed under each suite and once more, a copy."""
        total = self.shape.total
        sealed = total + total // 512 + shapes.MIB * (2 + len(self.shape.sizes) // 64)
        return (0 if self.shape.source else total) + sealed * (len(self.suites) + 1) + total


def metrics(plan: Plan) -> frozenset[str]:
    """Return the names of what a plan measures."""
    return frozenset(metric_name(work, domains.short_name(suite), threads) for work, suite, threads in plan.cells())


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_works(shape: Shape) -> tuple[str, ...]:
    """Return every work that can be done here: those on tensors only with safetensors files and what loads them."""
    able = shape.has_tensors and tensors.available()
    return tuple(work for work in WORKS if able or work not in TENSOR_WORKS)


def thread_counts(available: int) -> tuple[int, ...]:
    """Return 1, 2, 4, … up to `available`, which is the last."""
    counts = {1, available} | {1 << power for power in range(1, available.bit_length()) if 1 << power <= available}
    return tuple(sorted(counts))


def run(plan: Plan, *, advance: Callable[[int], None] = lambda _steps: None) -> Report:
    """Measure everything that is planned. Raises UsageError, NotFound, StorageError, and what sealing and opening raise."""
    _check(plan)
    with place.temporary(plan.folder) as folder:
        place.check_room(folder, plan.room())
        source = shapes.write(plan.shape, folder / "input")
        made = {suite: _domain(folder, suite, source) for suite in plan.suites}
        figures = []
        for work, suite, threads in plan.cells():
            samples = _ask(made[suite], _order(plan, (work, suite, threads), made[suite], source))
            figures.append(_figure(plan, (work, suite, threads), {side: summary(taken) for side, taken in samples.items()}))
            advance(1)
        machine = _machine(folder)
    loader = "torch DataLoader" if epochs.has_torch() else "threads over fsspec"
    return Report(plan.shape.label, plan.shape.sizes, plan.rounds, loader, machine, tuple(figures))


def _check(plan: Plan) -> None:
    if unknown := [work for work in plan.works if work not in WORKS]:
        raise UsageError(f"{unknown[0]!r} is no work of a benchmark", hint=f"write some of: {','.join(WORKS)}")
    if wanted := [work for work in plan.works if work in TENSOR_WORKS and work not in default_works(plan.shape)]:
        raise UsageError(
            f"{wanted[0]} needs a safetensors file and the packages safetensors and torch",
            hint="pip install '.[torch]', and name the file",
        )
    if plan.rounds < LEAST_ROUNDS:
        raise UsageError(f"{plan.rounds} rounds are too few for a median", hint=f"at least {LEAST_ROUNDS}")
    if not plan.threads or min(plan.threads) < 1:
        raise UsageError("a thread count is at least 1", hint="write for example --threads 1,2")


def _domain(folder: Path, suite: str, source: Path) -> domains.Throwaway:
    """Make a domain, and seal in it what the works read."""
    made = domains.create(folder / domains.short_name(suite), suite)
    (made.project.parent / "scratch").mkdir(mode=0o700)
    threads = min(2, processors())
    _ask(made, cell.Order(cell.FULL, suite, str(made.project), str(source), _scratch(made), threads, rounds=0, warm=0))
    return made


def _order(plan: Plan, what: tuple[str, str, int], made: domains.Throwaway, source: Path) -> cell.Order:
    work, suite, threads = what
    warm = _RELEASES_AND_RANGES if work in {"release", "lazy"} else _WARM * plan.shape.total + _RELEASES_AND_RANGES
    return cell.Order(work, suite, str(made.project), str(source), _scratch(made), threads, plan.rounds, warm)


def _scratch(made: domains.Throwaway) -> str:
    return str(made.project.parent / "scratch")


def _ask(made: domains.Throwaway, order: cell.Order) -> dict[str, list[Sample]]:
    """Run a cell in a process of its own, which does not outlive this call."""
    with subprocess.Popen(  # noqa: S603 - this interpreter and a module of ours
        _COMMAND,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=made.environment,
        cwd=made.project,
        text=True,
    ) as child:
        try:
            said, complained = child.communicate(cell.to_json(order))
        except BaseException:
            child.kill()
            raise
    if child.returncode or not said:
        last = complained.strip().splitlines()[-1:] or [f"exit code {child.returncode}"]
        raise HermeticError(
            f"the measuring process for {order.work} ended: {last[0]}", hint="is there enough memory for what is measured?"
        )
    told = json.loads(said)
    if "error" in told:
        cell.raise_told(told["error"])
    return {side: [Sample(*sample) for sample in samples] for side, samples in told["samples"].items()}


def _figure(plan: Plan, what: tuple[str, str, int], sides: dict[str, Summary]) -> Figure:
    from hermetic.bench.works import PLAIN, RANGE, RELEASES, SEALED  # noqa: PLC0415 - the parent measures nothing itself

    work, suite, threads = what
    one = tensors.size_of_one(plan.shape.tensor_files()) if work == "tensor" else 0
    size = {"release": 0, "lazy": min(RANGE, max(plan.shape.sizes)), "tensor": one}.get(work, plan.shape.total)
    of = RELEASES if work == "release" else 1
    sealed, plain = (sides[side].per(of) for side in (SEALED, PLAIN))
    return Figure(work, domains.short_name(suite), threads, size, sealed, plain)


def _machine(folder: Path) -> Machine:
    return Machine(
        processor=_processor(),
        processors=processors(),
        memory=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        file_system=file_system(folder),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        hermetic=version("hermetic"),
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def file_system(folder: Path) -> str:
    """Return the type of the file system that `folder` lies on; empty where the kernel does not tell."""
    status = folder.stat()
    device = f"{os.major(status.st_dev)}:{os.minor(status.st_dev)}"
    try:
        lines = Path("/proc/self/mountinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    mounts = [line.split() for line in lines]
    return next((fields[fields.index("-") + 1] for fields in mounts if fields[2] == device and "-" in fields), "")
