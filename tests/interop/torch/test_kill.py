"""Training that is killed while it saves, again and again: it always resumes from a checkpoint that verifies, and loses no step.

HERMETIC_KILLS=50 make interop-torch kills 50 times; 4 without it. Where it dies is counted in durable steps, not in time.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest
import torch

from hermetic.integrations import torch as sealed
from tests.interop.torch.training_child import EVERY, NAME, resumed

KILLS = int(os.environ.get("HERMETIC_KILLS", "4"))
CHILD = Path(__file__).with_name("training_child.py")
MOST = 8 * KILLS + 8  # steps of the whole training
LATEST_STEP = 60  # durable steps; some ten of them make one checkpoint


@pytest.fixture
def training(real, monkeypatch):
    monkeypatch.setenv("HERMETIC_PURPOSE", "train")
    numbers = torch.arange(EVERY * (MOST + 6) * 10)
    real.seal(numbers.numpy().tobytes(), name="dataset/train", data_class="internal", purpose="ingest")
    records = sealed.SealedRecords("dataset/train@1", dtype=torch.int64, shape=(10,))
    loader = sealed.SealedLoader(records, batch_size=EVERY, shuffle=True, seed=3, block_bytes=4000, window=2)
    totals = [0]
    for batch in islice(loader, MOST):
        totals.append(totals[-1] + int(batch.sum()))
    return totals


def train(kill_at):
    root = Path(__file__).resolve().parents[3]
    paths = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, str(CHILD), str(kill_at), str(MOST)],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode in {0, -9}, done.stderr
    return done


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled:UserWarning")
def test_training_killed_while_it_saves_resumes_from_a_verified_checkpoint(real, training, record_property):
    chance, published, deaths = random.Random(11), 0, 0
    while deaths < KILLS:
        done = train(chance.randint(1, LATEST_STEP))
        assert done.returncode == -9, "the training is over before it was killed often enough"
        deaths += 1
        lines = [line.split() for line in done.stdout.splitlines()]
        assert [line[0] for line in lines[: bool(published)]] == ["resumed"] * bool(published), done.stdout
        published = max([published, *(int(line[1]) for line in lines if line[0] == "saved")])
        if not sealed.exists(NAME):
            continue
        good = real.latest_good(NAME)
        assert good.ref == real.show(NAME).ref, "what is published is whole: nothing is passed over"
        state = resumed(real, good.ref)
        assert published <= state["step"] <= published + 1  # the last may have died before it could say so
        assert torch.equal(state["total"], torch.full((400, 1000), training[state["step"]]))
        published = state["step"]
    last = train(0)
    assert last.returncode == 0
    state = resumed(real, real.latest_good(NAME).ref)
    assert (state["step"], int(state["total"][0, 0])) == (MOST, training[MOST])
    record_property("summary", f"TR2: {deaths} kills while saving; the last good checkpoint was resumed from each time")
