"""A receipt is made up for something that was never logged, or changed to say something else.

Attacker: whoever wants to prove a release, or its absence, to an auditor who has the log's public key.
Tries:    another leaf under a true proof, another place, another checkpoint, a path with hashes added or taken, a checkpoint of a
          larger tree, a key of the attacker's with the log's name, a key id of four bytes made to collide in name only, a node
          passed off as a leaf, a bad line beside a good one, and openings of hidden fields with another value.
Stops it: RFC 6962 hashes leaves and nodes apart, notes are bound to name, key and text; commitments bind field and value.
"""

from __future__ import annotations

from dataclasses import replace

from _stage import Stage, main

from hermetic.assets.session import fresh_id
from hermetic.audit.leaf import Leaf
from hermetic.audit.note import Checkpoint, Note, NoteSignature, VerifierKey
from hermetic.audit.openings import Opening, check_opening
from hermetic.audit.proof import Receipt
from hermetic.audit.receipts import verify_receipt
from hermetic.crypto.sign import SigningKey
from hermetic.errors import HermeticError, IntegrityError
from hermetic.formats.messages.log import ProveEntry
from hermetic.formats.messages.versions import OpenVersions
from hermetic.ids import Purpose


def attack(stage: Stage) -> None:
    stage.create().seal()
    with stage.connect() as h:
        for _ in range(4):
            opened = h.session.ask(OpenVersions(fresh_id(), ("dataset/patients",), Purpose.PREPARE))
        index = opened.receipt.index - 2  # inside the tree, so that its path has several hashes
        good = Receipt.parse(h.session.ask(ProveEntry(index, None)).receipt.proof.encode())
        keys = [VerifierKey.parse(text) for text in h.connection.pins.log_keys]
        custodian = h.connection._port._custodian
        leaf = Leaf.parse(good.leaf)
        with custodian.database.write(custodian.row_keys) as session:
            from hermetic.audit.tables_store import TablesStore

            openings = custodian.log.open(TablesStore(session.connection), leaf)
    stage.honest("the receipt verifies offline", verify_receipt(good, keys).leaf.kind, "release.intent")
    stage.honest("its openings open", check_opening(leaf, openings["principal"]), openings["principal"].value)
    for what, forged in _forgeries(good, keys[0]).items():
        stage.refused(what, lambda forged=forged: verify_receipt(Receipt.parse(bytes(forged)), keys), HermeticError)
    stage.refused("no trusted keys", lambda: verify_receipt(good, []), HermeticError)
    opening = openings["principal"]
    for what, other in {
        "another value": replace(opening, value="somebody else"),
        "another field": replace(opening, field="asked"),
        "another salt": replace(opening, salt=bytes(32)),
        "a short salt": replace(opening, salt=b""),
        "field and value cut elsewhere": Opening("principa", opening.salt, "l\n" + str(opening.value)),
    }.items():
        stage.refused(f"opening a commitment with {what}", lambda other=other: check_opening(leaf, other), IntegrityError)


def _forgeries(good: Receipt, key: VerifierKey) -> dict[str, Receipt]:
    stranger = SigningKey.generate()
    checkpoint = Checkpoint.parse(good.checkpoint.text)
    larger = Checkpoint(checkpoint.origin, checkpoint.size + 1, checkpoint.root)
    by_stranger = checkpoint.sign(stranger)
    line = good.checkpoint.signatures[0]
    bad = NoteSignature(line.name, line.key_id, bytes(64))
    return {
        "another leaf": replace(good, leaf=good.leaf.replace(b'"purpose":"prepare"', b'"purpose":"audit"')),
        "a node passed off as a leaf": replace(good, leaf=b"\1" + good.path[0] + good.path[1]),
        "another index": replace(good, index=good.index - 1),
        "an index past the end": replace(good, index=checkpoint.size),
        "a hash more": replace(good, path=(*good.path, bytes(32))),
        "a hash less": replace(good, path=good.path[:-1]),
        "no hashes": replace(good, path=()),
        "hashes in another order": replace(good, path=good.path[::-1]),
        "a larger size": replace(good, checkpoint=Note(larger.text, good.checkpoint.signatures)),
        "another root": replace(good, checkpoint=Note(Checkpoint(checkpoint.origin, checkpoint.size, bytes(32)).text, (line,))),
        "a stranger's signature": replace(good, checkpoint=by_stranger),
        "a stranger's signature under the log's key id": replace(
            good, checkpoint=Note(good.checkpoint.text, (NoteSignature(line.name, key.key_id, by_stranger.signatures[0].blob),))
        ),
        "a bad line of the log's key beside a good one": replace(good, checkpoint=Note(good.checkpoint.text, (line, bad))),
        "a text line more": replace(good, checkpoint=Note(good.checkpoint.text + "extension\n", (line,))),
        "another generation": replace(good, checkpoint=Note(good.checkpoint.text.replace("/1\n", "/2\n", 1), (line,))),
        "a signature of one byte more": replace(
            good, checkpoint=Note(good.checkpoint.text, (NoteSignature(line.name, line.key_id, line.blob + b"\0"),))
        ),
    }


if __name__ == "__main__":
    main(attack)
