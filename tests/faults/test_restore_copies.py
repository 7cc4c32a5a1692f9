"""What can happen to a backup place: away, full, read-only, cut short, changed byte by byte, put back to an older state."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from hermetic import steps
from hermetic.crypto.secret import Secret
from hermetic.domain.backup import Copies, Index, Placed
from hermetic.domain.home import Home
from hermetic.domain.recovering import recover
from hermetic.domain.restore import restore_domain
from hermetic.errors import FormatError, HermeticError, IntegrityError, NotFound, UsageError
from hermetic.formats.messages.backup import TakeBackup
from hermetic.formats.messages.domain import GatherFacts
from hermetic.ids import DataClass
from hermetic.stores.local import LocalStore
from hermetic.stores.memory import MemoryStore
from tests import world as w


@pytest.fixture(autouse=True)
def no_hook():
    yield
    steps.install(None)


@pytest.fixture
def world(tmp_path):
    made = w.World.make(tmp_path / "world", backup=True)
    yield made
    made.close()


def given(*_):
    return Secret(w.PASSPHRASE)


def place(world):
    return world.backup / world.domain


def names(world, prefix):
    return sorted(path.name for path in place(world).iterdir() if path.name.startswith(prefix))


def restore(world, tmp_path, name="second", **more):
    base = tmp_path / name
    base.mkdir(mode=0o700)
    return restore_domain(
        world.backup, Home(base / "data", base / "config"), world.project, given, provider_uri="local:insecure-file", **more
    )


def status(connection):
    return {pair.name: pair.value for pair in connection.ask(GatherFacts()).backup}


def can_mount():
    return os.geteuid() == 0 and subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode == 0


@pytest.fixture
def mounted(world):
    """The backup place as a file system of its own; a function mounts it again with other options."""
    if not can_mount():
        pytest.skip("mounting needs root")
    kept = world.root / "kept"
    world.backup.rename(kept)
    world.backup.mkdir()

    def mount(options):
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", world.backup], check=True)

    mount("size=4m,mode=0700")
    shutil.copytree(kept, world.backup, dirs_exist_ok=True)
    yield world.backup
    subprocess.run(["umount", "--lazy", world.backup], check=True)


# when the copy is made


def test_a_published_version_is_in_the_copy_when_the_answer_is_there(world, tmp_path):
    with world.connect() as connection:
        before = status(connection)["log_size"]
        w.seal(connection)
        assert int(status(connection)["log_size"]) > int(before)
        assert restore(world, tmp_path).versions == 1


def test_a_later_copy_holds_what_has_changed(world):
    with world.connect() as connection:
        for number in range(10):
            w.seal(connection, f"dataset/n{number}", DataClass.INTERNAL)
        before = recover(world.backup, world.domain, given()).index
        w.seal(connection, "dataset/more", DataClass.INTERNAL)
    after = recover(world.backup, world.domain, given()).index
    known = {item.name for item in before.chunks}
    assert any(item.name in known and item.pack < after.number for item in after.chunks)
    assert all(item.pack == after.number for item in after.chunks if item.name not in known)
    assert len(names(world, "index-")) == 2


def test_many_copies_are_tidied(world):
    with world.connect() as connection:
        for _ in range(60):
            connection.ask(TakeBackup())
            w.begin(connection, "dataset/x", DataClass.INTERNAL)
        assert connection.ask(TakeBackup()).problem is None
    assert len(names(world, "index-")) == 2
    assert len(names(world, "pack-")) <= 50


# places that do not work


def test_a_place_that_is_away_stops_no_work(world):
    with world.connect() as connection:
        connection.ask(TakeBackup())
        away = world.root / "away"
        world.backup.rename(away)
        _, published = w.seal(connection)
        assert published.number == 1
        assert "no longer holds" in status(connection)["problem"]
        assert not world.backup.exists()
        world.backup.mkdir()  # an empty mount point
        w.seal(connection)
        assert list(world.backup.iterdir()) == []
        world.backup.rmdir()
        away.rename(world.backup)
        state = connection.ask(TakeBackup())
        assert state.problem is None
        assert state.last_ms is not None


def test_a_full_place_stops_no_work_and_ruins_no_copy(world, mounted, tmp_path):
    with world.connect() as connection:
        w.seal(connection)
        ballast = mounted / "ballast"
        with ballast.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
            while True:
                file.write(bytes(4096))
        before = names(world, "index-")
        assert w.seal(connection)[1].number == 2
        assert "no space" in status(connection)["problem"]
        assert names(world, "index-") == before
        assert not list(mounted.rglob(".hermetic-tmp-*"))
        assert restore(world, tmp_path).versions == 1
        ballast.unlink()
        assert connection.ask(TakeBackup()).problem is None
    assert restore(world, tmp_path, "third").versions == 2


def test_a_read_only_place_stops_no_work(world, mounted):
    with world.connect() as connection:
        subprocess.run(["mount", "-o", "remount,ro", mounted], check=True)
        assert w.seal(connection)[1].number == 1
        assert "read-only" in status(connection)["problem"]
        subprocess.run(["mount", "-o", "remount,rw", mounted], check=True)
        assert connection.ask(TakeBackup()).problem is None


def test_without_a_place_one_is_told(tmp_path):
    made = w.World.make(tmp_path / "world")
    with made.connect() as connection, pytest.raises(UsageError):
        connection.ask(TakeBackup())
    made.close()


# copies cut short


@pytest.mark.parametrize("step", ["backup.pack.written", "backup.index.written"])
def test_killed_while_copying(world, tmp_path, step):
    code = f"""
