"""polars opens URLs with a store of its own; it reads and writes sealed data through open files and pyarrow datasets."""

from __future__ import annotations

import fsspec
import polars as pl
import pyarrow.dataset as ds
import pytest


def test_open_files(place, columns, nothing_left):
    frame = pl.DataFrame(columns)

    def sealed():
        with fsspec.open("hermetic://features/x", "wb") as file:
            frame.write_parquet(file)
        with fsspec.open("hermetic://features/x") as file:
            assert pl.read_parquet(file).equals(frame)
        with fsspec.open("hermetic://features/x") as file:
            assert pl.read_parquet(file, columns=["id"]).width == 1

    nothing_left(plain=lambda: frame.write_parquet("plain"), sealed=sealed)


def test_lazily(place, columns, nothing_left):
    frame = pl.DataFrame(columns)
    fs = fsspec.filesystem("hermetic")

    def sealed():
        with fs.open("features/x", "wb") as file:
            frame.write_parquet(file, row_group_size=500)
        lazy = pl.scan_pyarrow_dataset(ds.dataset("features/x", filesystem=fs))
        assert lazy.filter(pl.col("id") >= 2990).select("id").collect().height == 10
        with fs.open("features/x") as file:
            assert pl.scan_parquet(file).filter(pl.col("group") == 1).select(pl.len()).collect().item() == 1000

    nothing_left(plain=lambda: frame.write_parquet("plain"), sealed=sealed)


def test_csv(place, columns, nothing_left):
    frame = pl.DataFrame(columns)

    def sealed():
        with fsspec.open("hermetic://features/x", "wb") as file:
            frame.write_csv(file)
        with fsspec.open("hermetic://features/x") as file:
            assert pl.read_csv(file).equals(frame)

    nothing_left(plain=lambda: frame.write_csv("plain"), sealed=sealed)


@pytest.mark.parametrize("call", [pl.read_parquet, lambda url: pl.scan_parquet(url).collect(), pl.DataFrame({"a": [1]}).write_parquet])
def test_urls_are_refused_by_polars_itself(place, columns, call, real):
    """Should polars learn fsspec's URLs one day, the page that says otherwise is to be changed."""
    real.seal(b"x", name="features/x")
    with pytest.raises((OSError, pl.exceptions.PolarsError, ImportError, ValueError)):
        call("hermetic://features/x")
    assert real.show("features/x").number == 1
