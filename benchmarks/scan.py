"""How fast a scan is: 10,000 files of every format a scan knows, in 100 folders, page cache warm. Goal: under 10 s.

python benchmarks/scan.py [FILES]
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from hermetic.gate.scan import scan
from tests.unit.gate import makers

GOAL_S = 10.0
RUNS = 5


def build(root: Path, count: int) -> None:
    made = [raw for raw, *_ in {**makers.PLAINTEXT, **makers.IMAGES, **makers.ELSEWHERE}.values()] + list(makers.UNKNOWN.values())
    for number, raw in enumerate(islice(cycle(made), count)):
        folder = root / f"{number % 100:02d}"
        folder.mkdir(exist_ok=True)
        (folder / f"{number}.bin").write_bytes(raw)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder), count)
        times = []
        for _ in range(RUNS):
            start = time.perf_counter()
            report = scan([folder], now_ms=int(time.time() * 1000))
            times.append(time.perf_counter() - start)
    median = statistics.median(times)
    print(f"scan of {count} files, head and tail reads only: {median:.2f} s (median of {RUNS}), {count / median:,.0f} files/s")
    print(f"found: {report.counts()}")
    goal = GOAL_S * count / 10_000
    print(f"goal: {goal:.0f} s: {'met' if median <= goal else 'MISSED'}")
    sys.exit(median > goal)


if __name__ == "__main__":
    main()
