"""The log is cut, edited, reordered, forked and signed anew by a fresh key.

Attacker: whoever can write the database file; no key. (Whoever holds the signing key is met by anchors outside only.)
Tries:    remove the newest entries with every trace of them; go back to an earlier kept checkpoint; change an entry and recompute
          hash, tree and checkpoint; put two entries in each other's place; drop one from the middle; sign the result with a key
          of the attacker's own, also named in the first entry; hide a release behind a second entry with its request id; erase
          all pins first.
Stops it: log verify (exit 4): the tree is recomputed, checkpoints are signed by a chain of keys from the pinned one, and pins say
          how long the log was. Connecting alone refuses what contradicts the pins.
"""

from __future__ import annotations

import json

from _stage import Stage, main

from hermetic.audit.leaf import Leaf
from hermetic.audit.note import Checkpoint, Note, VerifierKey
from hermetic.audit.tree import Frontier, leaf_hash
from hermetic.crypto.sign import SigningKey


def attack(stage: Stage) -> None:
    stage.create().seal()
    for _ in range(4):
        stage.read()
    stage.honest("log verify", stage.verify_log()["exit"], 7)  # 7: no anchor outside, which is a finding
    stage.honest("and nothing worse", stage.log_finds("row-put-back", "row-missing", "row-changed", "row-unlogged"), "")
    saved = stage.save()
    for what, change in {
        "the last entry cut": lambda: _cut(stage, 1),
        "five entries cut": lambda: _cut(stage, 5),
        "everything but the first entry cut": lambda: _cut(stage, _size(stage) - 1),
        "all entries cut": lambda: _cut(stage, _size(stage)),
        "an entry edited": lambda: _edit(stage),
        "an entry edited, hashes recomputed": lambda: _rewrite(stage, _edited(stage), None),
        "two entries exchanged, hashes recomputed": lambda: _rewrite(stage, _exchanged(stage), None),
        "an entry dropped, hashes recomputed": lambda: _rewrite(stage, _dropped(stage), None),
        "the same, signed by a fresh key": lambda: _rewrite(stage, _edited(stage), SigningKey.generate()),
        "the same, the fresh key named in the first entry": lambda: _rewrite_with_key(stage, SigningKey.generate()),
        "a checkpoint of another size": lambda: stage.sql("UPDATE log_checkpoint SET size = size + 1"),
        "a stored opening moved": lambda: stage.sql("UPDATE log_opening SET sealed = (SELECT sealed FROM log_opening LIMIT 1)"),
    }.items():
        change()
        if what == "a stored opening moved":
            stage.found(what, stage.cli("log", "ls").returncode == 4)
        else:
            stage.found(what, _refusal(stage))
        stage.put_back(saved)
    _without_pins(stage, saved)


def _refusal(stage: Stage) -> str:
    document = stage.verify_log()
    return document["err"] if document["exit"] == 4 else ""


def _without_pins(stage: Stage, saved: dict) -> None:
    """What is left when nobody remembers: cuts at an authentic older state are not seen, everything else is."""
    (stage.settings / "pins.json").unlink()
    _rewrite_with_key(stage, SigningKey.generate())
    stage.found("no pins, the log signed by a fresh key", stage.verify_log()["exit"] == 4)
    stage.put_back(saved)
    (stage.settings / "pins.json").unlink()
    _cut(stage, 2)
    stage.found("no pins, the tail cut without a checkpoint for it", stage.verify_log()["exit"] == 4)
    stage.put_back(saved)
    (stage.settings / "pins.json").unlink()
    stage.found("no pins: first use is a finding", "log-key-first-use" in json.dumps(stage.verify_log()) or _status_says(stage))
    stage.put_back(saved)


def _status_says(stage: Stage) -> bool:
    (stage.settings / "pins.json").unlink(missing_ok=True)
    return b"first" in stage.cli("status", "--json").stdout


def _size(stage: Stage) -> int:
    return stage.sql("SELECT count(*) FROM log_leaf")[0][0]


def _leaves(stage: Stage) -> list[bytes]:
    return [bytes(row[0]) for row in stage.sql("SELECT leaf FROM log_leaf ORDER BY idx")]


def _cut(stage: Stage, count: int) -> None:
    left = _size(stage) - count
    for table in ("log_leaf", "log_opening"):
        stage.sql(f"DELETE FROM {table} WHERE idx >= ?", (left,))
    stage.sql("DELETE FROM log_checkpoint WHERE size > ?", (left,))


def _edit(stage: Stage) -> None:
    stage.sql("UPDATE log_leaf SET leaf = replace(CAST(leaf AS TEXT), 'prepare', 'ingest') WHERE kind = 'release.intent'")


def _edited(stage: Stage) -> list[bytes]:
    return [raw.replace(b'"purpose":"prepare"', b'"purpose":"ingest"') for raw in _leaves(stage)]


def _exchanged(stage: Stage) -> list[bytes]:
    leaves = _leaves(stage)
    leaves[-1], leaves[-3] = leaves[-3], leaves[-1]
    return leaves


def _dropped(stage: Stage) -> list[bytes]:
    leaves = _leaves(stage)
    return [*leaves[:5], *leaves[6:]]


def _rewrite(stage: Stage, leaves: list[bytes], key: SigningKey | None) -> None:
    """Write other leaves with true hashes, the true tree, and the note of the old checkpoint or one by `key`."""
    old = stage.sql("SELECT note, at_ms FROM log_checkpoint ORDER BY size DESC LIMIT 1")[0]
    before = Checkpoint.parse(Note.parse(old[0].encode()).text)
    root = Frontier().extended([leaf_hash(raw) for raw in leaves]).after.root()
    made = Checkpoint(before.origin, len(leaves), root)
    note = str(made.sign(key)) if key else made.text + "\n" + old[0].split("\n\n", 1)[1]
    for table in ("log_leaf", "log_checkpoint"):
        stage.sql(f"DELETE FROM {table}")
    for index, raw in enumerate(leaves):
        kind, at_ms = json.loads(raw)["kind"], json.loads(raw)["at_ms"]
        stage.sql("INSERT INTO log_leaf VALUES (1, ?, ?, ?, ?, ?)", (index, at_ms, kind, raw, leaf_hash(raw)))
    stage.sql("INSERT INTO log_checkpoint VALUES (1, ?, ?, ?, ?)", (made.size, root, note, old[1]))


def _rewrite_with_key(stage: Stage, key: SigningKey) -> None:
    leaves = _edited(stage)
    first = Leaf.parse(leaves[0])
    named = VerifierKey.parse(str(first.facts["key"]))
    leaves[0] = leaves[0].replace(str(named).encode(), str(VerifierKey(named.name, key.public)).encode())
    _rewrite(stage, leaves, key)


if __name__ == "__main__":
    main(attack)
