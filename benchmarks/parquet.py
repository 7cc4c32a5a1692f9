"""Sealed Parquet through pandas and pyarrow, against the same file plain, and against Parquet's own encryption, in one run.

    python benchmarks/parquet.py [--rows 2000000] [--rounds 7] [--folder DIR]

A table such as a hospital's: ids, times, codes, measurements, free text; about 80 MB as Parquet with its default compression, in row
groups of a quarter million rows. Page cache warm; in every round each contender reads once; medians. The goal is at most 1.1 x plain.

    plain            by path: pyarrow's own files, its threads
    sealed           hermetic://; release, signature, digests and decryption of every byte within the measured time
    plain, fsspec    fsspec's own local files (the same way into pyarrow as hermetic://, without cryptography)
    uniform          Parquet Modular Encryption under one key, by path
    column keys      hermetic.integrations.parquet: two column keys, each released
"""

from __future__ import annotations

import argparse
import base64
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe

import hermetic
from hermetic.domain.create import create_domain
from hermetic.integrations.parquet import ColumnKeys

GOAL = 1.1
FEW = ["case", "pressure"]
FOOTER, PII = "secret/columns/footer", "secret/columns/pii"


class Nothing(pe.KmsClient):
    """Wraps nothing: what is measured is Parquet."""

    def wrap_key(self, key_bytes, _):
        return base64.b64encode(key_bytes)

    def unwrap_key(self, wrapped_key, _):
        return base64.b64decode(wrapped_key)


def make_table(rows: int) -> pa.Table:
    draw = np.random.default_rng(7)
    words = np.array(["stable", "admitted", "discharged", "follow-up", "benign", "malignant", "chronic", "acute", "left", "right"])
    notes = pd.Series(words[draw.integers(0, 10, rows)]) + " " + pd.Series(draw.integers(0, 50_000, rows).astype(str))
    return pa.table(
        {
            "case": np.arange(rows),
            "seen": pd.Timestamp("2024-01-01") + pd.to_timedelta(np.sort(draw.integers(0, 60_000_000, rows)), unit="s"),
            "ward": pd.Series(np.array(["A1", "A2", "B1", "B2", "ICU"])[draw.integers(0, 5, rows)]),
            "age": draw.integers(0, 100, rows).astype(np.int16),
            "pressure": draw.normal(120, 15, rows),
            "glucose": np.round(draw.normal(5.5, 1.2, rows), 1),
            "creatinine": draw.normal(80, 20, rows).astype(np.float32),
            "note": notes,
        }
    )


def contenders(h: hermetic.Workspace, folder: Path, table: pa.Table) -> dict[str, dict[str, object]]:
    plain = folder / "table.parquet"
    pq.write_table(table, plain, row_group_size=250_000)
    h.seal(plain, name="dataset/table", data_class="internal")
    properties = pe.CryptoFactory(lambda _: Nothing()).file_encryption_properties(
        pe.KmsConnectionConfig(), pe.EncryptionConfiguration(footer_key="all", uniform_encryption=True, data_key_length_bits=256)
    )
    pq.write_table(table, folder / "uniform.parquet", row_group_size=250_000, encryption_properties=properties)
    keys = ColumnKeys(h, purpose="prepare")
    for name in (FOOTER, PII):
        keys.create(name, data_class="internal")
    keys.write_table(table, folder / "keys.parquet", columns={PII: ["note", "seen"]}, footer=FOOTER, row_group_size=250_000)
    fs, local = fsspec.filesystem("hermetic"), fsspec.filesystem("file")
    url = "hermetic://dataset/table@1"

    def anew(read):
        def call():
            fs.attached.forget(None)  # what was released for an earlier read
            return read()

        return call

    def uniform(columns=None):
        opens = pe.CryptoFactory(lambda _: Nothing()).file_decryption_properties(pe.KmsConnectionConfig())
        return pq.ParquetFile(folder / "uniform.parquet", decryption_properties=opens, pre_buffer=True).read(columns=columns)

    return {
        "pandas, all": {
            "plain": lambda: pd.read_parquet(plain),
            "sealed": anew(lambda: pd.read_parquet(url)),
            "plain, fsspec": lambda: pd.read_parquet(str(plain), filesystem=local),
        },
        "pandas, 2 columns": {
            "plain": lambda: pd.read_parquet(plain, columns=FEW),
            "sealed": anew(lambda: pd.read_parquet(url, columns=FEW)),
        },
        "pyarrow, all": {
            "plain": lambda: pq.read_table(plain),
            "sealed": anew(lambda: pq.read_table("dataset/table@1", filesystem=fs)),
            "plain, fsspec": lambda: pq.read_table(str(plain), filesystem=pa.fs.PyFileSystem(pa.fs.FSSpecHandler(local))),
            "uniform": uniform,
            "column keys": lambda: keys.read_table(folder / "keys.parquet"),
        },
        "pyarrow, 2 columns": {
            "plain": lambda: pq.read_table(plain, columns=FEW),
            "sealed": anew(lambda: pq.read_table("dataset/table@1", filesystem=fs, columns=FEW)),
            "uniform": lambda: uniform(FEW),
            "column keys": lambda: keys.read_table(folder / "keys.parquet", columns=FEW),
        },
        "pyarrow, filter": {
            "plain": lambda: pq.read_table(plain, columns=FEW, filters=[("case", "<", 1000)]),
            "sealed": anew(lambda: pq.read_table("dataset/table@1", filesystem=fs, columns=FEW, filters=[("case", "<", 1000)])),
        },
    }


def measured(calls: dict[str, object], rounds: int) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            found = call()
            if number:  # the first round warms up
                times[name].append(time.perf_counter() - start)
            del found
    return {name: statistics.median(taken) for name, taken in times.items()}


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--rows", type=int, default=2_000_000)
    arguments.add_argument("--rounds", type=int, default=7)
    arguments.add_argument("--folder", type=Path)
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        os.environ["HERMETIC_HOME"] = str(folder / "home")
        for made in ("home", "project"):
            (folder / made).mkdir(mode=0o700)
        create_domain(folder / "project", provider_uri="local:insecure-file", project_name="benchmark")
        os.chdir(folder / "project")
        with hermetic.connect() as h:
            missed = report(contenders(h, folder, make_table(given.rows)), folder, given.rounds)
    sys.exit(1 if missed else 0)


def report(work: dict[str, dict[str, object]], folder: Path, rounds: int) -> list[str]:
    size = (folder / "table.parquet").stat().st_size
    print(f"{size / 1e6:.0f} MB of Parquet, pyarrow {pa.__version__}, {os.cpu_count()} processors, median of {rounds}")
    missed = []
    for what, calls in work.items():
        times = measured(calls, rounds)
        for name, taken in times.items():
            ratio = taken / times["plain"]
            missed += [what] if name == "sealed" and ratio > GOAL else []
            print(f"{what:20} {name:14} {taken * 1e3:8.1f} ms  {ratio:5.2f} x plain")
    print(f"goal: sealed at most {GOAL} x plain: {'met' if not missed else 'MISSED in ' + '; '.join(missed)}")
    return missed


if __name__ == "__main__":
    main()
