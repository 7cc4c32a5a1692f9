"""Several hosts on one database: processes are killed at any moment, and so is the server; the log stays one, and whole.

A few kills in `make test`; `make soak` sets HERMETIC_POSTGRES_KILLS=100.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import random
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from hermetic.audit.tree import leaf_hash
from hermetic.domain.create import create_domain
from hermetic.domain.home import Home
from hermetic.formats.messages.log import ExportLog, VerifyLog
from tests import postgres
from tests import world as w
from tests.world import World

KILLS = int(os.environ.get("HERMETIC_POSTGRES_KILLS", "3"))
HOSTS = 3
BETWEEN = 6  # answers between two kills
PATIENCE_S = 120


class Host:
    """A process with a custody home of its own."""

    def __init__(self, root: Path, said: queue.Queue[tuple[int, str]], number: int) -> None:
        self._root, self._said, self._number = root, said, number
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.faults.postgres_writer", str(self._root)]
        repository = Path(__file__).resolve().parents[2]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=repository)
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()

    def _read(self, process: subprocess.Popen[str]) -> None:
        for line in process.stdout or ():
            self._said.put((self._number, line.strip()))

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(60)
        self._reader.join(60)  # what it said before it died counts
        if self._process.stdout:
            self._process.stdout.close()


@pytest.fixture
def server():
    one = postgres.Server()
    yield one
    one.remove()


@pytest.fixture
def hosts(server, tmp_path):
    """Homes of the same domain on one database; the files of the domain are shared, as a copied folder."""
    first = tmp_path / "0"
    (first / "project").mkdir(mode=0o700, parents=True)
    home = Home(first / "home" / "data", first / "home" / "config")
    create_domain(
        first / "project", provider_uri="local:insecure-file", project_name="cardio", home=home, database=str(server.database())
    )
    with World(first).connect() as connection:
        w.seal(connection.port, "dataset/a")
    for number in range(1, HOSTS):
        shutil.copytree(first, tmp_path / str(number), symlinks=True)
    return [tmp_path / str(number) for number in range(HOSTS)]


def test_one_log_whoever_is_killed(server, hosts, record_property):
    said: queue.Queue[tuple[int, str]] = queue.Queue()
    answered: dict[int, str] = {}
    chance = random.Random(5)
    running = [Host(root, said, number) for number, root in enumerate(hosts)]
    try:
        collect(said, answered, 1, everyone=True)
        for number in range(KILLS):
            collect(said, answered, BETWEEN)
            time.sleep(chance.random() * 0.02)  # at any moment
            if number % 3 == 1:
                server.kill()
                server.start()
            else:
                victim = chance.choice(running)
                victim.kill()
                victim.start()
        collect(said, answered, 1, everyone=True)  # all of them go on, none had to be started again for the server
    finally:
        for host in running:
            host.kill()
    collect(said, answered, 0)
    with World(hosts[0]).connect() as connection:
        check(connection, answered)
    record_property("answered", len(answered))


def collect(said, answered, count, *, everyone=False):
    """Take in what hosts say until `count` more answers came, or one of each; never one that contradicts another."""
    fresh: list[int] = []
    until = time.monotonic() + PATIENCE_S
    while len(set(fresh)) < HOSTS if everyone else len(fresh) < count or not said.empty():
        assert time.monotonic() < until, f"only {len(fresh)} of {count} answers came"
        with contextlib.suppress(queue.Empty):
            number, line = said.get(timeout=1)
            kind, *rest = line.split(" ", 3)
            assert kind in {"answered", "failed"}, line
            if kind == "answered":
                _, index, digest = rest
                assert answered.setdefault(int(index), digest) == digest, f"two releases under entry {index}"
                fresh.append(number)


def check(connection, answered):
    """The log verifies, everything that was answered is in it, and each is an intent that names its request."""
    report = connection.ask(VerifyLog())
    assert [item.name for item in report.findings if item.value.startswith("high")] == []
    leaves: list[bytes] = []
    start: int | None = 0
    while start is not None:
        chunk = connection.ask(ExportLog(1, start))
        leaves += chunk.leaves
        start = chunk.next
    assert len(leaves) >= report.size
    lost = {index: digest for index, digest in answered.items() if leaf_hash(leaves[index]).hex() != digest}
    assert lost == {}
    assert {json.loads(leaves[index])["kind"] for index in answered} == {"release.intent"}
