"""Scenarios of the audit log: whole logs, receipts, leaves, openings and the tree; honest ones and attacks."""

from __future__ import annotations

from copy import deepcopy
from hashlib import sha256, shake_256
from typing import TYPE_CHECKING

from hermetic.audit.leaf import Entry, Hidden, Leaf, RowState
from hermetic.audit.log import Log
from hermetic.audit.note import COSIGNATURE, Checkpoint, NoteSignature, Origin, VerifierKey, sign_note
from hermetic.audit.openings import LogKeys
from hermetic.audit.proof import Receipt
from hermetic.audit.store import MemoryStore
from hermetic.audit.tree import Frontier, NodeReader, consistency_proof, inclusion_proof, leaf_hash, root_at
from hermetic.crypto.secret import Secret
from hermetic.crypto.sign import SigningKey
from hermetic.ids import DomainId, id_from_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

Group = tuple[dict[str, object], dict[str, object]]  # what is accepted, what is refused
DOMAIN = DomainId(id_from_bytes(bytes(range(16))))
START = 1_767_225_600_000


def key(number: int) -> SigningKey:
    return SigningKey(Secret(bytes([number]) * 32))


class Drawn:
    """Randomness that is the same each time."""

    def __init__(self, name: str) -> None:
        self._name, self._count = name, 0

    def __call__(self, length: int) -> bytes:
        self._count += 1
        return shake_256(f"{self._name}/{self._count}".encode()).digest(length)


def new_log(generation: int = 1, number: int = 1) -> Log:
    return Log(Origin(DOMAIN, generation), key(number), LogKeys(Secret(bytes(32))), random=Drawn(f"log/{generation}/{number}"))


def intent(request: str) -> Entry:
    hidden = {"principal": Hidden("ana@example.org", "principal:1"), "asset": Hidden("dataset/patients", "asset:1")}
    return Entry("release.intent", {"request": request, "purpose": "train", "keys": 2}, hidden)


def outcome(request: str) -> Entry:
    return Entry("release.outcome", {"request": request})


def small() -> tuple[Log, MemoryStore]:
    """Seven entries, one of them an intent without outcome."""
    log, store = new_log(), MemoryStore()
    log.begin(store, now_ms=START)
    log.append(store, [intent("r1"), outcome("r1")], now_ms=START + 1)
    for number in (2, 3):
        log.append_denial(store, Entry("access.denied", {"request": f"r{number}", "purpose": "debug"}), now_ms=START + number)
    log.append(store, [intent("r4")], now_ms=START + 5)
    row = RowState("kek", "k1", 3, bytes([7]) * 32)
    log.append(store, [Entry("key.state", {"key": "k1", "state": "active"}, rows=(row,))], now_ms=START + 6)
    return log, store


def forced(log: Log, store: MemoryStore, entry: Entry, signers: tuple[SigningKey, ...]) -> None:
    """Append what `append` refuses, as a thief of the signing key could."""
    log._extend(store, [entry], now_ms=START, signers=signers)  # noqa: SLF001 - an attack


def written(about: str, store: MemoryStore, *, keys: list[VerifierKey] | None = None, **more: object) -> dict[str, object]:
    """Return the scenario of a whole log."""
    generations = [
        {
            "generation": number,
            "leaves": [row[3].decode() for row in held.leaves],
            "checkpoints": [row.note for _, row in sorted(held.checkpoints.items())],
        }
        for number, held in sorted(store.data.items())
    ]
    trusted = [str(item) for item in ([new_log().verifier_key] if keys is None else keys)]
    return {"kind": "audit-log", "about": about, "domain": DOMAIN, "keys": trusted, "generations": generations, **more}


def good(size: int, root: bytes, open_intents: int, *findings: str) -> dict[str, object]:
    return {"expect": "ok", "size": size, "root": root.hex(), "open_intents": open_intents, "findings": sorted(findings)}


BAD = {"expect": "refused", "classes": ["log-tampered"]}


def pin(checkpoint: Checkpoint, where: str = "another machine", *, external: bool = True) -> dict[str, object]:
    return {
        "size": checkpoint.size,
        "root": checkpoint.root.hex(),
        "origin": str(checkpoint.origin),
        "where": where,
        "external": external,
    }


