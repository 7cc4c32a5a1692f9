"""The anchor command: given every checkpoint, never in the way, never unseen."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hermetic.audit.note import Checkpoint, Note
from hermetic.domain import config
from hermetic.domain.anchoring import REST_MS, AnchorCommand
from hermetic.domain.local import LocalPort
from hermetic.errors import StorageError
from hermetic.formats.messages.domain import GatherFacts
from tests import world as w

KEEP = "import sys; open(sys.argv[1], 'ab').write(sys.stdin.buffer.read() + b'\\n----\\n')"


def facts(port):
    return {pair.name: pair.value for pair in port.ask(GatherFacts()).backup}


@pytest.fixture
def boot():
    class Boot:
        now = 1_000_000

        def __call__(self):
            return self.now

    return Boot()


def port_with(world, command, **more):
    custodian = world.custodian()
    port = LocalPort(custodian, anchor=AnchorCommand(custodian, tuple(command), **more))
    world.ports.append(port)
    return port


def test_every_checkpoint_is_given_once(world, tmp_path):
    kept = tmp_path / "kept"
    port = port_with(world, [sys.executable, "-c", KEEP, kept])
    w.seal(port)
    w.open_(port)
    notes = kept.read_text().split("\n----\n")[:-1]
    sizes = [Checkpoint.parse(Note.parse(note.encode()).text).size for note in notes]
    assert sizes == sorted(set(sizes))
    said = facts(port)
    assert (said["anchor_problem"], said["anchor_size"]) == ("", str(sizes[-1]))
    assert int(said["anchor_size"]) == port.ask(GatherFacts()).log_size


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["/nowhere/at/all"], "did not run"),
        ([sys.executable, "-c", "import sys; sys.exit('no route to the notary')"], "no route to the notary"),
        ([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"], "ended with -9"),
    ],
)
def test_one_that_fails_is_told_and_stops_nothing(world, command, said):
    port = port_with(world, command)
    assert w.seal(port)[1].number == 1
    assert said in facts(port)["anchor_problem"]
    assert "anchor_size" not in facts(port)


def test_one_that_hangs_is_killed_with_what_it_started(world, tmp_path):
    pids = tmp_path / "pids"
    script = (
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "open(sys.argv[1], 'a').write(f'{os.getpid()} {child.pid}\\n')\n"
        "time.sleep(600)\n"
    )
    port = port_with(world, [sys.executable, "-c", script, pids], timeout_s=2.0)
    assert w.begin(port)
    assert "did not end within 2 seconds" in facts(port)["anchor_problem"]
    for pid in pids.read_text().split():
        assert not is_alive(int(pid))


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0] not in {"Z", "X"}
    except FileNotFoundError:
        return False


def test_after_a_failure_it_rests(world, tmp_path, boot):
    tries = tmp_path / "tries"
    port = port_with(world, [sys.executable, "-c", f"open({str(tries)!r}, 'a').write('x'); raise SystemExit(1)"], boot=boot)
    for _ in range(3):
        w.begin(port)
    assert tries.read_text() == "x"
    boot.now += REST_MS
    w.begin(port)
    assert tries.read_text() == "xx"


def test_a_problem_that_cannot_be_remembered_stops_nothing(world, monkeypatch):
    port = port_with(world, ["/nowhere/at/all"])

    def full(*_):
        raise StorageError("disk full")

    monkeypatch.setattr("hermetic.domain.anchoring.write_state", full)
    assert w.seal(port)[1].number == 1


def test_the_settings_name_it(world, tmp_path):
    kept = tmp_path / "kept"
    settings = config.UserConfig(anchor_command=(sys.executable, "-c", KEEP, str(kept)))
    config.save(world.home.domain_config(world.domain), settings)
    with world.connect() as connection:
        w.seal(connection)
    assert kept.read_text().count("hermetic.log/") >= 2
