"""Scenarios of the audit log at the edges: limits, spellings, proofs of a wrong shape, restores, and what the findings are."""

from __future__ import annotations

from copy import deepcopy

from make_logs import (
    BAD,
    COMMITTED,
    DOMAIN,
    LEAF,
    START,
    Group,
    forced,
    good,
    intent,
    key,
    new_log,
    outcome,
    pin,
    placed,
    small,
    written,
)

from hermetic.audit.leaf import Entry, RowState
from hermetic.audit.note import COSIGNATURE, Checkpoint, Note, NoteSignature, Origin, VerifierKey, sign_note
from hermetic.audit.proof import Receipt
from hermetic.audit.store import CheckpointRow, MemoryStore
from hermetic.audit.tree import EMPTY_ROOT, Frontier, Growth, consistency_proof, inclusion_proof, leaf_hash
from hermetic.formats.binary_text import to_base64url
from hermetic.ids import DomainId, id_from_bytes

OTHER_DOMAIN = DomainId(id_from_bytes(b"\x09" * 16))


def leaves() -> Group:
    hidden = ",".join(f'"h{number:02}":"{COMMITTED}"' for number in range(33))
    many = ",".join(f'"f{number:02}":0' for number in range(65))
    one_row = LEAF[:-1] + ',"rows":[["kek","k1",3,null]]}'

    def nested(depth: int) -> str:
        return LEAF.replace('"r"', "[" * depth + "]" * depth)

    def long(length: int) -> str:
        return LEAF.replace('"r"', '"' + "r" * (length - len(LEAF) + 1) + '"')

    fine = {
        "no-facts": LEAF.replace('{"request":"r"}', "{}"),
        "deepest-facts": nested(30),
        "longest": long(65_535),
        "longest-names": LEAF.replace('"request"', '"' + "n" * 63 + '"').replace("release.intent", ".".join(["k" * 32] * 3)),
        "row-twice": one_row.replace("[[", '[["kek","k1",2,null],["kek","k1",3,null],[').replace(',["kek","k1",3,null]]}', "]}"),
    }
    wrong = {
        "facts-too-deep": nested(31),
        "too-long": long(65_536),
        "facts-array": LEAF.replace('{"request":"r"}', "[]"),
        "facts-too-many": LEAF.replace('"request":"r"', many),
        "fact-name-long": LEAF.replace('"request"', '"' + "n" * 64 + '"'),
        "hidden-too-many": LEAF.replace('"index"', f'"hidden":{{{hidden}}},"index"'),
        "at-negative": LEAF.replace(":5", ":-5"),
        "at-true": LEAF.replace(":5", ":true"),
        "index-negative": LEAF.replace(":7", ":-7"),
        "index-minus-zero": LEAF.replace(":7", ":-0"),
        "index-false": LEAF.replace(":7", ":false"),
        "generation-true": LEAF.replace('"generation":1', '"generation":true'),
        "kind-one-word": LEAF.replace("release.intent", "release"),
        "kind-four-words": LEAF.replace("release.intent", "a.b.c.d"),
        "kind-long-word": LEAF.replace("release.intent", "k" * 33 + ".intent"),
        "rows-object": LEAF[:-1] + ',"rows":{}}',
        "rows-five": one_row.replace("null]", "null,null]"),
        "rows-too-many": LEAF[:-1] + ',"rows":[' + ",".join(['["kek","k1",3,null]'] * 513) + "]}",
        "rows-key-number": one_row.replace('"k1"', "1"),
        "rows-table-number": one_row.replace('"kek"', "1"),
        "rows-revision-negative": one_row.replace("3,null", "-3,null"),
        "rows-revision-text": one_row.replace("3,null", '"3",null'),
        "rows-digest-short": one_row.replace("3,null", '3,"AAAA"'),
        "array": "[]",
    }

    def scenario(text: str, **more: object) -> dict[str, object]:
        return {"kind": "audit-leaf", "about": "one leaf", "leaf": text, **more}

    return (
        {name: scenario(text, expect="ok", hash=leaf_hash(text.encode()).hex()) for name, text in fine.items()},
        {name: scenario(text, expect="refused", classes=["format"]) for name, text in wrong.items()},
    )


