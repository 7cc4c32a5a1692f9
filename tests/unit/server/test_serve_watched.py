"""`hermetic serve` as a process: metrics while it runs, JSON log lines, a clean end; and the commands that deliver and take back."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.request

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from hermetic.cli.main import main
from hermetic.errors import ApprovalNeeded
from tests import world as w
from tests.unit.custody.approving import Person, to_shred

HERMETIC = [sys.executable, "-c", "from hermetic.cli.main import main; main()"]


@pytest.fixture
def world(tmp_path, monkeypatch):
    made = w.World.make(tmp_path / "world")
    monkeypatch.setenv("HERMETIC_HOME", str(made.root / "home"))
    monkeypatch.chdir(made.project)
    yield made
    made.close()


def test_a_service_is_watched_while_it_runs(world):
    (world.root / "run").mkdir(mode=0o700)
    place = world.project.parent / "run" / "custody.sock"
    words = ["serve", "--socket", str(place), "--metrics", "127.0.0.1:0", "--log-format", "json"]
    process = subprocess.Popen([*HERMETIC, *words], stderr=subprocess.PIPE, text=True, env=process_environment())
    try:
        said = []
        while "stop with Ctrl-C" not in (line := process.stderr.readline()):
            assert line, said
            said.append(line)
        (told,) = [line for line in said if "/metrics" in line]
        with urllib.request.urlopen(told.split()[-1], timeout=20) as answer:
            found = {family.name for family in text_string_to_metric_families(answer.read().decode())}
        assert {"hermetic_custody_up", "hermetic_releases", "hermetic_log_entries"} <= found
        asked = subprocess.run(
            [*HERMETIC, "ls"],
            env={**process_environment(), "HERMETIC_URL": f"unix:{place}"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert asked.returncode == 3, asked.stderr  # custody's own user
        line = json.loads(process.stderr.readline())
        assert (line["event"], line["outcome"], line["reason"]) == ("requests", "refused", "denied")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait()
        process.stderr.close()


def process_environment():
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


@pytest.mark.parametrize("where", ["0.0.0.0:9464", "localhost:1"])
def test_metrics_for_others_are_refused_before_anything_starts(world, where, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["hermetic", "serve", "--socket", str(world.root / "x.sock"), "--metrics", where])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "loopback" in capsys.readouterr().err
    assert not (world.root / "x.sock").exists()


def run(capsys, monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["hermetic", *words, "--json"])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    assert not ended.value.code, said.err
    return json.loads(said.out), said.err


def test_withdraw_list_and_deliver(world, capsys, monkeypatch):
    with contextlib.closing(world.port()) as port:
        w.change_policy(
            world, port, lambda text: text.replace("approvals: 2, approvals_in: {development: 0, staging: 1}", "approvals: 1")
        )
        w.seal(port)
        Person("bob").enrol(port)
    with world.connect() as connection, pytest.raises(ApprovalNeeded):
        connection.ask(to_shred(connection))
    (row,) = run(capsys, monkeypatch, "request", "ls")[0]["requests"]
    done, _ = run(capsys, monkeypatch, "request", "withdraw", row["id"][:6], "--reason", "a mistake")
    assert done == {"request": row["id"], "state": "withdrawn"}
    assert run(capsys, monkeypatch, "request", "ls")[0]["requests"] == []
    (kept,) = run(capsys, monkeypatch, "request", "ls", "--all")[0]["requests"]
    assert (kept["state"], kept["expires_ms"]) == ("withdrawn", row["expires_ms"])
    told, said = run(capsys, monkeypatch, "request", "notify")
    assert told == {"sent": 0, "failed": 0, "dead": 0, "dropped": 0, "waiting": 0}
    assert "nobody is told" in said
