import errno
import os
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from hermetic import steps
from hermetic.errors import Conflict, IntegrityError, NotFound, StorageError
from hermetic.stores import _staging
from hermetic.stores.local import LocalStore
from tests.unit.stores.contract import StoreContract, write


@pytest.fixture
def store(tmp_path):
    return LocalStore(tmp_path / "not yet" / "sealed")


@pytest.fixture
def hook():
    seen = []
    yield seen
    steps.install(None)


def files(store):
    return sorted(path.relative_to(store.root).as_posix() for path in store.root.rglob("*") if not path.is_dir())


class TestLocalStore(StoreContract):
    @pytest.fixture
    def store(self, tmp_path):
        return LocalStore(tmp_path / "sealed")


def test_a_folder_that_a_group_shares_is_for_the_group(store, tmp_path):
    before = os.umask(0o077)
    try:
        store.root.mkdir(parents=True)
        write(store, "own/1.sealed", b"x")
        store.root.chmod(0o2770)
        write(store, "version/deep/1.sealed", b"x")
        store.put_bytes("manifest.json", b"{}")
        modes = {path.relative_to(store.root).as_posix(): stat.S_IMODE(path.stat().st_mode) for path in store.root.rglob("*")}
    finally:
        os.umask(before)
    assert modes == {
        "own": 0o700, "own/1.sealed": 0o600,
        "version": 0o2770, "version/deep": 0o2770, "version/deep/1.sealed": 0o640, "manifest.json": 0o640,
    }  # fmt: skip


def test_modes_and_steps(store, hook):
    steps.install(hook.append)
    write(store, "v/a", b"1")
    store.delete("v/a")
    assert hook == ["store.stage.synced", "store.stage.renamed", "store.stage.folder-synced", "store.delete.folder-synced"]
    assert files(store) == []
    assert not (store.root / "v").exists()
    write(store, "v/a", b"1")
    assert stat.S_IMODE((store.root / "v/a").stat().st_mode) == 0o600
    assert stat.S_IMODE((store.root / "v").stat().st_mode) == 0o700
    assert (store.root / "v/a").stat().st_nlink == 1


@pytest.mark.parametrize("call", [0, 1])
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_a_failed_sync_raises_and_leaves_no_name(store, monkeypatch, call, code):
    store.put_bytes("v/other", b"kept")
    real, calls = os.fsync, []

    def failing(fd):
        calls.append(fd)
        if len(calls) == call + 1:
            raise OSError(code, os.strerror(code))
        real(fd)

    monkeypatch.setattr(_staging.os, "fsync", failing)
    with pytest.raises(StorageError), store.stage("v/a") as staged:
        staged.write(b"data")
        staged.commit()
    assert len(calls) == call + 1
    assert files(store) == ["v/other"]


@pytest.mark.parametrize("name", ["store.stage.synced", "store.stage.renamed", "store.stage.folder-synced"])
def test_a_failure_at_any_step_leaves_no_name(store, hook, name):
    def fail(reached):
        if reached == name:
            raise StorageError("injected")

    steps.install(fail)
    with pytest.raises(StorageError, match="injected"):
        write(store, "a", b"1")
    steps.install(None)
    assert files(store) == []
    write(store, "a", b"1")


KILL = """
import os, signal, sys
from pathlib import Path
from hermetic import steps
from hermetic.stores.local import LocalStore
steps.install(lambda name: os.kill(os.getpid(), signal.SIGKILL) if name == sys.argv[2] else None)
with LocalStore(Path(sys.argv[1])).stage("v/a") as staged:
    staged.write(b"whole" * 100000)
    staged.commit()
"""


@pytest.mark.parametrize(
    ("name", "there"), [("store.stage.synced", False), ("store.stage.renamed", True), ("store.stage.folder-synced", True)]
)
def test_kill_leaves_a_whole_object_or_none(tmp_path, name, there):
    done = subprocess.run([sys.executable, "-c", KILL, str(tmp_path), name], check=False)
    assert done.returncode == -9
    store = LocalStore(tmp_path)
    assert list(store.list()) == ([("v/a", 500_000)] if there else [])
    left = [name for name in files(store) if ".hermetic-tmp-" in name]
    assert store.sweep(0, 0) == 0  # nothing is that old
    assert store.sweep(0, 1 << 60) == len(left) == (0 if there else 1)
    assert (store.root / "v").exists() == there


def test_sweep_spares_living_writers(store):
    with store.stage("v/a") as staged:
        staged.write(b"1")
        assert store.sweep(0, 1 << 60) == 0
        staged.commit()
    assert store.exists("v/a")


