"""SealedRecords and SealedLoader: what plain data would give, in workers forked and spawned, in every order, from any place."""

from __future__ import annotations

import json
import os
import signal
from itertools import islice

import fsspec
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import hermetic
from hermetic.errors import Denied, NotFound, UsageError
from hermetic.formats.messages.keys import ChangeKeyState
from hermetic.integrations.torch import SealedLoader, SealedRecords
from tests.interop.torch.conftest import ROWS, WIDTH

TOTAL = sum(ROWS)


@pytest.fixture
def records(shards):
    return SealedRecords("dataset/train", dtype=torch.int16, shape=(WIDTH,), purpose="train")


def loader(records, **options):
    return SealedLoader(records, **{"batch_size": 64, "block_bytes": 100_000, "window": 3, "seed": 9, **options})


def rows_of(batches):
    return np.concatenate([batch.numpy() for batch in batches])


def test_records_are_what_was_sealed(records, numbers):
    assert len(records) == TOTAL
    assert records.ref == "dataset/train@1"
    for index in (0, 699, 700, 999, 1000, -1):
        assert torch.equal(records[index], torch.from_numpy(numbers[index]))
    picked = [5, 6, 7, 1200, 3, 699, 700, 701]
    batch = records.__getitems__(picked)
    assert np.array_equal(torch.stack(batch).numpy(), numbers[picked])
    with pytest.raises(IndexError):
        records[TOTAL]


@pytest.mark.parametrize("how", [{}, {"num_workers": 2}, {"num_workers": 2, "multiprocessing_context": "spawn"}])
@pytest.mark.parametrize("shuffle", [False, True, "full"])
def test_an_epoch_has_every_record_once(records, numbers, how, shuffle):
    made = loader(records, shuffle=shuffle, **how)
    wanted = [numbers[batch] for batch in made.remaining()]
    assert len(made) == len(wanted)
    got = list(made)
    assert all(np.array_equal(batch.numpy(), rows) for batch, rows in zip(got, wanted, strict=True))
    everything = rows_of(got)
    assert np.array_equal(everything, numbers) is (shuffle is False)
    assert sorted(map(bytes, everything)) == sorted(map(bytes, numbers))


