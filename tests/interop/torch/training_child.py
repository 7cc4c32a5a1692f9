"""A training process that saves checkpoints and is killed: `python training_child.py KILL_AT MOST`. Run by test_kill, never collected.

It resumes from the newest verified checkpoint, then trains on: a step adds what the records of its batch sum up to. Each step is
saved, in turn by torch.save, by the distributed checkpoint, and in the background. At the KILL_AT-th durable step (0: never) it kills
itself by SIGKILL. It writes a line for each checkpoint after it was told that it is published, and ends after MOST steps.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import warnings

import torch
import torch.distributed.checkpoint as dcp

import hermetic
from hermetic import steps
from hermetic.integrations import torch as sealed

NAME, EVERY = "checkpoint/soak", 64


def kill_at(count: int) -> None:
    """Die at the `count`-th durable step from now on."""
    left = [count]

    def hook(_: str) -> None:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    steps.install(hook)


def state_of(step: int, total: int, loader: dict) -> dict:
    return {"step": step, "total": torch.full((400, 1000), total, dtype=torch.int64), "loader": json.dumps(loader)}


def resumed(h, ref: str) -> dict:
    """Return the state of a version, whichever way it was saved."""
    if [member.path for member in h.members(ref)] == ["data"]:
        return sealed.load(ref)
    state = {"step": 0, "total": torch.zeros((400, 1000), dtype=torch.int64), "loader": ""}
    dcp.load(state, storage_reader=sealed.SealedReader(ref), no_dist=True)
    return state


def main() -> None:
    warnings.filterwarnings("ignore", "torch.distributed is disabled")
    with hermetic.connect() as h, h.run("train", purpose="train"):
        records = sealed.SealedRecords("dataset/train@1", dtype=torch.int64, shape=(10,))
        loader = sealed.SealedLoader(records, batch_size=EVERY, shuffle=True, seed=3, block_bytes=4000, window=2)
        step, total = 0, 0
        if sealed.exists(NAME):
            good = h.latest_good(NAME)
            state = resumed(h, good.ref)
            step, total = state["step"], int(state["total"][0, 0])
            loader.load_state_dict(json.loads(state["loader"]))
            print(f"resumed {good.ref} {step} {total}", flush=True)
        kill_at(int(sys.argv[1]))
        with sealed.BackgroundSaver(NAME, data_class="internal") as saver:
            for batch in loader:
                step, total = step + 1, total + int(batch.sum())
                save(saver, state_of(step, total, loader.state_dict()))
                print(f"saved {step}", flush=True)
                if step == int(sys.argv[2]):
                    break


def save(saver, state: dict) -> None:
    way = state["step"] % 3
    if way == 0:
        saver.save(state)
        saver.wait()
    elif way == 1:
        sealed.save(state, NAME, data_class="internal")
    else:
        dcp.save(state, storage_writer=sealed.SealedWriter(NAME, data_class="internal"), no_dist=True)


if __name__ == "__main__":
    main()
