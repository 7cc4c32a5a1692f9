"""The log's rows in the custody database (tables `log_leaf`, `log_node`, `log_opening`, `log_subject`, `log_checkpoint`, `meta`).

Works on the connection of the caller's session, inside its transaction, and goes straight to the driver: one append is a handful
of statements, and SQLAlchemy's share of each would be larger than SQLite's. Statements are written with `?` and rewritten
for drivers that want `%s`. Driver errors are turned into ours by the session that lent the connection.
"""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING, Any

from hermetic.audit.store import BATCH, CheckpointRow, SubjectRow
from hermetic.errors import LogTampered
from hermetic.formats.binary_text import from_base64, to_base64

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Connection

    from hermetic.audit.store import Batch, LeafRow, OpeningRow

STATE_KEY = "audit.waiting-denials"

_CHECKPOINT = "SELECT size, root, note, at_ms FROM log_checkpoint WHERE generation = ? ORDER BY size"
_GENERATIONS = " UNION ".join(f"SELECT generation FROM {table}" for table in ("log_leaf", "log_node", "log_checkpoint"))  # noqa: S608 - constant
_LEAVES = "SELECT idx, at_ms, kind, leaf, hash FROM log_leaf WHERE generation = ? AND idx >= ? AND idx < ? ORDER BY idx LIMIT ?"
_LEAF_HASHES = "SELECT hash FROM log_leaf WHERE generation = ? AND idx >= ? AND idx < ? ORDER BY idx"
_NODE_HASHES = "SELECT hash FROM log_node WHERE generation = ? AND level = ? AND idx >= ? AND idx < ? ORDER BY idx"
_END = 2**62
FEW = 4  # leaves that are appended in one statement
_B, _T, _Y = "?::BIGINT", "?::TEXT", "?::BYTEA"
_HEADS = (
    ("log_leaf (generation, idx, at_ms, kind, leaf, hash)", f"{_B}, {_B}, {_B}, {_T}, {_Y}, {_Y}"),
    ("log_node (generation, level, idx, hash)", f"{_B}, {_B}, {_B}, {_Y}"),
    ("log_opening (generation, idx, subject, sealed)", f"{_B}, {_B}, {_Y}, {_Y}"),
    ("log_checkpoint (generation, size, root, note, at_ms)", f"{_B}, {_B}, {_Y}, {_T}, {_B}"),
)
_CHECKPOINT_TYPES = (int, bytes, str, int)


