"""A folder that a command fills: published whole when the run ends well, and nothing of it otherwise."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from pathlib import Path

import pytest

import hermetic
from hermetic.integrations import mount
from hermetic.integrations.mount import content as content_of
from tests.mount.conftest import TABLE, call, children_of, large, python, start, stop


def run(*command, name="features/out", more=()):
    return call("run", "test", "--purpose", "train", *more, "--mount-new", f"out={name}", "--", *command)


def content(name):
    with hermetic.connect() as h, h.version(name, purpose="train") as version:
        return {member.path: version.open(member.path).read() for member in version.members}


def test_what_lies_there_at_the_end_is_a_version(project):
    script = """
mkdir -p out/a/b && cp data/patients.csv out/a/.part && mv out/a/.part out/a/b/table.csv
echo one > out/log && echo two >> out/log && : > out/empty && echo x > out/gone && rm out/gone
mkdir out/bare && mkdir out/c && rmdir out/c
echo new > out/a/b/n && mv out/a/b/n out/log2 && echo older > out/log3 && mv -f out/log2 out/log3
"""
    done = run("sh", "-ec", script, more=("--mount", "data=dataset/patients"))
    assert done.code == 0, done.err
    assert "wrote features/out@1" in done.err
    assert content("features/out@1") == {"a/b/table.csv": TABLE, "log": b"one\ntwo\n", "empty": b"", "log3": b"new\n"}
    assert not (project / "out").exists()
    assert "made of      dataset/patients@1" in call("show", "features/out@1").out


def test_programs_write_where_they_like(project):
    code = """
import mmap, os, sqlite3
database = sqlite3.connect("out/d.sqlite")
database.execute("CREATE TABLE t (x)")
database.executemany("INSERT INTO t VALUES (?)", ((number,) for number in range(5000)))
database.commit()
database.execute("DELETE FROM t WHERE x % 2")
database.commit()
database.close()
with open("out/holes", "wb") as file:
    file.seek(3 * 1024 * 1024 + 5); file.write(b"end"); file.seek(10); file.write(b"start")
    file.truncate(3 * 1024 * 1024 + 6)
with open("out/map", "w+b") as file:
    file.truncate(8192)
    with mmap.mmap(file.fileno(), 8192) as whole:
        whole[5000:5004] = b"here"
with open("out/back", "w+b") as file:
    file.write(b"x" * 100); file.seek(50); assert file.read() == b"x" * 50; file.seek(1); file.write(b"y")
fd = os.open("out/unnamed", os.O_CREAT | os.O_RDWR)
os.unlink("out/unnamed"); os.write(fd, b"still here"); assert os.pread(fd, 100, 0) == b"still here"
"""
    done = run(*python(code))
    assert done.code == 0, done.err
    found = content("features/out")
    assert set(found) == {"d.sqlite", "holes", "map", "back"}
    assert found["holes"] == b"\0" * 10 + b"start" + b"\0" * (3 * 1024 * 1024 - 10) + b"e"
    assert found["map"] == b"\0" * 5000 + b"here" + b"\0" * 3188
    assert found["back"] == b"xy" + b"x" * 98
    (project / "copy.sqlite").write_bytes(found["d.sqlite"])
    database = sqlite3.connect(project / "copy.sqlite")
    assert database.execute("SELECT count(*) FROM t").fetchone() == (2500,)
    database.close()


def test_a_large_file_and_many_small_ones(project):
    code = """
import os, shutil
shutil.copy("data/large.bin", "out/large.bin")
for number in range(300):
    os.makedirs(f"out/{number % 7}", exist_ok=True)
    with open(f"out/{number % 7}/{number}", "w") as file: file.write(str(number))
assert len(os.listdir("out")) == 8
"""
    done = run(*python(code), more=("--mount", "data=dataset/large"))
    assert done.code == 0, done.err
    found = content("features/out")
    assert hashlib.sha256(found.pop("large.bin")).digest() == hashlib.sha256(large()).digest()
    assert found == {f"{number % 7}/{number}": str(number).encode() for number in range(300)}


@pytest.mark.parametrize("ending", ["exit 3", "kill -9 $$"])
def test_a_failed_run_publishes_nothing(project, ending):
    done = run("sh", "-c", f"echo secret > out/x; {ending}")
    assert done.code == (3 if "exit" in ending else 137)
    with hermetic.connect() as h:
        assert not [row for row in h.list("features/**") if row.latest]
    assert not list((project / "sealed").glob("scratch/*/*"))


def test_nothing_written_is_no_version(project):
    done = run("true")
    assert done.code == 0
    assert "nothing was written for features/out" in done.err
    with hermetic.connect() as h:
        assert not [row for row in h.list("features/**") if row.latest]


def test_a_refusal_comes_before_the_command(project):
    for name, code in (("other/thing", 2), ("dataset/no-rule-here", 2), ("features/out@3", 2)):
        done = run("sh", "-c", "touch started", name=name)
        assert done.code == code, done
        assert not (project / "started").exists()
    done = call(
        "run", "t", "--purpose", "train", "--mount-new", "a=features/x", "--mount-new", "b=features/x", "--", "touch", "started"
    )
    assert (done.code, (project / "started").exists()) == (2, False), done
    done = call("run", "t", "--purpose", "debug", "--mount-new", "out=model/x", "--", "touch", "started")
    assert (done.code, (project / "started").exists()) == (3, False), done


def test_what_no_version_can_hold(project):
    code = """
