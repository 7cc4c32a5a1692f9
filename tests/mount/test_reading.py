"""A version as plain files: content, names, sizes, maps, threads; and that nothing of it is anywhere else."""

from __future__ import annotations

import hashlib

import pytest

import hermetic
from tests.mount.conftest import TABLE, large, mounts_of_the_machine, python, run

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
