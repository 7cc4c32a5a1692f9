"""The log as the port shows it: read, verify, prove, export."""

from __future__ import annotations

import difflib
import json
import re
from itertools import groupby
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from hermetic.audit import verify as verifying
from hermetic.audit.leaf import KINDS, Leaf, RowState
from hermetic.audit.note import Note, Origin, VerifierKey, open_note
from hermetic.audit.openings import LogKeys, Openings
from hermetic.audit.pins import Pin
from hermetic.audit.tables_store import TablesStore
from hermetic.catalog import lineage
from hermetic.custody.decide import allowed_caller
from hermetic.custody.looking import look
from hermetic.custody.work import EXISTS, TRACKED, key_text, lineage_state
from hermetic.db import tables
from hermetic.errors import LogTampered, NotFound, UsageError
from hermetic.formats.messages.base import Pair, Receipt
from hermetic.formats.messages.log import EntryProof, ExportLog, LogChunk, LogPage, LogRow, LogVerified, ProveEntry, ReadLog, VerifyLog
from hermetic.keys import secret_keys
from hermetic.policy.request import Action

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermetic.custody.call import Call
    from hermetic.custody.custodian import Custodian
    from hermetic.db.rows import ReadSession

PAGE = 2000
PAGE_BYTES = 3 * 1024 * 1024  # below what a message may have
_KIND = re.compile(r"[a-z.-]{0,64}")
CHUNK_BYTES = 2 * 1024 * 1024


def read_log(call: Call, request: ReadLog) -> LogPage:
    """Read entries, newest generation unless another is named. Raises PolicyDenied, UsageError for a kind that nothing ever had."""
    if not 0 < request.limit <= PAGE:
        raise UsageError(f"a page has 1 to {PAGE} entries")
    if request.kind is not None and not _KIND.fullmatch(request.kind):
        raise UsageError("kinds of entries are words with dots, such as release.intent", hint="or the beginning of one")
    allowed_caller(call, Action.READ_LOG)
    custodian = call.custodian
    generation = request.generation or custodian.generation
    with custodian.database.read(custodian.row_keys) as session:
        store = TablesStore(session.connection)
        head = store.head(generation)
        if head is None:
            raise NotFound(f"the log has no generation {generation}")
        _check_kind(session, request.kind or "")
        openings = Openings(custodian.domain, LogKeys(custodian.keys.log_openings))
        rows, size = list[LogRow](), 0
        for raw in _raw_leaves(session, request, generation, head.size):
            row = _row(raw, openings, store)
            size += _weight(row)
            if rows and size > PAGE_BYTES:
                return LogPage(tuple(rows), head.size, row.index)
            rows.append(row)
    return LogPage(tuple(rows), head.size)


def _check_kind(session: ReadSession, kind: str) -> None:
    """Raise UsageError for the beginning of no kind: whoever reads that there are no entries takes it that nothing happened."""
    if any(known.startswith(kind) for known in KINDS):
        return
    table = tables.log_leaf
    if session.connection.execute(sa.select(table.c.idx).where(table.c.kind.like(kind + "%")).limit(1)).first() is not None:
        return  # another release wrote it
    first = sorted({known.partition(".")[0] for known in KINDS})
    near = difflib.get_close_matches(kind, [*KINDS, *first], n=3)
    raise UsageError(
        f"no entry is of a kind that begins with {kind!r}",
        hint=f"did you mean {' or '.join(near)}?" if near else f"kinds begin with {', '.join(first)}",
    )


def _weight(row: LogRow) -> int:
    """Return how many bytes of a message a row has at most: the leaf in base64, and what is told of it as JSON in JSON."""
    told = sum(len(pair.name) + len(json.dumps(pair.value)) + 24 for pair in (*row.visible, *row.opened))
    return 300 + len(row.leaf) * 4 // 3 + told


def _raw_leaves(session: ReadSession, request: ReadLog, generation: int, size: int) -> list[bytes]:
    table = tables.log_leaf
    start = max(0, size + request.start) if request.start < 0 else request.start
    where = [table.c.generation == generation]
    query = sa.select(table.c.leaf)
    if request.kind is not None:
        where.append(table.c.kind.like(request.kind + "%"))
    if request.start < 0 and request.kind is not None:
        last = query.where(*where).order_by(table.c.idx.desc()).limit(min(-request.start, request.limit))
        return [_leaf_bytes(row[0]) for row in session.connection.execute(last)][::-1]
    query = query.where(*where, table.c.idx >= start).order_by(table.c.idx).limit(request.limit)
    return [_leaf_bytes(row[0]) for row in session.connection.execute(query)]


def _leaf_bytes(value: object) -> bytes:
    if not isinstance(value, bytes):
        raise LogTampered("a row of the log holds a value of another type", hint="run `hermetic log verify`")
    return value


