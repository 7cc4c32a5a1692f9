"""A version as plain files: content, names, sizes, maps, threads; and that nothing of it is anywhere else."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import subprocess
import tempfile
from pathlib import Path

import pytest

import hermetic
from tests.mount.conftest import PROGRAM, SECONDS, TABLE, call, environment, large, mounts_of_the_machine, python, run

DIGEST = "import hashlib, sys; print(hashlib.sha256(open(sys.argv[1], 'rb').read()).hexdigest())"


def test_a_script_that_knows_only_paths(project):
    done = run(["data=dataset/patients"], "cat", "data/patients.csv")
    assert (done.code, done.out.encode()) == (0, TABLE)
    assert "read dataset/patients@1; wrote nothing" in done.err
    assert not (project / "data").exists()
    assert not mounts_of_the_machine()


def test_a_tree_has_its_folders_and_names(project):
    done = run(["data=dataset/folder"], "find", "data", "-type", "f", "-printf", "%P %s %m\\n")
    assert sorted(done.out.splitlines()) == ["deep/er/ünï code=1.txt 3 400", "empty 0 400", "one.txt 3 400"]
    done = run(["data=dataset/folder"], "cat", "data/deep/er/ünï code=1.txt", "data/empty", "data/one.txt")
    assert (done.code, done.out) == (0, "twoone")
    done = run(["data=dataset/folder"], "cat", "data/deep/none")
    assert (done.code, "No such file" in done.err) == (1, True)


def test_one_member_is_one_file(project):
    done = run(["deep/new/input.csv=dataset/patients@1/patients.csv"], "cat", "deep/new/input.csv")
    assert (done.code, done.out.encode()) == (0, TABLE)
    assert not (project / "deep").exists()


def test_several_versions_and_one_release_each(project):
    done = run(
        ["a=dataset/patients", "b=dataset/folder", "c=hermetic://dataset/large@1"],
        *python("for _ in range(5):\n for n in ('a/patients.csv', 'b/one.txt', 'c/large.bin'): open(n, 'rb').read(1)"),
    )
    assert done.code == 0, done.err
    with hermetic.connect() as h:
        (last,) = h.runs(limit=1)
        assert last.inputs == ("dataset/patients@1", "dataset/folder@1", "dataset/large@1")


@pytest.mark.parametrize("step", [1, 7, 4096, 100_000, 1 << 20, (1 << 20) + 1])
def test_reads_of_every_size_and_place(project, step):
    code = """
import os, sys
step, fd, out = int(sys.argv[1]), os.open("data/large.bin", os.O_RDONLY), b""
size = os.fstat(fd).st_size
for start in (0, 1, 4095, (1 << 20) - 1, (1 << 20), 2 * (1 << 20) - 5, size - 3, size, size + 10):
    out += os.pread(fd, step, start)
sys.stdout.buffer.write(out)
"""
    done = run(["data=dataset/large"], *python(code, step), text=False)
    whole, starts = large(), (0, 1, 4095, (1 << 20) - 1, 1 << 20, 2 * (1 << 20) - 5)
    ends = (len(whole) - 3, len(whole), len(whole) + 10)
    assert done.out == b"".join(whole[start : start + step] for start in (*starts, *ends))


def test_a_large_file_whole(project):
    done = run(["data=dataset/large"], *python(DIGEST, "data/large.bin"))
    assert done.out.strip() == hashlib.sha256(large()).hexdigest()


def test_memory_maps_private_and_shared(project):
    code = """
import hashlib, mmap
with open("data/large.bin", "rb") as file:
    for flags in (mmap.MAP_PRIVATE, mmap.MAP_SHARED):
        with mmap.mmap(file.fileno(), 0, flags=flags, prot=mmap.PROT_READ) as whole:
            print(hashlib.sha256(whole).hexdigest())
"""
    done = run(["data=dataset/large"], *python(code))
    assert done.out.split() == [hashlib.sha256(large()).hexdigest()] * 2, done.err


def test_many_threads_read_at_once(project):
    code = """
import hashlib, os, random
from concurrent.futures import ThreadPoolExecutor
fd = os.open("data/large.bin", os.O_RDONLY)
size = os.fstat(fd).st_size
os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
def part(number):
    start = random.Random(number).randrange(size)
    return start, os.pread(fd, 70_000, start)
with ThreadPoolExecutor(16) as pool:
    found = list(pool.map(part, range(400)))
whole = open("data/large.bin", "rb").read()
assert all(whole[start:start + 70_000] == piece for start, piece in found)
print(hashlib.sha256(whole).hexdigest())
"""
    done = run(["data=dataset/large"], *python(code))
    assert done.out.strip() == hashlib.sha256(large()).hexdigest(), done.err


def test_nothing_can_be_changed(project):
    code = """
