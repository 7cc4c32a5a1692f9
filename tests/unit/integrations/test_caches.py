"""Caches of fsspec in front of what decrypts are refused, and behind it they are not our business."""

from __future__ import annotations

import io
import tarfile
import tempfile
import zipfile
from pathlib import Path

import fsspec
import pytest

from hermetic.assets import private_tmp
from hermetic.errors import UsageError
from hermetic.integrations import caches

SECRET = b"plaintext of a patient"
MEMORY = Path("/dev/shm")
CACHES = ("simplecache", "filecache", "blockcache", "cached")


@pytest.fixture
def disk(h, fs, tmp_path, monkeypatch):
    """A folder that counts as a disk, and `dataset/a` sealed."""
    monkeypatch.setattr(caches, "is_in_memory", lambda path: path.is_relative_to(MEMORY) and not path.is_relative_to(tmp_path))
    h.seal(SECRET, name="dataset/a")
    return tmp_path / "cache"


def nothing_plain(folder):
    return not [path for path in folder.rglob("*") if path.is_file() and SECRET[:9] in path.read_bytes()]


@pytest.mark.parametrize("cache", CACHES)
def test_reading_through_a_cache(disk, cache):
    with (
        pytest.raises(UsageError, match="plaintext on a disk") as refused,
        fsspec.open(f"{cache}::hermetic://dataset/a", **{cache: {"cache_storage": str(disk)}}) as file,
    ):
        file.read()
    assert f"sealed::{'blockcache' if cache == 'cached' else cache}::s3://" in refused.value.hint
    assert nothing_plain(disk)


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize("call", ["cat", "cat_file", "open", "cat_ranges", "pipe", "get_file", "info", "write"])
def test_a_cache_around_an_instance_that_was_made_before(fs, disk, cache, call, tmp_path):
    around = fsspec.filesystem(cache, fs=fs, cache_storage=str(disk), skip_instance_cache=True)
    calls = {
        "cat": lambda: around.cat("dataset/a"),
        "cat_file": lambda: around.cat_file("dataset/a"),
        "open": lambda: around.open("dataset/a").read(),
        "cat_ranges": lambda: around.cat_ranges(["dataset/a"], [0], [4], on_error="raise"),
        "pipe": lambda: around.pipe("features/x", SECRET),
        "get_file": lambda: around.get("dataset/a", str(tmp_path / "copy")),
        "info": lambda: around.open("dataset/a", "rb").read(),
        "write": lambda: around.open("features/x", "wb"),
    }
    with pytest.raises(UsageError):
        calls[call]()
    assert nothing_plain(tmp_path)


def test_open_local_and_many_files(disk):
    options = {"simplecache": {"cache_storage": str(disk)}}
    with pytest.raises(UsageError):
        fsspec.open_local("simplecache::hermetic://dataset/a", **options)
    with pytest.raises(UsageError), fsspec.open_files(["simplecache::hermetic://dataset/a"], **options) as files:
        files[0].read()
    with pytest.raises(UsageError), fsspec.open_files("simplecache::hermetic://features/*", "wb", num=2, **options) as files:
        files[0].write(SECRET)
    assert nothing_plain(disk)


def _between(h, fs, kind):
    """Make what stands between a cache and an instance of ours, before there is a cache, and a path in it."""
    if kind == "dir":
        return fsspec.filesystem("dir", path="dataset", fs=fs, skip_instance_cache=True), "a"
    h.seal(_packed(kind), name="dataset/packed")
    return fsspec.filesystem(kind, fo=fs.open("dataset/packed"), skip_instance_cache=True), "member"


def _packed(kind):
    buffer = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(buffer, "w") as packed:
            packed.writestr("member", SECRET)
        return buffer.getvalue()
    with tarfile.open(fileobj=buffer, mode="w") as packed:
        facts = tarfile.TarInfo("member")
        facts.size = len(SECRET)
        packed.addfile(facts, io.BytesIO(SECRET))
    return buffer.getvalue()


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize("kind", ["dir", "zip", "tar"])
@pytest.mark.parametrize("call", ["open", "cat_file", "cat_ranges"])
def test_a_cache_further_away(h, fs, disk, tmp_path, cache, kind, call):
    """What stands in between asks for the paths in its place."""
    between, path = _between(h, fs, kind)
    around = fsspec.filesystem(cache, fs=between, cache_storage=str(disk), skip_instance_cache=True)
    calls = {
        "open": lambda: around.open(path).read(9),
        "cat_file": lambda: around.cat_file(path),
        "cat_ranges": lambda: around.cat_ranges([path], [0], [9], on_error="raise"),
    }
    with pytest.raises((UsageError, AttributeError) if kind != "dir" else UsageError):  # blockcache has no use for files of archives
        calls[call]()
    assert nothing_plain(tmp_path)
    assert between.cat_file(path) == SECRET  # without a cache it is read as ever


def test_a_cache_of_what_an_archive_holds_in_one_url(h, disk, tmp_path):
    h.seal(_packed("zip"), name="dataset/packed")
    options = {"simplecache": {"cache_storage": str(disk)}}
    with pytest.raises(UsageError), fsspec.open("simplecache::zip://member::hermetic://dataset/packed", **options) as file:
        file.read()
    assert nothing_plain(tmp_path)


def test_a_cache_in_memory_leaves_nothing_behind(disk):
    if not private_tmp.is_in_memory(MEMORY):
        pytest.skip("/dev/shm is no tmpfs here")
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        options = {"simplecache": {"cache_storage": folder}}
        with fsspec.open("simplecache::hermetic://dataset/a", **options) as file:
            assert file.read() == SECRET


def test_a_cache_of_something_else_is_none_of_ours(fs, tmp_path):
    (tmp_path / "plain").write_bytes(b"x")
    with fsspec.open(f"simplecache::file://{tmp_path}/plain", simplecache={"cache_storage": str(tmp_path / "c")}) as file:
        assert file.read() == b"x"
