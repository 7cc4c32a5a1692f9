"""Where the independent log tools come from: environments of their own under build/interop, made on request.

`make interop-log` makes them; a plain `make test` uses them where they are and skips where they are not.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / "build" / "interop"


def asked_for(config: pytest.Config) -> bool:
    """Say whether the person named tests/interop, and so agreed to downloads."""
    return any("interop" in argument for argument in config.args)


def environment(name: str, *requirements: str, python: str, config: pytest.Config) -> Path:
    """Return the folder of a virtual environment with these requirements, or skip."""
    folder = TOOLS / name
    done = folder / ".installed"
    if not done.exists():
        if not asked_for(config):
            pytest.skip("not installed here: `make interop-log` installs and runs it")
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([python, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(folder / "bin" / "pip"), "install", "-q", *requirements], check=True)
        done.touch()
    return folder


def newer_python() -> str:
    """Return a Python of at least 3.12, or skip."""
    if sys.version_info >= (3, 12):
        return sys.executable
    managed = Path(sys.base_prefix).parent  # version managers keep them side by side
    names = [shutil.which(f"python3.{minor}") for minor in (12, 13, 14)]
    for candidate in [*filter(None, names), *map(str, sorted(managed.glob("3.1[234].*/bin/python")))]:
        if subprocess.run([candidate, "-c", "pass"], capture_output=True, check=False).returncode == 0:
            return candidate
    pytest.skip("needs a Python of at least 3.12 beside this one")
