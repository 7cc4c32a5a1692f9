"""Hermetic's command line: whole processes.

The domain is made by the first run, which is not measured: the peak memory of a process's children counts all that it ever had.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAME = "model/bench"


def seal(folder, _variant):
    run = _hermetic(folder)
    for version in (folder / "command" / "project" / "sealed").glob("*"):
        shutil.rmtree(version)  # of the round before: the disk must not fill up
    return lambda: run("seal", str(folder / "weights.safetensors"), "--as", NAME, "--class", "internal")


def open(folder, _variant):  # noqa: A001
    run, target = _hermetic(folder), _target(folder)
    return lambda: run("expose", NAME, str(target), "--for", "1h", "--purpose", "prepare")


def finish(folder):
    """Give what was exposed the name under which it is compared and removed; each round exposes to a name of its own."""
    if _target(folder).exists():
        _target(folder).rename(folder / "back")


def _target(folder):
    return folder / f"back-{os.getpid()}"


def _hermetic(folder):
    project = folder / "command" / "project"
    os.environ["HERMETIC_HOME"] = str(folder / "command" / "home")
    program = Path(sys.executable).with_name("hermetic")

    def run(*arguments):
        subprocess.run([program, *arguments], cwd=project, check=True, capture_output=True)

    if not project.exists():
        project.mkdir(parents=True, mode=0o700)
        run("init", "--root", "local:insecure-file", "--project", "bench", "--backup", str(folder / "command" / "backup"))
    return run
