"""Writing the log: entries in, a signed checkpoint out, all inside the caller's transaction.

    keys = LogKeys(secret)
    log = Log(Origin(domain, 1), signing_key, keys)
    with database.write(...) as session:
        done = log.append(TablesStore(session.connection), [Entry("release.intent", {"request": "..."})], now_ms=now)
    receipt = done.receipt()            # only after the transaction is durable

What `append` returns counts from the moment the transaction is durable, not before: a checkpoint of a transaction that was rolled
back must not be shown to anybody, since the next one may contradict it. Tell `committed` of it then: this process refuses to go on
with a log that lacks it.

A checkpoint is signed in every append. A later one says everything that an earlier one said, so the store keeps the newest, the last
of every 1,024 sizes, the first, and those in which the signing key changed.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hermetic.audit import denials
from hermetic.audit.chain import change_statement
from hermetic.audit.durable import Durable
from hermetic.audit.leaf import Entry, Leaf, encode_leaf
from hermetic.audit.note import Checkpoint, Note, Origin, VerifierKey, open_note
from hermetic.audit.openings import Openings
from hermetic.audit.proof import Receipt
from hermetic.audit.receipts import Appended, verify_receipt
from hermetic.audit.store import Batch, CheckpointRow, superseded
from hermetic.audit.tree import Frontier, NodeReader, consistency_proof, inclusion_proof, leaf_hash, root_at
from hermetic.errors import Conflict, FormatError, LogTampered, NotFound, SignatureError, StorageError, UsageError
from hermetic.formats.binary_text import to_base64url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from hermetic.audit.leaf import Hidden
    from hermetic.audit.openings import LogKeys, Opening, SubjectKeys
    from hermetic.audit.store import LeafRow, LogReader, LogStore, OpeningRow
    from hermetic.crypto.sign import SigningKey
    from hermetic.formats.canonical import JsonValue

    Renew = Callable[[bytes], SigningKey | None]  # given the public key in hand: the one in force, None if it is that one

KEEP_EVERY = 1024  # leaves between checkpoints that are kept
LEAVES = 2**31  # of one generation: a subject's key seals an opening for each leaf that names the subject, with random nonces
DENIAL_WINDOW_MS = 10_000
OWN_KINDS = frozenset({"domain.created", "domain.restored", "log.key-changed", "denials.counted", "denials.summed", "subject.erased"})


class Log:
    """One generation of a domain's log. Threads may share it; each call gets the caller's store."""

    def __init__(
        self,
        origin: Origin,
        signer: SigningKey,
        keys: LogKeys,
        *,
        window_ms: int = DENIAL_WINDOW_MS,
        random: Callable[[int], bytes] = os.urandom,
        renew: Renew | None = None,
    ) -> None:
        """`renew` is asked when the newest checkpoint names another key than ours: another process may have changed it."""
        self.origin = origin
        self._renew = renew
        self._take_in_hand(signer)
        self._keys = keys
        self._window_ms = window_ms
        self._random = random
        self._openings = Openings(origin.domain, keys, random)
        self._known = Frontier()
        self.durable = Durable()

    def _take_in_hand(self, signer: SigningKey) -> None:
        self._signer, self.verifier_key = signer, VerifierKey(str(self.origin), signer.public)

    def begin(
        self,
        store: LogStore,
        *,
        now_ms: int,
        facts: Mapping[str, JsonValue] | None = None,
        restored: tuple[Checkpoint, Checkpoint] | None = None,
    ) -> Appended:
        """Write the first leaf of this generation: `domain.created`, or `domain.restored` with (restored, highest known) checkpoints.

        Raises Conflict when the generation has begun already, UsageError when generation and `restored` do not fit.
        """
        if (self.origin.generation == 1) != (restored is None):
            raise UsageError("generation 1 is created; a later one says which checkpoint was restored and which was the highest known")
        store.lock()
        if store.head(self.origin.generation) is not None:
            raise Conflict(f"generation {self.origin.generation} of the log has begun already")
        own: dict[str, JsonValue] = {**(facts or {}), "key": str(self.verifier_key)}
        if restored is None:
            return self._extend(store, [Entry("domain.created", own)], now_ms=now_ms)
        own["restored"], own["highest"] = restored[0].text, restored[1].text
        waiting = self._take_all(store, now_ms=now_ms, everything=True)
        return self._extend(store, [Entry("domain.restored", own), *waiting], now_ms=now_ms)

    def append(self, store: LogStore, entries: Sequence[Entry], *, now_ms: int) -> Appended:
        """Append entries, after any counted denials that wait, and sign the new checkpoint.

        Raises LogTampered when the stored log is not the one this key signed, UsageError for a log that has not begun.
        """
        if not entries or any(entry.kind in OWN_KINDS for entry in entries):
            raise UsageError("append takes one entry or more, of kinds that the log does not write by itself")
        store.lock()
        return self._extend(store, entries, now_ms=now_ms, ahead=self._take_all(store, now_ms=now_ms))

    def committed(self, checkpoint: Checkpoint) -> None:
        """Remember what is durable: a store that lacks it gets no entry (`durable`)."""
        self.durable.note(checkpoint)

    def append_denial(self, store: LogStore, entry: Entry, *, now_ms: int, things: Sequence[str] = ()) -> Appended:
        """Append a denial about `things` that exist, or only count it: if an equal one was logged lately, or by `floods`."""
        store.lock()
        held = denials.Held.load(store, self._keys)
        ahead = [*held.take_due_counts(now_ms, self._window_ms), *held.take_sums(self._keys, now_ms)]
        refused = denials.refused(entry, self._keys, things)
        known = held.waiting.get(refused.sort)
        if known is not None:
            held.waiting[refused.sort] = known.again(now_ms)
            return self._only_counted(store, held, ahead, now_ms=now_ms, index=known.index)
        meter, singly = held.meters(self._keys).judge(refused, now_ms, denials.mark_of(self._keys))
        if not singly:
            return self._only_counted(store, held, ahead, now_ms=now_ms, index=meter.index)
        done = self._extend(store, [entry], now_ms=now_ms, ahead=ahead)
        meter.index = done.index
        held.waiting[refused.sort] = denials.Waiting(self.origin.generation, done.index, 0, now_ms, now_ms)
        held.save(store, self._keys)
        return done

    def _only_counted(self, store: LogStore, held: denials.Held, ahead: Sequence[Entry], *, now_ms: int, index: int) -> Appended:
        held.save(store, self._keys)
        done = self._extend(store, [], now_ms=now_ms, ahead=ahead) if ahead else None
        return Appended([index], *(self.head(store) if done is None else (done.checkpoint, done.note)), coalesced=True)

    def flush(self, store: LogStore, *, now_ms: int, everything: bool = False) -> Appended | None:
        """Write what waits and is due, or all of it. None when there was nothing to write."""
        store.lock()
        held = denials.Held.load(store, self._keys)
        ahead = held.take_counts() if everything else held.take_due_counts(now_ms, self._window_ms)
        ahead += held.take_sums(self._keys, now_ms, everything=everything)
        held.save(store, self._keys)
        return self._extend(store, ahead, now_ms=now_ms) if ahead else None

    def waiting(self, store: LogStore) -> int:
        """Return how many denials are counted and not yet in a leaf."""
        return denials.Held.load(store, self._keys).count(self._keys)

    def sums_due(self, store: LogStore, *, now_ms: int) -> bool:
        """Whether `flush` has refusals to write that were summed."""
        return denials.Held.load(store, self._keys).is_due(now_ms)

    def _take_all(self, store: LogStore, *, now_ms: int, everything: bool = False) -> list[Entry]:
        """Remove all counts from the store, and the sums that are due or all of them; return the entries that say them."""
        held = denials.Held.load(store, self._keys)
        if not (held.waiting or everything or held.is_due(now_ms)):
            return []
        said = [*held.take_counts(), *held.take_sums(self._keys, now_ms, everything=everything)]
        held.save(store, self._keys)
        return said

    def change_key(self, store: LogStore, new: SigningKey, *, now_ms: int) -> tuple[Appended, Log]:
        """Hand the log over to a new signing key. Return what was appended and the log to go on with.

        The leaf carries the old key's signature over the new one, and the checkpoint that covers it is signed by both.
        """
        store.lock()
        ahead = self._take_all(store, now_ms=now_ms)
        index = self.head(store)[0].size + len(ahead)
        successor = Log(self.origin, new, self._keys, window_ms=self._window_ms, random=self._random)
        old_key, new_key = self.verifier_key, successor.verifier_key
        signature = self._signer.sign(change_statement(self.origin, index, new_key))
        facts = {"old": str(old_key), "new": str(new_key), "signature": to_base64url(signature)}
        entry = Entry("log.key-changed", facts)
        done = self._extend(store, [entry], now_ms=now_ms, ahead=ahead, signers=(self._signer, new))
        self._known = Frontier()  # so that this log, should it go on, looks at who signed last
        return done, successor

    def erase_subject(
        self,
        store: LogStore,
        subject: str,
        *,
        now_ms: int,
        facts: Mapping[str, JsonValue] | None = None,
        hidden: Mapping[str, Hidden] | None = None,
    ) -> Appended:
        """Make every value hidden under `subject` unreadable for ever, and log that it was done; the proofs stay valid.

        `facts` and `hidden` say who asked and why. After the commit, `Database.checkpoint_truncate` takes the key out of SQLite's
        write-ahead log; backups keep it until they are gone.
        """
        store.lock()
        ahead = self._take_all(store, now_ms=now_ms, everything=True)
        count = self._openings.erase(store, subject)
        entry = Entry("subject.erased", {**(facts or {}), "openings": count}, hidden or {})
        return self._extend(store, [entry], now_ms=now_ms, ahead=ahead)

    def _extend(
        self,
        store: LogStore,
        entries: Sequence[Entry],
        *,
        now_ms: int,
        ahead: Sequence[Entry] = (),
        signers: tuple[SigningKey, ...] = (),
    ) -> Appended:
        """Append `ahead` and `entries`; only a `begin` may start at size 0."""
        frontier, head = self._frontier(store)
        everything = [*ahead, *entries]
        if not frontier.size and everything[0].kind not in {"domain.created", "domain.restored"}:
            raise UsageError("this generation of the log has not begun", hint="call Log.begin first")
        if frontier.size + len(everything) > LEAVES:
            raise StorageError("this generation of the log is full", hint="a restore from the newest backup begins the next one")
        rows, openings = self._rows(store, everything, frontier.size, now_ms)
        growth = frontier.extended([row[4] for row in rows])
        checkpoint = Checkpoint(self.origin, growth.after.size, growth.after.root())
        note = checkpoint.sign(*(signers or (self._signer,)))
        row = CheckpointRow(checkpoint.size, checkpoint.root, str(note), now_ms)
        store.append(
            self.origin.generation, Batch(rows, growth.stored(), openings, row, superseded(head, checkpoint.size, KEEP_EVERY))
        )
        self._known = growth.after
        first = frontier.size + len(ahead)
        return Appended(range(first, checkpoint.size), checkpoint, note, growth=growth, leaves=[item[3] for item in rows])

    def _rows(self, store: LogStore, entries: Sequence[Entry], first: int, at_ms: int) -> tuple[list[LeafRow], list[OpeningRow]]:
        generation = self.origin.generation
        rows: list[LeafRow] = []
        openings: list[OpeningRow] = []
        subjects: SubjectKeys = {}
        for index, entry in enumerate(entries, first):
            commitments: dict[str, bytes] = {}
            if entry.hidden:
                commitments, opening = self._openings.commit(store, entry, (generation, index), subjects)
                if opening is not None:
                    openings.append(opening)
            leaf = encode_leaf(entry, (generation, index), at_ms, commitments)
            rows.append((index, at_ms, entry.kind, leaf, leaf_hash(leaf)))
        return rows, openings

    def _frontier(self, store: LogReader) -> tuple[Frontier, CheckpointRow | None]:
        """Return the peaks of the stored log and its newest checkpoint. Raises LogTampered when they disagree."""
        head = store.head(self.origin.generation)
        self.durable.check_size(0 if head is None else head.size)
        if head is None:
            return Frontier(), None
        known = self._known
        if known.size != head.size or known.root() != head.root:
            self._open(head)
            nodes = NodeReader(head.size, self._reader(store))
            known = nodes.frontier()
            if known.root() != head.root:
                raise LogTampered("the stored log does not lead to its newest checkpoint", hint="run `hermetic log verify`")
            self.durable.check_continued(nodes)
        return known, head

    def _reader(self, store: LogReader) -> Callable[[int, int, int], list[bytes]]:
        generation = self.origin.generation
        return lambda level, start, stop: store.hashes(generation, level, start, stop)

    def _open(self, row: CheckpointRow) -> tuple[Checkpoint, Note]:
        """Check a stored checkpoint against this log's key. Raises LogTampered."""
        try:
            note = Note.parse(row.note.encode("utf-8"))
            self._follow(note)
            open_note(note, [self.verifier_key])
            checkpoint = Checkpoint.parse(note.text)
        except (FormatError, SignatureError) as error:
            raise LogTampered(f"the newest checkpoint is not signed by this log's key: {error.message}") from error
        if checkpoint != Checkpoint(self.origin, row.size, row.root):
            raise LogTampered("the newest checkpoint does not say what its row says")
        return checkpoint, note

    def _follow(self, note: Note) -> None:
        """Take the key in force in hand when a key of this log other than ours signed as well, or in our place."""
        own = self.verifier_key
        if self._renew is not None and any(line.name == own.name and line.key_id != own.key_id for line in note.signatures):
            renewed = self._renew(own.public)
            if renewed is not None:
                self._take_in_hand(renewed)

    def head(self, store: LogReader) -> tuple[Checkpoint, Note]:
        """Return the newest checkpoint and its note, checked. Raises NotFound for a log that has not begun, LogTampered."""
        row = store.head(self.origin.generation)
        if row is None and self.origin.generation in store.generations():
            raise LogTampered("the log's checkpoints are gone", hint="the database was cut: restore it from a backup")
        if row is None:
            raise NotFound("this generation of the log has not begun")
        return self._open(row)

    def receipt(self, store: LogReader, index: int) -> Receipt:
        """Return the receipt of any leaf under the newest checkpoint. Raises NotFound, LogTampered."""
        checkpoint, note = self.head(store)
        raw = self.raw(store, index)
        path = inclusion_proof(NodeReader(checkpoint.size, self._reader(store)), checkpoint.size, index)
        receipt = Receipt(raw, index, tuple(path), note)
        verify_receipt(receipt, [self.verifier_key])
        return receipt

    def keep_cosigned(self, store: LogStore, note: Note) -> Checkpoint:
        """Keep a checkpoint with the cosignatures it has got (`witness.with_cosignatures`); it is never dropped again.

        Raises NotFound when the checkpoint is no longer kept (cosign the newest one), LogTampered when it is not this log's.
        """
        says = Checkpoint.parse(note.text)
        kept = next((row for row in store.checkpoints(self.origin.generation) if row.size == says.size), None)
        if kept is None:
            raise NotFound(f"the checkpoint of size {says.size} is no longer kept", hint="have the newest one cosigned")
        checkpoint, _ = self._open(kept._replace(note=str(note)))
        store.put_note(self.origin.generation, says.size, str(note))
        return checkpoint

    def consistency(self, store: LogReader, old: int, new: int | None = None) -> list[bytes]:
        """Return the proof that the log of `old` leaves is a prefix of the log of `new` (by default: all) leaves."""
        size = self.head(store)[0].size if new is None else new
        return consistency_proof(NodeReader(size, self._reader(store)), old, size)

    def root_at(self, store: LogReader, size: int) -> bytes:
        """Return the root over the first `size` leaves. Raises LogTampered when there are fewer: somebody saw a longer log."""
        head = self.head(store)[0]
        if size > head.size:
            raise LogTampered(f"this log has {head.size} entries, and {size} were seen", hint="run `hermetic log verify`")
        return head.root if size == head.size else root_at(NodeReader(head.size, self._reader(store)), size)

    def leaf(self, store: LogReader, index: int) -> Leaf:
        """Return one leaf as stored (`verify` is what vouches for it). Raises NotFound."""
        return Leaf.parse(self.raw(store, index))

    def leaves(self, store: LogReader, start: int = 0, stop: int | None = None) -> Iterator[Leaf]:
        """Yield leaves as stored."""
        for rows in store.leaves(self.origin.generation, start, stop):
            for row in rows:
                yield Leaf.parse(row[3])

    def open(self, store: LogStore, leaf: Leaf) -> dict[str, Opening]:
        """Return what can still be opened of a leaf, by field. Raises IntegrityError when the openings are not the leaf's."""
        return self._openings.open(store, leaf)

    def raw(self, store: LogReader, index: int) -> bytes:
        """Return the bytes of one leaf as stored. Raises NotFound."""
        for rows in store.leaves(self.origin.generation, index, index + 1):
            for row in rows:
                return row[3]
        raise NotFound(f"the log has no entry {index}")
