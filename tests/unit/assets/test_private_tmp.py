"""Temporary files of a run stay in memory and go with it."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hermetic.assets import private_tmp

SWAPS = "Filename\tType\tSize\tUsed\tPriority\n"


def run(folder, code):
    return subprocess.run(
        [sys.executable, "-c", code, str(folder.path)],
        preexec_fn=folder.enter,
        env={**os.environ, "TMPDIR": str(folder.path)},
        check=True,
    )


def test_what_a_child_writes_is_gone_at_the_end():
    with private_tmp.private_folder() as folder:
        assert folder.path.stat().st_mode & 0o777 == 0o700
        run(folder, "import tempfile; f = tempfile.NamedTemporaryFile(delete=False); f.write(b'secret'); f.close()")
        seen = list(folder.path.iterdir())
        assert bool(seen) is (folder.kind != "mount")
    assert not folder.path.exists()


def test_a_mount_is_not_swapped_and_nobody_else_sees_it():
    with private_tmp.private_folder() as folder:
        if folder.kind != "mount":
            pytest.skip("only root may mount")
        look = (
            "import pathlib, sys; mine = [l for l in pathlib.Path('/proc/self/mounts').read_text().splitlines() if sys.argv[1] in l]"
        )
        run(folder, f"{look}; assert 'nosuid' in mine[0], mine")
        assert str(folder.path) not in Path("/proc/self/mounts").read_text()


def test_a_killed_runs_folder_is_swept_by_the_next(tmp_path, monkeypatch):
    monkeypatch.setattr(private_tmp, "SHARED_MEMORY", tmp_path)
    left = tmp_path / "hermetic-run-left"
    left.mkdir()
    (left / "plain").write_bytes(b"x")
    monkeypatch.setattr(private_tmp, "_works", lambda enter: False)
    monkeypatch.setattr(private_tmp, "_is_tmpfs", lambda path: True)
    with private_tmp.private_folder() as first:
        assert not left.exists()
        assert first.kind == "memory"
        with private_tmp.private_folder():
            assert first.path.exists()


def test_a_disk_is_a_finding(tmp_path, monkeypatch):
    monkeypatch.setattr(private_tmp, "_works", lambda enter: False)
    monkeypatch.setattr(private_tmp, "_is_tmpfs", lambda path: False)
    with private_tmp.private_folder() as folder:
        assert folder.kind == "disk"
        assert folder.findings[0].code == "run.tmp-on-disk"


@pytest.mark.parametrize(
    ("area", "uuid", "backing", "findings"),
    [
        ("/dev/sda2", None, None, 1),
        ("/swapfile", None, None, 1),
        ("/dev/zram0", None, "none\n", 0),
        ("/dev/zram0", None, "/dev/sda3\n", 1),
        ("/dev/dm-1", "CRYPT-PLAIN-swap\n", None, 0),
        ("/dev/dm-1", "LVM-abc\n", None, 1),
    ],
)
def test_swap(tmp_path, area, uuid, backing, findings):
    swaps = tmp_path / "swaps"
    swaps.write_text(SWAPS + f"{area}\tpartition\t1\t0\t-2\n")
    block = tmp_path / "block" / area.rpartition("/")[2]
    (block / "dm").mkdir(parents=True)
    if uuid:
        (block / "dm" / "uuid").write_text(uuid)
    if backing:
        (block / "backing_dev").write_text(backing)
    assert len(private_tmp.swap_findings(swaps, tmp_path / "block")) == findings


def test_no_swap(tmp_path):
    assert private_tmp.swap_findings(tmp_path / "missing") == ()
    (tmp_path / "swaps").write_text(SWAPS)
    assert private_tmp.swap_findings(tmp_path / "swaps") == ()


@pytest.mark.parametrize("moment", ["before it is opened", "before it is locked"])
def test_a_folder_that_another_start_sweeps_away_is_made_again(monkeypatch, moment):
    made, plain_open, plain_lock = [], os.open, fcntl.flock

    def sweep(folder):
        made.append(folder)
        if len(made) == 1:
            Path(folder).rmdir()

    def opened(path, *rest, **more):
        if moment == "before it is opened" and private_tmp.PREFIX in str(path):
            sweep(path)
        return plain_open(path, *rest, **more)

    def locked(fd, how):
        if moment == "before it is locked" and how == fcntl.LOCK_EX:
            sweep(Path(f"/proc/self/fd/{fd}").readlink())
        plain_lock(fd, how)

    monkeypatch.setattr(private_tmp, "_sweep", lambda: None)
    monkeypatch.setattr(private_tmp.os, "open", opened)
    monkeypatch.setattr(private_tmp.fcntl, "flock", locked)
    with private_tmp.memory_folder() as folder:
        assert folder.is_dir()
        assert len(made) == 2
    assert not folder.exists()
