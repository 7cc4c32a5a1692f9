"""pandas through hermetic://: Parquet, CSV, JSON lines, Feather, pickle-free; whole and in parts."""

from __future__ import annotations

import pandas as pd
import pytest

WRITERS = {
    "parquet": (lambda frame, url: frame.to_parquet(url), pd.read_parquet),
    "csv": (lambda frame, url: frame.to_csv(url, index=False), pd.read_csv),
    "compressed csv": (
        lambda frame, url: frame.to_csv(url, index=False, compression="gzip"),
        lambda url: pd.read_csv(url, compression="gzip"),
    ),
    "json lines": (
        lambda frame, url: frame.to_json(url, orient="records", lines=True),
        lambda url: pd.read_json(url, orient="records", lines=True),
    ),
    "feather": (lambda frame, url: frame.to_feather(url), pd.read_feather),
}


@pytest.mark.parametrize("form", WRITERS)
def test_round_trip(place, columns, nothing_left, form):
    write, read = WRITERS[form]
    frame = pd.DataFrame(columns)
    nothing_left(plain=lambda: write(frame, "plain"), sealed=lambda: write(frame, "hermetic://features/x"))
    pd.testing.assert_frame_equal(read("hermetic://features/x"), frame)


def test_columns_and_filters(place, columns, nothing_left):
    frame = pd.DataFrame(columns)

    def sealed():
        frame.to_parquet("hermetic://features/x", row_group_size=1000)
        part = pd.read_parquet("hermetic://features/x", columns=["id"], filters=[("id", ">=", 2500)])
        assert list(part.columns) == ["id"]
        assert len(part) == 500

    nothing_left(plain=lambda: frame.to_parquet("plain"), sealed=sealed)


def test_partitions_are_one_version(place, columns, real, nothing_left):
    frame = pd.DataFrame(columns)

    def sealed():
        with real.run("prepare", purpose="prepare") as run:
            frame.to_parquet("hermetic://features/x", partition_cols=["group"])
        assert run.outputs == ("features/x@1",)
        assert len(real.members("features/x")) == 3
        assert sorted(pd.read_parquet("hermetic://features/x")["id"]) == columns["id"]

    nothing_left(plain=lambda: frame.to_parquet("plain", partition_cols=["group"]), sealed=sealed)


def test_column_keys(place, columns, real, nothing_left):
    """Parquet's own encryption on the local disk: no asset but the keys, and nothing readable."""
    from hermetic.integrations.parquet import ColumnKeys

    frame = pd.DataFrame(columns)
    keys = ColumnKeys(real, purpose="prepare")
    keys.create("secret/columns/all", data_class="internal")

    def sealed():
        keys.write_table(frame, "sealed.parquet", columns={}, footer="secret/columns/all")
        pd.testing.assert_frame_equal(keys.read_table("sealed.parquet").to_pandas(), frame)

    nothing_left(plain=lambda: frame.to_parquet("plain"), sealed=sealed)