def openings() -> Group:
    log, store = small()
    opened = log.open(store, log.leaf(store, 1))["principal"]
    longer = {"field": "principal", "salt": opened.salt.hex() + "00", "value": opened.value}
    about = "a salt of 33 bytes, which HMAC itself would take for the one without the zero"
    scenario = {"kind": "audit-opening", "about": about, "leaf": log.raw(store, 1).decode(), "opening": longer}
    return {}, {"salt-long": {**scenario, "expect": "refused", "classes": ["format", "integrity"]}}


def _tree(size: int) -> Growth:
    return Frontier().extended([leaf_hash(b"leaf %d" % number) for number in range(size)])


def inclusions() -> Group:
    size, index = 7, 3
    tree = _tree(size)
    path = [item.hex() for item in inclusion_proof(tree, size, index)]

    def scenario(about: str, *classes: str, **changes: object) -> dict[str, object]:
        base = {"leaf_hash": leaf_hash(b"leaf 3").hex(), "index": index, "size": size, "proof": path, "root": tree.after.root().hex()}
        verdict = {"expect": "refused", "classes": list(classes)} if classes else {"expect": "ok"}
        return {"kind": "audit-inclusion", "about": about, **base, **changes, **verdict}

    alone = {"index": 0, "size": 1, "proof": [], "root": leaf_hash(b"leaf 3").hex()}
    return {"middle": scenario("a leaf in the middle"), "alone": scenario("the only leaf", **alone)}, {
        "short": scenario("a hash is missing", "format", proof=path[:-1]),
        "long": scenario("a hash too many", "format", proof=[*path, "00" * 32]),
        "alone-long": scenario("a hash beside the only leaf", "format", **{**alone, "proof": ["00" * 32]}),
        "outside": scenario("the index is the size", "format", index=size),
        "empty-tree": scenario("a leaf in an empty tree", "format", **{**alone, "size": 0}),
        "other-index": scenario("another index", "log-tampered", index=2),
        "other-root": scenario("another root", "log-tampered", root="00" * 32),
        "node-as-leaf": scenario(
            "a node given out as a leaf of a smaller tree",
            "log-tampered",
            leaf_hash=leaf_hash(b"leaf 2").hex(),
            size=4,
            proof=path[:2],
        ),
    }


def consistencies() -> Group:
    roots = {size: (_tree(size).after.root() if size else EMPTY_ROOT).hex() for size in (0, 3, 4, 7)}
    proof = [item.hex() for item in consistency_proof(_tree(7), 3, 7)]

    def scenario(about: str, *classes: str, old: int = 3, new: int = 7, **changes: object) -> dict[str, object]:
        base = {"old": old, "old_root": roots[old], "new": new, "new_root": roots[new], "proof": proof}
        verdict = {"expect": "refused", "classes": list(classes)} if classes else {"expect": "ok"}
        return {"kind": "audit-consistency", "about": about, **base, **changes, **verdict}

    return {
        "grown": scenario("from three leaves to seven"),
        "same": scenario("nothing came", old=7, proof=[]),
        "from-empty": scenario("from the empty tree", old=0, proof=[]),
    }, {
        "short": scenario("a hash is missing", "format", proof=proof[:-1]),
        "long": scenario("a hash too many", "format", proof=[*proof, "00" * 32]),
        "none": scenario("no hash at all", "format", proof=[]),
        "power-none": scenario("no hash, from a tree of four", "format", old=4, proof=[]),
        "same-long": scenario("a hash where nothing came", "format", old=7, proof=["00" * 32]),
        "empty-long": scenario("a hash from the empty tree", "format", old=0, proof=["00" * 32]),
        "shrunk": scenario("from seven leaves to three", "log-tampered", "format", old=7, new=3),
        "other-old": scenario("another old root", "log-tampered", old_root="00" * 32),
        "other-new": scenario("another new root", "log-tampered", new_root="00" * 32),
        "same-other": scenario("two roots of one size", "log-tampered", old=7, old_root="00" * 32, proof=[]),
        "empty-other": scenario("an empty tree with another root", "log-tampered", old=0, old_root="00" * 32, proof=[]),
    }


