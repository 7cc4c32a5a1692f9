"""What every store promises, as tests. A store's own test class inherits StoreContract and gives a `store` fixture."""

from __future__ import annotations

import threading

import pytest

from hermetic.errors import Conflict, FormatError, InvalidName, NotFound, UsageError

BAD_KEYS = [
    "",
    ".",
    "..",
    "/a",
    "a/",
    "a//b",
    "a/../b",
    "a/./b",
    "a\\b",
    "a\nb",
    "a\0b",
    "a\u202eb",
    "e\u0301",
    "x" * 256,
    "\ud800",
]


def write(store, key, data):
    with store.stage(key) as staged:
        staged.write(data)
        staged.commit()


class StoreContract:
    a_key_may_begin_others = False  # "a" beside "a/b": only where there are no folders
    sources_survive_deletion = True
    one_of_many_wins = True  # False where an endpoint knows no conditions

    @pytest.mark.parametrize("key", [*BAD_KEYS, ".hermetic-tmp-1", "a/.hermetic-tmp-1/b", 7])
    def test_bad_keys_are_refused_everywhere(self, store, key):
        calls = [
            lambda: store.stage(key),
            lambda: store.open(key),
            lambda: store.read_bytes(key, limit=1),
            lambda: store.put_bytes(key, b""),
            lambda: store.exists(key),
            lambda: store.delete(key),
        ]
        for call in calls:
            with pytest.raises(InvalidName):
                call()

    def test_what_was_committed_is_read_back(self, store):
        write(store, "v/0.sealed", b"one" * 1000)
        with store.open("v/0.sealed") as source:
            buffer = bytearray(9)
            assert source.size == 3000
            assert source.request_size >= 1024 * 1024
            assert source.request_size % (1024 * 1024) == 0
            assert source.readinto_at(2995, buffer) == 5
            assert bytes(buffer[:5]) == b"neone"
            assert source.readinto_at(5000, memoryview(buffer)) == 0
            assert source.readinto_at(1, memoryview(buffer)[3:6]) == 3
            assert bytes(buffer[3:6]) == b"neo"
            with pytest.raises(UsageError):
                source.readinto_at(-1, buffer)

    def test_a_closed_source_gives_nothing(self, store):
        write(store, "a", b"data")
        source = store.open("a")
        source.close()
        source.close()
        with pytest.raises(UsageError):
            source.readinto_at(0, bytearray(1))

    def test_nothing_is_seen_before_commit_nor_left_without_it(self, store):
        with store.stage("v/a") as staged:
            staged.write(b"half")
            assert not store.exists("v/a")
            assert list(store.list()) == []
        assert not store.exists("v/a")
        with pytest.raises(UsageError):
            staged.write(b"late")
        with pytest.raises(ZeroDivisionError), store.stage("v/a") as staged:
            staged.write(b"half")
            _ = 1 / 0
        assert list(store.list()) == []

    @pytest.mark.parametrize("length", [None, 12])
    def test_pieces_at_their_places(self, store, length):
        with store.stage("a") as staged:
            staged.reserve(length)
            staged.write_at(memoryview(b"0123"), 0)
            staged.write_at(memoryview(b"89ab"), 8)
            staged.write_at(memoryview(b"4567"), 4)
            staged.begin_writeback(0, 12)
            assert staged.key == "a"
            with pytest.raises(UsageError):
                staged.reserve(length)
            staged.commit()
            with pytest.raises(UsageError):
                staged.write_at(memoryview(b"late"), 0)
        assert store.read_bytes("a", limit=12) == b"0123456789ab"

    def test_what_was_discarded_is_gone(self, store):
        with store.stage("a") as staged:
            staged.reserve(None)
            staged.write_at(memoryview(b"half"), 0)
            staged.discard()
            staged.discard()
        assert list(store.list()) == []

    def test_an_object_is_never_replaced(self, store):
        write(store, "a", b"first")
        with pytest.raises(Conflict):
            write(store, "a", b"second")
        with pytest.raises(Conflict):
            store.put_bytes("a", b"second")
        assert store.read_bytes("a", limit=5) == b"first"

    def test_of_two_racing_writers_one_wins(self, store):
        with store.stage("a") as first, store.stage("a") as second:
            first.write(b"first")
            second.write(b"second")
            first.commit()
            with pytest.raises(Conflict):
                second.commit()
        assert store.read_bytes("a", limit=9) == b"first"
        assert list(store.list()) == [("a", 5)]

    def test_many_threads_one_name(self, store):
        outcomes = []

        def work(number):
            try:
                write(store, "deep/er/name", str(number).encode())
                outcomes.append(number)
            except Conflict:
                pass

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self.one_of_many_wins:
            assert len(outcomes) == 1
        assert store.read_bytes("deep/er/name", limit=1) in [str(number).encode() for number in outcomes]

    def test_small_objects(self, store):
        store.put_bytes("m/manifest.json", b"{}")
        store.put_bytes("m/manifest.json", b"{1}", replace=True)
        assert store.read_bytes("m/manifest.json", limit=3) == b"{1}"
        with pytest.raises(FormatError):
            store.read_bytes("m/manifest.json", limit=2)
        store.put_bytes("new", b"", replace=True)
        assert store.read_bytes("new", limit=0) == b""

    def test_missing_objects(self, store):
        for call in (store.open, store.delete, lambda key: store.read_bytes(key, limit=1)):
            with pytest.raises(NotFound):
                call("no/such")
        assert not store.exists("no/such")
        assert list(store.list("no")) == []

    def test_list_is_sorted_by_whole_key_and_filtered_by_prefix(self, store):
        keys = ["a/b", "a/c/d", "a.b", "ab", "a/c.d", "b"]
        for key in keys:
            store.put_bytes(key, key.encode())
        assert list(store.list()) == [(key, len(key)) for key in sorted(keys)]
        for prefix in ("a", "a/", "a/c", "a/c/", "b", "x/y", "a/b/c"):
            assert [key for key, _ in store.list(prefix)] == [key for key in sorted(keys) if key.startswith(prefix)]
        for prefix in ("/", "../", "../a", "a//", "a/../b"):
            with pytest.raises(InvalidName):
                store.list(prefix)

    def test_delete_then_write_again(self, store):
        store.put_bytes("v/1/a", b"1")
        store.delete("v/1/a")
        assert not store.exists("v/1/a")
        store.put_bytes("v/1", b"2")
        assert list(store.list()) == [("v/1", 1)]

    def test_a_key_cannot_be_file_and_folder(self, store):
        if self.a_key_may_begin_others:
            store.put_bytes("a/b", b"1")
            store.put_bytes("a", b"2")
            assert list(store.list()) == [("a", 1), ("a/b", 1)]
            return
        store.put_bytes("a/b", b"1")
        for key in ("a", "a/b/c"):
            for replace in (False, True):
                with pytest.raises(Conflict):
                    store.put_bytes(key, b"2", replace=replace)
            assert not store.exists(key)
            with pytest.raises(NotFound):
                store.open(key)
            with pytest.raises(NotFound):
                store.delete(key)

    def test_an_open_source_survives_deletion(self, store):
        store.put_bytes("a", b"kept")
        with store.open("a") as source:
            store.delete("a")
            buffer = bytearray(4)
            if not self.sources_survive_deletion:
                with pytest.raises(NotFound):
                    source.readinto_at(0, buffer)
                return
            assert source.readinto_at(0, buffer) == 4
            assert bytes(buffer) == b"kept"

    def test_sweep_leaves_objects_alone(self, store):
        store.put_bytes("a", b"1")
        assert store.sweep(0, 1 << 60) == 0
        assert store.exists("a")
