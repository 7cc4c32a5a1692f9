"""sealed:: over fsspec's caches, which hold ciphertext and may hold it for longer than it lies there; and names that are too long."""
# ruff: noqa: F811 - fixtures by import

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import fsspec
import pytest

from hermetic.errors import IntegrityError, InvalidName, UsageError
from hermetic.integrations.sealed_filesystem import SealedFileSystem
from tests.unit.integrations.sealed_domain import domain, ground, h, sealed_template  # noqa: F401


@pytest.fixture(autouse=True)
def purpose(monkeypatch):
    monkeypatch.setenv("HERMETIC_PURPOSE", "prepare")


@pytest.fixture(params=["simplecache", "filecache"])
def cached(request, domain, tmp_path):
    """`fs` reads memory through a cache of whole files; `other` is another process, which knows nothing of the cache."""
    options = {"target_protocol": "memory", "cache_storage": str(tmp_path / "cache")}
    fs = SealedFileSystem(target_protocol=request.param, target_options=options, skip_instance_cache=True)
    other = SealedFileSystem(target_protocol="memory")
    return SimpleNamespace(fs=fs, other=other, plain=fsspec.filesystem("memory"), path=f"{domain.lake}/out/a.csv")


def test_what_another_process_overwrote_is_no_alarm(cached):
    for content in (b"one", b"two!", b"three"):
        cached.other.pipe_file(cached.path, content)
        assert cached.fs.cat_file(cached.path) == content
        assert cached.fs.cat_file(cached.path) == content  # now from the cache
        with cached.fs.open(cached.path) as file:
            assert file.read() == content


def test_a_listing_over_a_stale_cache_is_no_alarm(cached):
    cached.other.pipe_file(cached.path, b"one")
    assert cached.fs.cat_file(cached.path) == b"one"
    cached.other.pipe_file(cached.path, b"two!")
    (entry,) = cached.fs.ls(cached.path.rpartition("/")[0])
    assert (entry["number"], entry["size"]) == (2, 4)


def test_what_another_process_removed_is_gone(cached):
    cached.other.pipe_file(cached.path, b"one")
    assert cached.fs.cat_file(cached.path) == b"one"
    cached.other.rm(cached.path)
    with pytest.raises(FileNotFoundError):
        cached.fs.cat_file(cached.path)
    cached.other.pipe_file(cached.path, b"two")
    assert cached.fs.cat_file(cached.path) == b"two"


def test_what_is_written_through_a_cache_is_read_through_it(cached):
    for content in (b"one", b"two!"):
        cached.fs.pipe_file(cached.path, content)
        assert cached.fs.cat_file(cached.path) == content


def test_an_older_state_is_still_an_alarm_behind_a_cache(cached):
    cached.other.pipe_file(cached.path, b"one")
    old = cached.plain.cat_file(cached.path)
    cached.other.pipe_file(cached.path, b"two")
    assert cached.fs.cat_file(cached.path) == b"two"
    cached.plain.pipe_file(cached.path, old)
    fresh = SealedFileSystem(target_protocol="memory", skip_instance_cache=True)
    with pytest.raises(IntegrityError, match="was put since"):
        fresh.cat_file(cached.path)
    cached.fs.fs.pop_from_cache(cached.path)
    for folder in cached.fs.fs.storage:
        shutil.rmtree(folder)
        Path(folder).mkdir()
    with pytest.raises(IntegrityError, match="was put since"):
        cached.fs.cat_file(cached.path)


# names


@pytest.mark.parametrize("length", [242, 245, 255, 256, 300])
def test_a_name_without_room_for_its_manifest_is_refused_before_anything_is_written(domain, h, length):
    fs, folder = SealedFileSystem(), domain.project / "data" / "out"
    fs.pipe_file(f"{folder}/a", b"a")
    path = f"{folder}/{'n' * length}"
    for call in (lambda: fs.open(path, "wb"), lambda: fs.cp_file(f"{folder}/a", path), lambda: fs.mv(f"{folder}/a", path)):
        with pytest.raises(UsageError, match="too long") as told:
            call()
        assert "at most 241 bytes" in told.value.hint
    assert sorted(item.name for item in folder.iterdir()) == ["a", "a.manifest.json"]
    assert h.show("dataset/out").number == 1
    assert not fs.exists(path)
    with pytest.raises(FileNotFoundError):
        fs.cat_file(path)


@pytest.mark.parametrize("name", ["n" * 241, "ü" * 120])
def test_the_longest_names(domain, name):
    fs, folder = SealedFileSystem(), domain.project / "data" / "out"
    fs.pipe_file(f"{folder}/{name}", b"content")
    assert fs.cat_file(f"{folder}/{name}") == b"content"
    assert fs.ls(str(folder), detail=False) == [f"{folder}/{name}"]


def test_names_count_in_bytes_and_folders_count_too(domain):
    fs, folder = SealedFileSystem(), domain.project / "data" / "out"
    for path in (f"{folder}/{'ü' * 121}", f"{folder}/{'d' * 256}/a"):
        with pytest.raises(UsageError, match="too long"):
            fs.open(path, "wb")
    with pytest.raises(InvalidName):
        fs.open("/".join([str(folder), *["d" * 200] * 20, "a"]), "wb")
    assert not folder.exists()


def test_what_was_written_without_room_for_its_manifest_is_read(domain):
    """By a release that did not refuse it."""
    fs, folder = SealedFileSystem(), domain.project / "data" / "out"
    fs.pipe_file(f"{folder}/a", b"content")
    copy = domain.home / ("n" * 250)  # in no place: the ids decide
    copy.write_bytes((folder / "a").read_bytes())
    assert fs.cat_file(str(copy)) == b"content"


def test_a_key_that_a_bucket_cannot_have_is_refused():
    from hermetic.assets.grounds import FarGround

    ground = FarGround(SimpleNamespace(protocol=("s3", "s3a")))
    ground.require_room("bucket/" + "k" * 1010, 14)
    with pytest.raises(UsageError, match="too long"):
        ground.require_room("bucket/" + "k" * 1011, 14)
    FarGround(SimpleNamespace(protocol="memory")).require_room("/" + "k" * 5000, 14)