def receipts() -> Group:
    log, store = small()
    receipt = log.receipt(store, 4)
    note = receipt.checkpoint
    plain = bytes(receipt).decode()
    lines = plain.split("\n")
    first = LEAF.replace('"index":7', '"index":0')
    witness = VerifierKey("witness.example/w1", key(9).public, COSIGNATURE)
    short = str(NoteSignature(witness.name, witness.key_id, bytes(71)))
    bad = str(NoteSignature(str(log.origin), log.verifier_key.key_id, bytes(64)))

    def scenario(about: str, text: str, *trusted: VerifierKey, **more: object) -> dict[str, object]:
        keys = [str(item) for item in (trusted or (log.verifier_key,))]
        return {"kind": "audit-receipt", "about": about, "receipt": text, "keys": keys, **more}

    def refused(about: str, text: str, classes: str, *trusted: VerifierKey) -> dict[str, object]:
        return scenario(about, text, *trusted, expect="refused", classes=classes.split())

    def alone(leaf: str, origin: str = str(log.origin)) -> str:
        """Return a receipt of the only leaf of a log, signed under the origin's name."""
        text = Checkpoint(log.origin, 1, leaf_hash(leaf.encode())).text.replace(str(log.origin), origin)
        return bytes(Receipt(leaf.encode(), 0, (), sign_note(text, origin, [key(1)]))).decode()

    foreign = "\u2014 stranger.example/x " + "A" * 92 + "\n"
    checkpoints = (note.text.replace(note.text.split("\n")[2], "A" * 42 + "=="), note.text.replace("\n7\n", "\n07\n"))
    short_root, odd_size = (plain[: plain.index(note.text)] + str(sign_note(text, str(log.origin), [key(1)])) for text in checkpoints)

    def of_origin(about: str, origin: str) -> dict[str, object]:
        return refused(about, alone(first, origin), "format", VerifierKey(origin, key(1).public))

    fine = {"alone": scenario("the only entry, an empty path", alone(first), expect="ok", leaf=first, index=0, size=1)}
    wrong = {
        "path-loose-bits": refused("unused bits of a hash are set", plain.replace(lines[3], lines[3][:-2] + "9="), "format"),
        "path-no-hash": refused("a hash of 31 bytes", plain.replace(lines[3], "A" * 42 + "=="), "format"),
        "carriage-returns": refused("lines end in CR LF", plain.replace("\n", "\r\n"), "format"),
        "line-after-the-end": refused("an empty line after the signature", plain + "\n", "format"),
        "no-line-end": refused("the last line does not end", plain[:-1], "format"),
        "no-signature": refused("a checkpoint without a signature", plain[: plain.index("\u2014")], "format"),
        "signature-of-four-bytes": refused(
            "a line with a key id and nothing else", plain + "\u2014 stranger.example AAAAAA==\n", "format"
        ),
        "signature-loose-bits": refused(
            "unused bits are set in a line that is ignored", plain + f"\u2014 stranger.example {'A' * 90}B=\n", "format"
        ),
        "control-character": refused("a control character in a line that is ignored", plain + foreign.replace("x", "\x01"), "format"),
        "too-many-lines": refused("64 lines by strangers", plain + foreign * 64, "format"),
        "root-short": refused("signed, but the root has 31 bytes", short_root, "format"),
        "size-leading-zero": refused("signed, but the size has a leading zero", odd_size, "format"),
        "index-outside": refused("the index is the tree's size", plain.replace("index 4", "index 7"), "format"),
        "second-line-bad": refused("a second line by the log's key, which is bad", plain + bad, "signature"),
        "cosignature-short": refused("a witness's line of 71 bytes", plain + short, "format signature", log.verifier_key, witness),
        "other-generation": refused("signed, but the leaf is of another generation", alone(first.replace(":1,", ":2,", 1)), "format"),
        "leaf-not-canonical": refused("signed, but a space stands in the leaf", alone(first.replace(":5", ": 5")), "format"),
        "origin-no-domain": of_origin("signed, but the origin names no domain id", "hermetic.log/patients/1"),
        "origin-generation-0": of_origin("signed, but the origin is of generation 0", f"hermetic.log/{DOMAIN}/0"),
        "origin-other-kind": of_origin("signed, but the origin is of another kind of log", f"other.log/{DOMAIN}/1"),
    }
    wrong |= _signed_by_others(refused, witness)
    assert note.text in plain
    return fine, wrong


