"""Sealed Parquet through pandas and pyarrow, against the same file plain, and against Parquet's own encryption, in one run.

    python benchmarks/parquet.py [--rows 2000000] [--rounds 7] [--folder DIR]

A table such as a hospital's: ids, times, codes, measurements, free text; about 75 MB as Parquet with its default compression, in row
groups of a quarter million rows. Page cache warm; in every round each contender reads once; medians of seconds and of processor
seconds (which tell more on a busy machine). The goal is at most 1.1 x plain for a whole table.

    plain            by path: pyarrow's own files, its threads
    plain, fsspec    fsspec's own local files: the same way into pyarrow as hermetic://, without cryptography
    sealed           hermetic://, a version that the process has opened before; every byte verified and decrypted
    sealed, first    the same with the release in it: decision, two durable entries in the log, signature
    sealed, 64K      a class whose suite has segments of 64 KiB, for reads of few columns
    uniform          Parquet Modular Encryption under one key, by path; no digests, no signature
    column keys      hermetic.integrations.parquet: two column keys, released for each read
"""

from __future__ import annotations

import argparse
import base64
import os
import sys
import tempfile
from pathlib import Path

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe

import hermetic
from hermetic.bench.measuring import FOREIGN, Summary, Work, in_turns, summary
from hermetic.domain import project
from hermetic.domain.create import create_domain
from hermetic.formats.messages.policy import ApplyPolicy
from hermetic.integrations.parquet import ColumnKeys

GOAL = 1.1
FEW = ["case", "pressure"]
ROW_GROUP = 250_000
TABLE, SMALL = "hermetic://dataset/table@1", "hermetic://dataset/small@1"
SUITE = "FLOE-AES256-GCM-64K-BLAKE3"
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


def contenders(h: hermetic.Workspace, folder: Path, table: pa.Table) -> dict[str, dict[str, Work]]:
    plain = folder / "table.parquet"
    pq.write_table(table, plain, row_group_size=ROW_GROUP)
    h.seal(plain, name="dataset/table", data_class="internal")
    h.seal(plain, name="dataset/small", data_class="public")
    properties = pe.CryptoFactory(lambda _: Nothing()).file_encryption_properties(
        pe.KmsConnectionConfig(), pe.EncryptionConfiguration(footer_key="all", uniform_encryption=True, data_key_length_bits=256)
    )
    pq.write_table(table, folder / "uniform.parquet", row_group_size=ROW_GROUP, encryption_properties=properties)
    keys = ColumnKeys(h, purpose="prepare")
    for name in (FOOTER, PII):
        keys.create(name, data_class="internal")
    keys.write_table(table, folder / "keys.parquet", columns={PII: ["note", "seen"]}, footer=FOOTER, row_group_size=ROW_GROUP)
    fs = fsspec.filesystem("hermetic")
    local = pa.fs.PyFileSystem(pa.fs.FSSpecHandler(fsspec.filesystem("file")))

    def uniform(columns=None):
        opens = pe.CryptoFactory(lambda _: Nothing()).file_decryption_properties(pe.KmsConnectionConfig())
        return pq.ParquetFile(folder / "uniform.parquet", decryption_properties=opens, pre_buffer=True).read(columns=columns)

    def sealed(read, **options):
        calls = {name: lambda url=url: read(url, **options) for name, url in (("sealed", TABLE), ("sealed, 64K", SMALL))}
        forget = lambda: fs.attached.forget(None)  # noqa: E731 - what was released for an earlier read
        return {name: Work(call) for name, call in calls.items()} | {"sealed, first": Work(calls["sealed"], before=forget)}

    def arrow(url, **options):
        return pq.read_table(url.removeprefix("hermetic://"), filesystem=fs, **options)

    few, some = {"columns": FEW}, {"columns": FEW, "filters": [("case", "<", 1000)]}
    return {
        "pandas, all": {"plain": Work(lambda: pd.read_parquet(plain)), **sealed(pd.read_parquet)},
        "pyarrow, all": {
            "plain": Work(lambda: pq.read_table(plain)),
            "plain, fsspec": Work(lambda: pq.read_table(str(plain), filesystem=local)),
            **sealed(arrow),
            "uniform": Work(uniform),
            "column keys": Work(lambda: keys.read_table(folder / "keys.parquet")),
        },
        "pandas, 2 of 8": {"plain": Work(lambda: pd.read_parquet(plain, **few)), **sealed(pd.read_parquet, **few)},
        "pyarrow, 2 of 8": {
            "plain": Work(lambda: pq.read_table(plain, **few)),
            **sealed(arrow, **few),
            "uniform": Work(lambda: uniform(FEW)),
            "column keys": Work(lambda: keys.read_table(folder / "keys.parquet", **few)),
        },
        "pyarrow, filter": {"plain": Work(lambda: pq.read_table(plain, **some)), **sealed(arrow, **some)},
    }


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
        policy = Path("hermetic.yaml")
        policy.write_text(policy.read_text().replace("  public:\n", f"  public:\n    suite: {SUITE}\n", 1))
        with hermetic.connect() as h:
            h.connection.ask(ApplyPolicy(project.load(Path.cwd()).bundle().to_bytes()))
            missed = report(contenders(h, folder, make_table(given.rows)), folder, given.rounds)
    sys.exit(1 if missed else 0)


def report(work: dict[str, dict[str, Work]], folder: Path, rounds: int) -> list[str]:
    size = (folder / "table.parquet").stat().st_size
    print(f"{size / 1e6:.0f} MB of Parquet, pyarrow {pa.__version__}, {os.cpu_count()} processors, medians of {rounds}")
    print(f"{'':16} {'':14} {'ms':>8} {'x plain':>8} {'cpu ms':>8} {'x plain':>8} {'busy':>6}")
    missed, busy = [], 0.0
    for what, calls in work.items():
        taken = {name: summary(samples) for name, samples in in_turns(calls, rounds).items()}
        missed += [f"{what} ({name})" for name in ("sealed", "sealed, first") if what.endswith("all") and over(taken, name)]
        busy = max(busy, *(one.foreign for one in taken.values()))
        for name, one in taken.items():
            wall, own = one.median / taken["plain"].median, one.processor / taken["plain"].processor
            print(f"{what:16} {name:14} {one.median * 1e3:8.1f} {wall:8.2f} {one.processor * 1e3:8.1f} {own:8.2f} {one.foreign:6.2f}")
    if busy > FOREIGN:
        print(f"others used up to {busy:.1f} processors meanwhile: measure again when the machine is quiet")
    print(f"goal: a whole table at most {GOAL} x plain: {'met' if not missed else 'MISSED by ' + '; '.join(missed)}")
    return missed


def over(taken: dict[str, Summary], name: str) -> bool:
    return taken[name].median > GOAL * taken["plain"].median


if __name__ == "__main__":
    main()