def valid_logs() -> dict[str, object]:
    log, store = small()
    head = log.head(store)[0]
    whole = (head.size, head.root, 1)
    made: dict[str, object] = {}
    made["whole"] = written("seven entries", store) | good(*whole, "intent-without-outcome", "log-never-anchored")
    made["first-use"] = written("no key pinned", store, keys=[]) | good(
        *whole, "intent-without-outcome", "log-never-anchored", "log-key-first-use"
    )
    made["anchored"] = written("an external pin of all entries", store, pins=[pin(head)]) | good(*whole, "intent-without-outcome")
    receipt = bytes(log.receipt(store, 1)).decode()
    made["receipt-of-it"] = written("a receipt handed out earlier", store, receipts=[receipt]) | good(
        *whole, "intent-without-outcome", "log-never-anchored"
    )
    row = ["kek", "k1", 3, (bytes([7]) * 32).hex()]
    made["rows-as-logged"] = written("the database as the log left it", store, rows=[row]) | good(
        *whole, "intent-without-outcome", "log-never-anchored"
    )
    made["row-put-back"] = written("an older authentic row", store, rows=[["kek", "k1", 2, bytes(32).hex()]]) | good(
        *whole, "intent-without-outcome", "log-never-anchored", "row-put-back"
    )
    changed = deepcopy(store)
    _, successor = new_log().change_key(changed, key(2), now_ms=START + 9)
    after = successor.append(changed, [outcome("r4")], now_ms=START + 10)
    made["key-changed"] = written("the signing key changed; the old one is pinned", changed) | good(
        after.size, after.root, 0, "log-never-anchored"
    )
    restored = deepcopy(store)
    second = new_log(2)
    done = second.begin(restored, now_ms=START + 20, restored=(head, Checkpoint(head.origin, 9, bytes(32))))
    made["restored"] = written("restored from a backup; two entries were lost", restored) | good(
        done.size, done.root, 1, "intent-without-outcome", "log-lost-entries", "log-never-anchored"
    )
    return made


def invalid_logs() -> dict[str, object]:
    log, store = small()
    head = log.head(store)[0]
    made: dict[str, object] = {}
    longer = deepcopy(store)
    log.append(longer, [outcome("r4")], now_ms=START + 9)
    further = pin(log.head(longer)[0])

    def attack(name: str, about: str, victim: MemoryStore | None = None, **more: object) -> MemoryStore:
        attacked = deepcopy(store) if victim is None else victim
        made[name] = (attacked, about, more)
        return attacked

    held = attack("leaf-changed", "a purpose was changed in a leaf").data[1]
    row = held.leaves[1]
    held.leaves[1] = (*row[:3], row[3].replace(b"train", b"debug"), row[4])
    del attack("leaf-removed", "an entry in the middle is gone").data[1].leaves[2]
    del attack("tail-cut", "the last entry is gone, its checkpoint is not").data[1].leaves[-1]
    held = attack("leaf-added", "an entry was added without a checkpoint").data[1]
    held.leaves.append(longer.data[1].leaves[-1])
    attack("older-state", "an older authentic state; a pin has seen more", pins=[further])
    attack("older-state-receipt", "an older authentic state; a receipt shows more", receipts=[bytes(log.receipt(longer, 7)).decode()])
    fork = deepcopy(store)
    new_log().append(fork, [outcome("r9")], now_ms=START + 9)
    attack("forked", "another entry where a pin has seen one; the size is the same", fork, pins=[further])
    fresh, thief = MemoryStore(), new_log(1, 7)
    thief.begin(fresh, now_ms=START)
    attack("fresh-key", "everything written anew under a fresh key", fresh)
    stolen = deepcopy(store)
    facts = {"old": str(log.verifier_key), "new": str(thief.verifier_key), "signature": "A" * 86}
    forced(log, stolen, Entry("log.key-changed", facts), (key(1), key(7)))
    attack("handover-forged", "a new key without the old key's signature", stolen)
    held = attack("checkpoint-re-signed", "the newest checkpoint signed by a stranger").data[1]
    held.checkpoints[7] = held.checkpoints[7]._replace(note=str(head.sign(key(7))))
    other = deepcopy(store)
    new_log(2).begin(other, now_ms=START, restored=(Checkpoint(head.origin, 6, head.root), head))
    attack("restored-elsewhere", "a generation that does not continue the stored one", other)
    last = deepcopy(store)
    new_log(2).begin(last, now_ms=START, restored=(head, head))
    del last.data[1]
    attack("generation-cut", "the first generation is gone", last)
    twice = deepcopy(store)
    forced(log, twice, Entry("domain.created", {"key": str(log.verifier_key)}), (key(1),))
    attack("begun-twice", "a second beginning inside the log", twice)
    return {name: written(about, victim, **more) | BAD for name, (victim, about, more) in made.items()}


