"""Every attack in attacks/ is stopped. Each runs in a process of its own; what it printed is shown when it was not stopped."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "attacks"
ATTACKS = sorted(path for path in FOLDER.glob("*.py") if not path.name.startswith("_"))


@pytest.mark.parametrize("path", ATTACKS, ids=lambda path: path.stem)
def test_it_is_stopped(path: Path) -> None:
    done = subprocess.run([sys.executable, path], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "stopped  " in done.stdout or "found    " in done.stdout or "not shown here" in done.stdout, "it tried nothing"


@pytest.mark.parametrize("path", ATTACKS, ids=lambda path: path.stem)
def test_it_says_who_tries_what_and_what_must_stop_it(path: Path) -> None:
    said = ast.get_docstring(ast.parse(path.read_text())) or ""
    assert all(f"\n{word}" in said for word in ("Attacker:", "Tries:", "Stops it:")), "the docstring lacks a part"
