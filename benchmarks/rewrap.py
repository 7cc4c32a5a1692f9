"""A rewrap campaign after the rotation of a KEK, beside readers that open assets all the while.

    python benchmarks/rewrap.py [--keys 1000000] [--readers 4] [--opens 0] [--kills 0] [--folder DIR]

The domain is made for it: real data keys, wrapped and bound to versions, fifty to a version, written straight into the catalogue.
Readers are processes of their own that open and read sealed assets under the same KEK, each release decided and on record: each so
many in a second (`--opens`), or, by default, one after the other, which takes all the processors that the campaign leaves. The
baseline is what SQLite takes for the same updates, synced in batches of the same size, with neither cryptography nor row codes.
With `--kills` the key is rotated once more, and the campaign, `hermetic key rewrap` in a process of its own, is killed that often.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import hermetic
from hermetic.assets.session import fresh_id
from hermetic.catalog.values import fresh_id as fresh_row_id
from hermetic.custody.pacing import LONGEST_S
from hermetic.custody.pacing import MOST as BATCH
from hermetic.db import tables
from hermetic.db.engine import Database
from hermetic.domain import opening
from hermetic.domain.create import create_domain
from hermetic.formats.messages.keys import ListKeys, RewrapKey, RotateKey, ShowKey
from hermetic.ids import AssetId, DataKeyId, VersionId
from hermetic.keys import hierarchy, wrap
from hermetic.keys import kek as keks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermetic.custody.custodian import Custodian

OF_A_VERSION = 50
PAGE = 10_000
REQUEST = 20_000  # data keys, as the command asks for
ASSETS = 8
READER = """
import sys, time, hermetic
from pathlib import Path
stop, number, opens, done = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), 0
with hermetic.connect(purpose="prepare") as h:
    began = time.monotonic()
    while not stop.exists():
        if opens:
            time.sleep(max(0, began + done / opens - time.monotonic()))
        with h.open(f"dataset/small{(number + done) % ASSETS}") as file:
            assert file.read() == b"x" * 1000
        done += 1
