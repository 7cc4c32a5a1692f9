import os
import stat

import pytest

from hermetic import steps
from hermetic.crypto.secret import Secret
from hermetic.errors import Conflict, IntegrityError, NotFound, StorageError, UsageError
from hermetic.providers import passphrase, private_file


def test_modes_and_round_trip(tmp_path):
    path = tmp_path / "f"
    old = os.umask(0)
    try:
        private_file.write(path, b"data", replace=False)
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert private_file.read(path, 4) == b"data"
    assert [one.name for one in tmp_path.iterdir()] == ["f"]


def test_never_replaced_unless_asked(tmp_path):
    path = tmp_path / "f"
    private_file.write(path, b"one", replace=False)
    with pytest.raises(Conflict):
        private_file.write(path, b"two", replace=False)
    assert path.read_bytes() == b"one"
    private_file.write(path, b"three", replace=True)
    assert path.read_bytes() == b"three"
    assert [one.name for one in tmp_path.iterdir()] == ["f"]


@pytest.mark.parametrize("replace", [False, True])
def test_a_failure_at_any_step_leaves_old_or_new_and_no_rest(tmp_path, replace):
    path = tmp_path / "f"
    if replace:
        private_file.write(path, b"old", replace=False)
    seen = []

    def fail(name):
        seen.append(name)
        if name == "providers.file.synced":
            raise OSError(28, "No space left on device")

    steps.install(fail)
    try:
        with pytest.raises(StorageError, match="No space left"):
            private_file.write(path, b"new", replace=replace)
    finally:
        steps.install(None)
    assert [one.name for one in tmp_path.iterdir()] == (["f"] if replace else [])
    assert not replace or path.read_bytes() == b"old"
    steps.install(seen.append)
    try:
        private_file.write(path, b"new", replace=replace)
    finally:
        steps.install(None)
    assert seen[-2:] == ["providers.file.synced", "providers.file.named"]


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o660, 0o602, 0o777])
def test_files_open_to_others_are_refused(tmp_path, mode):
    path = tmp_path / "f"
    path.write_bytes(b"x")
    path.chmod(mode)
    with pytest.raises(IntegrityError, match="open to other users") as caught:
        private_file.read(path, 10)
    assert "chmod 600" in caught.value.hint


def test_files_of_others_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "f"
    private_file.write(path, b"x", replace=False)
    if os.geteuid() == 0:
        os.chown(path, 12345, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(IntegrityError, match="another user"):
        private_file.read(path, 10)


def test_what_is_no_file(tmp_path):
    private_file.write(tmp_path / "f", b"x", replace=False)
    (tmp_path / "link").symlink_to(tmp_path / "f")
    os.mkfifo(tmp_path / "pipe", 0o600)
    (tmp_path / "folder").mkdir()
    with pytest.raises(IntegrityError, match="symbolic link"):
        private_file.read(tmp_path / "link", 10)
    for name in ("pipe", "folder"):
        with pytest.raises(IntegrityError, match="not a regular file"):
            private_file.read(tmp_path / name, 10)
    with pytest.raises(NotFound):
        private_file.read(tmp_path / "none", 10)
    with pytest.raises(IntegrityError, match="more than"):
        private_file.read(tmp_path / "f", 0)


@pytest.mark.parametrize("at", ["providers.file.aside", "providers.file.overwritten"])
def test_a_wipe_that_is_cut_leaves_no_half_of_a_file_in_its_place(tmp_path, monkeypatch, at):
    path = tmp_path / "f"
    private_file.write(path, b"secret" * 10, replace=False)

    def cut(step):
        if step == at:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(private_file, "reached", cut)
        private_file.wipe(path)
    assert not path.exists()
    assert len(list(tmp_path.iterdir())) == 1
    assert private_file.wipe_leftovers(path) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_was_cut_off_before_it_lost_its_temporary_name_is_not_wiped(tmp_path, monkeypatch):
    """Both names are one file: a private key in use, or a root, would be overwritten under its own name."""
    path = tmp_path / "f"

    def cut(self, *_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(type(path), "unlink", cut)
        private_file.write(path, b"secret", replace=False)
    monkeypatch.undo()
    assert len(list(tmp_path.iterdir())) == 2
    (other := tmp_path / ".f.0123456789abcdef").write_bytes(b"an older one")
    other.chmod(0o600)
    assert private_file.wipe_leftovers(path) == 2
    assert list(tmp_path.iterdir()) == [path]
    assert private_file.read(path, 10) == b"secret"


def test_only_a_file_of_ours_is_wiped(tmp_path):
    (tmp_path / "f").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "f")
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(IntegrityError, match="symbolic link"):
        private_file.wipe(tmp_path / "link")
    with pytest.raises((IntegrityError, StorageError)):
        private_file.wipe(tmp_path / "pipe")
    assert {path.name for path in tmp_path.iterdir()} == {"f", "link", "pipe"}
    assert (tmp_path / "f").read_bytes() == b"x"


def test_missing_folder(tmp_path):
    with pytest.raises(NotFound):
        private_file.write(tmp_path / "none" / "f", b"x", replace=True)


@pytest.mark.parametrize("content", [b"a long passphrase", b"a long passphrase\n", b"a long passphrase\r\n"])
def test_passphrase_from_a_file(tmp_path, content):
    path = tmp_path / "p"
    private_file.write(path, content, replace=False)
    assert passphrase.from_file(path)().same_as(Secret(b"a long passphrase"))


@pytest.mark.parametrize("content", [b"", b"\n", b"two\nlines", b"\n\n"])
def test_passphrase_files_that_are_refused(tmp_path, content):
    path = tmp_path / "p"
    private_file.write(path, content, replace=False)
    with pytest.raises(UsageError, match="one line"):
        passphrase.from_file(path)()


def test_passphrase_file_open_to_others(tmp_path):
    path = tmp_path / "p"
    path.write_bytes(b"a long passphrase")
    path.chmod(0o644)
    with pytest.raises(IntegrityError):
        passphrase.from_file(path)()
