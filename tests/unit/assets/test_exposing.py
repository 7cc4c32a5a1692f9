"""Plaintext leaves on purpose only: on record, all or nothing, never over another file."""

from __future__ import annotations

import errno
import os
import stat

import pytest

from hermetic import steps
from hermetic.assets import exposing
from hermetic.errors import Conflict, HermeticError, IntegrityError, NotFound, PolicyDenied, StorageError, UsageError
from hermetic.formats.messages import versions

DATA = os.urandom(3_000_000)


@pytest.fixture
def sealed(h):
    return h.seal(DATA, name="dataset/a")


@pytest.fixture(params=["unnamed", "named"])
def way(request, monkeypatch):
    """Both kinds of file systems: with O_TMPFILE and without."""
    if request.param == "named":
        original = os.open

        def without(path, flags, *rest, **more):
            if flags & os.O_TMPFILE == os.O_TMPFILE:
                raise OSError(errno.EOPNOTSUPP, "no such thing")
            return original(path, flags, *rest, **more)

        monkeypatch.setattr(os, "open", without)
    return request.param


def test_exposing_and_ending(h, sealed, tmp_path, way):
    target = tmp_path / "out.bin"
    row = h.expose("dataset/a", target, seconds=60)
    assert target.read_bytes() == DATA
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert row.path == str(target)
    assert [item.path for item in h.exposures()] == [str(target)]
    assert h.end_exposure(target).ended_ms
    assert not target.exists()
    assert h.exposures() == ()
    assert len(h.exposures(ended=True)) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["project"]


def test_the_record_comes_before_any_byte(h, sealed, tmp_path, port):
    port.fail[versions.OpenVersions] = PolicyDenied("no")
    with pytest.raises(PolicyDenied):
        h.expose("dataset/a", tmp_path / "out", seconds=60)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["project"]


def test_nothing_is_overwritten(h, sealed, tmp_path, port):
    target = tmp_path / "out"
    target.write_bytes(b"mine")
    with pytest.raises(Conflict, match="exists"):
        h.expose("dataset/a", target, seconds=60)
    (tmp_path / "dangling").symlink_to("nowhere")
    with pytest.raises(Conflict):
        h.expose("dataset/a", tmp_path / "dangling", seconds=60)
    assert port.count(versions.OpenVersions) == 0
    assert target.read_bytes() == b"mine"


def test_a_file_that_appears_meanwhile_is_not_overwritten(h, sealed, tmp_path, way):
    target = tmp_path / "out"
    steps.install(lambda step: target.write_bytes(b"mine") if step == "expose.file.verified" else None)
    try:
        with pytest.raises(Conflict):
            h.expose("dataset/a", target, seconds=60)
    finally:
        steps.install(None)
    assert target.read_bytes() == b"mine"
    assert h.exposures() == ()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "project"]


def test_damage_leaves_no_file_and_no_open_exposure(h, sealed, tmp_path, store, way):
    path = store.root / sealed.version / "0.sealed"
    raw = bytearray(path.read_bytes())
    raw[2_000_000] ^= 1
    path.write_bytes(raw)
    with pytest.raises(IntegrityError):
        h.expose("dataset/a", tmp_path / "out", seconds=60)
    assert not (tmp_path / "out").exists()
    assert h.exposures() == ()


@pytest.mark.parametrize(
    ("target", "error"),
    [("no/out", NotFound), ("project/sealed/out", HermeticError), ("home/data/out", HermeticError), ("..", UsageError)],
)
def test_targets_that_are_refused(h, sealed, tmp_path, target, error):
    (tmp_path / "home" / "data").mkdir(parents=True)
    with pytest.raises(error):
        h.expose("dataset/a", tmp_path / target, seconds=60)


@pytest.mark.parametrize("seconds", [0, -1, 10**10])
def test_time_is_bounded(h, sealed, tmp_path, seconds):
    with pytest.raises(UsageError):
        h.expose("dataset/a", tmp_path / "out", seconds=seconds)


def test_ending_what_is_gone_or_never_was(h, sealed, tmp_path):
    h.expose("dataset/a", tmp_path / "out", seconds=60)
    (tmp_path / "out").unlink()
    h.end_exposure(tmp_path / "out")
    with pytest.raises(NotFound):
        h.end_exposure(tmp_path / "out")
    (tmp_path / "mine").write_bytes(b"x")
    with pytest.raises(NotFound):
        h.end_exposure(tmp_path / "mine")
    assert (tmp_path / "mine").exists()


def test_ending_removes_what_a_crash_left_under_a_temporary_name(h, sealed, tmp_path):
    row = h.expose("dataset/a", tmp_path / "out", seconds=60)
    left = tmp_path / f"{exposing.TEMPORARY}{row.id}"
    (tmp_path / "out").rename(left)
    h.end_exposure(tmp_path / "out")
    assert not left.exists()


def test_ending_does_not_remove_another_kind_of_file(h, sealed, tmp_path):
    h.expose("dataset/a", tmp_path / "out", seconds=60)
    (tmp_path / "out").unlink()
    (tmp_path / "out").symlink_to(tmp_path / "project")
    with pytest.raises(Conflict):
        h.end_exposure(tmp_path / "out")


def test_cat_to_a_pipe(h, tmp_path):
    h.seal(b"hello", name="dataset/small")
    out, into = os.pipe()
    assert h.cat("dataset/small", into) == 5
    os.close(into)
    assert os.read(out, 100) == b"hello"
    os.close(out)


def test_cat_to_a_file_is_refused_before_a_key_is_asked_for(h, sealed, tmp_path, port):
    with (tmp_path / "out").open("wb") as file, pytest.raises(UsageError, match="plaintext on disk"):
        h.cat("dataset/a", file.fileno())
    assert port.count(versions.OpenVersions) == 0


def test_cat_gives_a_verified_prefix(h, tmp_path, store):
    sealed = h.seal(bytes(9_000_000), name="dataset/zeros")
    path = store.root / sealed.version / "0.sealed"
    raw = bytearray(path.read_bytes())
    raw[8_500_000] ^= 1
    path.write_bytes(raw)
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(into)
        got = b""
        while piece := os.read(out, 1 << 20):
            got += piece
        os._exit(0 if got == bytes(8 * 1024 * 1024) else 1)
    os.close(out)
    with pytest.raises(IntegrityError) as caught:
        h.cat("dataset/zeros", into)
    os.close(into)
    assert caught.value.exit_code == 4
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_nobody_reads(h, sealed):
    out, into = os.pipe()
    os.close(out)
    with pytest.raises(BrokenPipeError):
        h.cat("dataset/a", into)
    os.close(into)


def test_a_full_disk(h, sealed, tmp_path, monkeypatch, way):
    monkeypatch.setattr(os, "pwrite", lambda *rest: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(StorageError):
        h.expose("dataset/a", tmp_path / "out", seconds=60)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["project"]
    assert h.exposures() == ()
