"""Custody is killed at its durable steps while others work, again and again: no key without its record, and the clients go on.

`HERMETIC_KILLS` is how many times ten kills there are.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading

import pytest

from tests.unit.server.test_separated import ANA, KEEPER, users  # noqa: F401 - the fixture

KILLS = 10 * int(os.environ.get("HERMETIC_KILLS", "1"))
STEPS = (
    "custody.seal.intent",
    "custody.release.unwrapped",
    "custody.seal.outcome",
    "custody.publish.committed",
    "custody.release.intent",
    "custody.release.outcome",
    "custody.lease.ended",
)
SERVES = """
import os, signal, sys
from hermetic import steps
from hermetic.cli.main import main
step, left = sys.argv[1], [int(sys.argv[2])]
def hook(name):
    if name == step:
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
steps.install(hook)
sys.argv = ["hermetic", "serve", "--socket", sys.argv[3]]
main()
"""
# Each thread seals and reads what it sealed; a line for each key before it is used, and for each version that was published.
WORKS = """
import sys, threading, traceback
import hermetic
from hermetic.domain.unix_port import UnixPort
from hermetic.errors import KeyServiceUnavailable
asks = UnixPort.ask
def ask(self, request):
    answer = asks(self, request)
    if hasattr(request, "recipient"):
        print("key", answer.receipt.index, request.request, flush=True)
    return answer
UnixPort.ask = ask
over = threading.Event()
def work(number):
    turn, ref = 0, None
    while not over.is_set():
        turn += 1
        content = b"%d %d" % (number, turn)
        try:
            ref = h.seal(content, name=f"dataset/of-{number}", data_class="internal").ref
            print("sealed", ref, content.decode(), flush=True)
            with h.open(ref, purpose="train") as file:
                assert file.read() == content
            print("read", ref, flush=True)
        except KeyServiceUnavailable:
            over.wait(0.05)
        except BaseException:
            traceback.print_exc(file=sys.stdout)
            print("failed", flush=True)
            return
with hermetic.connect() as h:
    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    over.set()
    for thread in threads:
        thread.join()
print("done", flush=True)
"""


class Worker:
    """The process that works, and what it said."""

    def __init__(self, users):  # noqa: F811
        self.process = users.popen(ANA, sys.executable, "-c", WORKS, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.lines, self._more = [], threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            with self._more:
                self.lines.append(line.rstrip("\n"))
                self._more.notify_all()
        with self._more:
            self.lines.append("ended")
            self._more.notify_all()

    def goes_on(self):
        """Wait until something was sealed and read since now."""
        with self._more:
            at = len(self.lines)
            assert self._more.wait_for(lambda: any(line.startswith(("read", "failed", "ended")) for line in self.lines[at:]), 120)
        self.check()

    def check(self):
        assert not {"failed", "ended"} & set(self.lines), "\n".join(self.lines[-40:])

    def end(self):
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self._reader.join(120)
        said = self.process.stderr.read()
        self.process.stderr.close()
        self.process.stdout.close()
        return self.process.wait(60), said


def serve_until(users, step, occurrence):  # noqa: F811
    """Serve, and die at the given time that a step is reached."""
    serving = users.popen(KEEPER, sys.executable, "-c", SERVES, step, str(occurrence), str(users.socket))
    said = serving.stderr.readline()
    rest = serving.stderr.read()
    serving.stderr.close()
    assert "custody of" in said, said + rest
    assert serving.wait(120) == -9, rest


@pytest.mark.skipif(os.geteuid() != 0, reason="works as several users of the machine, which only root can")
def test_no_key_without_its_record(users):  # noqa: F811
    worker = Worker(users)
    try:
        worker.goes_on()
        users.stop(9)
        for number in range(KILLS):
            serve_until(users, STEPS[number % len(STEPS)], 1 + number % 3)
            worker.check()
        users.start()
        worker.goes_on()
    finally:
        code, said = worker.end()
    assert (code, said) == (0, ""), worker.lines[-20:]
    _check(users, worker.lines)


def _check(users, lines):  # noqa: F811
    """Each key that came has its intent and its outcome, each version is there, and the log is whole."""
    found = json.loads(users.run(KEEPER, "log", "verify", "--json", code=7).stdout)
    assert {item["code"] for item in found["findings"]} <= {"log-never-anchored", "intent-without-outcome"}, found["findings"]
    leaves = []
    while page := json.loads(users.run(KEEPER, "log", "ls", "--json", "--start", str(len(leaves)), "--limit", "2000").stdout)[
        "entries"
    ]:
        leaves += page
    facts = {leaf["index"]: leaf for leaf in leaves}
    ended = {
        int(leaf["visible"]["intent"]) for leaf in leaves if leaf["kind"] == "release.outcome" and leaf["visible"]["handed"] == "1"
    }
    keys = [(int(index), request) for word, index, request in (line.split() for line in lines if line.startswith("key"))]
    assert len(keys) > KILLS
    for index, request in keys:
        assert (facts[index]["kind"], facts[index]["visible"]["request"]) == ("release.intent", request)
        assert index in ended
    sealed = dict(line.split(" ", 2)[1:] for line in lines if line.startswith("sealed"))
    for ref in list(sealed)[-3:]:
        assert users.run(ANA, "cat", ref, "--purpose", "train").stdout.decode() == sealed[ref]
    listed = json.loads(users.run(ANA, "ls", "--json").stdout)
    assert {ref.split("@")[0] for ref in sealed} <= {row["name"] for row in listed["assets"]}
