"""The program that `hermetic run` starts is asked what it was given, and made to crash.

Attacker: the program itself, a library in it, or whoever reads its environment, temporary files and core dumps afterwards.
Tries:    find more in its environment than the run's id; inherited descriptors (database, keyring, objects); plaintext in TMPDIR
          after the end, also when the run was killed; a core dump of a program that holds a key, of the program and of hermetic
          itself; go on with the run's purpose after the run has ended; and use another user's run.
Stops it: the child gets HERMETIC_RUN and TMPDIR, three descriptors, no core dumps; its folder is a private tmpfs; a run that has
          ended opens nothing.
"""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path

from _stage import ROWS, Stage, main

from hermetic.assets.session import fresh_id
from hermetic.errors import Conflict, HermeticError, PolicyDenied

CHILD = """
import json, os, resource, tempfile
with open(os.path.join(tempfile.gettempdir(), "spill"), "w") as file:
    file.write("PLAINTEXT-IN-TMP")
links = {fd: os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if os.path.lexists(f"/proc/self/fd/{fd}")}
mode = oct(os.stat(tempfile.gettempdir()).st_mode & 0o777)
core = resource.getrlimit(resource.RLIMIT_CORE)
print(json.dumps({"env": dict(os.environ), "fds": links, "core": core, "tmp": tempfile.gettempdir(), "mode": mode}))
"""
SPILL = """
import tempfile, time
print(tempfile.gettempdir(), flush=True)
open(tempfile.gettempdir() + "/spill", "w").write("x")
time.sleep(60)
"""
CRASH = """
import os, hermetic
with hermetic.connect() as h:
    file = h.open("dataset/patients")
    file.read(10)
    os.abort()
"""


def attack(stage: Stage) -> None:
    stage.create().seal()
    resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    stage.base.joinpath("cores").mkdir()
    os.environ["HERMETIC_PURPOSE"] = "train"
    os.environ["SOMETHING"] = "of the user's own"
    done = stage.cli("run", "look", "--purpose", "train", "--", sys.executable, "-c", CHILD)
    said = json.loads(done.stdout)
    more = {name for name in said["env"] if name not in os.environ} - {"LC_CTYPE"}
    changed = {name for name, value in said["env"].items() if name in os.environ and os.environ[name] != value}
    stage.found("the environment has two variables more", more == {"HERMETIC_RUN", "TMPDIR"} and not changed - {"TMPDIR"} and more)
    stage.found("HERMETIC_RUN is an id", re.fullmatch(r"[a-z2-7]{26}", said["env"]["HERMETIC_RUN"]))
    odd = {fd: link for fd, link in said["fds"].items() if int(fd) > 2 and "/proc/" not in link}
    stage.found("no descriptor is inherited", not odd)
    stage.found("no core dumps", said["core"] == [0, 0])
    stage.found("its folder is private", said["mode"] == "0o700" and said["tmp"])
    stage.found("and gone, with what was in it", not Path(said["tmp"]).exists())
    _killed(stage)
    _crashes(stage)
    _ended(stage, said["env"]["HERMETIC_RUN"])


def _killed(stage: Stage) -> None:
    command = [sys.executable, "-c", "from hermetic.cli.main import main; main()", "run", "k", "--purpose", "train", "--"]
    command += [sys.executable, "-c", SPILL]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=stage.project, start_new_session=True)
    folder = Path(process.stdout.readline().strip())
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    left = list(folder.glob("*")) if folder.exists() else []
    stage.cli("run", "next", "--purpose", "train", "--", "true")
    stage.found("killed: the next run clears up", not folder.exists() and f"{len(left)} files were left outside the namespace")


def _crashes(stage: Stage) -> None:
    cores = stage.base / "cores"
    pattern = Path("/proc/sys/kernel/core_pattern").read_text().strip()
    for what, command in {
        "a program under a run": ("run", "crash", "--purpose", "prepare", "--", sys.executable, "-c", CRASH),
        "hermetic itself": None,
    }.items():
        if command is not None:
            done = stage.cli(*command, cwd=stage.project)
            stage.found(f"{what} died of SIGABRT", done.returncode == 128 + signal.SIGABRT)
        else:
            code = "import resource; from hermetic.cli import main as m; "
            code += "m.run = lambda given: print(resource.getrlimit(4)[0]) or 0; m.main([])"
            said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False).stdout
            stage.found(f"{what} has no core dumps", said.strip() == "0")
    dumps = [path for folder in (cores, stage.project) for path in folder.glob("*core*")]
    stage.found(f"no core file (core_pattern {pattern[:30]!r})", not dumps)


def _ended(stage: Stage, run: str) -> None:
    with stage.connect() as h:
        stage.refused("opening with the id of a run that has ended", lambda: h.open("dataset/patients", run=run), Conflict)
        stage.refused("with an id that is no run's", lambda: h.open("dataset/patients", run=fresh_id()), HermeticError)
        with h.run("train", purpose="train"):
            stage.refused("another purpose inside a run", lambda: h.open("dataset/patients", purpose="prepare"), PolicyDenied)
            stage.honest("its own purpose", h.open("dataset/patients").read(), ROWS)
    os.environ["HERMETIC_RUN"] = "../../etc/passwd"
    with stage.connect() as h:
        stage.refused("a HERMETIC_RUN that is no id", lambda: h.open("dataset/patients", purpose="prepare"), HermeticError)
    del os.environ["HERMETIC_RUN"]


if __name__ == "__main__":
    main(attack)
