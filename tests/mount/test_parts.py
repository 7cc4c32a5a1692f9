"""The parts of a mount without a kernel: content that grows, its limit, names of mount points, bytes of the protocol."""

from __future__ import annotations

import errno
import os
import random
import socket
import threading

import pytest

from hermetic.assets import mount_points
from hermetic.errors import IntegrityError, LeaseEnded, StorageError, UsageError
from hermetic.formats.messages.versions import Member
from hermetic.integrations.mount import protocol, readahead
from hermetic.integrations.mount.blocks import OpenFile, Pieces
from hermetic.integrations.mount.connection import MountConnection
from hermetic.integrations.mount.content import Budget, Content
from hermetic.integrations.mount.draft_nodes import DraftNodes
from hermetic.integrations.mount.version_tree import VersionTree

MIB = 1 << 20


def whole(content):
    return b"".join(map(bytes, content.read(0, content.size)))


@pytest.mark.parametrize("seed", range(20))
def test_content_is_what_a_file_would_be(seed, tmp_path):
    chance, content, budget = random.Random(seed), None, Budget(64 * MIB)
    content = Content(budget)
    with (tmp_path / "model").open("w+b") as file:
        for _ in range(60):
            place, length = chance.choice([0, 5, 4095, MIB - 3, MIB, 2 * MIB + 7]), chance.choice([1, 3, 4096, 70_000, MIB + 1])
            if chance.random() < 0.3:
                content.resize(place)
                file.truncate(place)
            else:
                data = chance.randbytes(length)
                content.write(place, memoryview(data))
                file.seek(place)
                file.write(data)
            file.flush()
            start, count = chance.randrange(3 * MIB), chance.choice([10, 5000, MIB])
            file.seek(start)
            assert b"".join(map(bytes, content.read(start, count))) == file.read(count)
        file.seek(0)
        assert whole(content) == file.read()
    assert 0 <= budget.used <= content.size + 5 * MIB
    content.clear()
    assert (content.size, budget.used) == (0, 0)


def test_a_full_mount_says_so_and_keeps_what_it_has():
    budget = Budget(MIB)
    content = Content(budget)
    content.write(0, memoryview(b"x" * 1000))
    with pytest.raises(OSError, match="memory") as caught:
        content.write(0, memoryview(bytes(2 * MIB)))
    assert caught.value.errno == errno.ENOSPC
    assert budget.exceeded
    assert budget.used <= budget.limit
    content.clear()
    Content(budget).write(0, memoryview(bytes(MIB)))


