"""dask through hermetic://: threads in one process, and workers in processes of their own."""

from __future__ import annotations

import dask
import dask.dataframe as dd
import pandas as pd
import pytest

pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword")  # of pandas 3.1, about dask's own code


def test_round_trip(place, columns, real, nothing_left):
    frame = dd.from_pandas(pd.DataFrame(columns), npartitions=4)

    def sealed():
        with real.run("prepare", purpose="prepare") as run:
            frame.to_parquet("hermetic://features/x", compute_kwargs={"scheduler": "synchronous"})
        assert run.outputs == ("features/x@1",)
        back = dd.read_parquet("hermetic://features/x")
        assert back["id"].sum().compute() == sum(columns["id"])

    nothing_left(plain=lambda: frame.to_parquet("plain"), sealed=sealed)


@pytest.mark.parametrize("scheduler", ["threads", "synchronous"])
def test_schedulers_of_one_process_write_one_version(place, columns, scheduler, real):
    with real.run("prepare", purpose="prepare") as run, dask.config.set(scheduler=scheduler):
        dd.from_pandas(pd.DataFrame(columns), npartitions=4).to_parquet("hermetic://features/x")
    assert run.outputs == ("features/x@1",)
    assert dd.read_parquet("hermetic://features/x")["id"].sum().compute() == sum(columns["id"])


def test_processes_read(place, columns, real):
    pd.DataFrame(columns).to_parquet("hermetic://features/x", row_group_size=500)
    with dask.config.set(scheduler="processes"):
        assert dd.read_parquet("hermetic://features/x", split_row_groups=1)["id"].sum().compute() == sum(columns["id"])


def test_distributed_workers(place, columns, real):
    from distributed import Client, LocalCluster

    pd.DataFrame(columns).to_parquet("hermetic://features/x", row_group_size=500)
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1") as cluster,
        Client(cluster),
    ):
        back = dd.read_parquet("hermetic://features/x", split_row_groups=1)
        assert back.npartitions == 6
        assert back.groupby("group")["id"].sum().compute().to_dict() == {g: sum(range(g, 3000, 3)) for g in range(3)}
