"""Paths of sealed::, and those that are refused."""

from __future__ import annotations

from pathlib import PurePosixPath

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from hermetic.errors import InvalidName, UsageError
from hermetic.integrations import caches
from hermetic.integrations.filesystem import HermeticFileSystem
from hermetic.integrations.sealed_filesystem import SealedFileSystem
from hermetic.integrations.sealed_paths import strip, strip_for

REFUSED = (
    "sealed::file:",
    "sealed::file:/x",
    "sealed::/x",
    "sealed::x",
    "sealed::",
    "sealed::://x",
    "sealed::S3://x",
    "sealed::sealed::file:///x",
    "sealed::sealed:///x",
    "sealed::hermetic://dataset/x",
    "sealed::zip://a::file:///x",
    "sealed::file:///x::y",
    "sealed::file:///a/file:///b",
    "sealed::s3://b/k::sealed::s3://b/k",
    "simplecache::sealed::file:///x",
    "file::sealed:///x",
    "::sealed::file:///x",
    "file:///x",
    "s3://bucket/key",
    "sealed://s3://bucket/key",
    "sealed:///a/../b",
    "sealed::file:///a/../../etc/x",
    "/a/./b",
    "/a\\b",
    "/a\nb",
    "/a\u202eb",
    b"/a",
)


@pytest.mark.parametrize("path", REFUSED)
def test_what_is_refused(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for call in (strip, lambda item: strip_for(item, LocalFileSystem())):
        with pytest.raises(InvalidName):
            call(path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", [item for item in REFUSED if isinstance(item, str)])
def test_no_method_makes_a_folder_of_a_url(path, tmp_path, monkeypatch):
    """What other implementations have done: a folder `sealed::file:` in the working folder."""
    monkeypatch.chdir(tmp_path)
    fs = SealedFileSystem()
    for call in (fs.info, fs.ls, fs.mkdir, fs.makedirs, fs.rm, fs.rm_file, fs.find, fs.cat_file, lambda item: fs.open(item, "wb")):
        with pytest.raises((InvalidName, ValueError)):
            call(path)
    for call in (fs.cp_file, fs.mv):
        with pytest.raises((InvalidName, ValueError)):
            call(path, path + "x")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("path", "stripped"),
    [
        ("sealed::file:///data/a b.csv", "/data/a b.csv"),
        ("sealed:///data/a.csv", "/data/a.csv"),
        ("/data/a.csv", "/data/a.csv"),
        ("sealed::local:///data/a.csv", "/data/a.csv"),
        ("sealed::simplecache::file:///data/a.csv", "/data/a.csv"),
        ("/data/%2e%2e/a.csv", "/data/%2e%2e/a.csv"),
        ("sealed::file:///data/sealed%3A%3Afile", "/data/sealed%3A%3Afile"),
        (PurePosixPath("/data/a.csv"), "/data/a.csv"),
        ("sealed::file:///data/", "/data"),
    ],
)
def test_what_is_taken(path, stripped):
    assert strip_for(path, LocalFileSystem()) == stripped


def test_a_relative_path_is_one_of_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert strip_for("data/a.csv", LocalFileSystem()) == str(tmp_path / "data" / "a.csv")


def test_the_protocol_is_that_of_the_file_system_behind():
    memory = MemoryFileSystem()
    assert strip_for("sealed::memory://a/b", memory) == "/a/b"
    assert strip_for("sealed://a/b", memory) == "/a/b"
    with pytest.raises(InvalidName, match="memory://"):
        strip_for("sealed::file:///a/b", memory)
    with pytest.raises(InvalidName):
        strip_for("sealed::memory://a", LocalFileSystem())


def test_the_chain_is_taken_apart_by_fsspec():
    for url, path, behind in (
        ("sealed::file:///data/a.csv", "/data/a.csv", LocalFileSystem),
        ("sealed:///data/a.csv", "/data/a.csv", LocalFileSystem),
        ("sealed::memory://a/b", "/a/b", MemoryFileSystem),
    ):
        fs, stripped = fsspec.url_to_fs(url)
        assert (type(fs), stripped, type(fs.fs)) == (SealedFileSystem, path, behind)
        assert fs._strip_protocol(fs.unstrip_protocol(stripped)) == path
    fs, path = fsspec.url_to_fs("sealed::simplecache::memory://a/b", simplecache={"cache_storage": "TMP"})
    assert type(fs) is SealedFileSystem
    assert path == "/a/b"
    assert type(fs.fs.fs) is MemoryFileSystem


def test_options():
    for options in ({"key": "x"}, {"passphrase": "x"}, {"token": "x"}, {"auto_mkdir": True}):
        with pytest.raises(UsageError, match="has no option"):
            SealedFileSystem(**options)
    for options in (
        {"target_protocol": "hermetic"},
        {"target_protocol": "sealed"},
        {"fs": HermeticFileSystem()},
        {"fs": MemoryFileSystem(), "target_protocol": "memory"},
        {"target_protocol": "memory", "target_options": {"asynchronous": True}},
    ):
        with pytest.raises(UsageError):
            SealedFileSystem(**options)
    assert SealedFileSystem(target_protocol="memory") is SealedFileSystem(fo="/a", target_protocol="memory")


@pytest.mark.parametrize("cache", ["simplecache", "filecache", "blockcache"])
def test_a_cache_in_front_is_refused_with_the_right_order(cache, tmp_path, monkeypatch):
    monkeypatch.setattr(caches, "is_in_memory", lambda path: False)
    options = {cache: {"cache_storage": str(tmp_path)}}
    for prepare in (SealedFileSystem.clear_instance_cache, SealedFileSystem):  # also with an instance that exists
        prepare()
        with pytest.raises(UsageError, match="plaintext") as refused:
            fsspec.open(f"{cache}::sealed::file:///data/a", **options).open()
        assert f"sealed::{cache}::s3://" in refused.value.hint
