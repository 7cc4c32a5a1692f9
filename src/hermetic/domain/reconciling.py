"""Our log compared with the record that a service keeps of a root: `hermetic log reconcile`.

1. The log is verified against this user's pins: what is compared has to be what was written.
2. Its uses of the root are read through the port, all generations.
3. The record is read, and compared entry by entry (`audit.reconcile`).
4. The log is read once more, for what other processes added meanwhile.

This command opens the domain too, and so uses the root: its own uses stand on the log after the size at which it began.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hermetic.audit import uses
from hermetic.audit.leaf import Leaf
from hermetic.audit.note import Checkpoint, Note
from hermetic.audit.reconcile import Comparison, Span
from hermetic.audit.recorded import Coverage
from hermetic.audit.uses import OwnUses
from hermetic.domain.listing import log_pages
from hermetic.errors import NotFound, UsageError
from hermetic.formats.messages.log import Anchor, ReadLog, VerifyLog
from hermetic.formats.messages.roots import ListRoots
from hermetic.ids import KeyState
from hermetic.keys.provider import RootId
from hermetic.providers import records

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from hermetic.audit.reconcile import Report
    from hermetic.domain.connect import Connection
    from hermetic.formats.messages.roots import RootRow

EVERY: Final = 10_000  # entries of the record between two calls of `progress`
PREFIX: Final = 4


@dataclass(frozen=True, slots=True)
class Kept:
    """A root, and which record there is of its use; `compared` says that it can be read here."""

    root: str
    provider: str
    state: str
    record: str
    compared: bool


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What was compared with what: the root, the files, the time that they cover, and the outcome."""

    root: str
    provider: str
    record: str
    files: tuple[str, ...]
    entries: int
    first_ms: int | None
    last_ms: int | None
    began_ms: int | None
    since_ms: int | None
    until_ms: int | None
    report: Report


def kept(connection: Connection) -> tuple[Kept, ...]:
    """Return what record each root of the domain has. Raises PolicyDenied."""
    return tuple(_kept(row) for row in connection.ask(ListRoots()).roots)


def reconcile(
    connection: Connection,
    files: Sequence[Path],
    *,
    root: str | None = None,
    span: tuple[int | None, int | None] = (None, None),
    progress: Callable[[int], None] = lambda _count: None,
) -> Reconciled:
    """Compare. `files` are those of one record, older ones first; `root` is an id or the beginning of it, needed where several roots
    have records that can be read. `span` is from when, and up to when, Unix milliseconds.

    Raises UsageError, NotFound, Unsupported (no reader for this kind of root), LogTampered, PolicyDenied, StorageError.
    """
    row = _chosen(connection, root)
    coverage = Coverage()
    settings = connection.config.providers.get(row.provider, {})
    reader = records.reader((row.provider, RootId(row.root)), files, coverage, settings=settings)
    began = _verified(connection)
    comparison = Comparison(_own(connection, row.root), Span(*span))
    for number, item in enumerate(reader, 1):
        comparison.see(item)
        if number % EVERY == 0:
            progress(EVERY)
    own = _own(connection, row.root)
    comparison.learn(own)
    return Reconciled(
        root=row.root,
        provider=row.provider,
        record=records.KEPT[records.scheme_of(row.provider)],
        files=tuple(coverage.files),
        entries=coverage.entries,
        first_ms=coverage.first_ms,
        last_ms=coverage.last_ms,
        began_ms=own.began_ms,
        since_ms=span[0],
        until_ms=span[1],
        report=comparison.report(coverage, began),
    )


def _kept(row: RootRow) -> Kept:
    scheme = records.scheme_of(row.provider)
    return Kept(row.root, row.provider, row.state, records.KEPT.get(scheme, "not known"), scheme in records.READ)


def _chosen(connection: Connection, text: str | None) -> RootRow:
    rows = connection.ask(ListRoots()).roots
    if text is not None:
        found = [row for row in rows if len(text) >= PREFIX and row.root.startswith(text)]
        if not found:
            raise NotFound(f"no root {text!r}", hint="`hermetic key root ls` lists them; four letters of an id are enough")
    else:
        found = [row for row in rows if records.scheme_of(row.provider) in records.READ]
        found = [row for row in found if row.state != KeyState.DESTROYED] or found
        if not found:
            raise UsageError("no root of this domain has a record that can be compared", hint="`hermetic log reconcile` says why")
    if len(found) > 1:
        raise UsageError(f"{len(found)} roots could be meant", hint="name one: --root ROOT; `hermetic key root ls` lists them")
    return found[0]


def _verified(connection: Connection) -> tuple[int, int]:
    """Verify the log; return generation and size of the checkpoint that this connection met first, before it added anything."""
    pinned = tuple(
        Anchor(note, where, external=False)
        for note, where in ((connection.pins.checkpoint, "your pins"), *((note, "earlier pins") for note in connection.pins.earlier))
        if note
    )
    connection.ask(VerifyLog(pinned, connection.pins.log_keys))
    met = Checkpoint.parse(Note.parse(connection.welcome.checkpoint.encode("utf-8")).text)
    return met.origin.generation, met.size


def _own(connection: Connection, root: str) -> OwnUses:
    own = OwnUses(root)
    for generation in range(1, connection.welcome.generation + 1):
        for leaf in _leaves(connection, generation):
            own.add(leaf)
    return own


def _leaves(connection: Connection, generation: int) -> Iterator[Leaf]:
    try:
        for page in log_pages(connection.ask, ReadLog(0, sys.maxsize, uses.KIND, generation)):
            for row in page.rows:
                yield Leaf.parse(row.leaf)
    except NotFound:  # a restore from an older copy leaves out a number
        return
