"""The log as a folder of files that any transparency-log client reads (c2sp.org/tlog-tiles), written to and read from a store.

    checkpoint                     the newest signed checkpoint
    tile/<L>/<N>[.p/<W>]           256 hashes of level 8 * L, or W of them at the right edge
    tile/entries/<N>[.p/<W>]       the leaves themselves: u16 length || leaf, as many

N is written in groups of three digits, all but the last with an `x` before it: 1234067 is `x001/x234/067`. Tiles never change; an
export that goes on adds files and replaces `checkpoint` last, so that a reader always finds what the checkpoint needs. Before it goes
on, it checks that the log continues what was exported: an export is an anchor as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from hermetic.audit.leaf import Leaf
from hermetic.audit.note import NOTE_LIMIT, Checkpoint, Note, open_checkpoint
from hermetic.audit.proof import LEAF_LIMIT
from hermetic.audit.store import CheckpointRow
from hermetic.audit.tree import HASH, STRIDE, TILE, NodeReader, leaf_hash, root_at
from hermetic.errors import FormatError, LogTampered, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hermetic.audit.note import VerifierKey
    from hermetic.audit.store import LeafRow, LogReader

CHECKPOINT = "checkpoint"
BUNDLE_LIMIT = TILE * (LEAF_LIMIT + 2)


class Files(Protocol):
    """The part of `stores.Store` that an export needs."""

    def read_bytes(self, key: str, *, limit: int) -> bytes:
        """Return a whole object. Raises NotFound, FormatError above `limit`."""

    def put_bytes(self, key: str, data: bytes, *, replace: bool = False) -> None:
        """Write an object, durable on return."""

    def exists(self, key: str) -> bool:
        """Say whether an object is there."""


def tile_path(level: str, number: int, width: int = TILE) -> str:
    """Return the path of a tile: `level` is `0` to `63` or `entries`; `width` is below 256 at the right edge only."""
    digits = f"{number:d}"
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    path = "/".join(["tile", level, *("x" + group for group in groups[:-1]), groups[-1]])
    return path if width == TILE else f"{path}.p/{width}"


def tiles_of(size: int, level: int) -> Iterator[tuple[int, int]]:
    """Yield (number, width) of every tile of a tile level for a log of `size` leaves."""
    count = size >> STRIDE * level
    for number in range(count // TILE):
        yield number, TILE
    if count % TILE:
        yield count // TILE, count % TILE


def export(log: LogReader, generation: int, files: Files, *, keys: Sequence[VerifierKey]) -> Checkpoint:
    """Write what is missing of a generation, then its newest checkpoint. Return that checkpoint.

    Raises NotFound for a generation that has not begun; LogTampered when the log does not continue an earlier export, or when the
    stored hashes do not give the signed root; SignatureError when `keys` did not sign.
    """
    head = log.head(generation)
    if head is None:
        raise NotFound(f"generation {generation} of the log has not begun")
    checkpoint = _opened(head.note.encode("utf-8", "surrogatepass"), keys)
    node = NodeReader(checkpoint.size, lambda level, start, stop: log.hashes(generation, level, start, stop))
    if root_at(node, checkpoint.size) != checkpoint.root or checkpoint.origin.generation != generation:
        raise LogTampered("the stored log does not lead to its newest checkpoint", hint="run `hermetic log verify`")
    done = _check_continues(files, node, checkpoint, keys)
    for level in range(-(-max(checkpoint.size.bit_length(), 1) // STRIDE)):
        for number, width in tiles_of(checkpoint.size, level):
            if number >= done >> STRIDE * (level + 1):
                start = number * TILE
                _put(
                    files, tile_path(str(level), number, width), b"".join(log.hashes(generation, STRIDE * level, start, start + width))
                )
    for number, width in tiles_of(checkpoint.size, 0):
        if number >= done >> STRIDE:
            _put(files, tile_path("entries", number, width), _bundle(log, generation, number * TILE, number * TILE + width))
    files.put_bytes(CHECKPOINT, head.note.encode("utf-8"), replace=True)
    return checkpoint


def _opened(raw: bytes, keys: Sequence[VerifierKey]) -> Checkpoint:
    return open_checkpoint(Note.parse(raw), keys)


def _check_continues(files: Files, node: NodeReader, now: Checkpoint, keys: Sequence[VerifierKey]) -> int:
    """Return the size exported so far, after checking that the log still has that root at that size."""
    try:
        before = _opened(files.read_bytes(CHECKPOINT, limit=NOTE_LIMIT), keys)
    except NotFound:
        return 0
    if before.origin != now.origin:
        raise LogTampered("the export is of another log or generation", hint="export each generation to a folder of its own")
    if before.size > now.size or root_at(node, before.size) != before.root:
        raise LogTampered(
            "the log does not continue what was exported earlier", hint="the log was cut or forked: keep both as evidence"
        )
    return before.size


def _put(files: Files, path: str, data: bytes) -> None:
    """Write a tile unless an interrupted export has written it already; then it must be the same."""
    if not files.exists(path):
        files.put_bytes(path, data)
    elif files.read_bytes(path, limit=BUNDLE_LIMIT) != data:
        raise LogTampered(f"{path} of the export differs from the log", hint="keep both as evidence; export to an empty folder")


def _bundle(log: LogReader, generation: int, start: int, stop: int) -> bytes:
    parts: list[bytes] = []
    for rows in log.leaves(generation, start, stop):
        parts.extend(len(row[3]).to_bytes(2, "big") + row[3] for row in rows)
    return b"".join(parts)


class TileReader:
    """A LogReader over an export of one generation: `verify` and proofs work on it as on the database.

    Raises SignatureError when none of `keys` signed its checkpoint.
    """

    def __init__(self, files: Files, *, keys: Sequence[VerifierKey]) -> None:
        self._files = files
        self._note = files.read_bytes(CHECKPOINT, limit=NOTE_LIMIT)
        self.checkpoint = _opened(self._note, keys)

    def generations(self) -> list[int]:
        """See LogReader."""
        return [self.checkpoint.origin.generation]

    def head(self, generation: int) -> CheckpointRow | None:
        """See LogReader; the time of the checkpoint is not exported and reads as 0."""
        if generation != self.checkpoint.origin.generation:
            return None
        return CheckpointRow(self.checkpoint.size, self.checkpoint.root, self._note.decode("utf-8"), 0)

    def checkpoints(self, generation: int) -> list[CheckpointRow]:
        """See LogReader."""
        head = self.head(generation)
        return [] if head is None else [head]

    def leaves(self, generation: int, start: int = 0, stop: int | None = None) -> Iterator[Sequence[LeafRow]]:
        """See LogReader. Raises FormatError for a bundle that is cut."""
        end = self.checkpoint.size if stop is None else min(stop, self.checkpoint.size)
        if generation != self.checkpoint.origin.generation:
            return
        for number, width in tiles_of(self.checkpoint.size, 0):
            first = number * TILE
            if first < end and first + width > start:
                rows = [_row(leaf) for leaf in self._entries(number, width)]
                yield [row for index, row in enumerate(rows, first) if start <= index < end]

    def _entries(self, number: int, width: int) -> list[bytes]:
        raw = self._files.read_bytes(tile_path("entries", number, width), limit=BUNDLE_LIMIT)
        entries: list[bytes] = []
        at = 0
        while at < len(raw):
            length = int.from_bytes(raw[at : at + 2], "big")
            entries.append(raw[at + 2 : at + 2 + length])
            at += 2 + length
        if at != len(raw) or len(entries) != width:
            raise FormatError(f"entry bundle {number} does not hold {width} whole entries")
        return entries

    def hashes(self, generation: int, level: int, start: int, stop: int) -> list[bytes]:
        """See LogReader."""
        found: list[bytes] = []
        if generation != self.checkpoint.origin.generation:
            return found
        for number, width in tiles_of(self.checkpoint.size, level // STRIDE):
            first = number * TILE
            if first < stop and first + width > start:
                raw = self._files.read_bytes(tile_path(str(level // STRIDE), number, width), limit=TILE * HASH)
                if len(raw) != width * HASH:
                    raise FormatError(f"tile {number} of level {level // STRIDE} does not hold {width} hashes")
                row = [raw[at : at + HASH] for at in range(0, len(raw), HASH)]
                found.extend(row[max(start - first, 0) : stop - first])
        return found

    def node_count(self, generation: int, level: int) -> int:
        """See LogReader; an export has exactly the tiles its size needs, whatever else lies in the folder."""
        return self.checkpoint.size >> level if generation == self.checkpoint.origin.generation else 0


def _row(raw: bytes) -> LeafRow:
    leaf = Leaf.parse(raw)
    return leaf.index, leaf.at_ms, leaf.kind, raw, leaf_hash(raw)
