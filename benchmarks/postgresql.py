"""How long the release of one key takes with custody in PostgreSQL, beside SQLite, in the same run.

    python benchmarks/postgresql.py [--count 300] [--rounds 3] [--url postgresql://…]

Both embedded and durable: SQLite with synchronous=FULL, PostgreSQL with fsync, full_page_writes and synchronous_commit on. Without
--url, a server is started for it, on a Unix socket of this machine, its settings otherwise as they come. Rounds alternate, and the
medians are over all of them. A release makes two commits; the baselines are one commit of one row each.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from hermetic.assets.session import fresh_id
from hermetic.db import tables
from hermetic.db.engine import Database
from hermetic.domain.connect import connect
from hermetic.domain.create import create_domain
from hermetic.domain.home import Home
from hermetic.formats.messages.versions import OpenVersions
from hermetic.ids import Purpose

if TYPE_CHECKING:
    from collections.abc import Callable

    from hermetic.db.engine import DatabasePlace

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


def main() -> None:
    """Run and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--url", help="an empty database; for the baselines a second one, of the same name with _baseline behind it")
    options = parser.parse_args()
    from tests.postgres import Server  # noqa: PLC0415 - a server of the tests' kind

    with tempfile.TemporaryDirectory(prefix="hermetic-bench-") as name, contextlib.ExitStack() as stack:
        root = Path(name)
        if options.url:
            urls = [options.url, f"{options.url}_baseline"]
        else:
            server = Server()
            stack.callback(server.remove)
            urls = [str(server.database()), str(server.database())]
        works = _works(root, urls, stack)
        times: dict[str, list[float]] = {label: [] for label in works}
        for _ in range(options.rounds):
            for label, work in works.items():
                times[label] += _timed(work, options.count)
    print(f"{'':46}{'p50 ms':>9}{'p99 ms':>9}")
    for label, found in times.items():
        print(f"{label:46}{statistics.median(found):9.3f}{sorted(found)[len(found) * 99 // 100]:9.3f}")


def _works(root: Path, urls: list[str], stack: contextlib.ExitStack) -> dict[str, Callable[[], object]]:
    from hermetic.db.postgres.place import PostgresPlace  # noqa: PLC0415 - beside its use

    return {
        "one durable commit, SQLite": _committing(root / "baseline" / "custody.db", stack),
        "one durable commit, PostgreSQL": _committing(PostgresPlace.parse(urls[1]), stack),
        "release of one key, SQLite": _releasing(root / "sqlite", None, stack),
        "release of one key, PostgreSQL": _releasing(root / "postgresql", urls[0], stack),
    }


def _timed(work: Callable[[], object], count: int) -> list[float]:
    for _ in range(20):
        work()
    times = []
    for _ in range(count):
        before = time.perf_counter()
        work()
        times.append((time.perf_counter() - before) * 1000)
    return times


def _committing(place: DatabasePlace, stack: contextlib.ExitStack) -> Callable[[], object]:
    database = Database.create(place)
    stack.callback(database.close)
    numbers = iter(range(10**9))

    def commit() -> None:
        with database.write(None) as session:
            session.insert(tables.meta, key=str(next(numbers)), value="x" * 500)

    return commit


def _releasing(root: Path, url: str | None, stack: contextlib.ExitStack) -> Callable[[], object]:
    project, home = root / "project", Home(root / "data", root / "config")
    project.mkdir(parents=True)
    create_domain(project, provider_uri="local:insecure-file", project_name="bench", home=home, database=url)
    connection = stack.enter_context(connect(project, home=home))
    from tests.world import seal  # noqa: PLC0415 - a version that exists in the catalogue only

    seal(connection.port, "dataset/a")

    def release() -> None:
        (one,) = connection.ask(OpenVersions(fresh_id(), ("dataset/a",), purpose=Purpose.PREPARE)).released
        connection.port.redeem(one.lease.key).wipe()

    return release


if __name__ == "__main__":
    main()
