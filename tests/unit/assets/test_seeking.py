"""A read follows the seek of its own thread; otherwise a file has one position."""

from __future__ import annotations

import io
import threading

import pytest

from hermetic.assets.seeking import TurnTakingReader

CONTENT = bytes(range(256)) * 100


@pytest.fixture
def file():
    with TurnTakingReader(io.BytesIO(CONTENT), 64) as made:
        yield made


def elsewhere(call):
    """Call it in another thread and return what it returns."""
    found = []
    thread = threading.Thread(target=lambda: found.append(call()))
    thread.start()
    thread.join()
    return found[0]


@pytest.mark.parametrize(
    "read",
    [
        lambda file: file.read(3),
        lambda file: file.read1(3),
        lambda file: file.peek(3)[:3],
        lambda file: file.readline(3),
        lambda file: bytes(memoryview(buffer := bytearray(3))[: file.readinto(buffer)]),
        lambda file: bytes(memoryview(buffer := bytearray(3))[: file.readinto1(buffer)]),
    ],
)
def test_another_thread_seeks_in_between(file, read):
    file.seek(20)
    assert elsewhere(lambda: file.seek(5000)) == 5000
    assert file.tell() == 20
    assert read(file) == CONTENT[20:23]


def test_both_have_sought_before_either_reads(file):
    sought, read = threading.Barrier(2), []

    def other():
        file.seek(5000)
        sought.wait()
        read.append(file.read(100))

    thread = threading.Thread(target=other)
    thread.start()
    file.seek(20)
    sought.wait()
    assert file.read(100) == CONTENT[20:120]
    thread.join()
    assert read == [CONTENT[5000:5100]]


def test_a_thread_that_has_not_sought_goes_on(file):
    file.seek(20)
    assert elsewhere(lambda: file.read(10)) == CONTENT[20:30]
    assert file.tell() == 30
    assert file.read(10) == CONTENT[30:40]


def test_in_one_thread_it_is_any_file(file):
    plain = io.BufferedReader(io.BytesIO(CONTENT), 64)
    steps = [
        lambda f: f.seek(30),
        lambda f: f.readline(),
        lambda f: f.read(5),
        lambda f: f.seek(-10, 1),
        lambda f: f.tell(),
        lambda f: f.peek(1)[:1],
        lambda f: f.read(5),
        lambda f: next(iter(f)),
        lambda f: f.seek(-300, 2),
        lambda f: f.readlines(),
        lambda f: f.seek(0),
        lambda f: f.read1(10),
        lambda f: f.read(),
        lambda f: f.tell(),
    ]
    for step in steps:
        assert step(file) == step(plain)


def test_what_an_ended_thread_had_sought_is_nobody_elses(file):
    """The number of a thread is given to the next one."""
    for _ in range(50):
        elsewhere(lambda: file.seek(0, io.SEEK_END))
        file.seek(0)
        assert elsewhere(lambda: file.read(10)) == CONTENT[:10]
