"""Branch coverage of the parsers: by the corpus, and by corpus and unit tests together; printed as a table.

Measured in processes of their own, since modules that are imported already cannot be measured from the start.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "build" / "coverage"
WANTED = 95.0  # per cent
TESTS = (
    *(f"tests/unit/{room}" for room in ("formats", "audit", "policy", "sealed", "signing", "keys")),
    *("tests/unit/test_ids.py", "tests/unit/domain/test_config.py", "tests/unit/domain/test_pins.py", "tests/unit/cli/test_words.py"),
    "tests/vectors",
)

_REPLAY = """
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
from tests.fuzz._session import CORPUS
from tests.fuzz._targets import TARGETS
for name, target in TARGETS.items():
    files = sorted((CORPUS / name).glob("*")) if (CORPUS / name).is_dir() else []
    for data in [*target.start(), *(path.read_bytes() for path in files if not path.name.startswith("crash-"))]:
        target.run(data)
"""


def report() -> list[str]:
    """Print the table; return the parsers that are below 95 %."""
    from tests.fuzz._targets import PARSERS

    DATA.mkdir(parents=True, exist_ok=True)
    corpus, tests = DATA / "corpus", DATA / "tests"
    _measure(corpus, ["-c", _REPLAY.format(root=str(ROOT))])
    if _measure(tests, ["-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS]):
        print("\nunit tests failed: what they would have covered may be missing")
    alone, both = _branches([corpus]), _branches([corpus, tests])
    print(f"\n{'branch coverage':<34}{'branches':>9}{'corpus':>9}{'with tests':>12}")
    low = []
    for module in PARSERS:
        path = f"src/hermetic/{module}.py"
        count, by_corpus, by_both = both.get(path, (0, 0))[0], _share(alone.get(path)), _share(both.get(path))
        if by_both < WANTED:
            low.append(module)
        print(f"{module:<34}{count:>9}{by_corpus:>8.1f}%{by_both:>11.1f}%{'  LOW' if by_both < WANTED else ''}")
    total = [sum(both[key][at] for module in PARSERS if (key := f"src/hermetic/{module}.py") in both) for at in (0, 1)]
    print(f"{'all':<34}{total[0]:>9}{'':>9}{100 * total[1] / max(1, total[0]):>11.1f}%")
    return low


def _measure(data: Path, command: list[str]) -> int:
    data.unlink(missing_ok=True)
    code = [sys.executable, "-m", "coverage", "run", "--branch", f"--data-file={data}", "--source=src/hermetic", *_script(command)]
    return subprocess.run(code, check=False, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode


def _script(command: list[str]) -> list[str]:
    """Coverage runs modules and files, not code from the command line."""
    if command[0] != "-c":
        return command
    path = DATA / "replay.py"
    path.write_text(command[1])
    return [str(path)]


def _branches(files: list[Path]) -> dict[str, tuple[int, int]]:
    """Return for each file how many branches it has, and how many were taken."""
    there = [path for path in files if path.exists()]
    both, out = DATA / "combined", DATA / "report.json"
    base = [sys.executable, "-m", "coverage"]
    subprocess.run([*base, "combine", "--keep", f"--data-file={both}", *map(str, there)], check=False, cwd=ROOT, capture_output=True)
    subprocess.run([*base, "json", f"--data-file={both}", "-o", str(out)], check=False, cwd=ROOT, capture_output=True)
    both.unlink(missing_ok=True)
    found = json.loads(out.read_text())["files"]
    return {path: (one["summary"]["num_branches"], one["summary"]["covered_branches"]) for path, one in found.items()}


def _share(counts: tuple[int, int] | None) -> float:
    if counts is None:
        return 0.0
    return 100.0 if counts[0] == 0 else 100 * counts[1] / counts[0]
