"""`hermetic bench` where torch is there: tensors beside safetensors' own loaders, epochs through a DataLoader."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from safetensors.torch import save_file  # noqa: E402

from hermetic.bench import epochs, running, shape  # noqa: E402
from hermetic.formats.suites import DEFAULT_SUITE  # noqa: E402


def test_a_safetensors_file_is_measured_through_what_loads_it(tmp_path):
    own = tmp_path / "own.safetensors"
    save_file({"small": torch.zeros(8), "large": torch.ones(300_000, dtype=torch.bfloat16), "none": torch.zeros(0)}, own)
    folder = tmp_path / "bench"
    folder.mkdir()
    found = shape.of_path(own)
    assert set(running.default_works(found)) >= {"tensors", "tensor", "epoch"}
    plan = running.Plan(found, ("tensors", "tensor", "epoch"), (DEFAULT_SUITE.name,), threads=(2,), rounds=7, folder=folder)
    report = running.run(plan)
    assert report.loader == "torch DataLoader"
    assert [(figure.metric, figure.bytes) for figure in report.figures] == [
        ("tensors/blake3", own.stat().st_size),
        ("tensor/blake3", 600_000),
        ("epoch/blake3/2", own.stat().st_size),
    ]
    assert list(folder.iterdir()) == []


def test_an_epoch_through_a_loader_reads_every_byte_again_and_again(tmp_path):
    for name, size in {"a": epochs.BLOCK + 5, "b": 0, "c": 3}.items():
        (tmp_path / name).write_bytes(b"x" * size)
    shards = [epochs.Shard("file", str(tmp_path / name), (tmp_path / name).stat().st_size) for name in "abc"]
    again = epochs.epoch(shards, 2)
    assert [again(), again()] == [epochs.BLOCK + 8] * 2
