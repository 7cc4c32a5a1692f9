"""Threads and processes at one domain at once; forks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading

import pytest

from hermetic.errors import HermeticError, UsageError
from hermetic.formats.messages import catalogue, log, versions
from hermetic.ids import DataClass
from tests import world as w

WORKER = """
import json, os, sys
from pathlib import Path
from tests import world as w
from hermetic.ids import DataClass
world = w.World(Path(sys.argv[1]))
port = world.port()
name, rounds = sys.argv[2], int(sys.argv[3])
out = []
for number in range(rounds):
    draft, published = w.seal(port, "dataset/shared", DataClass.RESTRICTED)
    opened = w.open_(port, f"dataset/shared@{published.number}")
    out.append([published.number, w.key_of(port, draft.lease).hex() == w.key_of(port, opened.released[0].lease).hex()])
    w.seal(port, f"features/{name}{number}", DataClass.INTERNAL)
world.close()
print(json.dumps(out))
"""


def whole(port):
    found = {pair.name for pair in port.ask(log.VerifyLog()).findings}
    return found <= {"log-key-first-use", "log-never-anchored", "log-clock-went-back"}


def test_threads_share_a_port(world):
    port = world.port()
    got, problems = [], []

    def work():
        try:
            for _ in range(10):
                draft, published = w.seal(port)
                opened = w.open_(port, published.ref)
                same = w.key_of(port, draft.lease) == w.key_of(port, opened.released[0].lease)
                got.append((published.number, same, w.ended(port, opened.released[0].lease)))
        except HermeticError as error:
            problems.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert sorted(number for number, _, _ in got) == list(range(1, 31))
    assert {(same, ended) for _, same, ended in got} == {(True, None)}
    assert whole(port)


def test_processes_share_a_domain(world):
    command = [sys.executable, "-c", WORKER, str(world.root)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    running = [
        subprocess.Popen([*command, name, "8"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) for name in ("a", "b")
    ]
    ends = [process.communicate(timeout=300) for process in running]
    assert [process.returncode for process in running] == [0, 0], ends
    done = [item for out, _ in ends for item in json.loads(out)]
    assert sorted(number for number, _ in done) == list(range(1, 17))
    assert all(same for _, same in done)
    port = world.port()
    assert len(port.ask(catalogue.ListAssets()).assets) == 17
    assert whole(port)


def in_child(act):
    """Run `act` in a forked child; return its exit code."""
    child = os.fork()
    if child == 0:
        code = 99
        try:
            code = act()
        finally:  # whatever happens, the child must not go on with the test run
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_port_does_not_survive_a_fork(world):
    port = world.port()
    w.seal(port)

    def act():
        with pytest.raises(UsageError):
            w.open_(port)
        port.close()
        return 5

    assert in_child(act) == 5
    assert w.open_(port)


def test_a_connection_connects_again_after_a_fork(world):
    connection = world.connect()
    w.seal(connection.port)
    key = w.key_of(connection.port, w.open_(connection).released[0].lease)

    def act():
        opened = w.open_(connection)
        mine = connection.leases.take(opened.released[0].lease)
        good = bytes(mine.key().view()) == key
        connection.close()
        return 5 if good else 6

    assert in_child(act) == 5
    assert w.open_(connection)
    assert whole(connection)


def test_a_child_born_during_a_release_leaves_the_parent_whole(world):
    port = world.port()
    w.seal(port)
    stop = threading.Event()

    def release():
        while not stop.is_set():
            w.open_(port)

    thread = threading.Thread(target=release)
    thread.start()
    codes = [in_child(lambda: 5) for _ in range(5)]
    stop.set()
    thread.join()
    assert codes == [5] * 5
    assert w.open_(port)
    assert whole(port)


def test_writers_of_one_name_number_without_gaps(world):
    ports = [world.port(), world.port()]
    drafts = [w.begin(port, "dataset/x", DataClass.INTERNAL) for port in ports for _ in range(5)]
    numbers, problems = [], []

    def publish(port, mine):
        try:
            numbers.extend(port.ask(versions.PublishVersion(draft.version, (w.record(),))).number for draft in mine)
        except HermeticError as error:
            problems.append(error)

    threads = [threading.Thread(target=publish, args=(port, drafts[at * 5 : at * 5 + 5])) for at, port in enumerate(ports)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert sorted(numbers) == list(range(1, 11))
