"""What a run says about its code."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import pytest

from hermetic.assets import facts


def pairs(argv, folder, **more):
    return {pair.name: pair.value for pair in facts.gather(argv, folder, **more)}


@pytest.fixture
def repository(tmp_path):
    def git(*words):
        return subprocess.run(
            ["git", "-c", "user.name=Ana", "-c", "user.email=ana@example.org", *words], cwd=tmp_path, check=True, capture_output=True
        )

    (tmp_path / "train.py").write_text("print(1)\n")
    git("init", "-q")
    git("add", "train.py")
    git("commit", "-q", "-m", "start")
    return tmp_path


def test_code_and_packages(repository):
    found = pairs([sys.executable, "train.py", "--rate", "0.1"], repository, parameters={"rate": "0.1"})
    assert found["command"] == f"{sys.executable} train.py --rate 0.1"
    assert found["code.dirty"] == "no"
    assert found["code_version"] == f"git:{found['code.commit'][:12]}"
    assert found["code.sha256.train.py"] == hashlib.sha256(b"print(1)\n").hexdigest()
    assert found["parameter.rate"] == "0.1"
    assert found["package.hermetic"]
    (repository / "train.py").write_text("print(2)\n")
    changed = pairs([sys.executable, "train.py"], repository)
    assert changed["code.dirty"] == "yes"
    assert changed["code_version"].endswith("+changes")


def test_without_git_or_python(tmp_path):
    (tmp_path / "x.sh").write_text("true\n")
    found = pairs(["sh", "x.sh"], tmp_path)
    assert found["code_version"].startswith("sha256:")
    assert "python" not in found
    assert "code.commit" not in found
    assert pairs(["no-such-program"], tmp_path) == {"command": "no-such-program"}


def test_a_repository_starts_nothing_of_its_own(repository):
    subprocess.run(["git", "config", "core.fsmonitor", f"touch {repository}/ran; false"], cwd=repository, check=True)
    pairs(["true"], repository)
    assert not (repository / "ran").exists()


def test_a_long_command_is_cut(tmp_path):
    assert len(pairs(["echo", "x" * 10_000], tmp_path)["command"]) == facts.COMMAND_LIMIT
