"""`hermetic run --mount` as users call it, on a real domain. Only a machine without /dev/fuse skips; one that cannot mount fails."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import hermetic
from tests.unit.assets.real import domain_template  # noqa: F401 - fixture

PROGRAM = Path(sys.executable).with_name("hermetic")
SECONDS = 120
TABLE = b"name,age\nada,36\n" * 1000

if not Path("/dev/fuse").exists():
    pytest.skip("there is no /dev/fuse here", allow_module_level=True)


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


def start(*words, **more):
    """Start `hermetic WORDS` and return the process, output piped."""
    more = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **more}
    return subprocess.Popen([PROGRAM, *map(str, words)], **more)


def call(*words, input_text=None, **more):
    """Run `hermetic WORDS` to its end."""
    process = start(*words, stdin=subprocess.DEVNULL if input_text is None else subprocess.PIPE, **more)
    try:
        out, err = process.communicate(input_text, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return Outcome(process.returncode, out, err)


def run(mounts, *command, **more):
    """Run a command with mounts, purpose train."""
    options = [word for text in mounts for word in ("--mount", text)]
    return call("run", "test", "--purpose", "train", *options, "--", *command, **more)


def python(code, *arguments):
    """Return the words that run Python on `code`."""
    return (sys.executable, "-c", code, *map(str, arguments))


@pytest.fixture(scope="session")
def sealed(domain_template, tmp_path_factory):  # noqa: F811 - the fixture
    """A domain with dataset/patients (patients.csv), dataset/folder (a tree) and dataset/large (3 MiB and a bit)."""
    folder = tmp_path_factory.mktemp("sealed") / "domain"
    shutil.copytree(domain_template, folder)
    made = folder.parent / "made"
    (made / "tree" / "deep" / "er").mkdir(parents=True)
    (made / "tree" / "one.txt").write_bytes(b"one")
    (made / "tree" / "empty").write_bytes(b"")
    (made / "tree" / "deep" / "er" / "ünï code=1.txt").write_bytes(b"two")
    (made / "patients.csv").write_bytes(TABLE)
    (made / "large.bin").write_bytes(large())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HERMETIC_HOME", str(folder / "home"))
        with hermetic.connect(folder / "project") as h:
            h.seal(made / "patients.csv", name="dataset/patients", data_class="internal")
            h.seal(made / "tree", name="dataset/folder", data_class="internal")
            h.seal(made / "large.bin", name="dataset/large", data_class="internal")
    return folder


@pytest.fixture
def project(sealed, tmp_path, monkeypatch):
    """The project folder of a fresh copy of it, which is the working folder."""
    shutil.copytree(sealed, tmp_path / "domain")
    monkeypatch.setenv("HERMETIC_HOME", str(tmp_path / "domain" / "home"))
    monkeypatch.chdir(tmp_path / "domain" / "project")
    return tmp_path / "domain" / "project"


def large():
    return bytes(range(251)) * (3 * 1024 * 1024 // 251 + 4000)


def stop(process):
    """End a process and close its pipes."""
    if process.poll() is None:
        process.send_signal(signal.SIGKILL)
    process.communicate()


def mounts_of_the_machine():
    return [line for line in Path("/proc/self/mounts").read_text().splitlines() if "fuse.hermetic" in line]


def children_of(pid):
    """Return the processes below one, itself not."""
    found, todo = [], [pid]
    while todo:
        here = todo.pop()
        for task in Path(f"/proc/{here}/task").glob("*/children"):
            below = [int(word) for word in task.read_text().split()]
            found += below
            todo += below
    return found


def environment(**more):
    return {**os.environ, **more}