def test_holes_are_counted_too():
    budget = Budget(MIB)
    one, other = Content(budget), Content(budget)
    for change in (lambda: one.resize(1 << 40), lambda: one.write(1 << 62, memoryview(b"x"))):
        with pytest.raises(OSError, match="longer") as caught:
            change()
        assert (caught.value.errno, one.size, budget.length) == (errno.ENOSPC, 0, 0)
    one.resize(MIB // 2)
    with pytest.raises(OSError, match="longer"):
        other.resize(MIB // 2 + 1)
    one.resize(10)
    other.resize(MIB - 10)
    one.clear()
    other.clear()
    assert (budget.length, budget.used) == (0, 0)


def test_a_folder_is_not_moved_where_its_files_would_have_no_name():
    nodes = DraftNodes()
    deep = long = nodes.root
    for _ in range(3):
        deep = nodes.make(deep, "d" * 200, None)
    for _ in range(2):
        long = nodes.make(long, "e" * 200, None)
    nodes.make(deep, "f" * 200, Content(Budget(MIB)))
    with pytest.raises(OSError, match="no name") as caught:
        nodes.move(nodes.root.child("d" * 200), long, "d" * 200, replace=True)
    assert caught.value.errno == errno.EINVAL
    assert [len(path) for path, _ in nodes.files()] == [803]


class Whole:
    """A file of one piece, as far as `Pieces` asks."""

    length = MIB

    def readinto_at(self, _offset, buffer):
        buffer[:] = b"s" * len(buffer)
        return len(buffer)

    def close(self):
        pass


class Held:
    def guard(self):
        pass


@pytest.mark.parametrize("sent_first", [True, False], ids=["sent, then forgotten", "forgotten while it is sent"])
def test_what_a_thread_read_whole_is_wiped_with_its_file(sent_first):
    pieces = Pieces()
    try:
        file = OpenFile(1, Whole(), Held())
        (view,) = pieces.read(file, 0, MIB)
        if sent_first:
            pieces.sent()
            pieces.forget(file)
        else:
            pieces.forget(file)
            assert bytes(view[:1]) == b"s"
            pieces.sent()
        assert bytes(view) == bytes(MIB)
    finally:
        pieces.close()


def test_small_files_take_little():
    budget = Budget(MIB)
    for _ in range(100):
        Content(budget).write(0, memoryview(b"small"))
    assert budget.used == 100 * 4096


def folder_of_a_run(base, name):
    folder = base / f"hermetic-run-{name}"
    folder.mkdir()
    return folder


def test_mount_points_are_made_and_removed(tmp_path):
    run, there = folder_of_a_run(tmp_path, "a"), tmp_path / "there"
    there.mkdir()
    mount_points.make(run, [(there / "deep" / "er", False), (tmp_path / "file", True), (there, False)])
    assert (there / "deep" / "er").is_dir()
    assert (tmp_path / "file").read_bytes() == b""
    mount_points.remove(run)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hermetic-run-a", "there"]
    assert list(there.iterdir()) == []


def test_what_is_not_empty_stays(tmp_path):
    run = folder_of_a_run(tmp_path, "a")
    mount_points.make(run, [(tmp_path / "one", False), (tmp_path / "two", True)])
    (tmp_path / "one" / "mine").write_text("x")
    (tmp_path / "two").write_text("x")
    mount_points.remove(run)
    assert (tmp_path / "one" / "mine").exists()
    assert (tmp_path / "two").exists()


def test_the_last_run_removes_what_runs_have_made(tmp_path):
    first, second = folder_of_a_run(tmp_path, "a"), folder_of_a_run(tmp_path, "b")
    mount_points.make(first, [(tmp_path / "data", False)])
    mount_points.make(second, [(tmp_path / "data", False)])
    mount_points.remove(first)
    assert (tmp_path / "data").is_dir()
    mount_points.remove(second)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("text", ["", "{", "{}", "[1]", '["/etc"]', "\ud800"])
def test_a_record_that_is_none_removes_nothing(tmp_path, text):
    run = folder_of_a_run(tmp_path, "a")
    (run / mount_points.RECORD).write_bytes(text.encode("utf-8", "surrogatepass"))
    mount_points.remove(run)
    assert not (run / mount_points.RECORD).exists()


def test_a_place_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="to mount on"):
        mount_points.make(folder_of_a_run(tmp_path, "a"), [(tmp_path / "file" / "below", False)])
    (tmp_path / f"hermetic-mount-points-{os.geteuid()}.lock").symlink_to("file")
    with pytest.raises(StorageError, match="cannot use"):
        mount_points.make(folder_of_a_run(tmp_path, "b"), [(tmp_path / "x", False)])


def test_structures_have_the_sizes_of_the_kernels_header():
    sizes = {
        "HEADER": 40, "ANSWER": 16, "INIT_OUT": 64, "ATTRIBUTES": 88, "ENTRY": 40, "ATTR_OUT": 16, "OPEN_OUT": 16, "READ_IN": 40,
        "WRITE_OUT": 8, "SETATTR_IN": 88, "STATFS_OUT": 80, "DIRENT": 24, "INVALIDATE_OUT": 24, "RENAME2_IN": 16,
    }  # fmt: skip
    assert {name: getattr(protocol, name).size for name in sizes} == sizes


def test_old_kernels_are_refused():
    def asked(major, minor):
        return protocol.answer_init(memoryview(protocol.INIT_IN.pack(major, minor, 131072, 0xFFFFFFFF)), wanted=1, largest_write=4096)

    assert asked(7, 30) is None
    assert asked(8, 0) is None
    answer = protocol.INIT_OUT.unpack(asked(7, 45))
    assert answer[:4] == (7, 31, 131072, 1)


def test_reading_ahead_is_widened_only_where_it_may_be(tmp_path):
    readahead.widen(os.getpid(), [tmp_path])  # no mount of ours: nothing happens
    readahead.widen(2**22 + 1, [tmp_path])  # no such process


class Version:
    """A version with these members, and nothing behind them."""

    ref = "dataset/odd@1"

    def __init__(self, *paths):
        self.members = [Member(path, index, 10) for index, path in enumerate(paths)]


@pytest.mark.parametrize("paths", [("a", "a/b"), ("a/b", "a"), ("x/a", "x/a/b/c")])
def test_a_version_that_is_no_tree_is_refused(paths):
    with pytest.raises(UsageError, match="as a file and as a folder"):
        VersionTree(Version(*paths), owner=protocol.Owner(0, 0), admit=bool)


def test_a_version_is_a_tree():
    tree = VersionTree(Version("b/c/d", "a", "b/e"), owner=protocol.Owner(1, 2), admit=bool)
    assert {node.path: sorted(node.children) for node in tree.nodes} == {
        "": [b"a", b"b"], "b": [b"c", b"e"], "b/c": [b"d"], "b/c/d": [], "a": [], "b/e": [],
    }  # fmt: skip
    assert [tree.path_of(number) for number in (0, 1, 2, 99)] == ["", "", "b", ""]
    tree.close()


class Device:
    """A socket in the place of /dev/fuse: questions go in whole, answers come out whole."""

    def __init__(self, handlers):
        self.kernel, served = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.kernel.settimeout(60)
        served.setblocking(False)
        self.wanted, self.largest_write, self.handlers, self.failures = protocol.WANTED, 4096, handlers, []
        self.connection = MountConnection(served.detach(), self, lambda node, error: self.failures.append((node, error)), threads=2)

    def sent(self):
        pass

    def ask(self, operation, body=b"", unique=7):
        self.kernel.send(protocol.HEADER.pack(protocol.HEADER.size + len(body), operation, unique, 1, 0, 0, 1, 0, 0) + body)
        return self.answer()

    def answer(self):
        raw = self.kernel.recv(1 << 20)
        length, error, unique = protocol.ANSWER.unpack_from(raw)
        assert length == len(raw)
        return error, unique, raw[protocol.ANSWER.size :]

    def close(self):
        self.connection.stop()
        self.connection.stop()
        self.kernel.close()


def raising(error):
    def handler(_request):
        raise error

    return handler


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_every_question_is_answered_whatever_happens():
    handlers = {
        protocol.GETATTR: lambda _request: (b"one", memoryview(b"two")),
        protocol.OPEN: raising(LeaseEnded("over")),
        protocol.READ: raising(IntegrityError("changed")),
        protocol.LOOKUP: raising(OSError(errno.ENOENT, "no")),
        protocol.STATFS: raising(KeyError("a defect of ours")),
    }
    device = Device(handlers)
    try:
        for _ in range(5):
            assert device.ask(protocol.GETATTR) == (0, 7, b"onetwo")
            assert device.ask(protocol.OPEN)[0] == -errno.EACCES
            assert device.ask(protocol.READ, bytes(protocol.READ_IN.size))[0] == -errno.EIO
            assert device.ask(protocol.READ, protocol.READ_IN.pack(0, 0, 1 << 20))[0] == -errno.EIO
            assert device.ask(protocol.LOOKUP, b"x\0")[0] == -errno.ENOENT
            assert device.ask(protocol.STATFS)[0] == -errno.EIO
            assert device.ask(protocol.IOCTL)[0] == -errno.ENOTTY
            assert device.ask(999)[0] == -errno.ENOSYS
            assert device.ask(protocol.INIT, protocol.INIT_IN.pack(7, 12, 0, 0))[0] == -errno.EPROTO
            device.kernel.send(protocol.HEADER.pack(protocol.HEADER.size, protocol.FORGET, 8, 1, 0, 0, 1, 0, 0))
        assert {(node, type(error)) for node, error in device.failures} == {(1, LeaseEnded), (1, IntegrityError)}
        device.connection.invalidate(5)
        error, unique, body = device.answer()
        assert (error, unique, protocol.INVALIDATE_OUT.unpack(body)) == (protocol.INVALIDATE_NODE, 0, (5, 0, -1))
    finally:
        device.close()


def test_a_long_answer_does_not_hold_up_the_quick_ones():
    begun, go_on = threading.Event(), threading.Event()

    def read(_request):
        begun.set()
        go_on.wait(60)
        return (b"long",)

    device = Device({protocol.READ: read, protocol.GETATTR: lambda _request: (b"quick",)})
    try:
        body = protocol.READ_IN.pack(0, 0, 1 << 20)
        device.kernel.send(protocol.HEADER.pack(protocol.HEADER.size + len(body), protocol.READ, 1, 1, 0, 0, 1, 0, 0) + body)
        assert begun.wait(60)
        assert device.ask(protocol.GETATTR, unique=2) == (0, 2, b"quick")
        go_on.set()
        assert device.answer() == (0, 1, b"long")
    finally:
        go_on.set()
        device.close()
