"""One pass over one generation: every leaf, hash and stored node, and the roots at all sizes that matter. Reads, never writes."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from hermetic.audit.chain import KEY_CHANGES, LOG_KEY_CHANGED, KeyChain
from hermetic.audit.leaf import Leaf
from hermetic.audit.note import Checkpoint, Note, Origin, open_note
from hermetic.audit.pins import FORK_HINT, Restored
from hermetic.audit.scan import Scanner
from hermetic.audit.store import stored_levels
from hermetic.audit.tree import EMPTY_ROOT, Frontier
from hermetic.errors import FormatError, LogTampered, SignatureError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hermetic.audit.ledger import Ledger
    from hermetic.audit.note import VerifierKey
    from hermetic.audit.store import CheckpointRow, LeafRow, LogReader
    from hermetic.formats.canonical import Json

_FIRST = frozenset({"domain.created", "domain.restored"})
_SPECIAL = _FIRST | {*KEY_CHANGES}
_MEANINGFUL = _SPECIAL | {"release.intent", "release.outcome"}


class Walk:
    """A generation under verification. After `run`: size, roots by size, key chain, and what was restored."""

    def __init__(
        self,
        store: LogReader,
        origin: Origin,
        ledger: Ledger,
        *,
        wanted: Iterable[int],
        leaves: Iterable[int] = (),
        witnesses: Sequence[VerifierKey] = (),
    ) -> None:
        self.origin = origin
        self.cosigned: dict[int, str] = {}
        self._witnesses = witnesses
        self.chain = KeyChain(origin)
        self.restored: Restored | None = None
        self.key_changes: list[Leaf] = []
        self.roots: dict[int, bytes] = {0: EMPTY_ROOT}
        self.found_leaves: dict[int, bytes] = {}
        self.checkpoints = store.checkpoints(origin.generation)
        self._store = store
        self._ledger = ledger
        self._scanner = Scanner()
        self._frontier = Frontier()
        self._wanted = {*wanted, *(row.size for row in self.checkpoints)}
        self._leaves = set(leaves)

    @property
    def size(self) -> int:
        """Leaves read so far."""
        return self._frontier.size

    def run(self) -> None:
        """Read the whole generation. Raises LogTampered at the first contradiction. The numbers are those of the specification."""
        for rows in self._store.leaves(self.origin.generation):
            hashes = self._check_leaves(rows)  # 2
            self._grow(hashes)  # 3
        if not self.size:
            raise LogTampered(f"generation {self.origin.generation} of the log has no entries", hint="the log was cut to nothing")
        self.roots[self.size] = self._frontier.root()
        for level, count in stored_levels(self.size):
            if self._store.node_count(self.origin.generation, level) != count:
                raise LogTampered(f"generation {self.origin.generation} does not hold the {count} nodes of level {level}")
        self._check_checkpoints()  # 4

    def _check_leaves(self, rows: Sequence[LeafRow]) -> list[bytes]:
        """Check that each row is the next leaf, says what its columns say, and hashes as stored. Return the hashes."""
        generation, expected, read = self.origin.generation, self.size, self._scanner.read
        last_ms = self._ledger.last_ms
        hashes: list[bytes] = []
        for index, at_ms, kind, raw, stored in rows:
            hashed = sha256(b"\x00" + raw).digest()
            if index != expected or hashed != stored:
                raise self._wrong_row(expected, index)
            hashes.append(hashed)
            try:
                leaf_generation, leaf_index, leaf_ms, leaf_kind, request, states = read(raw, kind)
            except FormatError as error:
                raise LogTampered(f"log entry {generation}/{index} is not readable: {error.message}") from error
            if leaf_generation != generation or leaf_index != index or leaf_ms != at_ms or leaf_kind != kind:
                raise LogTampered(f"log entry {generation}/{index} does not say what its row says")
            if kind in _MEANINGFUL or not index:
                self._take((index, kind), request, raw)
            if states:
                self._ledger.rows((generation, index), states)
            if at_ms < last_ms:
                self._ledger.clock_went_back((generation, index))
            last_ms = at_ms
            expected += 1
        self._ledger.last_ms = last_ms
        self.found_leaves.update({index: hashes[index - self.size] for index in self._leaves if self.size <= index < expected})
        return hashes

    def _take(self, what: tuple[int, str], request: Json, raw: bytes) -> None:
        """Take an entry that means something to the verification."""
        index, kind = what
        place = self.origin.generation, index
        if kind == "release.intent":
            self._ledger.intent(place, request)
        elif kind == "release.outcome":
            self._ledger.outcome(place, request)
        if kind in _SPECIAL or not index:
            self._special(raw)

    def _special(self, raw: bytes) -> None:
        """Follow the leaves that say which key signs."""
        leaf = Leaf.parse(raw)
        first = "domain.created" if leaf.generation == 1 else "domain.restored"
        if (leaf.index == 0) != (leaf.kind in _FIRST) or (leaf.index == 0 and leaf.kind != first):
            raise LogTampered(f"log entry {leaf.generation}/{leaf.index} begins a log where none begins, or none begins it")
        if leaf.kind in KEY_CHANGES:
            change = self.chain.change if leaf.kind == LOG_KEY_CHANGED else self.chain.change_manifest
            change(leaf)
            self.key_changes.append(leaf)
            return
        self.chain.begin(leaf)
        if leaf.kind == "domain.restored":
            self.restored = Restored.of(leaf, self.origin.domain)

    def _grow(self, hashes: list[bytes]) -> None:
        """Extend the tree, stopping at the sizes whose root is wanted, and compare the nodes that the store keeps."""
        start, stop = self.size, self.size + len(hashes)
        edges = sorted({stop, *(size for size in self._wanted if start < size < stop)})
        done = start
        for edge in edges:
            growth = self._frontier.extended(hashes[done - start : edge - start])
            self._compare_nodes(growth.stored())
            self._frontier, done = growth.after, edge
            if edge in self._wanted:
                self.roots[edge] = growth.after.root()

    def _compare_nodes(self, nodes: Sequence[tuple[int, int, bytes]]) -> None:
        for level in {node[0] for node in nodes}:
            row = [(index, hashed) for at, index, hashed in nodes if at == level]
            first = row[0][0]
            if self._store.hashes(self.origin.generation, level, first, first + len(row)) != [hashed for _, hashed in row]:
                raise LogTampered(f"a stored node of level {level} near {first} is not what the entries below it give", hint=FORK_HINT)

    def _check_checkpoints(self) -> None:
        """Compare every kept checkpoint with the tree, and its signatures with the chain of keys."""
        newest = self.checkpoints[-1].size if self.checkpoints else None
        if newest != self.size:
            raise LogTampered(
                f"generation {self.origin.generation} has {self.size} entries, its newest checkpoint says {newest}",
                hint="entries were added or cut without the signing key",
            )
        for row in self.checkpoints:
            self._check_checkpoint(row)

    def _check_checkpoint(self, row: CheckpointRow) -> None:
        if row.size < 1 or self.roots[row.size] != row.root:
            raise LogTampered(f"the entries up to {row.size} do not give the root that was signed for them", hint=FORK_HINT)
        try:
            note = Note.parse(row.note.encode("utf-8", "surrogatepass"))
            wanted = self.chain.signers_at(row.size)
            signers = open_note(note, [*wanted, *self._witnesses])
            says = Checkpoint.parse(note.text)
        except (FormatError, SignatureError) as error:
            raise LogTampered(f"the checkpoint of size {row.size} is not signed by the log's key: {error.message}") from error
        if says != Checkpoint(self.origin, row.size, row.root) or not set(wanted) <= set(signers):
            raise LogTampered(f"the checkpoint of size {row.size} does not say what its row says, or lacks a signature")
        for witness in set(signers) - set(wanted):
            self.cosigned[row.size] = witness.name

    def _wrong_row(self, expected: int, index: int) -> LogTampered:
        generation = self.origin.generation
        if index != expected:
            return LogTampered(f"log entry {generation}/{expected} is missing; the next is {index}", hint=FORK_HINT)
        return LogTampered(f"log entry {generation}/{index} was changed: it does not hash to its stored hash", hint=FORK_HINT)
