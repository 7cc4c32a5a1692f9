"""Somebody looks into the mount of a run that is going on, and at what is left of it afterwards.

Attacker: another process of the same user, outside the run (an indexer, a backup, malware that reads files); a process that the run
          left behind; whoever looks at the machine after the run.
Tries:    the path itself; the command's root, working folder and open files through /proc; a descriptor that was opened inside and
          read again after the end; writing; names that lead out of the mount; the table of mounts.
Stops it: the mount exists in a namespace of the run's own; each opening must come from a process of the run; the kernel's pages are
          taken back when the lease or the run ends; versions are mounted read-only.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from _stage import ROWS, Skipped, Stage, main

INSIDE = """
import mmap, os, sys
fd = os.open("data/data", os.O_RDONLY)
whole = mmap.mmap(fd, 0, prot=mmap.PROT_READ)
assert whole[:8] == b"name,age"
for name in ("../data/data", "data/../../data/data", "data/\\x2e\\x2e/hermetic.yaml"):
    os.path.exists(name)
print(os.getpid(), flush=True)
sys.stdin.readline()
for change in (lambda: open("data/data", "r+b"), lambda: open("data/new", "wb"), lambda: os.remove("data/data")):
    try:
        change()
        print("changed", flush=True)
    except OSError as error:
        print(error.errno, flush=True)
if os.fork() == 0:
    os.setsid()
    sys.stdin.readline()
    for look in (lambda: os.pread(fd, 8, 0), lambda: open("data/data", "rb").read(8), lambda: os.listdir("data")):
        try:
            print("read", look(), flush=True)
        except OSError as error:
            print("refused", flush=True)
    os._exit(0)
"""


def attack(stage: Stage) -> None:
    if not Path("/dev/fuse").exists():
        raise Skipped("there is no /dev/fuse")
    stage.create().seal()
    done = stage.cli("run", "read", "--purpose", "prepare", "--mount", "data=dataset/patients", "--", "cat", "data/data")
    stage.honest("reading through a mount", done.stdout, ROWS)
    command = [sys.executable, "-c", "from hermetic.cli.main import main; main()", "run", "look", "--purpose", "prepare"]
    command += ["--mount", "data=dataset/patients", "--", sys.executable, "-c", INSIDE]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=stage.project)
    try:
        _from_outside(stage, int(process.stdout.readline()))
        process.stdin.write("\n")
        process.stdin.flush()
        stage.found("writing gives EROFS", [process.stdout.readline().strip() for _ in range(3)] == ["30"] * 3)
        stage.honest("the run ends", process.wait(60), 0)
        told = process.communicate("\n", timeout=60)[0].split("\n")
        stage.found("who was left behind reads nothing after the end", "read" not in " ".join(told) and told)
    finally:
        process.kill()
        process.communicate()
    stage.found("no mount is left", "fuse.hermetic" not in Path("/proc/self/mounts").read_text() and "none")
    stage.found("and no folder", not (stage.project / "data").exists())


def _from_outside(stage: Stage, command: int) -> None:
    proc = Path(f"/proc/{command}")
    stage.found("the path is an empty folder to everybody else", list((stage.project / "data").iterdir()) == [])
    stage.found("the mount is not in our table", "fuse.hermetic" not in Path("/proc/self/mounts").read_text())
    inside = Path(f"{proc}/root{stage.project}/data")
    opened = [link for link in (proc / "fd").iterdir() if "/data/data" in str(link.readlink())]
    for what, look in {
        "through the command's root": (inside / "data").read_bytes,
        "listing there": lambda: list(inside.iterdir()),
        "through its working folder": (proc / "cwd" / "data" / "data").read_bytes,
        "opening its open file again": opened[0].read_bytes,
        "what it has mapped": lambda: [
            link.read_bytes() for link in (proc / "map_files").iterdir() if "/data/data" in str(link.readlink())
        ],
    }.items():
        try:
            got = look()
        except OSError as error:
            stage.found(what, f"refused: {error.strerror}")
        else:
            stage.found(what, evidence=not got and "nothing")


if __name__ == "__main__":
    main(attack)
