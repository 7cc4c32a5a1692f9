"""Many writers at once lose nothing; a writer killed at any moment leaves a whole database."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
from typing import TYPE_CHECKING

import pytest

from hermetic.crypto.secret import Secret
from hermetic.db import tables
from hermetic.db.columns import RowKeys
from hermetic.db.engine import Database
from hermetic.errors import Conflict

if TYPE_CHECKING:
    from pathlib import Path

PRELUDE = """
import os, signal, sys
from pathlib import Path
from hermetic import steps
from hermetic.crypto.secret import Secret
from hermetic.db import tables
from hermetic.db.columns import RowKeys
from hermetic.db.engine import Database

path, arguments = Path(sys.argv[1]), sys.argv[2:]
keys = RowKeys(Secret(b"m" * 32), Secret(b"c" * 32), Secret(b"l" * 32))
database = Database.open(path, timeout_s=60)

def count(session, name):
    row = session.require(tables.setting, "counter")
    session.update(tables.setting, "counter", row["revision"], value=row["value"] + 1)
    session.insert(tables.setting, key=name, value=row["value"])
"""


@pytest.fixture
def keys() -> RowKeys:
    return RowKeys(Secret(b"m" * 32), Secret(b"c" * 32), Secret(b"l" * 32))


@pytest.fixture
def path(tmp_path: Path, keys: RowKeys) -> Path:
    where = tmp_path / "home" / "custody.db"
    with Database.create(where).write(keys) as session:
        session.insert(tables.setting, key="counter", value=0)
    return where


def run(path, code, *arguments):
    script = PRELUDE + textwrap.dedent(code)
    return subprocess.Popen(
        [sys.executable, "-c", script, str(path), *arguments], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def finish(process):
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out


def counted(path, keys):
    """Check that the counter and the rows agree, and return the count."""
    with Database.open(path).read(keys) as session:
        rows = {row["key"]: row["value"] for row in session.find(tables.setting)}
    counter = rows.pop("counter")
    assert sorted(rows.values()) == list(range(counter))
    return counter


def test_writers_in_many_processes_and_threads_lose_nothing(path, keys):
    code = """
    import threading

    def work(thread):
        for n in range(50):
            with database.write(keys) as session:
                count(session, f"{arguments[0]}-{thread}-{n}")
            with database.read(keys) as session:
                session.find(tables.setting)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(2)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    """
    writers = [run(path, code, str(n)) for n in range(4)]
    for writer in writers:
        finish(writer)
    assert counted(path, keys) == 4 * 2 * 50


def test_readers_see_whole_transactions_while_others_write(path, keys):
    writer = run(path, "for n in range(300):\n    with database.write(keys) as session: count(session, str(n))")
    reader = Database.open(path)
    seen = []
    while writer.poll() is None:
        with reader.read(keys) as session:
            rows = {row["key"]: row["value"] for row in session.find(tables.setting)}
        assert len(rows) == rows["counter"] + 1
        seen.append(rows["counter"])
    finish(writer)
    assert counted(path, keys) == 300
    assert seen == sorted(seen)


@pytest.mark.parametrize(("moment", "expected"), [("test.count.before", 3), ("test.count", 4)])
def test_a_writer_killed_around_the_commit(moment, expected, path, keys):
    code = """
    for n in range(3):
        with database.write(keys) as session: count(session, str(n))
    steps.install(lambda name: name == arguments[0] and os.kill(os.getpid(), signal.SIGKILL))
    with database.write(keys, step="test.count") as session: count(session, "last")
    """
    writer = run(path, code, moment)
    writer.communicate(timeout=60)
    assert writer.returncode == -signal.SIGKILL
    assert counted(path, keys) == expected
    with Database.open(path).write(keys) as session:
        session.insert(tables.setting, key=f"{expected}", value=expected)
        row = session.require(tables.setting, "counter")
        session.update(tables.setting, "counter", row["revision"], value=expected + 1)
    assert counted(path, keys) == expected + 1


def test_a_writer_killed_at_any_moment_leaves_what_it_said_was_committed(path, keys):
    chance = random.Random(5)
    code = """
    start = int(arguments[0])
    for n in range(start, start + 100_000):
        with database.write(keys) as session: count(session, str(n))
        print(n, flush=True)
    """
    done = 0
    for _ in range(6):
        writer = run(path, code, str(done))
        lines = 0
        for _ in range(chance.randrange(5, 60)):
            lines += bool(writer.stdout.readline())
        writer.kill()
        rest = writer.stdout.read()
        writer.wait()
        writer.stderr.close()
        writer.stdout.close()
        said = lines + rest.count("\n")
        found = counted(path, keys)
        assert done + said <= found <= done + said + 1, "everything said is there; at most the one being said is there too"
        done = found
    with Database.open(path).read(None) as session:
        assert session.connection.exec_driver_sql("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_writer_killed_while_it_checkpoints(path, keys):
    code = """
    with database.write(keys) as session: count(session, "0")
    database.close()
    steps.install(lambda name: os.kill(os.getpid(), signal.SIGKILL))
    database.checkpoint_truncate()
    """
    run(path, code).communicate(timeout=60)
    assert counted(path, keys) == 1


def test_create_killed_before_its_end_leaves_no_database(tmp_path):
    where = tmp_path / "home" / "custody.db"
    code = textwrap.dedent("""
        import os, signal, sys
        from pathlib import Path
        from hermetic.db import files
        from hermetic.db.engine import Database
        files.sync = lambda path: os.kill(os.getpid(), signal.SIGKILL)
        Database.create(Path(sys.argv[1]))
    """)
    assert subprocess.run([sys.executable, "-c", code, str(where)], check=False).returncode == -signal.SIGKILL
    assert not where.exists()
    Database.create(where)
    assert {file.name for file in where.parent.iterdir()} <= {"custody.db", "custody.db-wal", "custody.db-shm", "custody.db.lock"}


def test_two_creators_make_one_database(tmp_path):
    where = tmp_path / "home" / "custody.db"
    made, refused = [], []

    def create():
        try:
            made.append(Database.create(where))
        except Conflict as error:
            refused.append(error)

    threads = [threading.Thread(target=create) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(made), len(refused)) == (1, 2)


def test_a_writer_that_is_stopped_makes_others_give_up_in_time(path, keys):
    code = """
    with database.write(keys) as session:
        count(session, "0")
        print("inside", flush=True)
        os.kill(os.getpid(), signal.SIGSTOP)
    """
    writer = run(path, code)
    assert writer.stdout.readline() == "inside\n"
    os.waitid(os.P_PID, writer.pid, os.WSTOPPED | os.WNOWAIT)
    impatient = Database.open(path, timeout_s=0.1)
    for _ in range(2):
        with pytest.raises(Conflict, match="in use") as caught, impatient.write(keys):
            pass
        assert "stopped" in caught.value.hint
    with impatient.read(keys) as session:
        assert session.require(tables.setting, "counter")["value"] == 0, "readers never wait"
    writer.send_signal(signal.SIGCONT)
    finish(writer)
    with Database.open(path, timeout_s=30).write(keys) as session:
        assert session.require(tables.setting, "counter")["value"] == 1


def test_a_foreign_program_that_holds_sqlites_lock_makes_it_a_conflict(path, keys):
    code = """
    raw = __import__("sqlite3").connect(path, isolation_level=None)
    raw.execute("BEGIN IMMEDIATE")
    print("inside", flush=True)
    sys.stdin.read()
    """
    holder = subprocess.Popen(
        [sys.executable, "-c", PRELUDE + textwrap.dedent(code), str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "inside\n"
    with pytest.raises(Conflict, match="in use"), Database.open(path, timeout_s=0.1).write(keys):
        pass
    holder.communicate("")
    with Database.open(path).write(keys) as session:
        session.insert(tables.setting, key="0", value=0)
