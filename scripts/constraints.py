"""Print constraints.txt: the version in this environment of every distribution that the project's extras need.

.venv/bin/python scripts/constraints.py > constraints.txt
"""

from __future__ import annotations

import re
from importlib import metadata

from packaging.requirements import Requirement

EXTRAS = frozenset({"demo", "parquet", "recovery", "keyring", "server", "postgresql", "mfa", "oidc", "telemetry", "test"})


def normal(name: str) -> str:
    """Return the name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def needs(name: str, extras: frozenset[str]) -> set[tuple[str, frozenset[str]]]:
    """Return (distribution, extras) of what `name` with `extras` needs on this interpreter."""
    found = [Requirement(line) for line in metadata.requires(name) or []]
    chosen = [each for each in found if each.marker is None or any(each.marker.evaluate({"extra": extra}) for extra in extras | {""})]
    return {(normal(each.name), frozenset(each.extras)) for each in chosen}


def closure() -> set[str]:
    """Return the names of everything needed, the project itself left out."""
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = needs("hermetic", EXTRAS)
    while waiting:
        one = waiting.pop()
        seen.add(one)
        waiting |= needs(*one) - seen
    return {name for name, _ in seen}


def main() -> None:
    """Print one pin a line, sorted."""
    print("# What `make venv` installs; made by scripts/constraints.py from an environment in which the tests passed.")
    for name in sorted(closure()):
        found = metadata.distribution(name)
        print(f"{found.name}=={found.version}")


if __name__ == "__main__":
    main()
