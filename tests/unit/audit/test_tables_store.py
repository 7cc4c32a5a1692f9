"""The log in the custody database: rolled-back transactions, several processes, rows changed with SQL."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from hermetic.audit.openings import LogKeys, Openings
from hermetic.audit.tables_store import TablesStore
from hermetic.audit.verify import verify
from hermetic.crypto.secret import Secret
from hermetic.db.engine import Database
from hermetic.errors import HermeticError, IntegrityError
from tests.unit.audit.making import DOMAIN, START_MS, denial, intent, make_log, outcome

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hermetic.audit.log import Log

APPEND = """
import sys
from pathlib import Path
from hermetic.audit.tables_store import TablesStore
from hermetic.db.engine import Database
from tests.unit.audit.making import START_MS, make_log, outcome
database, log = Database.open(Path(sys.argv[1])), make_log()
for number in range(25):
    with database.write(None) as session:
        log.append(TablesStore(session.connection), [outcome(f"{sys.argv[2]}-{number}")], now_ms=START_MS)
"""


@pytest.fixture
def database(tmp_path: Path, log: Log) -> Iterator[Database]:
    made = Database.create(tmp_path / "home" / "custody.db")
    with made.write(None) as session:
        store = TablesStore(session.connection)
        log.begin(store, now_ms=START_MS)
        log.append(store, [intent("r1"), outcome("r1")] * 200, now_ms=START_MS)
    yield made
    made.close()


def entries(database: Database) -> int:
    with database.read(None) as session:
        return verify(TablesStore(session.connection), DOMAIN).entries


class Stop(Exception):
    """Ends a transaction."""


def test_a_rolled_back_append_leaves_nothing(log: Log, database: Database) -> None:
    with pytest.raises(Stop), database.write(None) as session:
        store = TablesStore(session.connection)
        log.append(store, [intent("lost")] * 300, now_ms=START_MS)
        log.append_denial(store, denial("q1"), now_ms=START_MS)
        log.append_denial(store, denial("q2"), now_ms=START_MS)
        log.erase_subject(store, "principal:1", now_ms=START_MS)
        raise Stop
    assert entries(database) == 401
    with database.write(None) as session:
        store = TablesStore(session.connection)
        assert log.waiting(store) == 0
        assert log.open(store, log.leaf(store, 1))["principal"].value == "ana@example.org"
        assert log.append(store, [outcome("r2")], now_ms=START_MS).index == 401
    assert entries(database) == 402


def test_a_subject_first_met_in_a_rolled_back_transaction_gets_a_key_that_opens(log: Log, database: Database) -> None:
    entry = denial("q", who="new")
    with pytest.raises(Stop), database.write(None) as session:
        log.append(TablesStore(session.connection), [entry], now_ms=START_MS)
        raise Stop
    with database.write(None) as session:
        done = log.append(TablesStore(session.connection), [entry], now_ms=START_MS)
    with database.read(None) as session:
        store = TablesStore(session.connection)
        fresh = Openings(DOMAIN, LogKeys(Secret(bytes([200]) * 32)))
        assert fresh.open(store, log.leaf(store, done.index))["principal"].value == "new"


def test_processes_take_turns(database: Database) -> None:
    running = [subprocess.Popen([sys.executable, "-c", APPEND, str(database.path), name]) for name in "ab"]
    assert [process.wait() for process in running] == [0, 0]
    assert entries(database) == 451


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE log_leaf SET leaf = CAST(leaf AS TEXT) WHERE idx = 7",
        "UPDATE log_leaf SET hash = 7 WHERE idx = 7",
        "UPDATE log_leaf SET hash = zeroblob(32) WHERE idx = 7",
        "UPDATE log_leaf SET idx = 'x' WHERE idx = 400",
        "UPDATE log_leaf SET at_ms = 'x' WHERE idx = 7",
        "UPDATE log_leaf SET kind = x'00' WHERE idx = 7",
        "UPDATE log_leaf SET generation = 2 WHERE idx = 7",
        "UPDATE log_node SET hash = CAST('00000000000000000000000000000000' AS TEXT)",
        "UPDATE log_node SET level = 9",
        "UPDATE log_checkpoint SET root = CAST(root AS TEXT)",
        "UPDATE log_checkpoint SET note = CAST(note AS BLOB)",
        "UPDATE log_checkpoint SET at_ms = 'x'",
        "UPDATE log_checkpoint SET size = -5 WHERE size = 1",
        "DELETE FROM log_leaf",
        "DELETE FROM log_leaf WHERE idx >= 400",
        "DELETE FROM log_node",
        "DELETE FROM log_checkpoint",
    ],
)
def test_rows_changed_with_sql_are_found_and_nothing_foreign_is_raised(log: Log, database: Database, statement: str) -> None:
    database.close()
    raw = sqlite3.connect(database.path, isolation_level=None)
    raw.execute(statement)
    raw.close()
    with pytest.raises(IntegrityError):
        entries(database)
    try:  # whatever else looks at such rows says so in our words, or does not meet them
        with database.write(None) as session:
            store = TablesStore(session.connection)
            make_log().append(store, [outcome("r9")], now_ms=START_MS)
            log.receipt(store, 7)
    except HermeticError:
        pass


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE log_subject SET wrapped = zeroblob(60)",
        "UPDATE log_subject SET wrapped = 'text'",
        "UPDATE log_subject SET wrapped = 'text that is longer than nonce and tag together'",
        "UPDATE log_opening SET sealed = zeroblob(99)",
        "UPDATE log_opening SET sealed = 7",
    ],
)
def test_spoiled_openings_do_not_open(log: Log, database: Database, statement: str) -> None:
    database.close()
    raw = sqlite3.connect(database.path, isolation_level=None)
    raw.execute(statement)
    raw.close()
    with database.read(None) as session, pytest.raises(IntegrityError):
        store = TablesStore(session.connection)
        make_log().open(store, log.leaf(store, 1))


def test_spoiled_waiting_denials_are_refused(log: Log, database: Database) -> None:
    with database.write(None) as session:
        log.append_denial(TablesStore(session.connection), denial("q"), now_ms=START_MS)
    for value in ("x'00'", "'text'", "'AAAA'"):
        database.close()
        raw = sqlite3.connect(database.path, isolation_level=None)
        raw.execute(f"UPDATE meta SET value = {value} WHERE key = 'audit.waiting-denials'")
        raw.close()
        with pytest.raises(IntegrityError), database.write(None) as session:
            log.append(TablesStore(session.connection), [outcome("r9")], now_ms=START_MS)
