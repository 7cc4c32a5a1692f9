"""pyarrow datasets through the file system: a partitioned write is one version, and scans read what they need."""

from __future__ import annotations

import fsspec
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq


def write(table, where, fs=None):
    ds.write_dataset(table, where, format="parquet", filesystem=fs, partitioning=["group"], partitioning_flavor="hive")


def test_a_partitioned_dataset_is_one_version(place, columns, real, nothing_left):
    table = pa.table(columns)
    fs = fsspec.filesystem("hermetic")

    def sealed():
        with real.run("prepare", purpose="prepare") as run:
            write(table, "features/x", fs)
        assert run.outputs == ("features/x@1",)
        found = ds.dataset("features/x@1", filesystem=fs, partitioning="hive")
        assert found.count_rows() == 3000
        part = found.to_table(columns=["id"], filter=(ds.field("group") == 2) & (ds.field("id") < 30))
        assert sorted(part["id"].to_pylist()) == list(range(2, 30, 3))

    nothing_left(plain=lambda: write(table, "plain"), sealed=sealed)


def test_the_same_in_a_transaction(place, columns, real, nothing_left):
    table = pa.table(columns)
    fs = fsspec.filesystem("hermetic")

    def sealed():
        with fs.transaction:
            write(table, "features/x", fs)
        assert real.show("features/x").number == 1
        assert ds.dataset("features/x", filesystem=fs, partitioning="hive").count_rows() == 3000

    nothing_left(plain=lambda: write(table, "plain"), sealed=sealed)


def test_one_file(place, columns, nothing_left):
    table = pa.table(columns)
    fs = fsspec.filesystem("hermetic")

    def sealed():
        pq.write_table(table, "features/x", filesystem=fs)
        assert pq.read_table("features/x", filesystem=fs).equals(table)
        assert pq.read_metadata("features/x", filesystem=fs).num_rows == 3000
        assert sum(batch.num_rows for batch in pq.ParquetFile("features/x", filesystem=fs).iter_batches(100)) == 3000

    nothing_left(plain=lambda: pq.write_table(table, "plain"), sealed=sealed)
