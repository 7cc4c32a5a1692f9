"""Processes that read for as long as they may: `python going_on.py loader START_METHOD` or `python going_on.py scorer`.

Every batch and every score is compared with what it has to be; then one line goes out: its number and when it was (monotonic). The
last line says why it ended: `stopped` (standard input was closed), or the names of the errors, and how many workers are left.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import select
import sys
import time
from typing import TYPE_CHECKING

import torch

import hermetic
from hermetic.errors import HermeticError
from hermetic.integrations.torch import SealedLoader, SealedRecords

if TYPE_CHECKING:
    from collections.abc import Iterator

TRAIN, MODEL = "dataset/train", "model/risk"
SHARDS, ROWS, WIDTH = 3, 200, 250
PAUSE_S = 0.005  # for the step of training, or until the next request comes: others need the processors too
PARAMETERS = 1024  # so few that every sum is exact


def row(number: int) -> list[int]:
    """Return the record of this number."""
    return [number, *(number * 7 % 1000 + at for at in range(WIDTH - 1))]


def state() -> dict[str, torch.Tensor]:
    """Return the weights."""
    return {"weight": torch.arange(float(PARAMETERS)), "bias": torch.tensor(3.0)}


def batches(method: str) -> Iterator[int]:
    """Yield the epoch of each batch, for ever."""
    expected = torch.tensor([row(number) for number in range(SHARDS * ROWS)], dtype=torch.int64)
    records = SealedRecords(f"{TRAIN}@1", dtype=torch.int64, shape=(WIDTH,), purpose="train")
    last = method == "spawn"  # starting one takes seconds: they stay for all epochs
    loader = SealedLoader(
        records,
        batch_size=16,
        shuffle=True,
        block_bytes=20 * 8 * WIDTH,
        window=2,
        num_workers=2,
        multiprocessing_context=method,
        persistent_workers=last,
    )
    epoch = 0
    while True:
        seen = 0
        for batch in loader:
            numbers = batch[:, 0]
            assert torch.equal(batch, expected[numbers]), "a batch is not what was sealed"
            seen += len(numbers)
            yield epoch
        assert seen == SHARDS * ROWS, f"an epoch had {seen} records"
        epoch += 1


def scores() -> Iterator[int]:
    """Yield how often weights were loaded, after each score, for ever."""
    known, loaded = state(), 0
    with hermetic.connect(purpose="evaluate") as h:
        while True:
            loaded += 1
            with h.hold_tensors(f"{MODEL}@1") as held:
                for number in range(200):  # then loads them again, as servers do that are started again
                    request = torch.full((PARAMETERS,), float(number % 10))
                    with held.use() as weights, torch.inference_mode():
                        answer = weights["weight"] @ request + weights["bias"]
                    assert torch.equal(answer, known["weight"] @ request + known["bias"]), "a score is not what it has to be"
                    yield loaded


def main() -> None:
    going = batches(sys.argv[2]) if sys.argv[1] == "loader" else scores()
    count, why = 0, "stopped"
    try:
        for turn in going:
            count += 1
            print(count, time.monotonic(), turn, flush=True)
            if select.select([0], [], [], PAUSE_S)[0] and not os.read(0, 1):
                break
    except HermeticError as error:
        why = type(error).__name__
    going.close()
    del going
    gc.collect()
    print("ended", why, count, len(multiprocessing.active_children()), flush=True)


if __name__ == "__main__":
    main()
