"""A domain moves from root to root while processes that were there before read, seal and make keys: none of them fails."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

import hermetic
from hermetic.domain import root_moves
from hermetic.formats.messages.roots import DropRoot, ListRoots, SetRootState
from tests.faults.places import BASE, copy_template

if TYPE_CHECKING:
    from pathlib import Path

MOVES = 4
WAIT_S = 120

WORKER = """
import pathlib, sys
import hermetic
from hermetic.formats.messages.keys import ListKeys, RotateKey

root, number = pathlib.Path(sys.argv[1]), sys.argv[2]
base = (root / "project" / "one.bin").read_bytes()
rounds = 0
with hermetic.connect(root / "project") as h:
    print("ready", flush=True)
    while not (root / "stop").exists():
        if number == "0":
            with h.open("dataset/base", purpose="prepare") as file:
                assert file.read() == base
            with h.open("dataset/more", purpose="prepare") as file:
                assert base.startswith(file.read())
        else:
            data_class = ("restricted", "confidential", "internal", "public")[rounds % 4]
            h.seal(base[:1000], name=f"dataset/by-{data_class}", data_class=data_class, member="x", purpose="ingest")
            h.connection.ask(RotateKey(h.connection.ask(ListKeys()).keys[0].kek, "a new key under every active root"))
        rounds += 1
        (root / f"rounds-{number}").write_text(str(rounds))
print(rounds, flush=True)
"""


def rounds_of(root: Path, number: int) -> int:
    path = root / f"rounds-{number}"
    text = path.read_text() if path.exists() else ""
    return int(text or 0)


def wait_for_rounds(root: Path, workers: list[subprocess.Popen[str]], more: int) -> None:
    """Wait until every worker has done some more rounds, or has ended."""
    wanted = [rounds_of(root, number) + more for number in range(len(workers))]
    deadline = time.monotonic() + WAIT_S
    for number, worker in enumerate(workers):
        while rounds_of(root, number) < wanted[number] and worker.poll() is None:
            assert time.monotonic() < deadline, "a worker stands still"


def test_readers_and_writers_go_on_while_the_domain_moves(template: Path, tmp_path: Path, monkeypatch) -> None:
    root = tmp_path / "place"
    copy_template(template, root, "move")
    monkeypatch.setenv("HERMETIC_HOME", str(root / "home"))
    command = [sys.executable, "-W", "error", "-c", WORKER, str(root)]
    workers = [subprocess.Popen([*command, str(number)], stdout=subprocess.PIPE, text=True) for number in range(2)]
    try:
        for worker in workers:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "ready\n"
        with hermetic.connect(root / "project") as h:
            for _ in range(MOVES):
                (old,) = (row.root for row in h.connection.ask(ListRoots()).roots if row.state == "active")
                root_moves.add_root(h.connection, "local:insecure-file", reason="drill")
                wait_for_rounds(root, workers, 1)
                h.connection.ask(SetRootState(old, "deactivate", "drill"))
                h.connection.ask(DropRoot(old, "drill"))
                wait_for_rounds(root, workers, 1)
            rows = h.connection.ask(ListRoots()).roots
        (root / "stop").touch()
        done = [worker.communicate(timeout=WAIT_S)[0] for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    assert [worker.returncode for worker in workers] == [0, 0]
    assert all(int(text) >= 2 * MOVES for text in done)
    assert [row.state for row in rows].count("destroyed") == MOVES
    assert {(row.slots, row.keys) for row in rows if row.state == "active"} == {(rows[-1].keys, rows[-1].keys)}
    with hermetic.connect(root / "project") as h, h.open("dataset/base", purpose="prepare") as file:
        assert file.read() == BASE
