"""Run one target under atheris: `_run.py TARGET [libFuzzer options] [CORPUS | FILE]`. fuzz_parsers.py starts this for each target."""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

with atheris.instrument_imports(include=["hermetic"]):
    from tests.fuzz._targets import find

    name = sys.argv.pop(1)
    target = find(name)
    if name == "scan":
        target.start()  # imports late what is to be counted

if __name__ == "__main__":
    atheris.Setup(sys.argv, target.run)
    atheris.Fuzz()
