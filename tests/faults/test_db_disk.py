"""Full, small and read-only disks: StorageError, nothing half-written, and work goes on when there is space again."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import textwrap

import pytest

from hermetic.crypto.secret import Secret
from hermetic.db import tables
from hermetic.db.columns import RowKeys
from hermetic.db.engine import Database
from hermetic.errors import StorageError

SIZE = 4 * 1024 * 1024


def can_mount():
    if os.geteuid() != 0:
        return False
    probe = subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False)
    return probe.returncode == 0


@pytest.fixture
def keys():
    return RowKeys(Secret(b"m" * 32), Secret(b"c" * 32), Secret(b"l" * 32))


@pytest.fixture
def disk(tmp_path):
    """A file system of 4 MiB."""
    if not can_mount():
        pytest.skip("mounting a small file system needs root")
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=0700", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder):
    """Use up the space; return the file to delete for more."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        while True:
            file.write(bytes(4096))
    return ballast


def rows(database, keys):
    with database.read(keys) as session:
        return {row["key"]: len(row["value"]) for row in session.find(tables.setting)}


def put(database, keys, key, size):
    with database.write(keys) as session:
        session.insert(tables.setting, key=key, value="x" * size)


def test_a_full_disk_refuses_and_loses_nothing(disk, keys):
    database = Database.create(disk / "home" / "custody.db")
    put(database, keys, "before", 10)
    ballast = fill(disk)
    for n in range(3):
        with pytest.raises(StorageError, match="disk is full") as caught:
            put(database, keys, f"full-{n}", 200_000)
        assert caught.value.hint
    assert rows(database, keys) == {"before": 10}
    ballast.unlink()
    put(database, keys, "after", 200_000)
    assert rows(Database.open(disk / "home" / "custody.db"), keys) == {"after": 200_000, "before": 10}


def test_a_disk_that_fills_inside_a_transaction_undoes_all_of_it(disk, keys):
    database = Database.create(disk / "home" / "custody.db")
    put(database, keys, "before", 10)
    with pytest.raises(StorageError, match="full"), database.write(keys) as session:
        session.insert_many(tables.setting, ({"key": str(n), "value": "x" * 1000} for n in range(10_000)))
    assert rows(database, keys) == {"before": 10}
    put(database, keys, "after", 10)


def test_a_full_disk_at_creation_leaves_nothing(disk):
    (disk / "home").mkdir(mode=0o700)
    ballast = fill(disk)
    with pytest.raises(StorageError):
        Database.create(disk / "home" / "custody.db")
    assert not [file for file in (disk / "home").iterdir() if file.name != "custody.db.lock"]
    ballast.unlink()
    Database.create(disk / "home" / "custody.db")


def test_a_full_disk_at_restore_leaves_nothing(disk, keys):
    data = Database.create(disk / "home" / "custody.db").snapshot_bytes()
    ballast = fill(disk)
    with pytest.raises(StorageError):
        Database.from_snapshot(disk / "home" / "copy.db", data)
    assert not (disk / "home" / "copy.db").exists()
    ballast.unlink()
    Database.from_snapshot(disk / "home" / "copy.db", data)


def test_a_read_only_disk_is_a_storage_error(disk, keys):
    path = disk / "home" / "custody.db"
    database = Database.create(path)
    put(database, keys, "before", 10)
    database.close()
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    for call in (
        lambda: put(database, keys, "after", 10),
        lambda: put(Database.open(path), keys, "after", 10),
        lambda: Database.create(disk / "home" / "other.db"),
        lambda: Database.create(disk / "other" / "custody.db"),
        database.checkpoint_truncate,
    ):
        with pytest.raises(StorageError) as caught:
            call()
        assert caught.value.hint
    subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
    assert rows(database, keys) == {"before": 10}


def test_a_file_size_limit_is_a_storage_error(tmp_path, keys):
    """Without root: the kernel refuses to let the files grow (RLIMIT_FSIZE), in a process of its own."""
    path = tmp_path / "home" / "custody.db"
    put(Database.create(path), keys, "before", 10)
    code = textwrap.dedent("""
        import sys
        from pathlib import Path
        from hermetic.crypto.secret import Secret
        from hermetic.db import tables
        from hermetic.db.columns import RowKeys
        from hermetic.db.engine import Database
        from hermetic.errors import StorageError
        keys = RowKeys(Secret(b"m" * 32), Secret(b"c" * 32), Secret(b"l" * 32))
        database = Database.open(Path(sys.argv[1]))
        try:
            with database.write(keys) as session:
                session.insert(tables.setting, key="big", value="x" * 5_000_000)
        except StorageError as error:
            print(error.message)
        with database.write(keys) as session:
            session.insert(tables.setting, key="small", value="x" * 10)
    """)

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    done = subprocess.run([sys.executable, "-c", code, str(path)], preexec_fn=limit, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert rows(Database.open(path), keys) == {"before": 10, "small": 10}