FULL = """
import os, subprocess, sys
from pathlib import Path
from hermetic.errors import StorageError
from hermetic.stores.local import LocalStore
if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", sys.argv[1]]).returncode:
    sys.exit(77)
store = LocalStore(Path(sys.argv[1]))
store.put_bytes("kept", b"x" * 1000)
try:
    with store.stage("v/big") as staged:
        for _ in range(64):
            staged.write(bytes(65536))
        staged.commit()
except StorageError as error:
    assert "free some space" in error.hint, error.hint
else:
    sys.exit("a full disk went unnoticed")
assert [key for key, _ in store.list()] == ["kept"]
assert [p.name for p in Path(sys.argv[1]).rglob("*") if p.is_file()] == ["kept"]
subprocess.run(["mount", "-o", "remount,ro", sys.argv[1]], check=True)
for call in (lambda: store.put_bytes("new", b""), lambda: store.delete("kept")):
    try:
        call()
    except StorageError as error:
        assert "read-only" in error.hint, error.hint
    else:
        sys.exit("a read-only disk went unnoticed")
assert store.read_bytes("kept", limit=1000) == b"x" * 1000
"""


def test_full_and_read_only_disks(tmp_path):
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", sys.executable, "-c", FULL, str(tmp_path)],
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip(f"no private mounts here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr


def test_no_space_while_writing(store, monkeypatch):
    def full(fd, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(StorageError, match="no space left"), store.stage("a") as staged:
        monkeypatch.setattr(os, "write", full)
        staged.write(b"data")
    assert files(store) == []


def test_short_reads_and_writes_are_repeated(store, monkeypatch):
    real_write, real_preadv = os.write, os.preadv
    monkeypatch.setattr(os, "write", lambda fd, data: real_write(fd, data[:3]))
    monkeypatch.setattr(os, "preadv", lambda fd, views, offset: real_preadv(fd, [views[0][:2]], offset))
    write(store, "a", b"0123456789")
    with store.open("a") as source:
        buffer = bytearray(10)
        assert source.readinto_at(0, buffer) == 10
        assert bytes(buffer) == b"0123456789"


def test_no_hard_links_falls_back_to_renameat2(store, monkeypatch):
    def refused(*args, **kwargs):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refused)
    write(store, "v/a", b"1")
    with store.stage("v/b") as one, store.stage("v/b") as two:
        one.write(b"1")
        one.commit()
        with pytest.raises(Conflict):
            two.commit()
    assert files(store) == ["v/a", "v/b"]


def test_links_are_never_followed(store, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    store.put_bytes("v/a", b"1")
    (store.root / "folder").symlink_to(outside)
    (store.root / "v/link").symlink_to(outside / "secret")
    (store.root / "dangling").symlink_to(outside / "new")
    for key in ("folder/secret", "v/link", "dangling"):
        with pytest.raises(IntegrityError):
            store.open(key)
    with pytest.raises(IntegrityError):
        store.put_bytes("folder/new", b"1")
    with pytest.raises(IntegrityError):
        store.delete("folder/secret")
    with pytest.raises(IntegrityError):
        store.exists("folder/secret")
    for key in ("v/link", "dangling"):
        assert not store.exists(key)
        with pytest.raises(Conflict):
            store.put_bytes(key, b"1")
    assert list(store.list()) == [("v/a", 1)]
    with pytest.raises(IntegrityError):
        list(store.list("folder/"))
    assert sorted(path.name for path in outside.iterdir()) == ["secret"]
    store.put_bytes("v/link", b"ours", replace=True)
    assert (outside / "secret").read_bytes() == b"secret"


def test_a_fifo_in_its_place_neither_hangs_nor_opens(store):
    store.put_bytes("v/a", b"1")
    os.mkfifo(store.root / "v/fifo")
    with pytest.raises(IntegrityError):
        store.open("v/fifo")
    assert list(store.list()) == [("v/a", 1)]


def test_the_root_may_be_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    store = LocalStore(tmp_path / "link")
    store.put_bytes("a", b"1")
    assert (tmp_path / "real/a").read_bytes() == b"1"


def open_descriptors():
    return {path.name for path in Path("/proc/self/fd").iterdir() if path.is_symlink()}


def test_no_descriptor_is_left_open(store):
    before = open_descriptors()
    write(store, "v/w/a", b"1")
    with pytest.raises(Conflict):
        write(store, "v/w/a", b"1")
    with pytest.raises(NotFound):
        store.open("v/none")
    with store.stage("v/b") as staged:
        staged.write(b"1")
    store.read_bytes("v/w/a", limit=1)
    store.exists("x/y")
    list(store.list())
    store.sweep(0, 0)
    store.delete("v/w/a")
    assert open_descriptors() == before


RACE = """
import sys
from pathlib import Path
from hermetic.stores.local import LocalStore
store = LocalStore(Path(sys.argv[1]))
for number in range(200):
    store.put_bytes("shared/folder/" + sys.argv[2], b"1")
    store.delete("shared/folder/" + sys.argv[2])
"""


def test_folders_that_come_and_go_under_other_writers(tmp_path):
    code = textwrap.dedent(RACE)
    running = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), name]) for name in "abc"]
    assert [process.wait() for process in running] == [0, 0, 0]
