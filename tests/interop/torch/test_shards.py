"""SealedShards: lines, tars and whole members, shared among workers, and webdataset's own pipelines."""

from __future__ import annotations

import io
import json
import tarfile
from itertools import islice

import pytest
from torch.utils.data import DataLoader

from hermetic.errors import FormatError, UsageError
from hermetic.integrations.torch import SealedShards, ShardLoader, register_webdataset

SHARDS, LINES = 5, 40


def tar(samples):
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for name, content in samples:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return raw.getvalue()


@pytest.fixture
def logs(real, tmp_path):
    folder = tmp_path / "logs"
    folder.mkdir()
    for shard in range(SHARDS):
        (folder / f"{shard}.jsonl").write_text("".join(json.dumps({"n": shard * LINES + line}) + "\n" for line in range(LINES)))
    real.seal(folder, name="dataset/logs", data_class="internal", purpose="ingest")


@pytest.fixture
def images(real, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for shard in range(3):
        samples = [
            (f"a/{shard}{number}.{kind}", f"{shard}{number}{kind}".encode()) for number in range(4) for kind in ("jpg", "cls.txt")
        ]
        (folder / f"{shard}.tar").write_bytes(tar(samples))
    real.seal(folder, name="dataset/images", data_class="internal", purpose="ingest")


def numbers(batches):
    return [json.loads(line)["n"] for batch in batches for line in batch]


@pytest.mark.parametrize("how", [{}, {"num_workers": 2}, {"num_workers": 2, "multiprocessing_context": "spawn"}])
def test_every_line_comes_once(logs, releases, how):
    shards = SealedShards("dataset/logs", purpose="train")
    found = numbers(DataLoader(shards, batch_size=7, collate_fn=list, **how))
    assert sorted(found) == list(range(SHARDS * LINES))
    assert (found == sorted(found)) is (not how)
    assert releases() == max(1, how.get("num_workers", 0))


def test_ranks_share_the_shards(logs):
    found = [[json.loads(line)["n"] for line in SealedShards("dataset/logs", purpose="train", rank=rank, ranks=2)] for rank in (0, 1)]
    assert sorted(found[0] + found[1]) == list(range(SHARDS * LINES))
    assert found[0]
    assert found[1]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loop_over_shards_goes_on_where_it_stopped(logs, workers):
    def made():
        shards = SealedShards("dataset/logs", purpose="train", shuffle=True, buffer=30, seed=4)
        return ShardLoader(shards, batch_size=7, collate_fn=list, num_workers=workers)

    first = made()
    epochs = [numbers(first), numbers(first)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(SHARDS * LINES))
    assert epochs[0] != epochs[1]
    second = made()
    second.set_epoch(1)
    got = list(islice(second, 5))
    third = made()
    third.load_state_dict(json.loads(json.dumps(second.state_dict())))
    assert numbers([*got, *third]) == epochs[1]
    with pytest.raises(UsageError, match="batch_size"):
        ShardLoader(SealedShards("dataset/logs", shuffle=True, buffer=30, seed=4), num_workers=workers).load_state_dict(
            third.state_dict()
        )


def test_samples_of_a_tar(images):
    found = list(SealedShards("dataset/images", records="tar", purpose="train"))
    assert len(found) == 12
    assert found[5] == {"__key__": "a/11", "jpg": b"11jpg", "cls.txt": b"11cls.txt"}
    whole = list(SealedShards("dataset/images", records="files", members="1.*", purpose="train"))
    assert whole == [tar([(f"a/1{n}.{kind}", f"1{n}{kind}".encode()) for n in range(4) for kind in ("jpg", "cls.txt")])]


def test_what_is_wrong_is_said(logs):
    with pytest.raises(FormatError, match=r"dataset/logs@1/0\.jsonl is no tar"):
        list(SealedShards("dataset/logs", records="tar", purpose="train"))
    with pytest.raises(UsageError, match="lines, tar, files"):
        SealedShards("dataset/logs", records="pickle")
    with pytest.raises(UsageError):
        ShardLoader(SealedShards("dataset/logs"), num_workers=1, persistent_workers=True)


@pytest.mark.parametrize("workers", [0, 2])
def test_webdataset(images, monkeypatch, workers):
    wds = pytest.importorskip("webdataset")
    monkeypatch.setenv("HERMETIC_PURPOSE", "train")
    register_webdataset()
    urls = [f"hermetic://dataset/images@1/{number}.tar" for number in range(3)]
    samples = wds.WebDataset(urls, shardshuffle=False, workersplitter=wds.split_by_worker).to_tuple("jpg", "cls.txt")
    found = [tuple(pair) for pair in DataLoader(samples, batch_size=None, num_workers=workers)]
    assert sorted(found) == [(f"{s}{n}jpg".encode(), f"{s}{n}cls.txt".encode()) for s in range(3) for n in range(4)]
