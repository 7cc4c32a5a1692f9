"""In which scenario `make test` tries each named step; the long run tries it in every scenario that reaches it.

Most scenarios reach many of the same steps, so that trying all of them everywhere takes most of the time of the tests. A step that is
not listed here is tried everywhere. After a scenario has changed: `python -m tests.faults.step_homes` writes the table anew.
"""

from __future__ import annotations

import json
import os
import random
import tempfile
import time
from pathlib import Path

TABLE = Path(__file__).with_name("step_homes.json")
HOMES: dict[str, str] = json.loads(TABLE.read_text("utf-8")) if TABLE.exists() else {}
VISITS = 1  # steps at home elsewhere that a scenario tries all the same


def tried(scenario: str, steps: list[str]) -> list[str]:
    """Return those of the steps a scenario reaches that are tried in it."""
    home = [step for step in sorted(steps) if HOMES.get(step, scenario) == scenario]
    away = sorted(set(steps) - set(home))
    return sorted([*home, *random.Random(scenario).sample(away, min(VISITS, len(away)))])


def stale(reached: dict[str, set[str]]) -> dict[str, str]:
    """Return the steps whose home does not reach them, given what each scenario reaches."""
    return {step: home for step, home in HOMES.items() if step not in reached.get(home, set())}


def main() -> None:
    """Write the table: each step to the quickest scenario that reaches it, but to none a long list while a short one will do."""
    from tests.faults.places import Zygote, copy_template, make_template
    from tests.faults.scenarios import SCENARIOS

    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        os.environ["HERMETIC_HOME"] = str(base / "template/home")
        (base / "template").mkdir()
        make_template(base / "template")
        reached: dict[str, set[str]] = {}
        cost: dict[str, float] = {}
        (base / "zygote").mkdir()
        with Zygote(base / "zygote") as zygote:
            for scenario in SCENARIOS:
                copy_template(base / "template", base / scenario, scenario)
                began = time.monotonic()
                lines = zygote.run(base / scenario, scenario)
                zygote.check(base / scenario, scenario, lines)
                cost[scenario] = time.monotonic() - began
                reached[scenario] = {line.removeprefix("step ") for line in lines if line.startswith("step ")}
    load = dict.fromkeys(SCENARIOS, 0.0)
    homes: dict[str, str] = {}
    steps = sorted(set().union(*reached.values()), key=lambda step: sum(step in found for found in reached.values()))
    for step in steps:
        homes[step] = min((one for one in SCENARIOS if step in reached[one]), key=lambda one: load[one] / 4 + cost[one])
        load[homes[step]] += cost[homes[step]]
    TABLE.write_text(json.dumps(dict(sorted(homes.items())), indent=1) + "\n", "utf-8")
    places = sum(map(len, reached.values()))
    print(f"{len(homes)} steps, {places} places; " + ", ".join(f"{one} {cost[one]:.1f}s" for one in SCENARIOS))


if __name__ == "__main__":
    main()
