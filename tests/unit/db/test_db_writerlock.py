"""The writer lock: turns, timeouts, giving up."""

from __future__ import annotations

import fcntl
import os
import threading

import pytest

from hermetic.db.writerlock import WriterLock
from hermetic.errors import Conflict, StorageError


@pytest.fixture
def file(tmp_path):
    return tmp_path / "lock"


def test_one_at_a_time_between_threads(file):
    lock = WriterLock(file, 10)
    inside, most = [], []

    def work(number):
        for _ in range(50):
            lock.acquire()
            inside.append(number)
            most.append(len(inside))
            inside.remove(number)
            lock.release()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1
    assert len(most) == 200


def test_another_holder_makes_it_a_conflict_and_later_it_works(file):
    holder, waiter = WriterLock(file, 10), WriterLock(file, 0.05)
    holder.acquire()
    for _ in range(3):
        with pytest.raises(Conflict, match="no turn to write") as caught:
            waiter.acquire()
        assert caught.value.hint
    holder.release()
    patient = WriterLock(file, 10)
    patient.acquire()
    patient.release()
    waiter = WriterLock(file, 10)
    waiter.acquire()
    waiter.release()


def test_a_thread_that_holds_it_too_long_makes_it_a_conflict(file):
    lock = WriterLock(file, 0.01)
    lock.acquire()
    with pytest.raises(Conflict):
        lock.acquire()
    lock.release()
    lock.acquire()
    lock.release()


def test_those_who_wait_get_their_turn(file):
    holder, waiter = WriterLock(file, 10), WriterLock(file, 10)
    holder.acquire()
    done = threading.Event()

    def wait():
        waiter.acquire()
        done.set()
        waiter.release()

    thread = threading.Thread(target=wait)
    thread.start()
    while not any(other.name == "hermetic-writer-lock" for other in threading.enumerate()):
        pass
    assert not done.is_set()
    holder.release()
    thread.join()
    assert done.is_set()


def test_a_turn_that_comes_after_giving_up_is_passed_on(file):
    holder, impatient = WriterLock(file, 10), WriterLock(file, 0.01)
    holder.acquire()
    with pytest.raises(Conflict):
        impatient.acquire()
    (helper,) = [other for other in threading.enumerate() if other.name == "hermetic-writer-lock"]
    holder.release()
    helper.join()
    with file.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_close_leaves_a_held_lock_alone(file):
    lock = WriterLock(file, 0.01)
    lock.acquire()
    lock.close()
    with pytest.raises(Conflict):
        WriterLock(file, 0.01).acquire()
    lock.release()
    lock.close()
    lock.close()
    lock.acquire()
    lock.release()


def test_a_lock_file_that_cannot_be_opened(tmp_path):
    with pytest.raises(StorageError):
        WriterLock(tmp_path / "nothing" / "lock", 1).acquire()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "elsewhere")
    lock = WriterLock(link, 1)
    for _ in range(2):
        with pytest.raises(StorageError):
            lock.acquire()
    assert not os.path.lexists(tmp_path / "elsewhere")
