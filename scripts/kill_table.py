"""Print how often the kill tests killed a process at each named durable step, and fail when one was never hit.

.venv/bin/python scripts/kill_table.py FILE [TOTAL]     FILE as HERMETIC_KILL_TABLE names it; fewer than TOTAL kills fail too
"""

from __future__ import annotations

import collections
import re
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent / "src" / "hermetic"
REACHED = re.compile(r'\breached\("([a-z.-]+)"\)')
WRITTEN = re.compile(r'\bunit\([^"\n]*"([a-z.-]+)"|\.write\([^"\n]*step="([a-z.-]+)"')

_COMPROMISE = "killed there by tests/unit/recovery/test_compromise.py: the check here opens everything, and a stolen key must not"
ELSEWHERE: dict[str, str] = {"recovery.compromise.revoked": _COMPROMISE, "recovery.compromise.anew": _COMPROMISE}
"""Steps that no scenario reaches, and why."""


def named() -> dict[str, str]:
    """Return the steps that the code names, and the file of each. A write has one before its commit, too."""
    found: dict[str, str] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        code = re.sub(r'"""[\s\S]*?"""', "", path.read_text(encoding="utf-8"))
        where = path.relative_to(SOURCE).as_posix()
        found |= dict.fromkeys(REACHED.findall(code), where)
        for step in (first or second for first, second in WRITTEN.findall(code)):
            found |= {step: where, f"{step}.before": where}
    return found


def missing(reached: set[str]) -> dict[str, str]:
    """Return the steps that the code names, less those that were reached and those that cannot be."""
    return {step: where for step, where in named().items() if step not in reached | set(ELSEWHERE)}


def main() -> None:
    """Print the table."""
    rows = collections.Counter(tuple(line.split()) for line in Path(sys.argv[1]).read_text(encoding="utf-8").splitlines())
    steps: collections.Counter[str] = collections.Counter()
    for (scenario, step), times in sorted(rows.items()):
        print(f"{scenario:8} {step:34} {times:4}")
        steps[step] += times
    print(f"\n{sum(steps.values())} kills at {len(steps)} steps in {len(rows)} places; {len(named())} steps are named in the code")
    for step, why in ELSEWHERE.items():
        print(f"elsewhere: {step}: {why}")
    absent = missing(set(steps))
    for step, where in absent.items():
        print(f"never hit: {step} ({where})")
    if absent or sum(steps.values()) < int(sys.argv[2] if len(sys.argv) > 2 else 0):
        sys.exit(1)


if __name__ == "__main__":
    main()
