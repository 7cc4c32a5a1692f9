"""Segments of different objects under one data key are spliced together.

Attacker: whoever can write the store; then a recipient with the data key.
Tries:    all members of a version share one data key. Segments of one member are put into another, at the same position and at
          others, with leaf table and root made anew; payload and metadata messages are exchanged.
Stops it: the signed root; and, with the root set aside, FLOE itself: every message has keys of its own, from its own IV, label
          and prefix.
"""

from __future__ import annotations

from dataclasses import replace

from _objects import Parts
from _stage import Stage, main

from hermetic.crypto.floe import FloeDecryptor
from hermetic.errors import HermeticError, IntegrityError, WrongKey
from hermetic.formats.suites import FLOE_HEADER, MIB, SUITES
from hermetic.sealed._binding import METADATA, PAYLOAD, associated_data, parameters

ONE, TWO = b"1" * (3 * MIB), b"2" * (3 * MIB)


def attack(stage: Stage) -> None:
    stage.create()
    (stage.base / "in").mkdir()
    (stage.base / "in" / "a").write_bytes(ONE)
    (stage.base / "in" / "b").write_bytes(TWO)
    version = stage.seal("dataset/both", stage.base / "in").version
    stage.honest("both read", (stage.read("dataset/both", "a"), stage.read("dataset/both", "b")), (ONE, TWO))
    path = stage.object(version, 0)
    mine, theirs = Parts.read(path), Parts.read(stage.object(version, 1))
    spliced = {
        "a segment of the other member": mine.with_segments(mine.segments[0], theirs.segments[1], mine.segments[2]),
        "all segments of the other member": mine.with_segments(*theirs.segments),
        "the other member's FLOE header and segments": replace(theirs, prefix=mine.prefix, metadata=mine.metadata),
        "the other member's metadata": replace(mine, metadata=theirs.metadata),
    }
    good = path.read_bytes()
    for what, parts in spliced.items():
        path.write_bytes(parts.build())
        stage.refused(what, lambda: stage.read("dataset/both", "a"), IntegrityError)
    path.write_bytes(good)

    with stage.connect(purpose="prepare") as h, h.version("dataset/both") as held:
        key = held.leased.key()
        for what, parts, position in (("same position", theirs, 1), ("another position", mine, 2)):
            stage.refused(
                f"FLOE alone, key at hand: {what}", lambda p=parts, n=position: _open(mine, key, p.segments[n], 1), HermeticError
            )
        stage.refused("FLOE alone: a message under another prefix", lambda: _start(mine, theirs.floe_header, PAYLOAD, key), WrongKey)
        meta = mine.metadata[:FLOE_HEADER]
        stage.refused("FLOE alone: metadata passed off as payload", lambda: _start(mine, meta, PAYLOAD, key), WrongKey)
        stage.honest("the right label opens", _start(mine, meta, METADATA, key) is not None, True)


def _start(parts: Parts, header: bytes, label: bytes, key) -> FloeDecryptor:
    return FloeDecryptor(key, associated_data(label, parts.prefix), parameters(SUITES[parts.suite]), header)


def _open(parts: Parts, key, segment: bytes, position: int) -> bytes:
    out = bytearray(MIB)
    _start(parts, parts.floe_header, PAYLOAD, key).decrypt_into(position, memoryview(segment), memoryview(out), is_final=False)
    return bytes(out[:20])


if __name__ == "__main__":
    main(attack)