class TablesStore:
    """A LogStore over a SQLAlchemy connection (SQLite, or PostgreSQL through psycopg). Lives as long as the transaction."""

    __slots__ = ("_percent", "_raw")

    def __init__(self, connection: Connection) -> None:
        self._raw: Any = connection.connection.dbapi_connection
        self._percent = connection.dialect.paramstyle != "qmark"

    def _run(self, statement: str, parameters: Sequence[Any] = ()) -> Any:
        cursor = self._raw.cursor()
        cursor.execute(statement.replace("?", "%s") if self._percent else statement, parameters)
        return cursor

    def _run_many(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        if rows:
            self._raw.cursor().executemany(statement.replace("?", "%s") if self._percent else statement, rows)

    def lock(self) -> None:
        """See LogStore. A session that writes is alone already: BEGIN IMMEDIATE, or the advisory lock taken at begin."""

    def generations(self) -> list[int]:
        """See LogReader."""
        return sorted(row[0] for row in self._run(_GENERATIONS).fetchall())

    def head(self, generation: int) -> CheckpointRow | None:
        """See LogReader."""
        rows = _typed(self._run(_CHECKPOINT + " DESC LIMIT 1", (generation,)).fetchall(), _CHECKPOINT_TYPES)
        return CheckpointRow(*rows[0]) if rows else None

    def checkpoints(self, generation: int) -> list[CheckpointRow]:
        """See LogReader."""
        return [CheckpointRow(*row) for row in _typed(self._run(_CHECKPOINT, (generation,)).fetchall(), _CHECKPOINT_TYPES)]

    def leaves(self, generation: int, start: int = 0, stop: int | None = None) -> Iterator[Sequence[LeafRow]]:
        """See LogReader."""
        end = _END if stop is None else stop
        while start < end:
            rows = self._run(_LEAVES, (generation, start, end, BATCH)).fetchall()
            if not rows:
                return
            if {type(row[3]) for row in rows} != {bytes} or type(rows[-1][0]) is not int:  # whoever reads compares the other columns
                raise _wrong_type()
            yield rows
            start = rows[-1][0] + 1

    def hashes(self, generation: int, level: int, start: int, stop: int) -> list[bytes]:
        """See LogReader."""
        if level == 0:
            found = self._run(_LEAF_HASHES, (generation, start, stop))
        else:
            found = self._run(_NODE_HASHES, (generation, level, start, stop))
        return [row[0] for row in _typed(found.fetchall(), (bytes,))]

    def node_count(self, generation: int, level: int) -> int:
        """See LogReader."""
        row = self._run("SELECT count(*) FROM log_node WHERE generation = ? AND level = ?", (generation, level)).fetchone()
        return int(row[0])

    def append(self, generation: int, batch: Batch) -> None:
        """See LogStore. To a server it is one round trip, and one statement where the batch is small."""
        if self._percent and len(batch.leaves) <= FEW:
            self._run(*_at_once(generation, batch))
            return
        with self._raw.together() if self._percent else contextlib.nullcontext():
            self._append(generation, batch)

    def _append(self, generation: int, batch: Batch) -> None:
        self._run_many(
            f"INSERT INTO log_leaf (generation, idx, at_ms, kind, leaf, hash) VALUES ({generation:d}, ?, ?, ?, ?, ?)",  # noqa: S608 - a number
            batch.leaves,
        )
        self._run_many(
            f"INSERT INTO log_node (generation, level, idx, hash) VALUES ({generation:d}, ?, ?, ?)",  # noqa: S608 - a number
            batch.nodes,
        )
        self._run_many(
            f"INSERT INTO log_opening (generation, idx, subject, sealed) VALUES ({generation:d}, ?, ?, ?)",  # noqa: S608 - a number
            batch.openings,
        )
        self._run(
            "INSERT INTO log_checkpoint (generation, size, root, note, at_ms) VALUES (?, ?, ?, ?, ?)", (generation, *batch.checkpoint)
        )
        if batch.superseded is not None:
            self._run("DELETE FROM log_checkpoint WHERE generation = ? AND size = ?", (generation, batch.superseded))

    def put_note(self, generation: int, size: int, note: str) -> None:
        """See LogStore."""
        self._run("UPDATE log_checkpoint SET note = ? WHERE generation = ? AND size = ?", (note, generation, size))

    def opening(self, generation: int, index: int) -> OpeningRow | None:
        """See LogStore."""
        query = "SELECT idx, subject, sealed FROM log_opening WHERE generation = ? AND idx = ?"
        rows = _typed(self._run(query, (generation, index)).fetchall(), (int, bytes, bytes))
        return rows[0] if rows else None

    def subject(self, handle: bytes) -> SubjectRow | None:
        """See LogStore."""
        row = self._run("SELECT wrapped FROM log_subject WHERE subject_h = ?", (handle,)).fetchone()
        if row is not None and type(row[0]) not in {bytes, type(None)}:
            raise _wrong_type()
        return None if row is None else SubjectRow(*row)

    def put_subject(self, handle: bytes, wrapped: bytes | None) -> None:
        """See LogStore."""
        if self.subject(handle) is None:
            self._run("INSERT INTO log_subject (subject_h, wrapped) VALUES (?, ?)", (handle, wrapped))
        else:
            self._run("UPDATE log_subject SET wrapped = ? WHERE subject_h = ?", (wrapped, handle))

    def openings_of(self, handle: bytes) -> int:
        """See LogStore."""
        return int(self._run("SELECT count(*) FROM log_opening WHERE subject = ?", (handle,)).fetchone()[0])

    def state(self) -> bytes | None:
        """See LogStore."""
        rows = _typed(self._run("SELECT value FROM meta WHERE key = ?", (STATE_KEY,)).fetchall(), (str,))
        return from_base64(rows[0][0]) if rows else None

    def put_state(self, value: bytes | None) -> None:
        """See LogStore."""
        self._run("DELETE FROM meta WHERE key = ?", (STATE_KEY,))
        if value is not None:
            self._run("INSERT INTO meta (key, value) VALUES (?, ?)", (STATE_KEY, to_base64(value)))


def _at_once(generation: int, batch: Batch) -> tuple[str, list[Any]]:
    """Return one statement that appends a small batch, and its parameters: PostgreSQL takes inserts as parts of another statement."""
    counts = (len(batch.leaves), len(batch.nodes), len(batch.openings), 1)
    tables = (batch.leaves, batch.nodes, batch.openings, [batch.checkpoint])
    values = [value for rows in tables for row in rows for value in (generation, *row)]
    return _inserting(counts, drops=batch.superseded is not None), [
        *values,
        *(() if batch.superseded is None else (generation, batch.superseded)),
    ]


@functools.lru_cache(maxsize=256)
def _inserting(counts: tuple[int, ...], *, drops: bool) -> str:
    inserts = [
        f"INSERT INTO {head} VALUES {', '.join([f'({types})'] * count)}"  # noqa: S608 - constants
        for (head, types), count in zip(_HEADS, counts, strict=True)
        if count
    ]
    if drops:
        inserts.append("DELETE FROM log_checkpoint WHERE generation = ?::BIGINT AND size = ?::BIGINT")
    *parts, last = inserts
    named = ", ".join(f"part{at} AS ({part})" for at, part in enumerate(parts))
    return f"WITH {named} {last}"


def _typed(rows: list[Any], types: tuple[type, ...]) -> list[Any]:
    """Return rows of the log if each column holds what it must: SQLite would give back whatever somebody put there."""
    for kind, column in zip(types, zip(*rows, strict=True), strict=False):
        if set(map(type, column)) != {kind}:
            raise _wrong_type()
    return rows


def _wrong_type() -> LogTampered:
    return LogTampered("a row of the log holds a value of another type", hint="the database was changed by hand")
