"""Property: whatever bytes a file holds, a scan calls them something and raises nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

with atheris.instrument_imports(include=["hermetic.gate", "hermetic.formats"]):
    from tests.property.test_scan import MARKS, check


def one_input(data: bytes) -> None:
    check(data)
    if data:
        check(MARKS[data[0] % len(MARKS)] + data[1:])


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
