"""Hugging Face datasets: saved into a version, loaded into memory, streamed; its caches on a disk are refused."""

from __future__ import annotations

import datasets
import pyarrow.parquet as pq
import pytest

from hermetic.errors import UsageError
from hermetic.integrations.filesystem import HermeticFileSystem
from hermetic.integrations.transformers import load_dataset

pytestmark = [pytest.mark.filterwarnings("ignore::UserWarning"), pytest.mark.filterwarnings("ignore::FutureWarning")]


@pytest.fixture(autouse=True)
def hub_cache(tmp_path, monkeypatch):
    """The library's caches are among the folders that are searched, whatever it read from the environment when it was imported."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr("datasets.config.DOWNLOADED_DATASETS_PATH", tmp_path / "cache" / "downloads")


def rows_of(text):
    return datasets.Dataset.from_dict({"text": [f"{text} {number}" for number in range(50)], "n": list(range(50))})


def test_a_dataset_round_trip_leaves_no_trace(real, traces, nothing_left):
    rows = rows_of(traces.text)

    def sealed():
        with real.run("prepare", purpose="prepare"):
            rows.save_to_disk("hermetic://features/notes")
        loaded = load_dataset("features/notes@1")
        assert loaded.to_dict() == rows.to_dict()
        kept = loaded.filter(lambda row: row["n"] % 2).map(lambda row: {"longer": row["text"] * 2})
        assert kept[3]["longer"] == f"{traces.text} 7" * 2
        assert kept.cache_files == []

    nothing_left(plain=lambda: rows.save_to_disk("plain"), sealed=sealed)


def test_parquet_and_streaming_leave_no_trace(real, traces, nothing_left):
    rows = rows_of(traces.text)

    def sealed():
        with real.run("prepare", purpose="prepare"):
            rows.to_parquet("hermetic://features/notes")
        streamed = datasets.load_dataset("parquet", data_files="hermetic://features/notes@1", split="train", streaming=True)
        assert list(streamed) == list(rows)
        table = pq.read_table("features/notes@1", filesystem=HermeticFileSystem())
        assert datasets.Dataset(table).to_dict() == rows.to_dict()

    nothing_left(plain=lambda: rows.to_parquet("plain.parquet"), sealed=sealed)


def test_what_would_cache_plaintext_is_refused(real, traces, tmp_path):
    rows = rows_of(traces.text)
    with real.run("prepare", purpose="prepare"):
        rows.save_to_disk("hermetic://features/folder")
        rows.to_parquet("hermetic://features/notes")
    with pytest.raises(UsageError, match="plaintext on disk"):
        datasets.load_from_disk("hermetic://features/folder@1")
    with pytest.raises(UsageError, match="plaintext on disk"):
        datasets.load_dataset("parquet", data_files="hermetic://features/notes@1", cache_dir=str(tmp_path / "cache"))
    assert traces.found() == []
