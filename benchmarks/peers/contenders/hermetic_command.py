"""Hermetic's command line: whole processes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAME = "model/bench"


def seal(folder, _variant):
    shutil.rmtree(folder / "command", ignore_errors=True)
    run = _hermetic(folder)
    return lambda: run("seal", str(folder / "weights.safetensors"), "--as", NAME, "--class", "internal")


def open(folder, _variant):  # noqa: A001
    run = _hermetic(folder)
    return lambda: run("expose", NAME, str(folder / "back"), "--for", "1h", "--purpose", "prepare")


def _hermetic(folder):
    project = folder / "command" / "project"
    os.environ["HERMETIC_HOME"] = str(folder / "command" / "home")
    program = Path(sys.executable).with_name("hermetic")

    def run(*arguments):
        subprocess.run([program, *arguments], cwd=project, check=True, capture_output=True)

    if not project.exists():
        project.mkdir(parents=True, mode=0o700)
        run("init", "--root", "local:insecure-file", "--project", "bench")
    return run
