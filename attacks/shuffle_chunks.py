"""Chunks are reordered, repeated, dropped, cut and appended, in files that agree with themselves.

Attacker: whoever can write the store (chunked formats of others authenticate chunks, but not their order and number).
Tries:    every such change with leaf table, lengths and root made anew; plain truncation and extension of the file; and the same
          against FLOE alone with the data key at hand.
Stops it: length and root are signed; in FLOE position and final mark are authenticated.
"""

from __future__ import annotations

import struct

from _objects import Parts
from _stage import Stage, main

from hermetic.crypto.floe import FloeDecryptor
from hermetic.errors import HermeticError, IntegrityError
from hermetic.formats.suites import FLOE_HEADER, MIB, SUITES
from hermetic.sealed._binding import PAYLOAD, associated_data, parameters

CONTENT = b"".join(bytes([65 + number]) * MIB for number in range(4)) + b"end"


def attack(stage: Stage) -> None:
    version = stage.create().seal("dataset/long", CONTENT).version
    path = stage.object(version)
    good = path.read_bytes()
    parts = Parts.of(good)
    a, b, c, d, end = parts.segments
    stage.honest("reading", stage.read("dataset/long") == CONTENT, True)
    shapes = {
        "two exchanged": (b, a, c, d, end),
        "one repeated": (a, a, b, c, d, end),
        "one dropped": (a, b, d, end),
        "cut before the final one": (a, b, c, d),
        "cut, and the last marked final": (a, b, c, struct.pack(">I", len(d)) + d[4:]),
        "only the final one": (end,),
        "a second final one": (a, b, c, d, end[:4] + end[4:]),
        "the final one first": (d, b, c, a, end),
    }
    for what, segments in shapes.items():
        if segments != parts.segments:
            path.write_bytes(parts.with_segments(*segments).build())
            stage.refused(what, lambda: stage.read("dataset/long"), IntegrityError)
    for what, raw in (
        ("a byte less", good[:-1]),
        ("a byte more", good + b"\0"),
        ("a segment less", good[:-MIB]),
        ("half", good[: len(good) // 2]),
    ):
        path.write_bytes(raw)
        stage.refused(f"the file: {what}", lambda: stage.read("dataset/long"), IntegrityError)
    path.write_bytes(good)

    with stage.connect(purpose="prepare") as h, h.version("dataset/long") as held:
        key, suite = held.leased.key(), SUITES[parts.suite]
        for what, segments in shapes.items():
            if segments == parts.segments:
                continue
            message = parts.floe_header + b"".join(segments)
            floe = FloeDecryptor(key, associated_data(PAYLOAD, parts.prefix), parameters(suite), message[:FLOE_HEADER])
            stage.refused(f"FLOE alone, key at hand: {what}", lambda f=floe, m=message: f.message(m)[:9], HermeticError)


if __name__ == "__main__":
    main(attack)