print(done)
""".replace("ASSETS", str(ASSETS))


class Campaign(NamedTuple):
    """What one campaign took: seconds, processor seconds, keys moved, each write transaction, and what readers did meanwhile."""

    seconds: float
    processor: float
    moved: int
    writes: list[float]
    reads: int
    failed: int


def main() -> None:
    """Make the domain, run the campaign, print the table."""
    options = _options()
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="hermetic-bench-") as name:
        root = Path(name)
        with _domain(root) as h:
            domain = h.connection.project.domain
            custodian = opening.open_custodian(h.connection.home.domain_data(domain), domain, None, dict)
            kek_id = h.connection.ask(ListKeys()).keys[0].kek
            _fill(custodian, kek_id, options.keys)
            found = _campaign(h, kek_id, root, (options.readers, options.opens))
            left = h.connection.ask(RewrapKey(kek_id, 1)).left
            killed = _killed(h, kek_id, options.kills, found.seconds) if options.kills else ""
            baseline = _baseline(root, options.keys)
    pace = f" of {options.opens:g} assets a second" if options.opens else ""
    rate, ratio = found.moved / found.seconds, found.seconds / baseline
    print(f"{found.moved:,} data keys in batches of at most {BATCH}, {options.readers} readers{pace}, {os.cpu_count()} processors")
    print(f"{'':44}{'seconds':>9}{'keys/s':>10}{'x baseline':>12}")
    print(f"{'SQLite alone: the same updates (baseline)':44}{baseline:9.2f}{options.keys / baseline:10,.0f}{1:12.1f}")
    print(f"{'rewrap, unwrapped, checked, wrapped, logged':44}{found.seconds:9.2f}{rate:10,.0f}{ratio:12.1f}")
    print(f"processor time {found.processor / found.moved * 1e6:.1f} µs a key; {left} keys left")
    print(_about(found.writes))
    print(f"readers: {found.reads:,} assets read, {found.failed} readers failed")
    if killed:
        print(killed)


@contextmanager
def _domain(root: Path) -> Iterator[hermetic.Workspace]:
    os.environ |= {"HERMETIC_HOME": str(root / "home")}
    project = root / "project"
    project.mkdir(mode=0o700)
    create_domain(project, provider_uri="local:insecure-file", project_name="bench")
    os.chdir(project)
    with hermetic.connect(project, purpose="prepare") as h:
        for number in range(ASSETS):
            h.seal(b"x" * 1000, name=f"dataset/small{number}", data_class="restricted", owner="bench", member="data")
        yield h


def _fill(custodian: Custodian, kek_id: Any, count: int) -> None:
    """Write `count` data keys, bound and wrapped as sealing does it."""
    with custodian.database.read(custodian.row_keys) as session:
        kek = keks.get(session, kek_id)
        number = kek.active().number
        key = hierarchy.load_kek(session, custodian.anchors, kek_id, number)
        like = session.scan(tables.version, limit=1)
        asset, store = next((row["asset_id"], row["store"]) for row in like)
    for start in range(0, count, PAGE):
        versions, rows = [], []
        for at in range(start, min(start + PAGE, count)):
            if at % OF_A_VERSION == 0:
                versions.append(
                    {
                        "id": fresh_row_id(),
                        "asset_id": asset,
                        "number": None,
                        "state": "published",
                        "purpose": "ingest",
                        "writer": "bench",
                    }
                    | {"created_ms": 0, "store": store, "data_class": kek.data_class.value}
                )
            data_key = DataKeyId(fresh_row_id())
            context = wrap.DataKeyContext(custodian.domain, kek.environment, AssetId(asset), VersionId(versions[-1]["id"]), data_key)
            wrapped = wrap.wrap_data_key(key, wrap.new_secret(), kek.context(number), context)
            rows.append(
                {"id": data_key, "version_id": versions[-1]["id"], "kek_id": kek_id, "kek_number": number}
                | {"wrapped": wrapped, "state": "active"}
            )
        with custodian.database.write(custodian.row_keys) as session:
            session.insert_many(tables.version, versions)
            session.insert_many(tables.data_key, rows)
        print(f"made {min(start + PAGE, count):,} of {count:,} data keys", file=sys.stderr, end="\r")
    print(file=sys.stderr)


def _campaign(h: hermetic.Workspace, kek_id: str, root: Path, reading: tuple[int, float]) -> Campaign:
    stop, (readers, opens) = root / "stop", reading
    command = [sys.executable, "-c", READER, str(stop)]
    running = [subprocess.Popen([*command, str(number), str(opens)], stdout=subprocess.PIPE, text=True) for number in range(readers)]
    time.sleep(2 if readers else 0)  # until they read
    moved = 0
    with _timed_writes() as times:
        h.connection.ask(RotateKey(kek_id, "benchmark"))
        start, used = time.perf_counter(), _processor()
        while True:
            answer = h.connection.ask(RewrapKey(kek_id, REQUEST))
            moved += answer.moved
            if not answer.left:
                break
        seconds, used = time.perf_counter() - start, _processor() - used
    stop.touch()
    said = [process.communicate()[0] for process in running]
    failed = sum(process.returncode != 0 for process in running)
    return Campaign(seconds, used, moved, times, sum(int(text) for text in said if text.strip()), failed)


def _processor() -> float:
    """Return processor seconds of this process, of children that have ended, which readers have not, and of the campaign's helpers."""
    ended, ticks = resource.getrusage(resource.RUSAGE_CHILDREN), 0
    for number in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
        process = Path("/proc", number)
        if b"rewrap_helper" in (process / "cmdline").read_bytes():
            ticks += sum(map(int, (process / "stat").read_text().rpartition(")")[2].split()[11:13]))
    return time.process_time() + ended.ru_utime + ended.ru_stime + ticks / os.sysconf("SC_CLK_TCK")