def _row(raw: bytes, openings: Openings, store: TablesStore) -> LogRow:
    leaf = Leaf.parse(raw)
    opened = openings.open(store, leaf) if leaf.hidden else {}
    return LogRow(
        generation=leaf.generation,
        index=leaf.index,
        at_ms=leaf.at_ms,
        kind=leaf.kind,
        leaf=raw,
        visible=tuple(Pair(name, _text(value)) for name, value in sorted(leaf.facts.items())),
        opened=tuple(Pair(name, _text(item.value)) for name, item in sorted(opened.items())),
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def verify_log(call: Call, request: VerifyLog) -> LogVerified:
    """Verify everything against the caller's anchors. Raises LogTampered."""
    allowed_caller(call, Action.READ_LOG)
    custodian = call.custodian
    keys = [VerifierKey.parse(text) for text in request.log_keys]
    pins = [Pin.from_note(item.note, item.where, external=item.external) for item in request.anchors]
    with custodian.database.read(custodian.row_keys) as session:
        store = TablesStore(session.connection)
        report = verifying.verify(store, custodian.domain, keys=keys, pins=pins, rows=present_rows(session))
    newest = report.newest
    return LogVerified(
        size=newest.size,
        root=newest.root,
        generations=len(report.generations),
        anchored=report.generations[-1].anchored,
        entries=report.entries,
        open_intents=report.open_intents,
        findings=tuple(Pair(item.code, f"{item.severity}|{item.subject}|{item.message}|{item.remedy}") for item in report.findings),
    )


def present_rows(session: ReadSession) -> Iterator[RowState]:
    """Yield the state of every row whose revisions the log commits to; each is authenticated on the way, save data keys.

    Those are many, and a data key that is there and is not the right one is seen when it is used; one that is gone is not.
    """
    for name in sorted(TRACKED):
        table = tables.metadata.tables[name]
        keys = [column.name for column in table.primary_key.columns]
        for row in session.scan(table):
            yield RowState(name, key_text(tuple(row[key] for key in keys)), row["revision"])
    for (key_id,) in session.connection.execute(sa.select(tables.data_key.c.id)):
        yield RowState(tables.data_key.name, str(key_id), EXISTS)
    for _, edges in groupby(lineage.every_edge(session), key=lambda edge: edge.child):
        yield lineage_state(list(edges))


def prove_entry(call: Call, request: ProveEntry) -> EntryProof:
    """Return a receipt for any entry, and a consistency proof if asked. Raises NotFound, LogTampered."""
    allowed_caller(call, Action.READ_LOG)
    custodian = call.custodian
    if request.generation not in {None, custodian.generation}:
        raise UsageError("only the newest generation of the log is proved", hint="`hermetic log export` writes all of them")
    return look(custodian, lambda session: _prove(custodian, TablesStore(session.connection), request))


def _prove(custodian: Custodian, store: TablesStore, request: ProveEntry) -> EntryProof:
    """Return the proof and the key that signed it, whichever comes into force meanwhile."""
    proof, key = custodian.log.receipt(store, request.index), custodian.log.verifier_key
    open_note(proof.checkpoint, [key])
    consistency = () if request.since is None else tuple(custodian.log.consistency(store, request.since))
    said = Receipt(custodian.generation, proof.index, proof.leaf, bytes(proof).decode("utf-8"))
    return EntryProof(said, str(key), consistency)


def export_log(call: Call, request: ExportLog) -> LogChunk:
    """Return raw leaves from `start` on, as many as fit."""
    allowed_caller(call, Action.READ_LOG)
    custodian = call.custodian
    with custodian.database.read(custodian.row_keys) as session:
        store = TablesStore(session.connection)
        head = store.head(request.generation)
        if head is None:
            raise NotFound(f"the log has no generation {request.generation}")
        key = _signer_of(session, head.note, Origin(custodian.domain, request.generation))
        leaves: list[bytes] = []
        size = 0
        for raw in _stream(store, request.generation, request.start):
            size += len(raw)
            if leaves and size > CHUNK_BYTES:
                break
            leaves.append(raw)
    following = request.start + len(leaves)
    return LogChunk(tuple(leaves), following if following < head.size else None, head.note, str(key))


def _signer_of(session: ReadSession, note: str, origin: Origin) -> VerifierKey:
    """Return the newest of the log's keys that signed a checkpoint: each generation may have had several. Raises LogTampered."""
    lines = {line.key_id for line in Note.parse(note.encode("utf-8", "surrogatepass")).signatures if line.name == str(origin)}
    keys = [VerifierKey(str(origin), key.public) for key in secret_keys.ls(session, secret_keys.LOG_SIGNING)]
    signed = [key for key in keys if key.key_id in lines]
    if not signed:
        raise LogTampered("the newest checkpoint is not signed by a key of this log", hint="run `hermetic log verify`")
    return signed[-1]


def _stream(store: TablesStore, generation: int, start: int) -> Iterator[bytes]:
    for batch in store.leaves(generation, start):
        for row in batch:
            yield bytes(row[3])