import errno, os
for change in (
    lambda: open("data/patients.csv", "a"), lambda: open("data/patients.csv", "w"), lambda: open("data/new", "w"),
    lambda: os.unlink("data/patients.csv"), lambda: os.mkdir("data/folder"), lambda: os.rename("data/patients.csv", "data/x"),
    lambda: os.truncate("data/patients.csv", 1), lambda: os.chmod("data/patients.csv", 0o600),
):
    try:
        change()
    except OSError as error:
        print(errno.errorcode[error.errno])
"""
    done = run(["data=dataset/patients"], *python(code))
    assert done.out.split() == ["EROFS"] * 8, done.err


def test_a_shell_with_mounts(project):
    done = call(
        "mount", "data=dataset/patients", "--new", "out=features/out", "--purpose", "train",
        input_text="wc -c < data/patients.csv\necho $HERMETIC_RUN | wc -c\ncp data/patients.csv out/\nexit 0\n",
        env=environment(SHELL="/bin/sh"),
    )  # fmt: skip
    assert (done.code, done.out.split()) == (0, [str(len(TABLE)), "27"]), done
    assert "run shell succeeded: read dataset/patients@1; wrote features/out@1" in done.err
    assert call("mount", "--purpose", "train").code == 2


AS_ANOTHER = (
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
    "--inh-caps=+dac_read_search",
    "--ambient-caps=+dac_read_search",
)
SCRIPT = "sha256sum < data/large.bin; ls data; id -u; cp data/large.bin out/; grep -c fuse.hermetic /proc/mounts"


@pytest.mark.skipif(os.geteuid() != 0, reason="changing the user needs root")
def test_without_root_a_user_namespace_serves():
    """As another user, who may read what the interpreter needs, and mount nothing without a user namespace."""

    def hermetic_(*words):
        done = subprocess.run(
            [*AS_ANOTHER, PROGRAM, *words], capture_output=True, text=True, check=False, timeout=SECONDS, cwd=project, env=own
        )
        assert done.returncode == 0, done
        return done

    with tempfile.TemporaryDirectory() as folder:
        project, home = Path(folder, "project"), Path(folder, "home")
        for path in (project, home):
            path.mkdir(mode=0o700)
        (project / "large.bin").write_bytes(large())
        for path in (Path(folder), project, home, project / "large.bin"):
            os.chown(path, 65534, 65534)
        own = environment(HERMETIC_HOME=str(home), HOME=str(home))
        hermetic_("init", "--root", "local:insecure-file", "--project", "test")
        hermetic_("seal", "large.bin", "--as", "dataset/large", "--class", "internal")
        mounts = ("--mount", "data=dataset/large", "--mount-new", "out=features/out")
        done = hermetic_("run", "test", "--purpose", "train", *mounts, "--", "sh", "-ec", SCRIPT)
        assert done.stdout.split() == [hashlib.sha256(large()).hexdigest(), "-", "large.bin", "65534", "2"]
        assert "wrote features/out@1" in done.stderr
        assert not (project / "data").exists()
    assert not mounts_of_the_machine()


LIBRARIES = """
import sqlite3, numpy as np, pandas as pd, pyarrow as pa, pyarrow.parquet as pq
from safetensors import safe_open
assert pd.read_csv("data/t.csv")["x"].sum() == 499500
assert pq.read_table("data/t.parquet", memory_map=True)["x"].to_pandas().sum() == 499500
with pa.memory_map("data/t.arrow") as source:
    assert pa.ipc.open_file(source).read_all()["x"].to_pandas().sum() == 499500
with safe_open("data/t.safetensors", framework="numpy") as file:
    assert file.get_tensor("x").sum() == 499500
assert np.load("data/t.npy", mmap_mode="r").sum() == 499500
for uri in ("file:data/t.sqlite?mode=ro", "file:data/t.sqlite?mode=ro&immutable=1"):
    database = sqlite3.connect(uri, uri=True)
    database.execute("PRAGMA mmap_size=100000000")
    assert database.execute("SELECT sum(x) FROM t").fetchone() == (499500,)
    database.close()
"""


def test_libraries_that_map_files(project):
    np, pd, pa = pytest.importorskip("numpy"), pytest.importorskip("pandas"), pytest.importorskip("pyarrow")
    save_file = pytest.importorskip("safetensors.numpy").save_file
    folder = project / "made"
    folder.mkdir()
    table = pd.DataFrame({"x": np.arange(1000)})
    table.to_csv(folder / "t.csv")
    table.to_parquet(folder / "t.parquet")
    with pa.OSFile(str(folder / "t.arrow"), "wb") as sink, pa.ipc.new_file(sink, pa.Table.from_pandas(table).schema) as writer:
        writer.write_table(pa.Table.from_pandas(table))
    save_file({"x": np.arange(1000)}, folder / "t.safetensors")
    np.save(folder / "t.npy", np.arange(1000))
    database = sqlite3.connect(folder / "t.sqlite")
    table.to_sql("t", database)
    database.close()
    with hermetic.connect() as h:
        h.seal(folder, name="dataset/made", data_class="internal")
    done = run(["data=dataset/made"], *python(LIBRARIES))
    assert done.code == 0, done.err
