"""How long the release of one key takes, and how many there are in a second, in an embedded domain on disk.

    python benchmarks/release.py [--count 1000] [--batch 1000] [--folder DIR] [--bao PATH]

A release is decided by policy and recorded twice, before and after the key is handed over; both records are synced before the call
returns. The baseline is what the disk allows: one synced SQLite commit of one row, of which a release makes two. With `--bao`, the
OpenBao server at PATH stands beside it in the same run: transit decrypt with the file audit device, over HTTP on loopback, one
connection kept alive, storage in memory; its audit file is not synced, ours is.
"""

from __future__ import annotations

import argparse
import base64
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import _openbao

import hermetic
from hermetic.assets.session import fresh_id
from hermetic.formats.messages.versions import CheckLeases, OpenVersions
from hermetic.ids import Purpose

if TYPE_CHECKING:
    from collections.abc import Callable

HERMETIC = Path(sys.executable).with_name("hermetic")
BAO_BATCH = 400  # its listener takes a thousand JSON strings in a request unless told otherwise


class Row(NamedTuple):
    """One line of the table: median and 99th percentile in milliseconds, and how many a second."""

    label: str
    p50: float
    p99: float
    rate: float


def main() -> None:
    """Run and print the table."""
    options = _options()
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="hermetic-bench-") as name:
        root = Path(name)
        rows = [_commits(root, options.count), *_releases(root, options)]
        if options.bao:
            rows += _transit(root, options)
    baseline = rows[0].p50
    print(f"{'':46}{'p50 ms':>9}{'p99 ms':>9}{'per second':>12}{'p50 / commit':>14}")
    for row in rows:
        print(f"{row.label:46}{row.p50:9.3f}{row.p99:9.3f}{row.rate:12,.0f}{row.p50 / baseline:14.1f}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=1000)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--bao", help="path of an OpenBao server to compare with")
    return parser.parse_args()


def _timed(label: str, count: int, work: Callable[[], object], *, of: int = 1) -> Row:
    """Time `count` calls; a call does `of` pieces of work, and the times are a piece's."""
    for _ in range(min(count, 20)):
        work()
    times = []
    start = time.perf_counter()
    for _ in range(count):
        before = time.perf_counter()
        work()
        times.append((time.perf_counter() - before) * 1000 / of)
    total = time.perf_counter() - start
    times.sort()
    return Row(label, statistics.median(times), times[len(times) * 99 // 100], count * of / total)


def _commits(root: Path, count: int) -> Row:
    database = sqlite3.connect(root / "baseline.db", isolation_level=None)
    for statement in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", "CREATE TABLE t (a BLOB)"):
        database.execute(statement)
    row = Row("", 0, 0, 0)
    try:
        row = _timed("one synced SQLite commit (baseline)", count, lambda: database.execute("INSERT INTO t VALUES (?)", (bytes(500),)))
    finally:
        database.close()
    return row


def _releases(root: Path, options: argparse.Namespace) -> list[Row]:
    os.environ["HERMETIC_HOME"] = str(root / "home")
    project = root / "project"
    project.mkdir()
    init = [HERMETIC, "init", "--root", "local:insecure-file", "--backup", str(root / "backup")]
    subprocess.run(init, cwd=project, check=True, capture_output=True)
    with hermetic.connect(project) as h:
        versions = min(options.batch, 200)
        for number in range(versions):
            h.seal(b"%d" % number, name=f"dataset/d{number}", data_class="restricted", owner="bench", member="data")
        refs = tuple(f"dataset/d{number % versions}@1" for number in range(options.batch))
        port = h.connection

        def release(*names: str) -> tuple[str, ...]:
            answer = port.ask(OpenVersions(fresh_id(), names, purpose=Purpose.PREPARE))
            for one in answer.released:
                port.port.redeem(one.lease.key).wipe()
            return tuple(one.lease.id for one in answer.released)

        lease = release(refs[0])
        return [
            _timed("release of one key, on record", options.count, lambda: release(refs[0])),
            _timed(f"release of {options.batch} keys, a key", 10, lambda: release(*refs), of=options.batch),
            _timed("confirm a lease", options.count, lambda: port.ask(CheckLeases(lease))),
        ]


def _transit(root: Path, options: argparse.Namespace) -> list[Row]:
    with _openbao.serving(root, options.bao) as server:
        call = server.call
        call("sys/mounts/transit", {"type": "transit"})
        call("transit/keys/k", {})
        plaintext = base64.b64encode(bytes(32)).decode()
        ciphertext = call("transit/encrypt/k", {"plaintext": plaintext})["data"]["ciphertext"]
        count = min(options.batch, BAO_BATCH)
        many = {"batch_input": [{"ciphertext": ciphertext}] * count}
        return [
            _timed(
                "OpenBao transit decrypt, file audit", options.count, lambda: call("transit/decrypt/k", {"ciphertext": ciphertext})
            ),
            _timed(
                f"OpenBao transit decrypt of {options.batch}, a key", 10, lambda: call("transit/decrypt/k", many), of=options.batch
            ),
        ]


if __name__ == "__main__":
    main()
