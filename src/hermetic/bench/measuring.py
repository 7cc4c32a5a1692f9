"""One piece of work, measured: seconds, processor seconds, what others used meanwhile, and how far memory rose.

Standard library only, so that the same measuring runs in environments that have nothing of ours (benchmarks/peers).

Before each piece memory is touched and freed (`warm`): virtual machines give freed memory back to their host, and the first use of a
page that the host has to find again costs more than any of the work measured here. A measurement during which other processes took
more than FOREIGN of a processor is taken again, a few times; the least disturbed one counts.
"""

from __future__ import annotations

import contextlib
import gc
import mmap
import os
import resource
import statistics
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

PAGE = 4096
FOREIGN = 0.15  # of one processor
RETRIES = 2
ONCE = 1  # among many rounds in one process
_PEAK, _FORGET = Path("/proc/self/clear_refs"), "5"
_UNSURE = 2 / os.sysconf("SC_CLK_TCK")  # the kernel counts what others use in ticks


class Sample(NamedTuple):
    """One measurement. `foreign` is in processors; `memory` is the rise of resident memory at its peak, in bytes, None if unknown."""

    seconds: float
    processor: float
    foreign: float
    memory: int | None


class Work(NamedTuple):
    """What is measured (`run`), what stands ready before it and is cleaned up after it, neither timed."""

    run: Callable[[], object]
    before: Callable[[], object] = lambda: None
    after: Callable[[], object] = lambda: None


@dataclass(frozen=True, slots=True)
class Summary:
    """Many measurements of one thing: seconds are least, quartiles and median, memory is the highest, the rest medians."""

    count: int
    least: float
    low: float
    median: float
    high: float
    processor: float
    foreign: float
    memory: int | None

    def per(self, count: int) -> Summary:
        """Return the times of one piece, where a measurement did `count` of them."""
        times = {name: getattr(self, name) / count for name in ("least", "low", "median", "high", "processor")}
        return replace(self, **times)

    @property
    def spread(self) -> float:
        """How far the middle half of the measurements lies apart, as a part of the median."""
        return (self.high - self.low) / self.median if self.median else 0.0


def measure(work: Callable[[], object], *, warm: int = 0) -> Sample:
    """Do `work` once and say what it took."""
    touch(warm)
    gc.collect()
    knows_peak = _forget_peak()
    start_memory, children = _status("VmRSS"), _children_peak()
    busy, own = busy_seconds(), processor_seconds()
    start = time.perf_counter()
    work()
    seconds = time.perf_counter() - start
    own = processor_seconds() - own
    foreign = max(0.0, busy_seconds() - busy - own - _UNSURE) / seconds if seconds else 0.0
    rise = max(_status("VmHWM") - start_memory, 0) if knows_peak else None
    after = _children_peak()
    if rise is not None and after > children:
        rise = max(rise, after)
    return Sample(seconds, own, foreign, rise)


def in_turns(works: Mapping[str, Work], rounds: int, *, warm: int = 0) -> dict[str, list[Sample]]:
    """Measure each of `works` `rounds` times, in turns, so that a slow minute hits all; one more round, the first, is not counted."""
    samples: dict[str, list[Sample]] = {name: [] for name in works}
    for number in range(rounds + 1):
        for name, work in works.items():
            sample = undisturbed(lambda work=work: _once(work, warm), retries=ONCE if number else 0)  # type: ignore[misc]
            if number:
                samples[name].append(sample)
    return samples


def undisturbed(take: Callable[[], Sample], *, retries: int = RETRIES) -> Sample:
    """Take a sample, and again while others kept the processors busy; the least disturbed one is returned."""
    best = take()
    for _ in range(retries):
        if best.foreign <= FOREIGN:
            break
        best = min(best, take(), key=lambda sample: sample.foreign)
    return best


def summary(samples: Sequence[Sample]) -> Summary:
    """Return the figures of several samples of one thing."""
    seconds = sorted(sample.seconds for sample in samples)
    quartiles = statistics.quantiles(seconds, n=4, method="inclusive") if len(seconds) > 1 else seconds * 3
    known = [sample.memory for sample in samples if sample.memory is not None]
    return Summary(
        count=len(seconds),
        least=seconds[0],
        low=quartiles[0],
        median=quartiles[1],
        high=quartiles[2],
        processor=statistics.median(sample.processor for sample in samples),
        foreign=statistics.median(sample.foreign for sample in samples),
        memory=max(known) if known else None,
    )


def touch(size: int) -> None:
    """Use twice `size` bytes of memory, in pages of either size and at most half of what is free, and give them back.

    The kernel takes small and huge pages from different ends of its free memory: having touched the one says nothing of the other.
    """
    size = min(size, available_memory() // 4) // PAGE * PAGE
    if size <= 0:
        return
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    with mmap.mmap(-1, size, flags=flags) as small, mmap.mmap(-1, size, flags=flags) as huge:
        with contextlib.suppress(OSError):  # a kernel without huge pages
            huge.madvise(mmap.MADV_HUGEPAGE)
        for memory in (huge, small):  # both stay until the end: neither may get what the other gave back
            memory[0:size:PAGE] = bytes(size // PAGE)


def available_memory() -> int:
    """Return how many bytes could be had without swapping; 0 where nobody says."""
    return _field(Path("/proc/meminfo"), "MemAvailable")


def busy_seconds() -> float:
    """Return processor seconds that anybody on the machine has used, without waiting for disks; 0 where nobody says."""
    try:
        fields = [int(field) for field in Path("/proc/stat").read_text("ascii").split("\n", 1)[0].split()[1:9]]
    except (OSError, ValueError):
        return 0.0
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


def processor_seconds() -> float:
    """Return processor seconds of this process and of children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _once(work: Work, warm: int) -> Sample:
    work.before()
    try:
        return measure(work.run, warm=warm)
    finally:
        work.after()


def _forget_peak() -> bool:
    """Make the peak of resident memory what it is now; False where the kernel does not let us."""
    try:
        _PEAK.write_text(_FORGET, "ascii")
    except OSError:
        return False
    return True


def _children_peak() -> int:
    """Return the most that any child had resident. It counts what this process had when the child was started."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024


def _status(name: str) -> int:
    return _field(Path("/proc/self/status"), name)


def _field(path: Path, name: str) -> int:
    try:
        lines = path.read_text("ascii", "replace").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), 0)
