"""How an object is cut into parts, whatever its length, and that few are held at once."""

from __future__ import annotations

import threading
import zlib

import pytest

from hermetic.errors import StorageError, UsageError
from hermetic.stores import _s3_parts
from hermetic.stores._s3_parts import PARTS, SLOTS, Parts, Plan

MIB, GIB, TIB = 1 << 20, 1 << 30, 1 << 40
MOST, LARGEST = 5 * TIB, 5 * GIB  # of an object, and of a part


def walk(plan, start, count):
    """Yield (number, start, size) of parts that follow each other."""
    for _ in range(count):
        number, begin, size = plan.locate(start)
        assert begin == start
        assert plan.locate(start + size - 1) == (number, begin, size)
        yield number, begin, size
        start += size


def test_unknown_lengths_fit_into_one_upload():
    parts = list(walk(Plan(None), 0, PARTS))
    assert [number for number, _, _ in parts] == list(range(PARTS))
    sizes = [size for _, _, size in parts]
    assert sizes == sorted(sizes)
    assert sizes[0] == 8 * MIB
    assert sizes[-1] <= LARGEST
    assert sum(sizes) > MOST
    with pytest.raises(StorageError, match="too long"):
        Plan(None).locate(sum(sizes))


@pytest.mark.parametrize("length", [1, 8 * MIB, 8 * MIB + 1, 80 * GIB, 300 * GIB + 7, MOST])
def test_known_lengths_have_parts_of_one_size(length):
    plan = Plan(length)
    last, start, size = plan.locate(length - 1)
    assert last < PARTS
    assert start + size == length
    assert plan.locate(0)[2] <= max(8 * MIB, length // PARTS + MIB)
    assert plan.single == (length <= 8 * MIB)
    with pytest.raises(StorageError, match="longer"):
        plan.locate(length)


def test_large_parts_lie_in_files_and_arrive_whole(monkeypatch):
    monkeypatch.setattr(_s3_parts, "SMALLEST", 1000)
    monkeypatch.setattr(_s3_parts, "_STAGE", 2)
    monkeypatch.setattr(_s3_parts, "IN_MEMORY", 1000)
    sent = {}

    def send(number, body, crc):
        data = bytes(body) if isinstance(body, bytearray) else body.read()
        assert crc == zlib.crc32(data)
        sent[number] = data, isinstance(body, bytearray)

    parts = Parts(Plan(None), send)
    data = bytes(range(256)) * 40
    for start in range(0, len(data), 77):
        parts.add(memoryview(data)[start : start + 77], start)
    parts.finish()
    assert b"".join(sent[number][0] for number in sorted(sent)) == data
    assert [len(sent[number][0]) for number in sorted(sent)] == [1000, 1000, 4000, 4000, 240]
    assert [sent[number][1] for number in sorted(sent)] == [True, True, False, False, False]


def test_no_more_than_a_few_parts_are_held(monkeypatch):
    monkeypatch.setattr(_s3_parts, "SMALLEST", 100)
    made = []
    gate = threading.Semaphore(0)

    class Counted(_s3_parts.MemoryBuffer):
        def __init__(self, size):
            made.append(size)
            super().__init__(size)

    monkeypatch.setattr(_s3_parts, "MemoryBuffer", Counted)
    sent = []

    def send(number, body, crc):
        gate.acquire()
        sent.append(bytes(body))

    parts = Parts(Plan(None), send)

    data = bytes(range(250)) * 20

    def write():
        parts.add(memoryview(data), 0)

    thread = threading.Thread(target=write)
    thread.start()
    for _ in range(50):
        gate.release()
    thread.join()
    parts.finish()
    assert len(made) <= SLOTS
    assert sorted(sent) == sorted(data[start : start + 100] for start in range(0, len(data), 100))


def test_a_sender_that_fails_is_told_to_the_writer_and_ends_the_others(monkeypatch):
    monkeypatch.setattr(_s3_parts, "SMALLEST", 100)
    sent = []

    def send(number, body, crc):
        sent.append(number)
        raise StorageError("no more", hint="wait")

    parts = Parts(Plan(None), send)
    with pytest.raises(StorageError, match="no more") as found:
        parts.add(memoryview(bytes(10_000)), 0)
    assert found.value.hint == "wait"
    assert len(sent) <= SLOTS
    parts.stop(UsageError("over"))
    with pytest.raises(StorageError, match="no more"):
        parts.add(memoryview(b"x"), 0)


def test_a_place_is_written_once(monkeypatch):
    monkeypatch.setattr(_s3_parts, "SMALLEST", 100)
    parts = Parts(Plan(None), lambda *_: None)
    parts.add(memoryview(bytes(150)), 0)
    parts.finish()
    with pytest.raises(UsageError, match="twice"):
        parts.add(memoryview(b"x"), 10)