@pytest.mark.parametrize("persistent", [False, True])
def test_what_a_loop_keeps_is_not_written_over(records, numbers, persistent):
    made = loader(records, num_workers=2, batch_size=8, persistent_workers=persistent)
    for stop in (10, None, 3, None):  # epochs that are left early, too
        kept = [batch[3:4].view(torch.uint8) for batch in islice(made, stop)]
        wanted = numbers[3::8][: len(kept)]
        assert len(kept) == len(wanted) == (stop or -(-TOTAL // 8))
        assert np.array_equal(np.concatenate([rows.numpy() for rows in kept]), wanted.view(np.uint8))


def test_torchs_own_loader_works_too(records, numbers):
    assert np.array_equal(rows_of(DataLoader(records, batch_size=50, num_workers=1)), numbers)


def test_epochs_differ_and_seeds_repeat(records):
    first = loader(records, shuffle=True)
    orders = [list(first.remaining())]
    first.set_epoch(1)
    orders += [list(first.remaining()), list(loader(records, shuffle=True, seed=10).remaining())]
    again = loader(records, shuffle=True)
    assert orders[0] == list(again.remaining())
    assert orders[0] != orders[1] != orders[2] != orders[0]


@pytest.mark.parametrize("shuffle", [False, True, "full"])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_loop_goes_on_where_it_stopped(records, numbers, shuffle, workers):
    whole = loader(records, shuffle=shuffle, num_workers=workers)
    whole.set_epoch(3)
    wanted = rows_of(whole)
    first = loader(records, shuffle=shuffle, num_workers=workers)
    first.set_epoch(3)
    got = list(islice(first, 7))
    state = json.loads(json.dumps(first.state_dict()))
    assert (state["epoch"], state["batches"]) == (3, 7)
    second = loader(records, shuffle=shuffle, num_workers=workers)
    second.load_state_dict(state)
    assert np.array_equal(rows_of([*got, *second]), wanted)
    third = list(second)  # the next epoch is whole again
    assert sum(map(len, third)) == TOTAL
    assert second.state_dict()["epoch"] == 4


def test_a_state_of_something_else_is_refused(records, shards, real, tmp_path):
    state = loader(records, shuffle=True).state_dict()
    for changed in ({"seed": 1}, {"batch_size": 65}, {"shuffle": "full"}, {"num_workers": 2}, {"ranks": 2}, {"drop_last": True}):
        words = "workers times ranks" if "num_workers" in changed else ""
        with pytest.raises(UsageError, match=f"the state was taken with {words}"):
            loader(records, **{"shuffle": True, **changed}).load_state_dict(state)
    real.seal(tmp_path / "shards", name="dataset/train", purpose="ingest")
    newer = SealedRecords("dataset/train", dtype=torch.int16, shape=(WIDTH,))
    with pytest.raises(UsageError, match="dataset/train@1"):
        loader(newer, shuffle=True).load_state_dict(state)
    with pytest.raises(UsageError):
        loader(records, shuffle=True).load_state_dict({**state, "batches": -1})


def test_ranks_share_an_epoch(records, numbers):
    ranks = [loader(records, shuffle=True, rank=rank, ranks=3) for rank in range(3)]
    batches = [list(made.remaining()) for made in ranks]
    assert len({len(mine) for mine in batches}) == 1
    indices = [index for mine in batches for batch in mine for index in batch]
    assert len(set(indices)) == len(indices) >= TOTAL - 3 * 64


def test_structured_records(real):
    kind = np.dtype([("image", "u1", (3, 5)), ("label", "<i4"), ("odd", "u1"), ("weight", "<f8")])
    table = np.zeros(40, kind)
    table["image"] = np.arange(600).reshape(40, 3, 5) % 256
    table["label"], table["odd"], table["weight"] = range(40), range(40), np.linspace(0, 1, 40)
    real.seal(table.tobytes(), name="dataset/pairs", data_class="internal", purpose="ingest")
    records = SealedRecords("dataset/pairs", dtype=kind, purpose="train")
    (batch,) = SealedLoader(records, batch_size=40, num_workers=1)
    for name in kind.names:
        assert np.array_equal(batch[name].numpy(), table[name])
        assert np.array_equal(records[7][name].numpy(), table[7][name])


@pytest.mark.parametrize("persistent", [False, True])
def test_one_release_for_each_process_whatever_the_shards(real, shards, releases, persistent):
    with real.run("train", purpose="train") as run:
        records = SealedRecords("dataset/train", dtype=torch.int16, shape=(WIDTH,))
        for _ in SealedLoader(records, batch_size=64, shuffle=True):
            pass
        assert releases() == 1
        made = SealedLoader(records, batch_size=64, shuffle=True, num_workers=2, persistent_workers=persistent)
        for _ in range(2):
            for _ in made:
                pass
        del made
        assert releases() == 1 + (2 if persistent else 4)
    assert real.show_run(run.id).inputs == ("dataset/train@1",)


def test_a_killed_worker_ends_the_epoch_and_not_the_next(records, numbers):
    made = loader(records, shuffle=True, num_workers=2, prefetch_factor=1)
    batches = iter(made.from_workers())
    next(batches)
    os.kill(batches._workers[0].pid, signal.SIGKILL)
    with pytest.raises(RuntimeError, match=r"killed by signal|exited unexpectedly"):
        list(batches)
    del batches
    assert sum(map(len, made)) == TOTAL


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kept", [True, False])
def test_a_key_revoked_in_mid_epoch_ends_it(real, records, numbers, workers, kept, monkeypatch):
    monkeypatch.setattr("hermetic.domain.leases.LeasedKey.guard", confirmed_each_time())
    made = loader(records, shuffle=kept, num_workers=workers, batch_size=8, prefetch_factor=1 if workers else None)
    wanted = list(made.remaining())
    with pytest.raises(Denied) as refused:
        for number, batch in enumerate(made):
            assert np.array_equal(batch.numpy(), numbers[wanted[number]])
            if number == 3:
                real.connection.ask(ChangeKeyState(real.show("dataset/train").kek, "suspend", "a drill"))
    assert number < len(wanted) - 1
    assert "suspended" in str(refused.value)


def confirmed_each_time():
    """A guard that finds it time to ask custody at every use."""
    from hermetic.domain.leases import LeasedKey

    original = LeasedKey.guard

    def guard(self):
        self._confirmed -= self.lease.check_ms
        original(self)

    return guard


def test_what_this_run_is_still_writing_is_not_read(real, shards):
    with real.run("train", purpose="train"):
        with fsspec.open("hermetic://features/x", "wb") as file:
            file.write(b"12345678")
        with pytest.raises(UsageError, match="still writing features/x"):
            SealedRecords("features/x", dtype="i2")


def test_what_is_wrong_is_said(real, shards):
    for wrong in (
        {"dtype": torch.int32, "shape": (WIDTH,)},
        {"dtype": "no such"},
        {"dtype": "U4"},
        {"dtype": torch.int8, "shape": (0,)},
    ):
        with pytest.raises(UsageError):
            SealedRecords("dataset/train", **wrong)
    for missing in ({"ref": "dataset/none"}, {"ref": "dataset/train@7"}, {"ref": "dataset/train", "members": "*.png"}):
        with pytest.raises(NotFound):
            SealedRecords(**missing, dtype="i2", shape=(WIDTH,))
    with pytest.raises(UsageError):
        SealedRecords("dataset/train@1/0.bin", dtype="i2")
    records = SealedRecords("dataset/train", dtype="<i2", shape=(WIDTH,), purpose="debugging")
    with pytest.raises(hermetic.UsageError, match="purpose"):
        records[0]
