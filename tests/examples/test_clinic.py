"""The clinic example: the demo ends well and leaves the user's own Hermetic alone; its scripts are plain and repeatable."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CLINIC = Path(__file__).resolve().parents[2] / "examples" / "clinic"
PLAIN = ("ingest", "prepare", "features", "train", "evaluate", "score")
SECONDS = 600

pytest.importorskip("sklearn")
pytest.importorskip("faker")


def python(*words: object, cwd: Path | None = None) -> str:
    done = subprocess.run(
        [sys.executable, *map(str, words)], cwd=cwd, capture_output=True, text=True, check=False, timeout=SECONDS, env=dict(os.environ)
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


def test_demo(isolated_environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = isolated_environment / "own-home"
    monkeypatch.setenv("HERMETIC_HOME", str(own))
    monkeypatch.setenv("HERMETIC_PURPOSE", "debug")  # nothing of the user's environment counts
    told = python(CLINIC / "demo.py", "--out", isolated_environment / "out")
    assert "claims hold" in told
    for code in (3, 4, 7):
        assert f"exit code {code}," in told
    assert "not one byte of the altered model came out" in told
    by_path = "the model is the same, byte for byte, read by path or by URL" if Path("/dev/fuse").exists() else "left out here"
    assert by_path in told
    assert (isolated_environment / "out" / "clinic-map.svg").stat().st_size > 10_000
    assert not own.exists()
    assert {item.name for item in isolated_environment.iterdir() if not item.name.startswith(".")} == {"out"}


def test_demo_fails_if_something_is_not_as_claimed(isolated_environment: Path) -> None:
    code = "from pathlib import Path; from stage import Stage; Stage(Path(), Path('home')).run('python', '-c', 'exit(5)', expect=4)"
    done = subprocess.run([sys.executable, "-c", code], cwd=CLINIC, capture_output=True, text=True, check=False)
    assert "NotAsItMustBe: python -c exits with 4" in done.stderr


@pytest.mark.parametrize("name", PLAIN)
def test_scripts_have_never_heard_of_hermetic(name: str) -> None:
    tree = ast.parse((CLINIC / f"{name}.py").read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not [module for module in imported if module.startswith("hermetic")]
    assert "hermetic" not in {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def test_the_same_twice_on_plain_files(tmp_path: Path) -> None:
    first, second = (pipeline(tmp_path / name) for name in ("first", "second"))
    assert first == second
    measured = json.loads(first["result"])
    assert measured["accuracy"] > 0.95
    assert measured["cases"] == 143


def pipeline(folder: Path) -> dict[str, bytes]:
    """Run the scripts on plain files and return what they wrote."""
    folder.mkdir()
    python(CLINIC / "ingest.py", "patients", cwd=folder)
    python(CLINIC / "prepare.py", "patients", "cohort", cwd=folder)
    python(CLINIC / "features.py", "cohort", "training", "test", cwd=folder)
    python(CLINIC / "train.py", "training", "model", "checkpoints", "log", cwd=folder)
    python(CLINIC / "evaluate.py", "model", "test", "result", cwd=folder)
    python(CLINIC / "score.py", "model", "test", "predictions", "scored", cwd=folder)
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_nobody_is_left_in_the_cohort(tmp_path: Path) -> None:
    import pandas as pd

    python(CLINIC / "ingest.py", "patients", cwd=tmp_path)
    python(CLINIC / "prepare.py", "patients", "cohort", cwd=tmp_path)
    people, cohort = pd.read_parquet(tmp_path / "patients"), pd.read_parquet(tmp_path / "cohort")
    known = {value for column in ("insurance_number", "name", "born", "address", "phone", "email") for value in people[column]}
    assert not known & {str(value) for column in cohort.columns for value in cohort[column]}
    measured = people.columns[6:-1]
    assert sorted(map(tuple, cohort[measured].to_numpy())) == sorted(map(tuple, people[measured].to_numpy()))
    assert list(map(tuple, cohort[measured].to_numpy())) != list(map(tuple, people[measured].to_numpy()))
