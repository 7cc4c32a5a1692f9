"""Odd inputs end in one clear refusal, before any key is asked for."""

from __future__ import annotations

import os
import socket
import unicodedata

import pytest

from hermetic.assets import inputs
from hermetic.errors import Conflict, InvalidName, NotFound, StorageError, UsageError


def test_one_file(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"12345")
    found = inputs.collect(path)
    assert not found.is_folder
    assert [(file.member, file.length) for file in found.files] == [("a.csv", 5)]


def test_a_folder_gives_every_file_in_order(tmp_path):
    for name in ("b/2.bin", "b/1.bin", "a.bin", ".hidden"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    found = inputs.collect(tmp_path / "in")
    assert found.is_folder
    assert [file.member for file in found.files] == [".hidden", "a.bin", "b/1.bin", "b/2.bin"]
    assert found.length == 4


def test_an_empty_file_is_fine_and_an_empty_folder_is_not(tmp_path):
    (tmp_path / "empty").touch()
    assert inputs.collect(tmp_path / "empty").length == 0
    (tmp_path / "folder" / "deep").mkdir(parents=True)
    with pytest.raises(UsageError, match="holds no files") as caught:
        inputs.collect(tmp_path / "folder")
    assert caught.value.hint


@pytest.mark.parametrize("inside", [False, True])
def test_what_is_no_file_is_refused_without_opening_it(tmp_path, inside):
    place = tmp_path / "in"
    place.mkdir()
    os.mkfifo(place / "pipe")
    with pytest.raises(UsageError, match="named pipe"):
        inputs.collect(place if inside else place / "pipe")


def test_sockets_and_devices_are_refused(tmp_path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        with pytest.raises(UsageError, match="socket"):
            inputs.collect(tmp_path / "s")
    with pytest.raises(UsageError, match="character device"):
        inputs.collect(type(tmp_path)("/dev/null"))


def test_links_are_not_followed(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "real").write_bytes(b"x")
    (tmp_path / "in" / "link").symlink_to("real")
    with pytest.raises(UsageError, match="symbolic link"):
        inputs.collect(tmp_path / "in" / "link")
    with pytest.raises(UsageError, match="symbolic link"):
        inputs.collect(tmp_path / "in")


def test_missing(tmp_path):
    with pytest.raises(NotFound):
        inputs.collect(tmp_path / "no")
    with pytest.raises(StorageError):
        inputs.collect(tmp_path / ("n" * 10_000))
    with pytest.raises(InvalidName):
        inputs.collect(tmp_path / "a\0b")


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[2Jb", "a\\b", "\u202egnp.exe"])
def test_names_that_could_deceive_are_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(InvalidName, match="cannot be a member") as caught:
        inputs.collect(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_names_that_are_not_utf8_are_refused(tmp_path):
    (tmp_path / os.fsdecode(b"\xff")).touch()
    with pytest.raises(InvalidName):
        inputs.collect(tmp_path)


def test_names_are_kept_in_one_unicode_form(tmp_path):
    name = unicodedata.normalize("NFD", "Zoë")
    (tmp_path / name).write_bytes(b"x")
    assert inputs.collect(tmp_path).files[0].member == "Zoë"
    (tmp_path / "Zoë").write_bytes(b"y")
    with pytest.raises(InvalidName, match="Unicode"):
        inputs.collect(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_unreadable(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"x")
    path.chmod(0)
    with pytest.raises(StorageError, match="permission denied"):
        inputs.collect(path)


def test_the_stores_own_folder_is_never_sealed(tmp_path):
    store = tmp_path / "project" / "sealed"
    (store / "v").mkdir(parents=True)
    (store / "v" / "0.sealed").write_bytes(b"x")
    (tmp_path / "alias").symlink_to(store)
    for source in (store, store / "v" / "0.sealed", tmp_path / "project", tmp_path / "alias" / "v"):
        with pytest.raises(UsageError, match="Hermetic keeps"):
            inputs.collect(source, closed=[store])


def test_a_file_swapped_after_the_look_is_not_opened(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"x")
    looked = inputs.collect(path).files[0]
    other = tmp_path / "b"
    other.write_bytes(b"secret")
    other.replace(path)
    with pytest.raises(Conflict, match="replaced"):
        inputs.open_input(looked)
    path.unlink()
    path.symlink_to(other)
    with pytest.raises(StorageError):
        inputs.open_input(looked)


def test_too_many_files(tmp_path, monkeypatch):
    monkeypatch.setattr(inputs, "MEMBERS_LIMIT", 2)
    for name in "abc":
        (tmp_path / name).touch()
    with pytest.raises(UsageError, match="over the limit of 2"):
        inputs.collect(tmp_path)
