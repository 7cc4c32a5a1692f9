"""The log of one generation as tiles (c2sp.org/tlog-tiles), read through the port and checked before anything is written.

1. The leaves come as they are, in chunks; their hashes must lead to the root of the checkpoint.
2. The checkpoint must be signed by a key whose public part this user has pinned.
3. `audit.tiles` writes what is missing, the checkpoint last; an export that goes on must be continued by the log.

The leaves of one generation are held in memory meanwhile, about 1 KiB each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermetic.audit import tiles
from hermetic.audit.note import Checkpoint, Note, VerifierKey
from hermetic.audit.store import Batch, CheckpointRow, MemoryStore
from hermetic.audit.tree import STRIDE, fold_level, leaf_hash
from hermetic.errors import LogTampered, StorageError
from hermetic.formats.messages.log import ExportLog
from hermetic.stores.base import hint_for
from hermetic.stores.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hermetic.audit.store import LeafRow, NodeRow
    from hermetic.domain.connect import Connection
    from hermetic.formats.messages.log import LogChunk


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written: `entries` leaves in all, `root` of the tree, and the key that verifies the checkpoint."""

    folder: str
    generation: int
    entries: int
    root: bytes
    verifier_key: str


def export_tiles(
    connection: Connection, folder: Path, *, generation: int | None = None, progress: Callable[[int], None] = lambda _count: None
) -> Exported:
    """Write the log of a generation (default: the newest) into `folder`; `progress` is called with the leaves of each chunk.

    Raises PolicyDenied, NotFound (no such generation), LogTampered (leaves and checkpoint disagree, unpinned key, or the log does not
    continue an earlier export), StorageError.
    """
    wanted = connection.welcome.generation if generation is None else generation
    leaves: list[bytes] = []
    chunk = connection.ask(ExportLog(wanted))
    while True:
        leaves += chunk.leaves
        progress(len(chunk.leaves))
        if chunk.next is None:
            break
        chunk = connection.ask(ExportLog(wanted, chunk.next))
    key = _pinned(connection, chunk)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot use {folder}: {error.strerror}", hint=hint_for(error)) from error
    done = tiles.export(_reader(wanted, leaves, chunk.checkpoint), wanted, LocalStore(folder), keys=[key])
    return Exported(str(folder), wanted, done.size, done.root, str(key))


def _pinned(connection: Connection, chunk: LogChunk) -> VerifierKey:
    """Return the key named in the answer, if its public part is pinned; each generation signs under a name of its own."""
    key = VerifierKey.parse(chunk.verifier_key)
    if key.public not in {VerifierKey.parse(text).public for text in connection.pins.log_keys}:
        raise LogTampered("the log is signed by a key that is not pinned", hint="run `hermetic log verify`")
    return key


def _reader(generation: int, leaves: list[bytes], note: str) -> MemoryStore:
    """Return leaves and checkpoint as a log that can be read; leaves written after the checkpoint are left out."""
    signed = Checkpoint.parse(Note.parse(note.encode("utf-8", "surrogatepass")).text)
    if len(leaves) < signed.size:
        raise LogTampered(f"the checkpoint is of {signed.size} entries, and {len(leaves)} came", hint="run `hermetic log verify`")
    rows: list[LeafRow] = [(index, 0, "", raw, leaf_hash(raw)) for index, raw in enumerate(leaves[: signed.size])]
    store = MemoryStore()
    row = CheckpointRow(signed.size, signed.root, note, 0)
    store.append(generation, Batch(rows, _nodes([leaf[4] for leaf in rows]), (), row, None))
    return store


def _nodes(hashes: list[bytes]) -> list[NodeRow]:
    """Return the stored levels above the leaves."""
    found: list[NodeRow] = []
    level = 0
    while len(hashes) > 1:
        hashes, level = fold_level(hashes), level + 1
        if level % STRIDE == 0:
            found += [(level, index, node) for index, node in enumerate(hashes)]
    return found