def _about(writes: list[float]) -> str:
    """Say how long write transactions lasted."""
    median, slow, longest = (sorted(writes)[int((len(writes) - 1) * part)] * 1000 for part in (0.5, 0.99, 1))
    over = sum(each > LONGEST_S for each in writes)
    return (
        f"{len(writes)} write transactions: median {median:.0f} ms, 99 of 100 within {slow:.0f} ms, longest {longest:.0f} ms; "
        f"{over} over {LONGEST_S * 1000:.0f} ms"
    )


def _killed(h: hermetic.Workspace, kek_id: str, kills: int, seconds: float) -> str:
    """Rotate, and kill the campaign again and again; return what came of it."""
    h.connection.ask(RotateKey(kek_id, "benchmark"))
    program, chance, amid = str(Path(sys.executable).with_name("hermetic")), random.Random(7), 0
    begun = time.perf_counter()
    subprocess.run([program, "key", "show", kek_id], check=True, capture_output=True)  # what the campaign begins with
    start_up = time.perf_counter() - begun
    left = _waiting(h, kek_id)
    for _ in range(kills):
        process = subprocess.Popen([program, "key", "rewrap", kek_id], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with suppress(subprocess.TimeoutExpired):
            process.wait(start_up + 2 * chance.random() * seconds / kills)
        process.kill()
        process.wait()
        before, left = left, _waiting(h, kek_id)
        amid += 0 < left < before
    subprocess.run([program, "key", "rewrap", kek_id], check=True, capture_output=True)
    row = h.connection.ask(ShowKey(kek_id))
    total = sum(item.data_keys for item in row.versions)
    coverage = row.versions[-1].data_keys / total
    return f"killed {kills} times, {amid} of them amid moving; {left:,} keys still waited, then resumed to {coverage:.0%} of {total:,}"


def _waiting(h: hermetic.Workspace, kek_id: str) -> int:
    return sum(item.data_keys for item in h.connection.ask(ShowKey(kek_id)).versions[:-1])


@contextmanager
def _timed_writes() -> Iterator[list[float]]:
    """Collect how long each write transaction of this process held its turn."""
    times: list[float] = []
    plain = Database.write

    @contextmanager
    def timed(self: Database, *arguments: Any, **named: Any) -> Iterator[Any]:
        with plain(self, *arguments, **named) as session:
            start = time.perf_counter()
            yield session
        times.append(time.perf_counter() - start)

    Database.write = timed  # type: ignore[method-assign]
    try:
        yield times
    finally:
        Database.write = plain  # type: ignore[method-assign]


def _baseline(root: Path, count: int) -> float:
    database = sqlite3.connect(root / "baseline.db", isolation_level=None)
    for statement in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL"):
        database.execute(statement)
    database.execute("CREATE TABLE k (id TEXT PRIMARY KEY, number INTEGER, wrapped BLOB, mac BLOB) WITHOUT ROWID")
    ids = sorted(fresh_id() for _ in range(count))
    database.execute("BEGIN")
    database.executemany("INSERT INTO k VALUES (?, 1, ?, ?)", ((name, bytes(96), bytes(32)) for name in ids))
    database.execute("COMMIT")
    start = time.perf_counter()
    for at in range(0, count, BATCH):
        database.execute("BEGIN IMMEDIATE")
        rows = [(os.urandom(96), bytes(32), name) for name in ids[at : at + BATCH]]
        database.executemany("UPDATE k SET number = 2, wrapped = ?, mac = ? WHERE id = ?", rows)
        database.execute("COMMIT")
    seconds = time.perf_counter() - start
    database.close()
    return seconds


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--readers", type=int, default=4)
    parser.add_argument("--opens", type=float, default=0, help="assets that each reader opens in a second; 0: as many as it can")
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    return parser.parse_args()


if __name__ == "__main__":
    main()
