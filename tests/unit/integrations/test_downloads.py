"""No copy on a disk without a record, whatever fsspec offers."""

from __future__ import annotations

import io
import os
import tempfile
from pathlib import Path

import fsspec
import pytest

from hermetic.assets import private_tmp
from hermetic.errors import UsageError
from hermetic.integrations import downloads

MEMORY = Path("/dev/shm")


@pytest.fixture
def sealed(h):
    return h.seal(b"plaintext", name="dataset/a").name


@pytest.fixture
def in_memory():
    if not private_tmp.is_in_memory(MEMORY):
        pytest.skip("/dev/shm is no tmpfs here")
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        yield Path(folder)


@pytest.fixture
def on_disk(tmp_path, monkeypatch):
    """A folder on a disk, also where the tests' own folder is in memory."""
    monkeypatch.setattr(downloads, "is_in_memory", lambda path: path.is_relative_to(MEMORY) and not path.is_relative_to(tmp_path))
    return tmp_path


def test_a_copy_onto_a_disk_is_refused(fs, sealed, on_disk):
    target = on_disk / "new folder" / "copy"
    with pytest.raises(UsageError, match="plaintext on disk") as refused:
        fs.get("hermetic://dataset/a", str(target))
    assert f"hermetic expose dataset/a '{target}' --for 2h" in refused.value.hint
    with (on_disk / "open").open("wb") as file, pytest.raises(UsageError):
        fs.get_file("dataset/a", file)
    assert not target.exists()
    assert (on_disk / "open").read_bytes() == b""


def test_a_link_into_memory_is_memory_and_out_of_it_is_not(fs, sealed, on_disk, in_memory):
    (in_memory / "out").symlink_to(on_disk)
    with pytest.raises(UsageError):
        fs.get_file("dataset/a", str(in_memory / "out" / "copy"))
    (on_disk / "in").symlink_to(in_memory)
    fs.get_file("dataset/a", str(on_disk / "in" / "copy"))
    assert (in_memory / "copy").read_bytes() == b"plaintext"


def test_memory_is_no_disk(fs, sealed, in_memory):
    fs.get("hermetic://dataset/a", str(in_memory / "copy"))
    assert (in_memory / "copy").read_bytes() == b"plaintext"
    buffer = io.BytesIO()
    fs.get_file("dataset/a", buffer)
    assert buffer.getvalue() == b"plaintext"


def test_caches_on_disk_are_refused(fs, sealed, on_disk):
    for protocol in ("simplecache", "filecache"):
        url = f"{protocol}::hermetic://dataset/a"
        with pytest.raises(UsageError), fsspec.open(url, **{protocol: {"cache_storage": str(on_disk / protocol)}}) as file:
            file.read()
    kept = [path for path in on_disk.rglob("*") if path.is_file() and b"plaintext" in path.read_bytes()]
    assert kept == []


def test_a_pipe_is_no_disk():
    read, write = os.pipe()
    with os.fdopen(read, "rb"), os.fdopen(write, "wb") as file:
        downloads.refuse_disk(lambda: "dataset/a", file)
