"""Every field of an object's header is edited, and the file made consistent again; and older formats are claimed.

Attacker: whoever can write the store.
Tries:    other ids, index, suite, padding; unknown, missing and repeated members; other spellings of the same JSON; version 0 and 2
          of the format; other algorithm ids in the trailer: whatever could lead a reader to a weaker way of reading (downgrade).
Stops it: the prefix is in the root and in the associated data; there is one version and one spelling.
"""

from __future__ import annotations

import struct
from dataclasses import replace

from _objects import Parts
from _stage import Stage, main

from hermetic.assets.staging import claimed_record
from hermetic.errors import IntegrityError
from hermetic.formats.object_header import FIXED, MAGIC
from hermetic.formats.suites import SUITES
from hermetic.ids import id_from_bytes
from hermetic.sealed.reader import ObjectReader
from hermetic.stores.memory import MemorySource

OTHER = id_from_bytes(b"another identity")


def attack(stage: Stage) -> None:
    version = stage.create().seal().version
    path = stage.object(version)
    good = path.read_bytes()
    parts = Parts.of(good)
    stage.honest("reading", len(stage.read()) > 0, True)
    edits = dict.fromkeys(("asset", "data_key", "domain", "object", "version"), OTHER)
    cases = {f"{name} of another": parts.with_header(**{name: value}) for name, value in edits.items()}
    cases |= {f"index {value!r}": parts.with_header(index=value) for value in (1, -1, 65536, "0", None, True)}
    cases |= {f"padding {value!r}": parts.with_header(padding=value) for value in ("padme", "segment", "zip", "")}
    cases["an unknown member"] = parts.with_header(compression="deflate")
    for what, new in {
        "an escape": b'"inde\\u0078":0',
        "a repeated member": b'"index":0,"index":0',
        "a space": b'"index": 0',
        "a float": b'"index":0.0',
        "not JSON": b"index",
    }.items():
        cases[what] = _spelled(parts, b'"index":0', new)
    changed = {what: case.build() for what, case in cases.items() if case.prefix != parts.prefix}
    for what, raw in changed.items():
        path.write_bytes(raw)
        stage.refused(what, stage.read, IntegrityError)
    _without_a_manifest(stage, good, changed)
    for name in SUITES:
        if name != parts.suite:
            changed = good.replace(parts.suite.encode(), name.encode()) if len(name) == len(parts.suite) else good
            path.write_bytes(changed[:-44] + struct.pack(">I", SUITES[name].stored_segment) + changed[-40:])
            stage.refused(f"downgrade to {name}", stage.read, IntegrityError)
    for number in (0, 2, 0xFFFF):
        path.write_bytes(parts.build(version=number))
        stage.refused(f"version {number} of the format", stage.read, IntegrityError)
    for what, raw in (("encryption id 0", good[:-48] + b"\0\0" + good[-46:]), ("digest id 0", good[:-46] + b"\0\0" + good[-44:])):
        path.write_bytes(raw)
        stage.refused(what, stage.read, IntegrityError)


def _spelled(parts: Parts, old: bytes, new: bytes) -> Parts:
    body = parts.prefix[FIXED.size :].replace(old, new, 1)
    return replace(parts, prefix=FIXED.pack(MAGIC, 1, len(body)) + body)


def _without_a_manifest(stage: Stage, good: bytes, changed: dict[str, bytes]) -> None:
    """Take the file's own word for what was signed: then the key is what is left, and the prefix is in its associated data."""
    with stage.connect(purpose="prepare") as h, h.version("dataset/patients") as held:

        def open_(raw: bytes) -> int:
            source = MemorySource("x", raw)
            return ObjectReader(source, held.leased.key(), claimed_record(source)).length

        stage.honest("the file as it was, believed by its own word", open_(good) > 0, True)
        for what, raw in changed.items():
            stage.refused(f"believed by its own word: {what}", lambda raw=raw: open_(raw), IntegrityError)


if __name__ == "__main__":
    main(attack)
