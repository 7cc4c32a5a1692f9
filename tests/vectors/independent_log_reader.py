"""A second reader of the audit log, written from `spec/audit-log.md` and the C2SP pages that it names.

Like `independent_reader`, it imports nothing of the product. Numbers in comments are steps of the section named above them.
"""

import hashlib
import hmac
import re
import struct
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from tests.vectors.independent_reader import (
    MAX_INTEGER,
    Refused,
    commitment,
    decode,
    ed25519,
    encode,
    hash32,
    identifier,
    integer,
    members,
    must,
    text,
    unbase,
)

# section 3: leaves and tree

FIELD = re.compile("[a-z][a-z0-9_]{0,62}")
KIND = re.compile(r"[a-z][a-z0-9-]{0,31}(\.[a-z][a-z0-9-]{0,31}){1,2}")
EMPTY = hashlib.sha256(b"").digest()


def leaf_hash(leaf: bytes) -> bytes:
    """Hash a leaf."""
    return hashlib.sha256(b"\0" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash two subtrees."""
    return hashlib.sha256(b"\1" + left + right).digest()


def tree_root(hashes: Sequence[bytes]) -> bytes:
    """Compute the root over leaf hashes."""
    if not hashes:
        return EMPTY
    level = list(hashes)
    while len(level) > 1:
        pairs = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        level = pairs + level[len(level) & ~1 :]
    return level[0]


def read_leaf(raw: bytes) -> dict[str, Any]:
    """Read a leaf; any well-formed kind and any facts are good."""
    must(len(raw) <= 65535, "leaf too long")
    leaf = decode(raw)
    must(isinstance(leaf, dict), "leaf: no object")
    optional = " ".join(name for name in ("hidden", "rows") if name in leaf)
    members(leaf, "at_ms facts format generation index kind " + optional, "leaf")
    must(leaf["format"] == "hermetic/v1/log-leaf", "format")
    integer(leaf["at_ms"], 0, MAX_INTEGER, "at_ms")
    integer(leaf["generation"], 1, MAX_INTEGER, "generation")
    integer(leaf["index"], 0, MAX_INTEGER, "index")
    must(KIND.fullmatch(text(leaf["kind"], "kind")), "kind")
    _fields(leaf["facts"], 0, 64)
    if "hidden" in leaf:
        _fields(leaf["hidden"], 1, 32)
        for name, made in leaf["hidden"].items():
            hash32(made, name)
    if "rows" in leaf:
        must(isinstance(leaf["rows"], list) and 1 <= len(leaf["rows"]) <= 512, "rows")
        for row in leaf["rows"]:
            _row(row)
    return dict(leaf)


def _fields(value: Any, low: int, high: int) -> None:
    must(isinstance(value, dict) and low <= len(value) <= high, "number of fields")
    must(all(FIELD.fullmatch(name) for name in value), "a field name")


def _row(row: Any) -> None:
    must(isinstance(row, list) and len(row) == 4, "a row state")
    text(row[0], "table")
    text(row[1], "key")
    if row[2] is not None:
        integer(row[2], 0, MAX_INTEGER, "revision")
    if row[3] is not None:
        hash32(row[3], "digest")


def check_opening(raw: bytes, name: str, salt: bytes, value: object) -> None:
    """Compare an opening with its leaf: section 4."""
    hidden = read_leaf(raw).get("hidden", {})
    must(name in hidden, f"no field {name}")
    must(hmac.compare_digest(commitment(salt, name, encode(value)), hash32(hidden[name], name)), name, "integrity")


def inclusion_root(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """Follow a path from a leaf hash to the root it leads to (RFC 9162 section 2.1.3.2)."""
    must(0 <= index < size, "the index is outside the tree")
    node, last, root = index, size - 1, leaf
    for hash_ in path:
        must(last > 0, "a hash is left over")
        if node & 1 or node == last:
            root = node_hash(hash_, root)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            root = node_hash(root, hash_)
        node, last = node >> 1, last >> 1
    must(last == 0, "a hash is missing")
    return root


def check_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], *, root: bytes) -> None:
    """Check that a path leads from a leaf hash to a root."""
    must(inclusion_root(leaf, index, size, path) == root, "the path leads elsewhere", "log-tampered")


def check_consistency(old: tuple[int, bytes], new: tuple[int, bytes], proof: Sequence[bytes]) -> None:
    """Check that the tree `new` (size, root) continues the tree `old`."""
    must(old[0] <= new[0], "sizes", "log-tampered")
    if old[0] in {0, new[0]}:
        must(not proof, "a hash is left over")
        must(old[1] == (new[1] if old[0] else EMPTY), "two roots of one size", "log-tampered")
        return
    must(_consistency_roots(old, new[0], proof) == (old[1], new[1]), "one does not continue the other", "log-tampered")


def _consistency_roots(old: tuple[int, bytes], new_size: int, proof: Sequence[bytes]) -> tuple[bytes, bytes]:
    """Compute old and new root from a consistency proof (RFC 9162 section 2.1.4.2)."""
    size, root = old
    path = list(proof) if size & (size - 1) else [root, *proof]
    must(path, "a hash is missing")
    node, last = size - 1, new_size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    before = after = path[0]
    for hash_ in path[1:]:
        must(last > 0, "a hash is left over")
        if node & 1 or node == last:
            before, after = node_hash(hash_, before), node_hash(hash_, after)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            after = node_hash(after, hash_)
        node, last = node >> 1, last >> 1
    must(last == 0, "a hash is missing")
    return before, after


# sections 2 and 5: checkpoints and keys


@dataclass(frozen=True)
class VerifierKey:
    """A key of c2sp.org/signed-note."""

    name: str
    id: bytes
    kind: int
    public: bytes

    @classmethod
    def parse(cls, spelled: str) -> "VerifierKey":
        """Read a vkey; the id must be that of name and key."""
        must(spelled.count("+") >= 2, "no verifier key")
        name, id_, material = spelled.split("+", 2)
        raw = unbase(material, "key", url=False)
        must(len(raw) == 33 and raw[0] in (1, 4), "a key of another type")
        must(name and not re.search(r"\s", name), "key name")
        must(id_ == hashlib.sha256(name.encode() + b"\n" + raw).hexdigest()[:8], "key id")
        return cls(name, bytes.fromhex(id_), raw[0], raw[1:])

    def check(self, body: str, signature: bytes) -> None:
        """Verify a signature or a cosignature over a note's text."""
        message = body.encode()
        if self.kind == 4:
            must(len(signature) == 72 and signature[0] < 0x80, "length of a cosignature", "signature")
            time = struct.unpack(">Q", signature[:8])[0]
            message, signature = f"cosignature/v1\ntime {time}\n".encode() + message, signature[8:]
        ed25519(self.public, signature, message, self.name)


def decimal(spelled: str, what: str) -> int:
    """Read a decimal number without leading zeros."""
    must(re.fullmatch("0|[1-9][0-9]{0,15}", spelled), f"{what}: no decimal number")
    return integer(int(spelled), 0, MAX_INTEGER, what)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint: its text, and the signature lines below it."""

    body: str
    origin: str
    size: int
    root: bytes
    signatures: tuple[tuple[str, bytes, bytes], ...] = ()

    @classmethod
    def of_text(cls, body: str, signatures: Iterable[tuple[str, bytes, bytes]] = ()) -> "Checkpoint":
        """Read the three lines."""
        lines = body.split("\n")
        must(len(lines) == 4 and not lines[3], "a checkpoint has three lines")
        root = unbase(lines[2], "root", url=False)
        must(len(root) == 32, "root")
        origin_of(lines[0])
        return cls(body, lines[0], decimal(lines[1], "size"), root, tuple(signatures))

    @classmethod
    def of_note(cls, note: str) -> "Checkpoint":
        """Read a signed note; nothing is verified."""
        must(len(note.encode()) <= 131072 and not re.search(r"[\x00-\x09\x0b-\x1f]", note), "note")
        body, gap, below = note.rpartition("\n\n")
        must(gap and below.endswith("\n"), "no signature lines")
        lines = below[:-1].split("\n")
        must(len(lines) <= 64, "too many signature lines")
        found = (re.fullmatch(r"\u2014 ([^\s+]+) (\S+)", line) for line in lines)
        return cls.of_text(body + "\n", [_signature_line(match) for match in found])

    def verify(self, keys: Collection[VerifierKey]) -> set[VerifierKey]:
        """Check every line by a known key, and give the keys that signed."""
        known = {(key.name, key.id): key for key in keys}
        signed = set()
        for name, id_, signature in self.signatures:
            if (name, id_) in known:
                known[name, id_].check(self.body, signature)
                signed.add(known[name, id_])
        return signed


def _signature_line(match: re.Match[str] | None) -> tuple[str, bytes, bytes]:
    if match is None:
        raise Refused("format", "a signature line")
    raw = unbase(match[2], "signature line", url=False)
    must(len(raw) > 4, "signature line")
    return match[1], raw[:4], raw[4:]


def origin_of(origin: str) -> tuple[str, int]:
    """Take an origin apart into domain and generation."""
    parts = origin.split("/")
    must(len(parts) == 3 and parts[0] == "hermetic.log", "origin")
    generation = decimal(parts[2], "generation")
    must(generation > 0, "generation")
    return identifier(parts[1], "domain"), generation


# section 7: receipts


@dataclass(frozen=True)
class Receipt:
    """A parsed receipt."""

    leaf: bytes
    index: int
    path: tuple[bytes, ...]
    checkpoint: Checkpoint


def parse_receipt(receipt: str) -> Receipt:
    """Read a receipt that carries its leaf; nothing is verified."""
    must(len(receipt.encode()) <= 262144, "receipt too long")
    head, gap, note = receipt.partition("\n\n")
    lines = head.split("\n")
    must(gap and len(lines) >= 3 and lines[0] == "c2sp.org/tlog-proof@v1", "no receipt")
    must(lines[1].startswith("extra ") and lines[2].startswith("index "), "extra or index")
    path = [unbase(line, "path", url=False) for line in lines[3:]]
    must(len(path) <= 64 and all(len(each) == 32 for each in path), "path")
    leaf = unbase(lines[1][6:], "extra", url=False)
    return Receipt(leaf, decimal(lines[2][6:], "index"), tuple(path), Checkpoint.of_note(note))


def verify_receipt(receipt: str, keys: Collection[VerifierKey]) -> tuple[Receipt, set[VerifierKey]]:
    """Verify a receipt offline, and give it with the keys that signed."""
    parsed = parse_receipt(receipt)
    checkpoint = parsed.checkpoint
    signed = checkpoint.verify(keys)  # 2, 3
    must(any(key.kind == 1 and key.name == checkpoint.origin for key in signed), "no trusted log key signed", "signature")
    check_inclusion(leaf_hash(parsed.leaf), parsed.index, checkpoint.size, parsed.path, root=checkpoint.root)  # 1, 4
    leaf = read_leaf(parsed.leaf)  # 5
    must((leaf["generation"], leaf["index"]) == (origin_of(checkpoint.origin)[1], parsed.index), "the leaf names another place")
    return parsed, signed


# section 9: the log


@dataclass(frozen=True)
class Pin:
    """What a reader knows of the log from elsewhere."""

    origin: str
    size: int
    root: bytes
    external: bool


@dataclass
class Report:
    """What a verification found."""

    size: int = 0
    root: bytes = EMPTY
    open_intents: int = 0
    findings: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Generation:
    """A verified generation: leaves, their hashes, and its keys in their order."""

    origin: str
    leaves: list[dict[str, Any]]
    hashes: list[bytes]
    keys: list[VerifierKey]

    def root(self, size: int) -> bytes:
        """Compute the root at a size."""
        return tree_root(self.hashes[:size])


BEGINNINGS = ("domain.created", "domain.restored")


def read_generation(domain: str, number: int, stored: Mapping[str, list[str]]) -> Generation:
    """Do steps 2 and 4 for one generation."""
    raws = [leaf.encode() for leaf in stored["leaves"]]
    leaves = [read_leaf(raw) for raw in raws]
    for place, leaf in enumerate(leaves):  # 2
        must((leaf["generation"], leaf["index"]) == (number, place), "a leaf out of place")
        must((leaf["kind"] in BEGINNINGS) == (place == 0), "a beginning out of place, or none")
    must(leaves and leaves[0]["kind"] == BEGINNINGS[number > 1], "the wrong beginning")
    origin = f"hermetic.log/{domain}/{number}"
    chain = _key_chain(origin, leaves)
    generation = Generation(origin, leaves, [leaf_hash(raw) for raw in raws], [key for _, key in chain])
    sizes = set()
    for note in stored["checkpoints"]:  # 4
        checkpoint = Checkpoint.of_note(note)
        wanted = {key for start, key, end in _spans(chain) if start <= checkpoint.size <= end}
        must(checkpoint.origin == origin and 0 < checkpoint.size <= len(leaves), "a checkpoint of another tree")
        must(checkpoint.root == generation.root(checkpoint.size), "root of a checkpoint")
        must(checkpoint.verify(wanted) == wanted, "a checkpoint without the key in force")
        sizes.add(checkpoint.size)
    must(max(sizes, default=0) == len(leaves), "leaves after the newest checkpoint")
    return generation


def _key_chain(origin: str, leaves: list[dict[str, Any]]) -> list[tuple[int, VerifierKey]]:
    """Give the keys of a generation, each with the smallest size that it signs."""
    chain = [(1, VerifierKey.parse(text(leaves[0]["facts"].get("key"), "key")))]
    for leaf in leaves:
        if leaf["kind"] == "log.key-changed":
            facts, (_, old) = leaf["facts"], chain[-1]
            new = text(facts.get("new"), "new")
            must(VerifierKey.parse(text(facts.get("old"), "old")) == old, "not the key in force")
            message = f"hermetic/v1/log-key-change\n{origin}\n{leaf['index']}\n{new}\n".encode()
            ed25519(old.public, unbase(facts.get("signature"), "signature", url=True), message, old.name)
            chain.append((leaf["index"] + 1, VerifierKey.parse(new)))
    must(all(key.kind == 1 and key.name == origin for _, key in chain), "a key of another log")
    return chain


def _spans(chain: list[tuple[int, VerifierKey]]) -> Iterable[tuple[int, VerifierKey, int]]:
    ends = [start for start, _ in chain[1:]] + [MAX_INTEGER]
    return [(start, key, end) for (start, key), end in zip(chain, ends, strict=True)]


def verify_log(stored: Mapping[str, Any]) -> Report:
    """Do all steps on what an `audit-log` vector holds; whatever does not hold there is `log-tampered`."""
    try:
        return _verify_log(stored)
    except Refused as error:
        raise Refused("log-tampered", str(error)) from error


def _verify_log(stored: Mapping[str, Any]) -> Report:
    numbers = [each["generation"] for each in stored["generations"]]
    must(numbers and numbers[0] == 1 and numbers == sorted(set(numbers)), "the first generation is not there")  # 1
    trusted = [VerifierKey.parse(key) for key in stored["keys"]]
    log = [read_generation(stored["domain"], each["generation"], each) for each in stored["generations"]]
    report = Report(len(log[-1].leaves), log[-1].root(len(log[-1].leaves)))
    _continuity(log, trusted, report)
    chain = [key for generation in log for key in generation.keys]
    logs = {key.public for key in trusted if key.kind == 1}
    must(not logs or logs & {key.public for key in chain}, "no pinned key is in the chain")  # 6
    if not logs:
        report.findings.add("log-key-first-use")
    pins = [Pin(each["origin"], each["size"], bytes.fromhex(each["root"]), each["external"]) for each in stored.get("pins", [])]
    pins += [_receipt_pin(parse_receipt(receipt), log) for receipt in stored.get("receipts", [])]  # 8
    held = [_is_held(pin, log, report) for pin in pins]  # 7
    if not any(pin.external and there for pin, there in zip(pins, held, strict=True)):
        report.findings.add("log-never-anchored")
    _entries(log, report)
    _rows(log, stored.get("rows"), report)
    return report


def _continuity(log: list[Generation], trusted: list[VerifierKey], report: Report) -> None:  # 5
    """Check that each generation continues the one that is stored before it."""
    for before, after in pairwise(log):
        facts = after.leaves[0]["facts"]
        restored, highest = (Checkpoint.of_text(text(facts.get(name), name)) for name in ("restored", "highest"))
        end = (before.origin, len(before.leaves), before.root(len(before.leaves)))
        must((restored.origin, restored.size, restored.root) == end, "restored from somewhere else")
        (domain, number), (own_domain, own) = origin_of(highest.origin), origin_of(after.origin)
        must(domain == own_domain and number < own, "highest is of another log, or not of an earlier generation")
        known = {before.keys[-1].public} | {key.public for key in trusted if key.kind == 1}
        must(after.keys[0].public in known, "the key was neither handed over nor pinned")
        if highest.body != restored.body:
            report.findings.add("log-lost-entries")


def _receipt_pin(receipt: Receipt, log: list[Generation]) -> Pin:
    """Compare a receipt with the log; its checkpoint is a pin, which says enough about an entry that the log does not reach."""
    at = receipt.checkpoint
    for generation in log:
        if generation.origin == at.origin and receipt.index < len(generation.hashes):
            must(generation.hashes[receipt.index] == leaf_hash(receipt.leaf), "a receipt shows another entry")
    return Pin(at.origin, at.size, at.root, external=False)


def _is_held(pin: Pin, log: list[Generation], report: Report) -> bool:
    """Compare a pin with the log; say whether the log reaches it. What a later restore gave up is a finding."""
    for generation in log:
        if generation.origin == pin.origin and pin.size <= len(generation.leaves):
            must(generation.root(pin.size) == pin.root, "forked")
            return True
    domain, number = origin_of(pin.origin)
    must(domain == origin_of(log[0].origin)[0] and number < origin_of(log[-1].origin)[1], "the tail was cut")
    report.findings.add("pin-in-lost-entries")
    return False


def _entries(log: list[Generation], report: Report) -> None:  # 9
    open_intents: Counter[str] = Counter()
    latest = 0
    for leaf in (leaf for generation in log for leaf in generation.leaves):
        request = repr(leaf["facts"].get("request"))
        if leaf["kind"] == "release.intent":
            report.findings |= {"intent-repeated"} if open_intents[request] else set()
            open_intents[request] += 1
        elif leaf["kind"] == "release.outcome":
            report.findings |= set() if open_intents[request] else {"outcome-without-intent"}
            open_intents -= Counter([request])
        report.findings |= {"log-clock-went-back"} if leaf["at_ms"] < latest else set()
        latest = leaf["at_ms"]
    report.open_intents = sum(open_intents.values())
    report.findings |= {"intent-without-outcome"} if open_intents else set()


RowState = tuple[int | None, bytes | None]


def _rows(log: list[Generation], rows: list[list[Any]] | None, report: Report) -> None:  # 10
    if rows is None:
        return
    there = {(table, key): (revision, bytes.fromhex(digest)) for table, key, revision, digest in rows}
    logged: dict[tuple[str, str], RowState] = {}
    for generation in log:
        for leaf in generation.leaves:
            for table, key, revision, digest in leaf.get("rows", []):
                logged[table, key] = (revision, None if digest is None else hash32(digest, "digest"))
    for place, state in logged.items():
        report.findings |= _compare(state, there.get(place))
    if {table for table, _ in logged} & {place[0] for place in there.keys() - logged.keys()}:
        report.findings.add("row-unlogged")


def _compare(logged: RowState, row: tuple[int, bytes] | None) -> set[str]:
    revision, digest = logged
    if revision is None or row is None:
        return {"row-missing"} if revision is not None else {"row-returned"} if row else set()
    if row[0] != revision:
        return {"row-put-back" if row[0] < revision else "row-unlogged"}
    return {"row-changed"} if digest not in (None, row[1]) else set()
