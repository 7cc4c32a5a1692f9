"""pandas and pyarrow through hermetic://, unmodified."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from hermetic.errors import IntegrityError

pandas = pytest.importorskip("pandas")
dataset = pytest.importorskip("pyarrow.dataset")
parquet = pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def frame():
    return pandas.DataFrame({"id": range(1000), "group": [n % 3 for n in range(1000)], "name": [f"n{n}" for n in range(1000)]})


@pytest.fixture(autouse=True)
def every_name_has_a_rule(fs, monkeypatch):
    from hermetic.integrations import attached

    monkeypatch.setattr(attached, "rule_for", lambda session, name: name)


def test_parquet(h, fs, frame, store):
    frame.to_parquet("hermetic://features/x")
    frame.assign(id=0).to_parquet("hermetic://features/x")
    pandas.testing.assert_frame_equal(pandas.read_parquet("hermetic://features/x@1"), frame)
    assert pandas.read_parquet("hermetic://features/x", columns=["id"])["id"].sum() == 0
    assert all(b"PAR1" not in store.read_bytes(key, limit=10**7) for key, _ in store.list())
    assert parquet.read_table("features/x@1", filesystem=fs).num_rows == 1000
    assert dataset.dataset("features/x@1", filesystem=fs).count_rows() == 1000


def test_csv(fs, frame):
    frame.to_csv("hermetic://features/x", index=False)
    pandas.testing.assert_frame_equal(pandas.read_csv("hermetic://features/x"), frame)


def test_partitions_in_a_run(h, fs, frame):
    with h.run("prepare", purpose="prepare") as run:
        frame.to_parquet("hermetic://features/x", partition_cols=["group"])
    assert run.outputs == ("features/x@1",)
    assert len(h.members("features/x")) == 3
    back = pandas.read_parquet("hermetic://features/x")
    assert back.sort_values("id")["name"].tolist() == frame["name"].tolist()
    table = dataset.dataset("features/x@1", filesystem=fs, partitioning="hive").to_table(filter=dataset.field("group") == 2)
    assert table.num_rows == 333


def test_a_frame_that_cannot_be_written_publishes_nothing(h, fs, store):
    for write in ("to_parquet", "to_csv"):

        class Odd:
            def __str__(self):
                raise KeyError("odd")

            __repr__ = __str__

        with pytest.raises(Exception):  # noqa: B017, PT011 - whatever the library makes of it
            getattr(pandas.DataFrame({"a": ["x"] * 200_000 + [Odd()]}), write)("hermetic://features/x")
    assert h.list() == ()
    assert list(store.list()) == []


def test_reads_in_a_run_are_its_inputs(h, fs, frame):
    frame.to_parquet("hermetic://dataset/x")
    with h.run("train", purpose="train") as run:
        pandas.read_parquet("hermetic://dataset/x")
        pandas.read_parquet("hermetic://dataset/x")
    assert run.ended.inputs == ("dataset/x@1",)


TORN = [[b"PAR1\x15\x04", b"some rows"], [b"P", b"AR", b"1", b"\x15x"], [b"PARE\x20\1\0\0", b"x"], [b"ARROW1\0\0", b"x" * 100]]


@pytest.mark.parametrize("pieces", TORN)
def test_a_torn_file_is_not_published(h, fs, pieces):
    """As DuckDB leaves it after a query that failed: closed, without an exception."""
    file = fs.open("features/x", "wb")
    for piece in pieces:
        file.write(piece)
    with pytest.raises(IntegrityError, match="before it was whole"):
        file.close()
    assert file.closed
    assert h.list() == ()


def test_threads_of_a_transaction_write_one_version(h, fs):
    """pyarrow opens the files of a dataset from several threads at once."""
    ready = threading.Barrier(8)

    def write(number):
        ready.wait()
        with fs.open(f"features/x/{number}.bin", "wb") as file:
            file.write(b"x")

    fs.mkdir("features/x")
    with fs.transaction, ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    assert h.show("features/x").number == 1
    assert len(h.members("features/x")) == 8


@pytest.mark.parametrize("text", [b"PARENT_ID,b\n1,2\n", b"PAR1,PAR2\n1,2\n", b"ARROW1,ARROW2\n", b"PAR1", b""])
def test_text_that_begins_like_one_is_published(fs, text):
    with fs.open("features/x", "wb") as file:
        file.write(text)
    assert fs.cat_file("features/x") == text
