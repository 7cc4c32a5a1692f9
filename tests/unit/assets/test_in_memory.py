"""Paths for loaders that take nothing else: content in memory, unchangeable, gone afterwards."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from hermetic.assets.sealing import Terms, begin
from hermetic.errors import IntegrityError, NotFound, StorageError, Unsupported
from tests.unit.assets.real import domain, domain_template, real  # noqa: F401 - fixtures


@pytest.fixture
def array():
    return np.arange(300_000, dtype="f8")


@pytest.fixture
def sealed(real, array, tmp_path):  # noqa: F811
    np.save(tmp_path / "array.npy", array)
    return real.seal(tmp_path / "array.npy", name="model/array")


def test_a_loader_that_maps_files(real, sealed, array):  # noqa: F811
    with real.memory_path("model/array", purpose="evaluate") as path:
        assert path.name == "array.npy"
        mapped = np.load(path, mmap_mode="r")
        np.testing.assert_array_equal(mapped, array)
    assert not path.exists()
    assert not path.parent.exists()
    np.testing.assert_array_equal(mapped[-3:], array[-3:])  # a map outlives the name


def test_another_program_can_read_it_meanwhile(real, sealed, array):  # noqa: F811
    with real.memory_path("model/array", purpose="evaluate") as path:
        code = f"import numpy; print(numpy.load({str(path)!r}).sum())"
        found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(found.stdout) == array.sum()


def test_it_lies_on_no_disk_and_cannot_be_changed(real, sealed):  # noqa: F811
    with real.memory_path("model/array", purpose="evaluate") as path:
        assert path.is_symlink()
        with path.open("rb") as file:
            assert str(Path(f"/proc/self/fd/{file.fileno()}").readlink()).startswith("/memfd:")
            assert fcntl.fcntl(file.fileno(), fcntl.F_GET_SEALS) & fcntl.F_SEAL_WRITE
        with pytest.raises(PermissionError), path.open("r+b") as file:
            file.write(b"x")


def test_several_members_are_a_folder(real, tmp_path):  # noqa: F811
    place = tmp_path / "model"
    (place / "deep").mkdir(parents=True)
    (place / "config.json").write_text("{}")
    (place / "deep" / "weights.bin").write_bytes(b"abc")
    real.seal(place, name="model/folder")
    with real.memory_path("model/folder", purpose="evaluate") as path:
        assert (path / "config.json").read_text() == "{}"
        assert (path / "deep" / "weights.bin").read_bytes() == b"abc"
    assert not path.exists()
    with real.memory_path("model/folder@1/deep/weights.bin", purpose="evaluate") as path:
        assert (path.name, path.read_bytes()) == ("weights.bin", b"abc")


def test_descriptors_are_given_back(real, sealed):  # noqa: F811
    def descriptors_now():
        found = set()
        for entry in Path("/proc/self/fd").iterdir():
            with suppress(FileNotFoundError):
                if "memfd:hermetic" in str(entry.readlink()):
                    found.add(entry)
        return found

    with pytest.raises(RuntimeError), real.memory_path("model/array", purpose="evaluate"):
        assert len(descriptors_now()) == 1
        raise RuntimeError
    assert descriptors_now() == set()


def test_damage_gives_no_path(real, sealed, domain):  # noqa: F811
    path = domain / "sealed" / sealed.version / "0.sealed"
    raw = bytearray(path.read_bytes())
    raw[1_500_000] ^= 1
    path.write_bytes(raw)
    with pytest.raises(IntegrityError), real.memory_path("model/array", purpose="evaluate"):
        pytest.fail("a damaged member was given out")


def test_what_is_not_there(real, sealed, monkeypatch):  # noqa: F811
    with pytest.raises(NotFound), real.memory_path("model/array", member="other", purpose="evaluate"):
        pass
    monkeypatch.delattr(os, "memfd_create")
    with pytest.raises(Unsupported), real.memory_path("model/array", purpose="evaluate"):
        pass


@pytest.mark.parametrize("members", [("a", "a/b"), ("a/b", "a")], ids=["file first", "folder first"])
def test_members_that_no_folder_can_hold(real, members):  # noqa: F811
    with begin(real.session, Terms(name="dataset/odd", data_class="internal")) as draft:
        for member in members:
            writer = draft.add_member(member)
            writer.write(b"content")
            writer.finish()
        draft.publish()
    with pytest.raises(StorageError, match="cannot stand in a folder"), real.memory_path("dataset/odd", purpose="prepare"):
        pass
    with real.memory_path("dataset/odd", member="a/b", purpose="prepare") as path:
        assert path.read_bytes() == b"content"
