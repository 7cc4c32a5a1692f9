"""DuckDB through the registered file system: read_parquet, globs, COPY TO, CSV."""

from __future__ import annotations

import duckdb
import fsspec
import pyarrow as pa
import pytest


@pytest.fixture
def con():
    with duckdb.connect() as made:
        made.register_filesystem(fsspec.filesystem("hermetic"))
        yield made


def test_round_trip(place, columns, con, real, nothing_left):
    con.register("source", pa.table(columns))

    def sealed():
        con.execute("COPY source TO 'hermetic://features/x' (FORMAT parquet)")
        query = "SELECT count(*), sum(id), min(note) = max(note) FROM read_parquet('hermetic://features/x') WHERE \"group\" = 1"
        assert con.execute(query).fetchall() == [(1000, sum(range(1, 3000, 3)), True)]

    nothing_left(plain=lambda: con.execute("COPY source TO 'plain.parquet' (FORMAT parquet)"), sealed=sealed)
    assert real.show("features/x").number == 1


def test_csv(place, columns, con, nothing_left):
    con.register("source", pa.table(columns))

    def sealed():
        con.execute("COPY source TO 'hermetic://features/x' (FORMAT csv)")
        assert con.execute("SELECT count(*) FROM read_csv('hermetic://features/x')").fetchall() == [(3000,)]

    nothing_left(plain=lambda: con.execute("COPY source TO 'plain.csv' (FORMAT csv)"), sealed=sealed)


def test_the_next_version(place, con, real):
    """DuckDB writes beside what exists and renames; of a name whose versions stay, the next one is written in place."""
    copy = "COPY (SELECT range AS id FROM range({})) TO 'hermetic://features/x' (FORMAT parquet{})"
    con.execute(copy.format(10, ""))
    with pytest.raises(duckdb.Error, match="writing to that name makes its next version"), fsspec.filesystem("hermetic").transaction:
        con.execute(copy.format(11, ""))
    con.execute(copy.format(12, ", USE_TMP_FILE false"))
    assert [(row.name, row.latest) for row in real.list() if row.latest] == [("features/x", 2)]
    assert con.execute("SELECT count(*) FROM read_parquet('hermetic://features/x')").fetchall() == [(12,)]


def test_many_row_groups(place, con):
    con.execute("COPY (SELECT range AS id, hash(range) AS h FROM range(500000)) TO 'hermetic://features/x' (FORMAT parquet)")
    assert con.execute("SELECT count(*), sum(id) FROM read_parquet('hermetic://features/x')").fetchall() == [
        (500_000, sum(range(500_000)))
    ]


def test_partitions_in_a_run(place, columns, con, real, nothing_left):
    con.register("source", pa.table(columns))
    copy = "COPY source TO '{}' (FORMAT parquet, PARTITION_BY (\"group\"))"

    def sealed():
        with real.run("prepare", purpose="prepare") as run:
            con.execute(copy.format("hermetic://features/x"))
        assert run.outputs == ("features/x@1",)
        found = con.execute("SELECT sum(id) FROM read_parquet('hermetic://features/x@1/**/*.parquet') WHERE \"group\" = 2").fetchall()
        assert found == [(sum(range(2, 3000, 3)),)]

    nothing_left(plain=lambda: con.execute(copy.format("plain")), sealed=sealed)


FAILING = "COPY (SELECT CASE WHEN range < 3400000 THEN hash(range) ELSE error('odd') END AS x FROM range(3500000)) TO 'hermetic://features/x'"


def test_a_failed_query_leaves_no_torn_parquet(place, con, real):
    """DuckDB closes its file without a word when the query fails; Parquet tells by its end."""
    with pytest.raises(duckdb.Error, match="odd"):
        con.execute(f"{FAILING} (FORMAT parquet, ROW_GROUP_SIZE 10000)")
    assert [row.name for row in real.list() if row.latest] == []


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_failed_query_in_a_run_or_transaction_publishes_nothing(place, con, real, form):
    fs = fsspec.filesystem("hermetic")
    with pytest.raises(duckdb.Error, match="odd"), real.run("prepare", purpose="prepare"):
        con.execute(f"{FAILING} (FORMAT {form})")
    with pytest.raises(duckdb.Error, match="odd"), fs.transaction:
        con.execute(f"{FAILING} (FORMAT {form})")
    assert [row.name for row in real.list() if row.latest] == []
