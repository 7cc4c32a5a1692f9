"""Fuzz every parser, coverage-guided, then print what was tried and what was covered.

    python tests/fuzz/fuzz_parsers.py -max_total_time=300     all targets share the seconds, two at once
    python tests/fuzz/fuzz_parsers.py --only=log-leaf,pins -max_total_time=600 -seed=7 -jobs=1
    python tests/fuzz/fuzz_parsers.py --coverage              the branch coverage only, of the corpus that lies in build/fuzz

An input that broke a target lies in build/fuzz/TARGET/crash-…; `_run.py TARGET FILE` tries it again. Exits with 1 if there was one, or
if the branch coverage of a parser by corpus and unit tests is below 95 %.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.fuzz import _coverage, _session  # noqa: E402 - the path comes first
from tests.fuzz._targets import TARGETS  # noqa: E402


def main(arguments: list[str]) -> int:
    given = dict(argument.lstrip("-").partition("=")[::2] for argument in arguments)
    names = [name for name in given.get("only", "").split(",") if name] or list(TARGETS)
    jobs = int(given.get("jobs", min(2, os.cpu_count() or 1)))
    failed = False
    if "coverage" not in given and importlib.util.find_spec("atheris") is None:
        print("error: atheris is not installed; it has no build for this Python\nhint: make venv PYTHON=python3.13", file=sys.stderr)
        return 1
    if "coverage" not in given:
        results = fuzz(names, seconds=int(given.get("max_total_time", 300)), seed=int(given.get("seed", 1)), jobs=jobs)
        print("\n".join(_session.table(results)), flush=True)
        for one in results:
            if one.failure:
                print(f"\n== {one.name}\n{one.failure}", file=sys.stderr)
        failed = any(one.failure for one in results)
    low = _coverage.report()
    return 1 if failed or low else 0


def fuzz(names: list[str], *, seconds: int, seed: int, jobs: int) -> list[_session.Result]:
    """Share the time among the targets."""
    each = max(1, seconds * jobs // len(names))
    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(lambda name: _session.run(name, seconds=each, seed=seed), names))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