import os, signal, sys
from pathlib import Path
from hermetic import steps
from hermetic.ids import DataClass
from tests import world as w
world = w.World(Path(sys.argv[1]))
connection = world.connect()
steps.install(lambda name: os.kill(os.getpid(), signal.SIGKILL) if name == {step!r} else None)
w.seal(connection)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code, str(world.root)], env=environment, check=False, capture_output=True)
    assert done.returncode == -9, done.stderr
    versions = 0 if step == "backup.pack.written" else 1
    assert restore(world, tmp_path).versions == versions
    with world.connect() as connection:
        w.seal(connection)
        assert connection.ask(TakeBackup()).problem is None
    assert restore(world, tmp_path, "third").versions == 2


def test_several_processes_publish_at_once(world, tmp_path):
    code = """
import sys
from pathlib import Path
from hermetic.ids import DataClass
from tests import world as w
world = w.World(Path(sys.argv[1]))
with world.connect() as connection:
    for number in range(5):
        w.seal(connection, f"dataset/{sys.argv[2]}{number}", DataClass.INTERNAL)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(world.root), name], env=environment, stderr=subprocess.PIPE) for name in "ab"
    ]
    ends = [process.communicate(timeout=300)[1] for process in running]
    assert [process.returncode for process in running] == [0, 0], ends
    assert restore(world, tmp_path).versions == 10
    with world.connect() as connection:
        assert status(connection)["problem"] == ""


# copies that were changed


def flip(path, at):
    raw = bytearray(path.read_bytes())
    raw[at] ^= 1
    path.chmod(0o600)
    path.write_bytes(raw)


def used_part(world):
    """(pack, offset) inside every pack that the newest index needs."""
    index = recover(world.backup, world.domain, given()).index
    return {f"pack-{item.pack:012d}": item.offset + item.length // 2 for item in index.chunks}


def test_a_flipped_byte_anywhere_is_refused(world, tmp_path):
    with world.connect() as connection:
        w.seal(connection)
        w.seal(connection)
    parts = used_part(world)
    newest = names(world, "index-")[-1]
    targets = list(parts.items())
    for name in (newest, "domain.json", *names(world, "recovery-")):
        size = (place(world) / name).stat().st_size
        targets += [(name, at) for at in (0, size // 3, size // 2, size - 2)]
    for number, (name, at) in enumerate(targets):
        path = place(world) / name
        kept = path.read_bytes()
        flip(path, at)
        with pytest.raises(HermeticError) as refused:
            restore(world, tmp_path, f"home{number}")
        assert refused.value.exit_code == 4, (name, at, refused.value)
        path.write_bytes(kept)
    assert restore(world, tmp_path, "good").versions == 2


@pytest.mark.parametrize("change", ["cut", "gone", "longer"])
def test_a_pack_that_is_not_whole_is_refused(world, tmp_path, change):
    with world.connect() as connection:
        w.seal(connection)
    path = place(world) / next(iter(used_part(world)))
    if change == "gone":
        path.unlink()
    elif change == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    else:
        path.write_bytes(path.read_bytes() + b"x")
        assert restore(world, tmp_path).versions == 1
        return
    with pytest.raises(IntegrityError):
        restore(world, tmp_path)


def test_a_damaged_newest_index_is_passed_over_only_with_a_reason(world, tmp_path):
    with world.connect() as connection:
        w.seal(connection)
        w.seal(connection)
    older, newest = names(world, "index-")
    flip(place(world) / newest, 100)
    with pytest.raises(IntegrityError) as refused:
        restore(world, tmp_path)
    assert "--reason" in refused.value.hint
    done = restore(world, tmp_path, "third", reason="the last index was damaged")
    assert done.versions == 1
    flip(place(world) / older, 100)
    with pytest.raises(IntegrityError):
        restore(world, tmp_path, "fourth", reason="still")


def test_the_next_copy_builds_on_nothing_that_is_damaged(world, tmp_path):
    with world.connect() as connection:
        w.seal(connection)
    flip(place(world) / names(world, "index-")[-1], 100)
    with world.connect() as connection:
        assert connection.ask(TakeBackup()).problem is None
    assert restore(world, tmp_path).versions == 1


def test_the_next_copy_writes_again_what_was_taken_away(world, tmp_path):
    with world.connect() as connection:
        w.seal(connection)
        for name in names(world, "pack-"):
            (place(world) / name).unlink()
        w.seal(connection)
        assert connection.ask(TakeBackup()).problem is None
    assert restore(world, tmp_path).versions == 2


def test_an_index_under_another_number_is_refused(world, tmp_path):
    with world.connect() as connection:
        w.seal(connection)
        w.seal(connection)
    older, newest = names(world, "index-")
    shutil.copy(place(world) / older, place(world) / newest)
    with pytest.raises(IntegrityError):
        restore(world, tmp_path)


def test_an_older_index_put_back_is_noticed(world, tmp_path):
    kept = tmp_path / "kept"
    shutil.copytree(world.backup, kept)
    with world.connect() as connection:
        w.seal(connection)
    shutil.rmtree(world.backup)
    shutil.copytree(kept, world.backup)
    shutil.rmtree(world.data)
    with pytest.raises(HermeticError) as refused:
        restore_domain(world.backup, world.home, world.project, given, provider_uri="local:insecure-file")
    assert refused.value.exit_code == 4


def test_a_number_that_is_impossible_is_a_problem(world):
    with world.connect() as connection:
        (place(world) / "index-999999999999").write_bytes(b"x")
        assert "impossible number" in connection.ask(TakeBackup()).problem
        (place(world) / "index-999999999999").unlink()
        assert connection.ask(TakeBackup()).problem is None


def test_strange_files_are_left_alone(world, tmp_path):
    for name in ("index-1", "pack-x", "notes.txt", "index-000000000001.bak"):
        (place(world) / name).write_bytes(b"mine")
    with world.connect() as connection:
        w.seal(connection)
    assert restore(world, tmp_path).versions == 1
    assert (place(world) / "notes.txt").read_bytes() == b"mine"


# the format by itself


KEY = Secret(b"k" * 32)
FACTS = {"generation": 1, "log_size": 3, "log_root": bytes(32), "at_ms": 1}


def test_equal_chunks_are_stored_once():
    store = MemoryStore()
    copies = Copies(store, KEY)
    index = copies.write(bytes(32 * 1024 * 10) + b"tail", **FACTS)
    assert len(index.chunks) == 11
    assert len({item.name for item in index.chunks}) == 2
    assert copies.fetch(index) == bytes(32 * 1024 * 10) + b"tail"


def test_another_key_opens_nothing():
    store = MemoryStore()
    Copies(store, KEY).write(b"database", **FACTS)
    with pytest.raises(IntegrityError):
        Copies(store, Secret(b"o" * 32)).newest()


def test_an_empty_place():
    with pytest.raises(NotFound):
        Copies(MemoryStore(), KEY).newest()
    assert Copies(MemoryStore(), KEY).known() is None


def test_indexes_come_back_as_they_went():
    index = Index(3, 1, 7, bytes(range(32)), 5, (Placed(b"n" * 16, 2, 0, 60), Placed(b"m" * 16, 3, 60, 60)))
    assert Index.from_bytes(index.to_bytes()) == index
    raw = index.to_bytes()
    for bad in (b"", raw[:3], raw[:-1], raw + b"x", raw[:4] + b"x" + raw[5:], raw[:-36]):
        with pytest.raises(FormatError):
            Index.from_bytes(bad)


def test_a_chunk_that_claims_to_be_too_long(tmp_path):
    store = LocalStore(tmp_path)
    copies = Copies(store, KEY)
    index = copies.write(b"database", **FACTS)
    item = index.chunks[0]
    bad = Index(index.number, 1, 3, bytes(32), 1, (Placed(item.name, item.pack, item.offset, 1 << 30),))
    with pytest.raises(IntegrityError):
        copies.fetch(bad)
