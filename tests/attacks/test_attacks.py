"""Every attack in attacks/ is stopped. Each runs in a process of its own; what it printed is shown when it was not stopped."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import warm

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).resolve().parents[2] / "attacks"
ATTACKS = sorted(path for path in FOLDER.glob("*.py") if not path.name.startswith("_"))


@pytest.fixture(scope="module")
def program() -> Iterator[Path]:
    """Yield a program that starts quickly."""
    base = Path(tempfile.mkdtemp(prefix="hermetic-attacks-"))
    with warm.running(base / "w") as shims:
        yield shims / "hermetic"
    shutil.rmtree(base)


@pytest.mark.parametrize("path", ATTACKS, ids=lambda path: path.stem)
def test_it_is_stopped(path: Path, program: Path) -> None:
    environment = {**os.environ, "HERMETIC_PROGRAM": str(program)}
    done = subprocess.run([sys.executable, path], capture_output=True, text=True, check=False, timeout=300, env=environment)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "stopped  " in done.stdout or "found    " in done.stdout or "not shown here" in done.stdout, "it tried nothing"


@pytest.mark.parametrize("path", ATTACKS, ids=lambda path: path.stem)
def test_it_says_who_tries_what_and_what_must_stop_it(path: Path) -> None:
    said = ast.get_docstring(ast.parse(path.read_text())) or ""
    assert all(f"\n{word}" in said for word in ("Attacker:", "Tries:", "Stops it:")), "the docstring lacks a part"
