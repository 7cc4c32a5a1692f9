"""A running DataLoader and a process that scores with sealed weights, while keys are rotated, suspended, revoked and compromised.

What happens to other keys they do not notice, nor rotation and rewrapping of their own: not one failed read, counted by the
processes, which compare every batch and every score. Once their own keys are suspended or revoked both end with an error that says
so, without a wrong batch and with no worker left.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from hermetic.formats.messages.keys import ChangeKeyState, RewrapKey, RotateKey
from hermetic.formats.messages.policy import ApplyPolicy
from tests.interop.torch.going_on import MODEL, ROWS, SHARDS, TRAIN, row, state

CHILD = Path(__file__).with_name("going_on.py")
CHECK_S, PATIENCE_S = 1, 120


class Process:
    """One process of `going_on`; `after` waits for what it says."""

    def __init__(self, *arguments):
        root = Path(__file__).resolve().parents[3]
        paths = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
        self._process = subprocess.Popen(
            [sys.executable, str(CHILD), *arguments],
            env={**os.environ, "PYTHONPATH": paths},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._changed, self._ended = threading.Condition(), False
        self.count, self.at, self.turn, self.said = 0, 0.0, 0, None
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        for line in self._process.stdout:
            with self._changed:
                words = line.split()
                if words[0] == "ended":
                    self.said = (words[1], int(words[2]), int(words[3]))
                else:
                    self.count, self.at, self.turn = int(words[0]), float(words[1]), int(words[2])
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def after(self, moment):
        """Wait until something was read later than `moment`; return how much was read in all."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.at > moment or self._ended, PATIENCE_S), "it hangs"
            assert not self._ended, f"it ended: {self.said}"
            return self.count

    def end(self, *, stop=False):
        """Wait for its end; return what it said: why, how many good reads, how many workers were left."""
        if stop:
            self._process.stdin.close()
        with self._changed:
            assert self._changed.wait_for(lambda: self._ended, PATIENCE_S), "it hangs"
        self._reader.join()
        assert self._process.wait(PATIENCE_S) == 0
        return self.said

    def kill(self):
        """Whatever a test left of it."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        self._process.stdin.close()
        self._process.stdout.close()


@pytest.fixture
def started():
    """Start processes that end with the test."""
    running = []

    def start(*arguments):
        running.append(Process(*arguments))
        return running[-1]

    yield start
    for process in running:
        process.kill()


@pytest.fixture
def pipeline(real, domain, tmp_path):
    """Training data and a model in use, and other data under other keys: another class, another project."""
    yaml, out = YAML(), io.StringIO()
    body = yaml.load((domain / "hermetic.yaml").read_text())
    for rules in body["classes"].values():
        rules["lease"] = {"check": f"{CHECK_S}s", "offline": "15m"}
    yaml.dump(body, out)
    (domain / "hermetic.yaml").write_text(out.getvalue())
    real.connection.ask(ApplyPolicy(real.connection.project.bundle().to_bytes()))
    folder = tmp_path / "shards"
    folder.mkdir()
    for shard in range(SHARDS):
        rows = [row(number) for number in range(shard * ROWS, (shard + 1) * ROWS)]
        (folder / f"{shard}.bin").write_bytes(np.array(rows, dtype=np.int64).tobytes())
    real.seal(folder, name=TRAIN, data_class="confidential", owner="ana", purpose="ingest")
    real.seal_tensors(state(), name=MODEL, data_class="internal", owner="ana")
    for number in range(3):
        real.seal(os.urandom(10_000), name=f"dataset/other{number}", data_class="restricted", owner="ana", purpose="ingest")
    real.seal(os.urandom(10_000), name="dataset/elsewhere", data_class="internal", project="cardio", owner="ana", purpose="ingest")
    return real


def hermetic(*words):
    """Run a command, and return when it had ended."""
    command = [str(Path(sys.executable).with_name("hermetic")), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    return time.monotonic()


def everything_else(ask, keks, root, passed):
    """Do to other keys whatever can be done to keys, and call `passed` with the moment after each."""
    for kek in keks:
        requests = [RotateKey(kek, "test"), RewrapKey(kek), *(ChangeKeyState(kek, verb, "test") for verb in ("suspend", "resume"))]
        for request in requests:
            ask(request)
            passed(time.monotonic())
        passed(hermetic("key", "compromise", kek, "--reason", "test"))
        ask(ChangeKeyState(kek, "revoke", "what came after the playbook too"))
        passed(time.monotonic())
    passed(hermetic("key", "root", "add", "local:passphrase", "--passphrase-file", str(root), "--reason", "test"))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_what_is_not_affected_goes_on_and_what_is_ends_cleanly(pipeline, started, tmp_path, method, record_property):
    h = pipeline
    kek_of = {name: h.show(name).kek for name in (TRAIN, MODEL, "dataset/other0", "dataset/elsewhere")}
    assert len(set(kek_of.values())) == 4
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("a passphrase of the second root")
    passphrase.chmod(0o600)
    loader, scorer = started("loader", method), started("scorer")
    moments = [loader.after(0.0) and scorer.after(0.0)]

    def passed(moment):
        for process in (loader, scorer):
            process.after(moment)
        moments.append(moment)

    everything_else(h.connection.ask, [kek_of["dataset/other0"], kek_of["dataset/elsewhere"]], passphrase, passed)
    for name in (TRAIN, MODEL):
        passed(hermetic("key", "rotate", kek_of[name], "--reason", "their own"))
    passed(time.monotonic() + CHECK_S)  # every lease was confirmed once more
    assert loader.turn >= 1  # it went through the data more than once
    before = loader.count, scorer.count

    hermetic("key", "suspend", kek_of[TRAIN], "--reason", "test")
    why, batches, workers = loader.end()
    assert (why, workers) == ("KeyUnusable", 0)
    assert batches >= before[0]
    scorer.after(time.monotonic() + CHECK_S)
    hermetic("key", "revoke", kek_of[MODEL], "--reason", "test")
    why, scores, _ = scorer.end()
    assert why in {"LeaseEnded", "KeyUnusable"}  # in the loop, or just when it loaded anew
    assert scores >= before[1]
    record_property("summary", f"KM9: {batches} batches by {method} and {scores} scores beside {len(moments) - 1} changes of keys")


def test_they_end_when_told_to(pipeline, started):
    for process in (started("loader", "fork"), started("scorer")):
        process.after(0.0)
        why, count, workers = process.end(stop=True)
        assert (why, workers) == ("stopped", 0)
        assert count > 0
    assert pipeline.show(TRAIN).kek != pipeline.show(MODEL).kek
