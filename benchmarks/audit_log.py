"""How fast the log is written and verified, in a real custody database on disk.

SQLite, write-ahead log, synchronous=FULL: every commit is synced before it counts. CPU is the time of this process, without waiting.

python benchmarks/audit_log.py [ENTRIES]        by default 1,000,000 are verified

`lean` entries carry three facts; `full` ones also hide three values of two subjects, as a release intent does.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from hermetic import ids
from hermetic.audit.leaf import Entry, Hidden
from hermetic.audit.log import Log
from hermetic.audit.note import Origin
from hermetic.audit.openings import LogKeys
from hermetic.audit.pins import Pin
from hermetic.audit.receipts import verify_receipt
from hermetic.audit.tables_store import TablesStore
from hermetic.audit.tiles import export
from hermetic.audit.verify import verify
from hermetic.crypto.secret import Secret
from hermetic.crypto.sign import SigningKey
from hermetic.db.engine import Database
from hermetic.stores.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SINGLES = 3_000
GROUP = 256
LARGE = 20_000


def lean(number: int) -> Entry:
    kind = "release.outcome" if number % 2 else "release.intent"
    return Entry(kind, {"request": f"{number // 2:026d}", "purpose": "train", "enforcement": "cooperative"})


def full(number: int) -> Entry:
    if number % 2:
        return lean(number)
    facts = {
        "request": f"{number // 2:026d}",
        "purpose": "train",
        "enforcement": "cooperative",
        "version": "v" * 26,
        "policy": "p" * 43,
    }
    principal, asset = f"principal:{number % 50}", f"asset:{number % 300}"
    hidden = {
        "principal": Hidden("ana", principal),
        "reason": Hidden("monthly retraining", principal),
        "asset": Hidden("dataset/a", asset),
    }
    return Entry("release.intent", facts, hidden)


class Bench:
    """A log in a new database."""

    def __init__(self, folder: Path) -> None:
        self.database = Database.create(folder / "custody.db")
        self.log = Log(Origin(ids.DomainId(ids.id_from_bytes(os.urandom(16))), 1), SigningKey.generate(), LogKeys(Secret.random()))
        with self.database.write(None) as session:
            self.log.begin(TablesStore(session.connection), now_ms=1)
        self.count = 0

    def entries(self, make: Callable[[int], Entry], count: int) -> list[Entry]:
        self.count += count
        return [make(number) for number in range(self.count - count, self.count)]

    def append(self, entries: Sequence[Entry]) -> float:
        """Append in one transaction; return the seconds until it was durable."""
        start = time.perf_counter()
        with self.database.write(None) as session:
            self.log.append(TablesStore(session.connection), entries, now_ms=time.time_ns() // 1_000_000)
        return time.perf_counter() - start


def row(what: str, figure: str, goal: str = "") -> None:
    print(f"{what:<58} {figure:>24}   {goal}")


def writing(bench: Bench) -> None:
    for name, make in (("lean", lean), ("full", full)):
        times = [bench.append(bench.entries(make, 1)) for _ in range(SINGLES)]
        figure = f"{1 / statistics.mean(times):,.0f}/s, p50 {statistics.median(times) * 1000:.2f} ms"
        row(f"durable single appends, {name}", figure, "goal 1,500/s")
    for name, make, size in (("lean", lean, GROUP), ("lean", lean, LARGE), ("full", full, GROUP), ("full", full, LARGE)):
        busy = 0.0
        runs = []
        for _ in range(max(3, 20_000 // size)):
            entries = bench.entries(make, size)
            start = time.process_time()
            runs.append(bench.append(entries))
            busy += time.process_time() - start
        figure = f"{size / statistics.median(runs):,.0f}/s, CPU {busy / size / len(runs) * 1e6:.1f} µs"
        goal = "goal 200,000/s" if name == "lean" and size == LARGE else ""
        row(f"durable appends, {size:,} a transaction, {name}", figure, goal)


def proving(bench: Bench) -> None:
    with bench.database.write(None) as session:
        store = TablesStore(session.connection)
        done = bench.log.append(store, bench.entries(full, 2), now_ms=2)
        count = 2_000
        start = time.perf_counter()
        for _ in range(count):
            receipt = done.receipt()
        made = time.perf_counter()
        for _ in range(count):
            verify_receipt(receipt, [bench.log.verifier_key])
        checked = time.perf_counter()
        for number in range(100):
            bench.log.receipt(store, number * done.size // 100)
        looked_up = time.perf_counter()
    row("receipt of an entry just appended", f"{(made - start) / count * 1e6:,.0f} µs")
    row("receipt verified offline", f"{(checked - made) / count * 1e6:,.0f} µs")
    row("receipt of any old entry, from the database", f"{(looked_up - checked) / 100 * 1e6:,.0f} µs")


def verifying(folder: Path, make: Callable[[int], Entry], name: str, wanted: int) -> None:
    bench = Bench(folder)
    while bench.count < wanted:
        bench.append(bench.entries(make, min(LARGE, wanted - bench.count)))
    with bench.database.read(None) as session:
        store = TablesStore(session.connection)
        pin = Pin(bench.log.head(store)[0], "another machine", external=True)
        start, busy = time.perf_counter(), time.process_time()
        report = verify(store, bench.log.origin.domain, keys=[bench.log.verifier_key], pins=[pin])
        took, busy = time.perf_counter() - start, time.process_time() - busy
    row(f"{report.entries:,} entries verified, {name}", f"{took:.1f} s, CPU {busy:.1f} s", "goal 5 s, limit 10 s")
    if make is lean:
        start = time.perf_counter()
        with bench.database.read(None) as session:
            export(TablesStore(session.connection), 1, MemoryStore(), keys=[bench.log.verifier_key])
        row("the same exported as tiles, into memory", f"{time.perf_counter() - start:.1f} s")
    bench.database.close()


def main() -> None:
    """Print the table."""
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder, "writing"))
        writing(bench)
        proving(bench)
        bench.database.close()
        for name, make in (("lean", lean), ("full", full)):
            verifying(Path(folder, name), make, name, wanted)


if __name__ == "__main__":
    main()
