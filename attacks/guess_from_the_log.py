"""Names and paths are guessed from what everybody may read of the log.

Attacker: whoever is shown the log or receipts (an auditor, a witness, a mirror), with good guesses and no key.
Tries:    every entry holds the hash of a request whose other parts stand beside it: hash the request with each guessed name, path
          and owner, and compare; commit to each guess under each field; look for the same value twice.
Stops it: the hash that intents carry is keyed; commitments are salted, anew for every entry.
"""

from __future__ import annotations

import dataclasses
import hashlib

from _stage import Stage, main

from hermetic.audit.leaf import Leaf
from hermetic.crypto import mac
from hermetic.formats import canonical
from hermetic.formats.binary_text import from_base64url, to_base64url
from hermetic.formats.messages.base import request_hash
from hermetic.formats.messages.versions import BeginVersion, ExposureTerms, OpenVersions
from hermetic.ids import DataClass, Purpose

NAMES = ("dataset/patients", "model/risk", "dataset/patients@1")


def attack(stage: Stage) -> None:
    stage.create().seal()
    stage.seal(data=b"a second version")
    stage.read()
    path = str(stage.base / "patients.csv")
    with stage.connect(purpose="prepare") as h:
        h.expose("dataset/patients", path, seconds=60)
    leaves = [Leaf.parse(raw) for (raw,) in stage.sql("SELECT leaf FROM log_leaf ORDER BY idx")]
    intents = [leaf for leaf in leaves if leaf.kind == "release.intent"]
    stage.honest("the log has intents to begin seal, to open and to expose", len(intents), 4)

    known = {to_base64url(request_hash(guess)) for leaf in intents for guess in _guesses(leaf, path)}
    said = {leaf.facts["request_hash"] for leaf in intents}
    stage.found("request hashes of guessed requests", not known & said and f"{len(known)} guesses, none is on the log")
    plain = {to_base64url(hashlib.sha256(text.encode()).digest()) for text in (*NAMES, path)}
    stage.found("plain hashes of names", not any(guess in str(leaf.facts) for leaf in leaves for guess in plain) and "none")

    values = [*NAMES, path, "root", "prepare"]
    hidden = [(name, value) for leaf in leaves for name, value in leaf.hidden.items()]
    salts = (bytes(32), *(from_base64url(digest) for digest in said))
    guessed = {mac.commitment(salt, name, canonical.encode(value)) for salt in salts for name, _ in hidden for value in values}
    stage.found("commitments with salts that can be known", not guessed & {value for _, value in hidden} and f"{len(guessed)} tried")
    stage.found("the same value twice looks different", len({value for _, value in hidden}) == len(hidden) and len(hidden))


def _guesses(leaf: Leaf, path: str):
    """Requests that would have left this entry, one for each guess; the guesser knows all of it but names and paths."""
    facts = leaf.facts
    purposes = (None, *(purpose for purpose in Purpose if purpose.value == facts["purpose"]))
    for name in NAMES:
        for purpose in purposes:
            opened = OpenVersions(facts["request"], (name,), purpose, run=facts["run"])
            yield opened
            yield dataclasses.replace(opened, refs=(f"{name}@1",))
            for until in range(leaf.at_ms + 59_000, leaf.at_ms + 60_001, 20):
                yield dataclasses.replace(opened, exposure=ExposureTerms(path, until))
            for data_class in (None, *DataClass):
                yield BeginVersion(facts["request"], name, data_class, purpose=purpose)


if __name__ == "__main__":
    main(attack)