def _signed_by_others(refused, witness: VerifierKey) -> dict[str, object]:
    """Return receipts that a known key signed, but none of the log that they are of."""
    first = LEAF.replace('"index":7', '"index":0').encode()
    domain, restored = (Origin(OTHER_DOMAIN, 1), first), (Origin(DOMAIN, 2), first.replace(b'"generation":1', b'"generation":2'))
    made = {}
    for name, about, (origin, leaf) in (
        ("key-of-other-log", "signed by the key of another domain's log, which is trusted too", domain),
        ("key-of-other-generation", "signed by the key of the generation before, which is trusted too", restored),
    ):
        text = Checkpoint(origin, 1, leaf_hash(leaf)).text
        receipt = bytes(Receipt(leaf, 0, (), sign_note(text, str(new_log().origin), [key(1)]))).decode()
        own = VerifierKey(str(origin), key(5).public)
        made[name] = refused(about, receipt, "signature", new_log().verifier_key, own)
    origin = Origin(DOMAIN, 1)
    text = Checkpoint(origin, 1, leaf_hash(first)).text
    stamp = (START // 1000).to_bytes(8, "big")
    signed = stamp + key(9).sign(f"cosignature/v1\ntime {START // 1000}\n{text}".encode())
    note = Note(text, (NoteSignature(witness.name, witness.key_id, signed),))
    receipt = bytes(Receipt(first, 0, (), note)).decode()
    made["witness-only"] = refused("only a witness signed", receipt, "signature", new_log().verifier_key, witness)
    return made


def _begun(generation: int, store: MemoryStore, restored: Checkpoint, highest: Checkpoint, signer: int = 1) -> MemoryStore:
    new_log(generation, signer).begin(store, now_ms=START + 20, restored=(restored, highest))
    return store


def valid_logs() -> dict[str, object]:
    log, store = small()
    head = log.head(store)[0]
    made: dict[str, object] = {}
    lost = Checkpoint(head.origin, 9, bytes(32))

    def ok(name: str, about: str, held: MemoryStore, *findings: str, intents: int = 1, **more: object) -> None:
        newest = held.data[max(held.data)].checkpoints
        at = Checkpoint.parse(Note.parse(newest[max(newest)].note.encode()).text)
        made[name] = written(about, held, **more) | good(at.size, at.root, intents, *findings)

    always = ("intent-without-outcome", "log-never-anchored")
    ok("restored-whole", "restored, and nothing was lost", _begun(2, deepcopy(store), head, head), *always)
    between = Checkpoint(Origin(DOMAIN, 2), 4, bytes(32))
    about = "the backup is older than the last restore: generation 2 is lost, 3 follows 1"
    ok("restored-over-a-generation", about, _begun(3, deepcopy(store), head, between), *always, "log-lost-entries")
    pinned = [log.verifier_key, new_log(2, 2).verifier_key]
    about = "restored under another key, which the reader has pinned"
    ok("restored-other-key", about, _begun(2, deepcopy(store), head, head, signer=2), *always, keys=pinned)
    for name, size in {"pin-given-up": 9, "pin-beyond-highest": 10}.items():
        beyond = [pin(Checkpoint(head.origin, size, bytes(32)))]
        about = f"a pin saw {size} entries; the backup had 7, and the restore knew of 9"
        ok(name, about, _begun(2, deepcopy(store), head, lost), *always, "log-lost-entries", "pin-in-lost-entries", pins=beyond)
    rows = deepcopy(store)
    states = (RowState("asset", "a1", 1), RowState("asset", "a2", None), RowState("asset", "a3", 4))
    log.append(rows, [Entry("asset.changed", {"asset": "a1"}, rows=states)], now_ms=START + 9)
    there = [["asset", "a1", 2, "00" * 32], ["asset", "a2", 5, "00" * 32], ["kek", "k1", 3, "00" * 32], ["asset", "a9", 1, "00" * 32]]
    found = ("row-changed", "row-missing", "row-returned", "row-unlogged")
    ok("rows-otherwise", "rows changed, gone, back, and newer than logged", rows, *always, *found, rows=there)
    odd = deepcopy(store)
    log.append(odd, [intent("r4"), outcome("r4"), outcome("r4"), outcome("r4"), intent("r1")], now_ms=START + 9)
    log.append(odd, [Entry("access.denied")], now_ms=START + 3)
    found = ("intent-repeated", "outcome-without-intent", "log-clock-went-back")
    ok("entries-odd", "an intent twice, three outcomes of it, a finished request again, an older time", odd, *always, *found)
    return made


def invalid_logs() -> dict[str, object]:
    log, store = small()
    head = log.head(store)[0]
    made: dict[str, object] = {}

    def attack(name: str, about: str, victim: MemoryStore | None = None, **more: object) -> MemoryStore:
        attacked = deepcopy(store) if victim is None else victim
        made[name] = (attacked, about, more)
        return attacked

    def key_fact(origin: Origin) -> dict[str, str]:
        return {"key": str(VerifierKey(str(origin), key(1).public))}

    fresh = MemoryStore()
    elsewhere = Origin(OTHER_DOMAIN, 1)
    forced(new_log(), fresh, Entry("domain.created", key_fact(elsewhere)), (key(1),))
    row = fresh.data[1].checkpoints[1]
    text = Checkpoint(head.origin, row.size, row.root).text
    fresh.data[1].checkpoints[1] = row._replace(note=str(sign_note(text, str(elsewhere), [key(1)])))
    attack("key-of-other-log", "the first entry names a key of another log", fresh)
    created = deepcopy(store)
    forced(new_log(2), created, Entry("domain.created", key_fact(Origin(DOMAIN, 2))), (key(1),))
    attack("created-again", "the second generation is created, not restored", created)
    first = MemoryStore()
    facts = {**key_fact(head.origin), "restored": head.text, "highest": head.text}
    forced(new_log(), first, Entry("domain.restored", facts), (key(1),))
    attack("restored-first", "the first generation is restored, not created", first)
    attack("key-not-handed-over", "restored under a key that nobody pinned", _begun(2, deepcopy(store), head, head, signer=7))
    later = Checkpoint(Origin(DOMAIN, 2), 4, bytes(32))
    attack("highest-of-its-own", "a restore knows of entries of its own generation", _begun(2, deepcopy(store), head, later))
    other = Checkpoint(Origin(OTHER_DOMAIN, 1), 7, bytes(32))
    attack("highest-of-other-log", "a restore knows of entries of another domain", _begun(2, deepcopy(store), head, other))
    root = Checkpoint(head.origin, 7, bytes(32))
    attack("restored-other-root", "the restored state has another root", _begun(2, deepcopy(store), root, root))
    attack("pin-of-later-generation", "a pin of a generation that is not there", pins=[pin(later)])
    attack("pin-other-root", "a pin with another root at a size in between", pins=[pin(Checkpoint(head.origin, 3, bytes(32)))])
    fork = deepcopy(store)
    shown = new_log().append(fork, [outcome("r9")], now_ms=START + 9).receipt()
    longer = deepcopy(store)
    log.append(longer, [outcome("r4")], now_ms=START + 9)
    attack("receipt-of-other-leaf", "a receipt shows another entry at that place", longer, receipts=[bytes(shown).decode()])
    held = attack("checkpoint-of-other-generation", "the newest checkpoint is of another generation").data[1]
    moved = Checkpoint(Origin(DOMAIN, 2), head.size, head.root)
    held.checkpoints[7] = held.checkpoints[7]._replace(note=str(moved.sign(key(1))))
    del attack("no-checkpoint", "entries, and no checkpoint").data[1].checkpoints[7]
    held = attack("checkpoint-of-other-origin", "the newest checkpoint names another generation; the right key signed it").data[1]
    held.checkpoints[7] = held.checkpoints[7]._replace(note=str(sign_note(moved.text, str(head.origin), [key(1)])))
    held = attack("checkpoint-of-nothing", "a checkpoint of no entries").data[1]
    held.checkpoints[0] = CheckpointRow(0, EMPTY_ROOT, str(Checkpoint(head.origin, 0, EMPTY_ROOT).sign(key(1))), 0)
    swapped = bytes(Receipt(log.raw(store, 2), 4, log.receipt(store, 4).path, log.receipt(store, 4).checkpoint)).decode()
    attack("receipt-of-another-place", "a receipt shows the entry of another place there; its checkpoint is right", receipts=[swapped])
    attack("nothing", "no generation at all", MemoryStore())
    _changes(attack, store)
    logs = {name: written(about, victim, **more) | BAD for name, (victim, about, more) in made.items()}
    whole = logs["nothing"]
    raws = [row[3] for row in store.data[1].leaves]
    for name, about, change in (
        (
            "leaf-of-other-generation",
            "signed, but an entry says that it is of another generation",
            (b'"generation":1', b'"generation":2'),
        ),
        ("leaf-of-other-place", "signed, but an entry says that it stands elsewhere", (b'"index":2', b'"index":3')),
        ("leaf-not-canonical", "signed, but a space stands in an entry", (b'"index":2', b'"index": 2')),
    ):
        logs[name] = {**whole, "about": about, "generations": [_signed([*raws[:2], raws[2].replace(*change)])]}
    return logs


def _signed(raws: list[bytes]) -> dict[str, object]:
    """Return generation 1 with these leaves, as somebody with the signing key could store it."""
    root = Frontier().extended([leaf_hash(raw) for raw in raws]).after.root()
    note = Checkpoint(Origin(DOMAIN, 1), len(raws), root).sign(key(1))
    return {"generation": 1, "leaves": [raw.decode() for raw in raws], "checkpoints": [str(note)]}


def _changes(attack, store: MemoryStore) -> None:
    """Attack the handover from one signing key to the next."""
    log, thief = new_log(), new_log(1, 7)
    changed = deepcopy(store)
    log.change_key(changed, key(2), now_ms=START + 9)
    half = deepcopy(changed)
    row = half.data[1].checkpoints[8]
    half.data[1].checkpoints[8] = row._replace(note=str(Checkpoint(log.origin, row.size, row.root).sign(key(2))))
    attack("handover-signed-by-one", "only the new key signed the checkpoint of the handover", half)
    on = deepcopy(changed)
    forced(log, on, outcome("r4"), (key(1),))
    attack("handover-ignored", "the old key goes on signing", on)
    again = deepcopy(changed)
    facts = {"old": str(log.verifier_key), "new": str(thief.verifier_key)}
    statement = f"hermetic/v1/log-key-change\n{log.origin}\n8\n{thief.verifier_key}\n".encode()
    signature = {"signature": to_base64url(key(1).sign(statement))}
    forced(log, again, Entry("log.key-changed", facts | signature), (key(1), key(7)))
    attack("handover-by-old-key", "the key before the last hands over once more", again)
    named = deepcopy(store)
    statement = f"hermetic/v1/log-key-change\n{log.origin}\n7\n{thief.verifier_key}\n".encode()
    facts = {"old": str(new_log(1, 5).verifier_key), "new": str(thief.verifier_key), "signature": to_base64url(key(1).sign(statement))}
    forced(log, named, Entry("log.key-changed", facts), (key(1), key(7)))
    attack("handover-names-other-key", "the key in force signed the handover, which names another key as the old one", named)


def files() -> dict[str, object]:
    """Return every scenario by its path."""
    groups: dict[str, Group] = {"log": (valid_logs(), invalid_logs()), "receipt": receipts(), "leaf": leaves(), "opening": openings()}
    groups |= {"inclusion": inclusions(), "consistency": consistencies()}
    return placed(groups)