def receipts() -> tuple[dict[str, object], dict[str, object]]:
    log, store = small()
    witness = VerifierKey("witness.example/w1", key(9).public, COSIGNATURE)
    receipt = log.receipt(store, 4)
    note = receipt.checkpoint
    stamp = (START // 1000).to_bytes(8, "big")
    signed = key(9).sign(f"cosignature/v1\ntime {START // 1000}\n{note.text}".encode())
    cosigned = str(NoteSignature(witness.name, witness.key_id, stamp + signed))
    bad = str(NoteSignature(witness.name, witness.key_id, stamp + bytes(64)))
    plain = bytes(receipt).decode()
    leaf = receipt.leaf.decode()
    foreign = plain + str(NoteSignature("stranger.example", b"abcd", bytes(64)))

    def scenario(about: str, text: str, trusted: list[VerifierKey], **more: object) -> dict[str, object]:
        return {"kind": "audit-receipt", "about": about, "receipt": text, "keys": [str(item) for item in trusted], **more}

    ours = [log.verifier_key]
    first = bytes(log.receipt(store, 0)).decode()
    fine = {
        "middle": scenario("the fifth of seven entries", plain, ours, expect="ok", leaf=leaf, index=4, size=7),
        "first": scenario("the first entry", first, ours, expect="ok", leaf=log.raw(store, 0).decode(), index=0, size=7),
        "foreign-line": scenario("a signature by an unknown key", foreign, ours, expect="ok", leaf=leaf, index=4, size=7),
        "cosigned": scenario("a witness's cosignature", plain + cosigned, [*ours, witness], expect="ok", leaf=leaf, index=4, size=7),
    }
    lines = plain.split("\n")
    moved = Receipt(log.raw(store, 1), 4, receipt.path, note)
    misplaced_leaf = log.raw(store, 4).replace(b'"index":4', b'"index":5')
    alone = Checkpoint(log.origin, 1, leaf_hash(misplaced_leaf)).sign(key(1))
    misplaced = Receipt(misplaced_leaf, 0, (), alone)

    def refused(about: str, text: str, *classes: str, trusted: list[VerifierKey] = ours) -> dict[str, object]:
        return scenario(about, text, trusted, expect="refused", classes=list(classes))

    wrong = {
        "unknown-key": refused("signed by a key that is not trusted", plain, "signature", trusted=[new_log(1, 7).verifier_key]),
        "bad-cosignature": refused("a bad line by a known witness", plain + bad, "signature", trusted=[*ours, witness]),
        "other-leaf": refused("the leaf of another entry", bytes(moved).decode(), "log-tampered"),
        "other-index": refused("another index", plain.replace("index 4", "index 5"), "log-tampered", "format"),
        "other-size": refused("another tree size", plain.replace("\n7\n", "\n8\n"), "signature"),
        "path-short": refused("a hash is missing", "\n".join([*lines[:3], *lines[4:]]), "format"),
        "path-long": refused("a hash too many", plain.replace("\n\n", "\n" + "A" * 43 + "=\n\n", 1), "format"),
        "path-changed": refused("hashes in another order", "\n".join([*lines[:3], lines[4], lines[3], *lines[5:]]), "log-tampered"),
        "misplaced": refused("signed, but the leaf names another place", bytes(misplaced).decode(), "format"),
        "leading-zero": refused("index with a leading zero", plain.replace("index 4", "index 04"), "format"),
        "no-leaf": refused("no extra line", plain.replace(lines[1] + "\n", ""), "format"),
        "version-2": refused("an unknown marker", plain.replace("@v1", "@v2", 1), "format"),
        "extension-line": refused(
            "a checkpoint with an extension line",
            plain[: plain.index("hermetic.log")] + str(sign_note(note.text + "extension\n", str(log.origin), [key(1)])),
            "format",
        ),
    }
    return fine, wrong


LEAF = '{"at_ms":5,"facts":{"request":"r"},"format":"hermetic/v1/log-leaf","generation":1,"index":7,"kind":"release.intent"}'
COMMITTED = "A" * 43


def leaves() -> tuple[dict[str, object], dict[str, object]]:
    hidden = LEAF.replace('"generation":1,', f'"generation":1,"hidden":{{"a":"{COMMITTED}","b":"{COMMITTED}"}},')
    rows = LEAF[:-1] + ',"rows":[["kek","k1",3,null],["asset","a1",null,"' + COMMITTED + '"]]}'
    nested = LEAF.replace('"r"', '["r",{"deep":[1,true,null]}]')
    escaped = LEAF.replace('"r"', '"\\"\\\\\\b\\f\\n\\r\\t\\u0001\u007f\u00e9\U0001f600"')
    unknown = LEAF.replace("release.intent", "some.future-kind")
    fine = {"plain": LEAF, "hidden": hidden, "rows": rows, "nested-facts": nested, "escapes": escaped, "unknown-kind": unknown}
    wrong = {
        "space": LEAF.replace(":5", ": 5"),
        "float": LEAF.replace(":5", ":5.0"),
        "order": LEAF.replace('"generation":1,"index":7', '"index":7,"generation":1'),
        "twice": LEAF.replace('"at_ms":5', '"at_ms":5,"at_ms":5'),
        "missing": LEAF.replace('"index":7,', ""),
        "unknown-member": LEAF[:-1] + ',"more":1}',
        "format": LEAF.replace("/v1/", "/v2/"),
        "generation-0": LEAF.replace('"generation":1', '"generation":0'),
        "index-too-large": LEAF.replace(":7", ":9007199254740992"),
        "kind": LEAF.replace("release.intent", "Release"),
        "fact-name": LEAF.replace('"request"', '"Request"'),
        "hidden-empty": LEAF.replace('"generation":1,', '"generation":1,"hidden":{},'),
        "hidden-short": hidden.replace(COMMITTED, "AAAA", 1),
        "hidden-loose-bits": hidden.replace(COMMITTED, "A" * 42 + "B", 1),
        "rows-empty": LEAF[:-1] + ',"rows":[]}',
        "rows-short": LEAF[:-1] + ',"rows":[["kek","k1",3]]}',
        "cut": LEAF[:-1],
        "escape-not-needed": LEAF.replace('"r"', '"\\u0041"'),
    }

    def scenario(text: str, **more: object) -> dict[str, object]:
        return {"kind": "audit-leaf", "about": "one leaf", "leaf": text, **more}

    return (
        {name: scenario(text, expect="ok", hash=leaf_hash(text.encode()).hex()) for name, text in fine.items()},
        {name: scenario(text, expect="refused", classes=["format"]) for name, text in wrong.items()},
    )


def openings() -> tuple[dict[str, object], dict[str, object]]:
    log, store = small()
    leaf: Leaf = log.leaf(store, 1)
    opened = log.open(store, leaf)
    raw = log.raw(store, 1).decode()

    def scenario(field: str, salt: bytes, value: object, **more: object) -> dict[str, object]:
        opening = {"field": field, "salt": salt.hex(), "value": value}
        return {"kind": "audit-opening", "about": "an opening of a leaf", "leaf": raw, "opening": opening, **more}

    principal = opened["principal"]
    bad = {"expect": "refused", "classes": ["integrity"]}
    fine: dict[str, object] = {name: scenario(name, item.salt, item.value, expect="ok") for name, item in opened.items()}
    wrong: dict[str, object] = {
        "other-value": scenario("principal", principal.salt, "eve@example.org", **bad),
        "other-salt": scenario("principal", bytes(32), principal.value, **bad),
        "other-field": scenario("asset", principal.salt, principal.value, **bad),
        "no-such-field": scenario("reason", principal.salt, principal.value, expect="refused", classes=["format"]),
    }
    return fine, wrong


def trees() -> dict[str, object]:
    """Roots and proofs over the leaves `leaf 0`, `leaf 1`, ..., in ASCII."""
    hashes = [leaf_hash(b"leaf %d" % number) for number in range(70_001)]
    levels: dict[int, list[bytes]] = {0: hashes}
    for level, _, node in Frontier().extended(hashes).stored():
        levels.setdefault(level, []).append(node)
    get = NodeReader(len(hashes), lambda level, start, stop: levels[level][start:stop])
    sizes = [0, 1, 2, 3, 7, 8, 255, 256, 257, 65_535, 65_536, 65_537, 70_000, 70_001]
    inclusions = [(0, 1), (0, 8), (6, 7), (255, 256), (256, 257), (1_234, 70_000), (70_000, 70_001), (65_535, 65_537)]
    consistencies = [(1, 2), (3, 7), (4, 7), (6, 7), (255, 256), (256, 257), (4_321, 70_001), (65_536, 70_001), (70_000, 70_001)]
    return {
        "kind": "audit-tree",
        "about": "roots and proofs; leaf n is the ASCII text `leaf n`",
        "expect": "ok",
        "roots": [{"size": size, "root": root_at(get, size).hex()} for size in sizes],
        "inclusion": [
            {"index": index, "size": size, "proof": [item.hex() for item in inclusion_proof(get, size, index)]}
            for index, size in inclusions
        ],
        "consistency": [
            {"old": old, "new": new, "proof": [item.hex() for item in consistency_proof(get, old, new)]} for old, new in consistencies
        ],
        "all_leaf_hashes_sha256": sha256(b"".join(hashes)).hexdigest(),
    }


def placed(groups: Mapping[str, Group]) -> dict[str, object]:
    """Return the scenarios of some groups, each by its path."""
    made: dict[str, object] = {}
    for group, (fine, wrong) in groups.items():
        made |= {f"audit-log/valid/{group}-{name}.json": scenario for name, scenario in fine.items()}
        made |= {f"audit-log/invalid/{group}-{name}.json": scenario for name, scenario in wrong.items()}
    return made


def files() -> dict[str, object]:
    """Return every scenario by its path."""
    groups = {"log": (valid_logs(), invalid_logs()), "receipt": receipts(), "leaf": leaves(), "opening": openings()}
    return {"audit-log/valid/tree.json": trees(), **placed(groups)}
