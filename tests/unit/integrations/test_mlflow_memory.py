"""Folders in memory for MLflow's temporary files and downloads, which need no MLflow."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from hermetic.assets import private_tmp
from hermetic.assets.private_tmp import PREFIX, is_in_memory
from hermetic.errors import Unsupported, UsageError
from hermetic.integrations.mlflow import keep_in_memory, memory

pytestmark = pytest.mark.skipif(not is_in_memory(Path("/dev/shm")), reason="/dev/shm is no tmpfs here")


@pytest.fixture
def on_disk(tmp_path, monkeypatch):
    """A temporary folder on a disk, as most processes have."""
    if is_in_memory(tmp_path):
        pytest.skip("the tests' own folder is in memory")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    return tmp_path


def test_temporary_files_are_in_memory_for_a_block(on_disk):
    with keep_in_memory():
        with tempfile.NamedTemporaryFile() as file:
            folder = Path(file.name).parent
            assert is_in_memory(folder)
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert os.environ["TMPDIR"] == str(folder)
        (folder / "left").write_text("x")
    assert not folder.exists()
    assert os.environ["TMPDIR"] == str(on_disk)
    assert tempfile.gettempdir() == str(on_disk)


def test_one_block_inside_another_is_the_same(on_disk):
    with keep_in_memory():
        outer = tempfile.gettempdir()
        with keep_in_memory():
            assert tempfile.gettempdir() == outer
        assert Path(outer).exists()


def test_without_a_block_they_stay_until_the_process_ends(on_disk):
    code = (
        "import os, tempfile\n"
        "from hermetic.integrations.mlflow import keep_in_memory, memory\n"
        "folder = memory.new_folder()\n"
        "open(os.path.join(folder, 'x'), 'w').close()\n"
        "keep_in_memory()\n"
        "if os.fork() == 0:\n"
        "    raise SystemExit(0)\n"
        "os.wait()\n"
        "print(folder, os.path.exists(os.path.join(folder, 'x')))\n"
        "print(tempfile.gettempdir(), os.path.isdir(tempfile.gettempdir()))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [there for _, there in lines] == ["True", "True"]
    for folder, _ in lines:
        assert folder.startswith(f"/dev/shm/{PREFIX}")
        assert not Path(folder).exists()


def test_downloads_go_to_memory_of_the_block(on_disk):
    with keep_in_memory():
        folder = Path(memory.new_folder())
        assert folder.parent == Path(tempfile.gettempdir())
    assert not folder.exists()


def test_what_tempfile_made_on_a_disk_is_refused(on_disk):
    made = Path(tempfile.mkdtemp())
    (made / "model").mkdir()
    (made / "model" / "MLmodel").touch()
    for path in (made, made / "model", made / "model" / "MLmodel"):
        with pytest.raises(UsageError, match="written to a disk in plaintext") as refused:
            memory.refuse_made_on_disk(path)
        assert "hermetic run" in refused.value.hint
    (on_disk / "link").symlink_to(made)
    with pytest.raises(UsageError):
        memory.refuse_made_on_disk(on_disk / "link" / "model")


def test_what_the_user_has_on_a_disk_or_in_memory_is_not(on_disk):
    (on_disk / "results").mkdir()
    memory.refuse_made_on_disk(on_disk / "results")
    with keep_in_memory():
        memory.refuse_made_on_disk(Path(tempfile.mkdtemp()))


def test_folders_to_download_into(on_disk):
    with pytest.raises(UsageError, match="plaintext on a disk unrecorded"):
        memory.refuse_on_disk(on_disk / "not" / "yet")
    with keep_in_memory():
        folder = Path(tempfile.gettempdir())
        memory.refuse_on_disk(folder / "not" / "yet")
        (folder / "link").symlink_to(on_disk)
        with pytest.raises(UsageError):
            memory.refuse_on_disk(folder / "link")


def test_without_a_tmpfs_nothing_is_promised(on_disk, monkeypatch):
    monkeypatch.setattr(private_tmp, "SHARED_MEMORY", on_disk)
    with pytest.raises(Unsupported, match="no tmpfs"):
        keep_in_memory()
