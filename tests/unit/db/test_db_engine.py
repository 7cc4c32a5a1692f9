"""Opening only where it is safe; transactions; snapshots; settings read back."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from hermetic import steps
from hermetic.db import filesystems, forks, link, tables
from hermetic.db.engine import Database
from hermetic.db.schema import dialect_statements
from hermetic.errors import Conflict, Denied, IntegrityError, NotFound, StorageError, Unsupported, UsageError


def put(session, key="a", value="1"):
    session.insert(tables.backup_state, key=key, value=value)


def kept(database):
    with database.read(None) as session:
        return {row["key"]: row["value"] for row in session.find(tables.backup_state)}


@pytest.fixture
def reached():
    names = []
    steps.install(names.append)
    yield names
    steps.install(None)


# creating and opening


def test_create_makes_private_files(path, reached):
    old = os.umask(0)
    try:
        database = Database.create(path)
        with database.write(None) as session:
            put(session)
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}
    assert {file.name for file in path.parent.iterdir()} == {"custody.db", "custody.db-wal", "custody.db-shm", "custody.db.lock"}
    assert reached == ["db.create.renamed", "db.commit.before", "db.commit"]


def test_create_refuses_what_exists(database, path):
    with pytest.raises(Conflict, match="exists already"):
        Database.create(path)
    path.unlink()
    path.symlink_to("elsewhere")
    with pytest.raises(Conflict):
        Database.create(path)


def test_create_leaves_nothing_when_it_fails(path, monkeypatch):
    from hermetic.db import migrate

    def fail(raw):
        raise StorageError("the disk is full")

    monkeypatch.setattr(migrate, "bring_up", fail)
    with pytest.raises(StorageError):
        Database.create(path)
    assert [file.name for file in path.parent.iterdir()] == ["custody.db.lock"]


def test_create_removes_what_a_killed_one_left(path):
    path.parent.mkdir(mode=0o700)
    left = path.with_name(".custody.db.0123456789abcdef-wal")
    left.touch()
    Database.create(path)
    assert not left.exists()


def test_missing_is_not_found(path):
    with pytest.raises(NotFound, match="folder of the database does not exist"):
        Database.open(path)
    path.parent.mkdir(mode=0o700)
    with pytest.raises(NotFound, match="the database does not exist"):
        Database.open(path)
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("mode", [0o020, 0o002, 0o022])
def test_files_that_others_can_write_are_denied(mode, database, path):
    with database.write(None) as session:
        put(session)
    for file in (path.parent, *path.parent.iterdir()):
        before = file.stat().st_mode
        file.chmod(before | mode)
        with pytest.raises(Denied, match="can be written by other users"):
            Database.open(path)
        file.chmod(before)
    assert kept(Database.open(path)) == {"a": "1"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_files_of_others_are_denied(database, path):
    with database.write(None) as session:
        put(session)
    for file in (path.parent, *path.parent.iterdir()):
        os.chown(file, 12345, -1)
        with pytest.raises(Denied, match="belongs to another user"):
            Database.open(path)
        os.chown(file, 0, -1)
    Database.open(path)


def test_links_in_place_of_files_are_denied(database, path):
    database.close()
    for name in ("custody.db", "custody.db-wal", "custody.db.lock"):
        file = path.with_name(name)
        moved = path.with_name("moved")
        file.rename(moved) if file.exists() else moved.touch(0o600)
        file.symlink_to(moved)
        with pytest.raises(Denied, match="not a plain file"):
            Database.open(path)
        file.unlink()
        moved.rename(file)
        if name.endswith("-wal"):
            file.unlink()
    Database.open(path)


@pytest.mark.parametrize("name", sorted(set(filesystems.UNSAFE.values())))
def test_unsafe_file_systems_are_refused_by_their_magic_number(name, path, template, monkeypatch):
    magic = next(number for number, known in filesystems.UNSAFE.items() if known == name)
    monkeypatch.setattr(filesystems, "kind", lambda _: magic)
    for call in (lambda: Database.create(path), lambda: Database.from_snapshot(path, template)):
        with pytest.raises(StorageError, match=f"would lie on {name.replace('(', '.').replace(')', '.')}"):
            call()
    assert not path.exists()


def test_the_file_system_of_a_folder_is_what_statfs_says(database, path):
    found = filesystems.kind(path.parent)
    reported = subprocess.run(["stat", "-f", "-c", "%t", path.parent], capture_output=True, text=True, check=True).stdout
    assert found == int(reported, 16)
    with pytest.raises(StorageError, match="would lie on a test disk"):
        Database.open(path, unsafe={found: "a test disk"})
    with pytest.raises(StorageError, match="statfs"):
        filesystems.kind(path / "nothing")


def test_other_systems_are_unsupported(database, path, monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(Unsupported, match="needs Linux"):
        Database.open(path)


# what is in the file


@pytest.mark.parametrize("content", [b"", b"x" * 5000, b"SQLite format 3\0" + b"\0" * 4080])
def test_files_that_are_no_database_are_integrity_errors(content, database, path):
    database.close()
    path.write_bytes(content)
    with pytest.raises(IntegrityError):
        Database.open(path)


def test_damaged_pages_are_integrity_errors(filled, path, keys, hand):
    data = bytearray(hand.save())
    for start in range(4096, len(data), 4096):
        data[start : start + 100] = b"\xa5" * 100
    hand.restore(bytes(data))
    with pytest.raises(IntegrityError), filled.read(keys) as session:
        session.find(tables.asset)


def test_a_cut_file_is_an_integrity_error(filled, keys, hand):
    hand.restore(hand.save()[: 4096 * 20])
    with pytest.raises(IntegrityError), filled.read(keys) as session:
        for table in tables.metadata.sorted_tables:
            session.find(table)


def test_a_file_that_was_replaced_is_refused(filled, path, template, keys):
    with filled.read(keys):
        pass
    path.unlink()
    with pytest.raises(StorageError, match="replaced or removed"), filled.read(keys):
        pass
    path.write_bytes(template)
    with pytest.raises(StorageError, match="replaced or removed"), filled.write(keys):
        pass


# settings


@pytest.mark.parametrize("write", [True, False])
def test_settings_hold_on_every_connection(write, database):
    for _ in range(2):
        database.close()
        with database.write(None) if write else database.read(None) as session:
            raw = session.connection.connection.dbapi_connection
            found = {
                name: raw.execute(f"PRAGMA {name}").fetchone()[0]
                for name in (
                    "journal_mode",
                    "synchronous",
                    "secure_delete",
                    "foreign_keys",
                    "trusted_schema",
                    "temp_store",
                    "query_only",
                )
            }
            assert found == {
                "journal_mode": "wal",
                "synchronous": 2,
                "secure_delete": 1,
                "foreign_keys": 1,
                "trusted_schema": 0,
                "temp_store": 2,
                "query_only": 0 if write else 1,
            }


@pytest.mark.parametrize(
    "setting", ["synchronous", "foreign_keys", "secure_delete", "trusted_schema", "cell_size_check", "temp_store"]
)
def test_a_setting_that_is_not_obeyed_refuses_the_connection(setting, database, path, monkeypatch):
    other = {"trusted_schema": "ON", "temp_store": "DEFAULT"}.get(setting, "OFF")
    database.close()
    monkeypatch.setattr(link, "_SETTINGS", tuple((name, other if name == setting else to, back) for name, to, back in link._SETTINGS))
    with pytest.raises(StorageError, match=f"does not obey {setting}"):
        Database.open(path)


def test_a_database_without_write_ahead_log_is_refused(database, path, hand):
    hand.run("PRAGMA journal_mode=DELETE")
    with pytest.raises(StorageError, match="not in write-ahead mode"):
        Database.open(path)


def test_readers_cannot_write(database):
    with database.read(None) as session:
        assert not hasattr(session, "insert")
        with pytest.raises(StorageError, match="read-only"):
            from hermetic.db.faults import driver_errors

            with driver_errors():
                session.connection.exec_driver_sql("DELETE FROM meta")


# transactions


def test_a_block_commits_or_undoes_everything(database):
    with database.write(None) as session:
        put(session, "a")
        put(session, "b")
    with pytest.raises(ZeroDivisionError), database.write(None) as session:
        put(session, "c")
        1 / 0  # noqa: B018 - any error will do
    with pytest.raises(Conflict), database.write(None) as session:
        put(session, "d")
        put(session, "a")
    with pytest.raises(KeyboardInterrupt), database.write(None) as session:
        put(session, "e")
        raise KeyboardInterrupt
    assert kept(database) == {"a": "1", "b": "1"}


def test_an_error_inside_a_block_may_be_caught(database):
    with database.write(None) as session:
        put(session, "a")
        with pytest.raises(Conflict):
            put(session, "a")
        put(session, "b")
    assert kept(database) == {"a": "1", "b": "1"}


def test_reads_are_snapshots_taken_on_entry(database, path):
    other = Database.open(path)
    with database.read(None) as session:
        with other.write(None) as writing:
            put(writing)
        assert session.find(tables.backup_state) == []
    assert kept(database) == {"a": "1"}


def test_nested_use_is_refused_in_every_combination(database, keys):
    for outer in (database.read, database.write):
        with outer(keys):
            for inner in (lambda: database.read(keys), lambda: database.write(keys)):
                with pytest.raises(UsageError, match="session of this database is open"), inner():
                    pass
            for call in (database.checkpoint_truncate, database.snapshot_bytes, lambda: database.scrub([])):
                with pytest.raises(UsageError, match="session of this database is open"):
                    call()
    with database.write(keys):
        pass


def test_a_session_ends_with_its_block(database, keys):
    with database.write(keys) as written:
        put(written)
    with database.read(keys) as read:
        pass
    for call in (
        lambda: put(written),
        lambda: read.find(tables.asset),
        lambda: list(read.scan(tables.asset)),
        lambda: read.connection,
        read.whole_database,
    ):
        with pytest.raises(UsageError, match="session has ended"):
            call()


def test_steps_are_named_around_the_commit(database, reached):
    with database.write(None, step="custody.release.intent") as session:
        put(session)
        assert reached == []
    assert reached == ["custody.release.intent.before", "custody.release.intent"]
    with pytest.raises(UsageError), database.write(None):
        raise UsageError("no")
    assert len(reached) == 2


def test_a_step_that_fails_before_the_commit_undoes_it_and_after_it_does_not(database):
    def fail(at):
        def hook(name):
            if name == at:
                raise StorageError(name)

        steps.install(hook)

    try:
        for at, expected in (("db.commit.before", {}), ("db.commit", {"a": "1"})):
            fail(at)
            with pytest.raises(StorageError), database.write(None) as session:
                put(session)
            steps.install(None)
            assert kept(database) == expected
    finally:
        steps.install(None)
    with database.write(None) as session:
        put(session, "b")


def test_close_is_not_the_end(database):
    for n in range(3):
        with database.write(None) as session:
            put(session, str(n))
        database.close()
    assert len(kept(database)) == 3


# snapshots


def test_a_snapshot_is_the_whole_database(filled, path, keys):
    copy = Database.from_snapshot(path.with_name("copy.db"), filled.snapshot_bytes())
    with filled.read(keys) as one, copy.read(keys) as other:
        for table in tables.metadata.sorted_tables:
            assert one.find(table) == other.find(table)
    with copy.write(keys) as session:
        put(session, "only in the copy")
    assert "only in the copy" not in kept(filled)


def test_a_snapshot_holds_committed_rows_that_are_only_in_the_log(database, path):
    with database.write(None) as session:
        put(session)
    assert kept(Database.from_snapshot(path.with_name("copy.db"), database.snapshot_bytes())) == {"a": "1"}


def test_snapshots_replace_nothing(filled, path):
    with pytest.raises(Conflict, match="exists already"):
        Database.from_snapshot(path, filled.snapshot_bytes())


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:50],
        lambda data: data[:-4096],
        lambda data: data[: len(data) // 2],
        lambda data: b"x" + data[1:],
        lambda data: data[:18] + b"\1\1" + data[20:],
        lambda data: data[:68] + b"\0\0\0\5" + data[72:],
        lambda data: data[:4096] + bytes(4096) + data[8192:],
    ],
)
def test_damaged_snapshots_leave_nothing(damage, filled, path):
    target = path.with_name("copy.db")
    with pytest.raises(IntegrityError):
        Database.from_snapshot(target, damage(filled.snapshot_bytes()))
    assert not target.exists()
    assert not list(path.parent.glob(".copy.db.*"))


# forks


def in_child(function):
    """Run `function` in a forked child and return what it printed as text; the child ends without cleaning up."""
    receive, send = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            said = repr(function())
        except BaseException as error:  # noqa: BLE001 - whatever it is, the parent looks at it
            said = f"{type(error).__name__}: {error}"
        os.write(send, said.encode())
        os._exit(0)
    os.close(send)
    with os.fdopen(receive) as pipe:
        said = pipe.read()
    assert os.waitpid(pid, 0)[1] == 0
    return said


def test_a_forked_child_works_with_connections_of_its_own(database):
    with database.write(None) as session:
        put(session)

    def child():
        with database.write(None) as session:
            put(session, "child")
        return sorted(kept(database))

    assert in_child(child) == "['a', 'child']"
    with database.write(None) as session:
        put(session, "parent")
    assert sorted(kept(database)) == ["a", "child", "parent"]


def test_no_descriptor_of_the_database_crosses_a_fork(database, path):
    with database.write(None) as session:
        put(session)

    def child():
        opened = [os.path.realpath(fd) for fd in Path("/proc/self/fd").iterdir()]
        return [name for name in opened if str(path) in name]

    assert in_child(child) == "[]"


def test_a_child_born_inside_a_transaction_is_refused(database):
    with database.write(None) as session:
        put(session)

        def use_session():
            put(session, "child")

        def use_database():
            with database.write(None):
                pass

        assert in_child(use_session).startswith("UsageError: a session cannot be used in a forked process")
        assert in_child(use_database).startswith("UsageError: this process was forked in the middle")

    assert kept(database) == {"a": "1"}


def test_a_child_that_leaves_the_block_of_its_parent_commits_nothing(database):
    receive, send = os.pipe()
    parent = os.getpid()
    pid = -1
    try:
        with database.write(None) as session:
            put(session)
            pid = os.fork()
    except UsageError as error:
        os.write(send, str(error).encode())
    if os.getpid() != parent:
        os._exit(0)
    os.close(send)
    assert os.waitpid(pid, 0)[1] == 0
    with os.fdopen(receive) as pipe:
        assert "forked" in pipe.read()
    assert kept(database) == {"a": "1"}


def test_a_fork_inside_a_write_keeps_the_turn(database, path):
    import fcntl

    def taken():
        with path.with_name("custody.db.lock").open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            return False

    receive, send = os.pipe()
    with database.write(None) as session:
        put(session)
        pid = os.fork()
        if pid == 0:
            os.read(receive, 1)  # a child that lives on does not hold the lock
            os._exit(0)
        assert taken()
    assert not taken()
    os.write(send, b"x")
    os.waitpid(pid, 0)
    with database.write(None) as session:
        put(session, "b")


def test_a_thread_that_stays_inside_makes_the_child_refuse(database, monkeypatch):
    import threading

    monkeypatch.setattr(forks, "WAIT_S", 0.01)
    entered, leave = threading.Event(), threading.Event()

    def stay():
        with database.read(None):
            entered.set()
            leave.wait()

    thread = threading.Thread(target=stay)
    thread.start()
    entered.wait()
    said = in_child(lambda: kept(database))
    leave.set()
    thread.join()
    assert said.startswith("UsageError: this process was forked in the middle")
    assert kept(database) == {}


def test_driver_calls_that_would_end_the_transaction_do_nothing(database):
    with pytest.raises(ZeroDivisionError), database.write(None) as session:
        put(session)
        raw = session.connection.connection.dbapi_connection
        raw.commit()
        raw.isolation_level = None
        session.connection.commit()
        raise ZeroDivisionError
    assert kept(database) == {}


def test_statements_are_compiled_once():
    statements = dialect_statements()
    from hermetic.db import layout

    shape = layout.of(tables.asset)
    assert statements.insert(shape) is statements.insert(shape)
    assert statements.update(shape, ("epoch",)) is statements.update(shape, ("epoch",))
    assert "asset.id = ?" in statements.select(shape, ("id",), ()).sql