import errno, os
for change in (
    lambda: os.symlink("x", "out/l"), lambda: os.mkfifo("out/f"),
    lambda: open("out/back\\\\slash", "w"), lambda: open("out/x\\n", "w"),
    lambda: open(b"out/\\xff", "w"), lambda: os.mkdir("out/\\u202e"),
):
    try:
        change()
    except OSError as error:
        print(errno.errorcode[error.errno])
open("out/f", "w").close()
try:
    os.link("out/f", "out/g")
except OSError as error:
    print(errno.errorcode[error.errno])
"""
    done = run(*python(code))
    assert done.out.split() == ["EPERM", "EPERM", "EINVAL", "EINVAL", "EINVAL", "EINVAL", "EPERM"], done


def test_what_was_read_by_url_meanwhile_counts(project):
    with hermetic.connect() as h:
        h.seal(b"secret", name="dataset/secret", data_class="confidential")
    code = """
import fsspec
with fsspec.open("hermetic://dataset/secret") as file: data = file.read()
open("out/x", "wb").write(data)
"""
    done = run(*python(code))
    assert done.code == 0, done.err
    with hermetic.connect() as h:
        assert h.show("features/out").data_class == "confidential"


def test_whoever_is_left_behind_changes_nothing(project):
    code = """
import os, sys, time
fd = os.open("out/x", os.O_CREAT | os.O_WRONLY)
os.write(fd, b"before")
if os.fork() == 0:
    sys.stdin.readline()  # its end: the run is over
    try:
        os.write(fd, b"after")
    except OSError as error:
        print(error.errno, flush=True)
    os._exit(0)
"""
    process = start("run", "test", "--purpose", "train", "--mount-new", "out=features/out", "--", *python(code), stdin=-1)
    try:
        assert process.wait(60) == 0
        out, err = process.communicate("\n", timeout=60)
        assert out.strip() in {"107", "103", "5"}, (out, err)  # ENOTCONN, ECONNABORTED, EIO
    finally:
        stop(process)
    assert children_of(process.pid) == []
    assert content("features/out") == {"x": b"before"}


def test_whoever_is_outside_changes_nothing(project):
    code = """
import os, sys
open("out/r.txt", "w").write("precious results")
print(os.getpid(), flush=True)
sys.stdin.readline()
"""
    process = start("run", "test", "--purpose", "train", "--mount-new", "out=features/out", "--", *python(code), stdin=-1)
    try:
        inside = Path(f"/proc/{int(process.stdout.readline())}/root{project}/out/r.txt")
        for change in (
            lambda: os.truncate(inside, 5),
            lambda: inside.chmod(0o777),
            lambda: os.utime(inside, (1, 1)),
            inside.unlink,
            lambda: inside.write_text("x"),
        ):
            with pytest.raises(PermissionError):
                change()
        _, err = process.communicate("\n", timeout=60)
        assert process.returncode == 0, err
    finally:
        stop(process)
    assert content("features/out") == {"r.txt": b"precious results"}


def test_a_hole_is_no_way_around_the_limit(project):
    code = "import os; fd = os.open('out/sparse', os.O_CREAT | os.O_WRONLY); os.ftruncate(fd, 1 << 40)"
    done = run(*python(code))
    assert done.code != 0
    assert "No space left" in done.err


def test_a_full_mount_is_told(project, monkeypatch):
    monkeypatch.setattr(content_of, "_available", lambda: 4 * 1024 * 1024)
    notes = []
    with hermetic.connect() as h:
        plan = mount.plan(h.session, [], ["out=features/out"])
        command = python("open('out/x', 'wb').write(bytes(5_000_000))")
        code, handle = h.run_command("t", command, purpose="train", around=plan.around(print, notes.append))
        assert (code, handle.ended.state) == (1, "failed")
        assert notes == ["out was full: it holds 2 MiB of memory; hermetic:// seals what is written as it goes"]
        assert not [row for row in h.list("features/**") if row.latest]
