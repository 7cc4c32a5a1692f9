"""A recipient forges the weights it may read, so that every authentication tag stays equal.

Attacker: a consumer who was given the data key, and may write the store (a shared bucket).
Tries:    AES-GCM binds nobody who holds the key. The attacker replaces the first four weights of a sealed model by 1337.0 and
          corrects one block behind them, so that the tag of the FLOE segment is the very same 16 bytes. Formats that sign the tags,
          or the header, accept such a file as the producer's (facts about cryptotensors 0.2.3: its signature still verified).
Stops it: the signed manifest holds a digest of the ciphertext. The control shows that the forgery is real: FLOE alone opens it.
"""

from __future__ import annotations

import struct

from _objects import Parts
from _stage import Broken, Stage, main

from hermetic.crypto.floe import FloeDecryptor
from hermetic.errors import IntegrityError
from hermetic.formats.suites import SUITES
from hermetic.sealed._binding import PAYLOAD, associated_data, parameters

WEIGHTS = struct.pack("<4096f", *(0.001 * number for number in range(4096)))
WANTED = struct.pack("<4f", *([1337.0] * 4))
_R = 0xE1 << 120


def times(one: int, other: int) -> int:
    """Multiply in GF(2^128) as GHASH does."""
    product = 0
    for bit in range(127, -1, -1):
        if one >> bit & 1:
            product ^= other
        other = other >> 1 ^ (_R if other & 1 else 0)
    return product


def forge(segment: bytes, hash_key: bytes, old: bytes, new: bytes) -> bytes:
    """Change the first block from `old` to `new`, and the next one so that GHASH, hence the tag, stays what it was."""
    delta = bytes(a ^ b for a, b in zip(old, new, strict=True))
    repair = times(int.from_bytes(delta, "big"), int.from_bytes(hash_key, "big")).to_bytes(16, "big")
    change = delta + repair
    head, body = segment[:16], bytearray(segment[16:])
    body[:32] = bytes(a ^ b for a, b in zip(body[:32], change, strict=True))
    return head + bytes(body)


def attack(stage: Stage) -> None:
    sealed = stage.create().seal("model/risk", WEIGHTS, data_class="confidential")
    path = stage.object(sealed.version)
    stage.honest("the consumer reads the weights", stage.read("model/risk"), WEIGHTS)
    original = path.read_bytes()
    parts = Parts.of(original)
    floe, hash_key = _with_the_data_key(stage, parts)

    forged = forge(parts.segments[0], hash_key, WEIGHTS[:16], WANTED)
    out = memoryview(bytearray(len(WEIGHTS)))
    floe.decrypt_into(0, memoryview(forged), out, is_final=True)
    if bytes(out[:16]) != WANTED or forged[-16:] != parts.segments[0][-16:]:
        raise Broken("the forgery does not open under the data key with the same tag")
    stage.told.append("  control  FLOE opens the forged segment, with the same tag: weights are 1337.0")

    changed = parts.with_segments(forged)
    consistent = changed.build()
    leaves_kept = original.replace(parts.segments[0], forged)
    for what, raw in (("leaf table and root made anew", consistent), ("leaf table and root left as signed", leaves_kept)):
        path.write_bytes(raw)
        stage.refused(f"reading, {what}", lambda: stage.read("model/risk"), IntegrityError)
        stage.refused(f"hermetic verify, {what}", lambda: stage.connect().verify("model/risk"), IntegrityError)
        stage.refused(f"exposing, {what}", lambda: _expose(stage), IntegrityError)


def _with_the_data_key(stage: Stage, parts: Parts) -> tuple[FloeDecryptor, bytes]:
    """What a consumer can do in its own process: it has the key, hence the GHASH key of every segment."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    from hermetic.crypto import floe as module

    seen = []
    kept = module.AESGCM
    module.AESGCM = lambda key: (seen.append(bytes(key)), kept(key))[1]
    try:
        with stage.connect(purpose="serve") as h, h.version("model/risk") as version:
            suite = SUITES[parts.suite]
            aad = associated_data(PAYLOAD, parts.prefix)
            floe = FloeDecryptor(version.leased.key(), aad, parameters(suite), parts.floe_header)
            floe.decrypt_into(0, memoryview(parts.segments[0]), memoryview(bytearray(suite.plain_segment)), is_final=True)
    finally:
        module.AESGCM = kept
    block = Cipher(algorithms.AES(seen[-1]), modes.ECB()).encryptor()
    return floe, block.update(bytes(16))


def _expose(stage: Stage) -> object:
    with stage.connect(purpose="serve") as h:
        return h.expose("model/risk", stage.project / "weights.bin", seconds=60)


if __name__ == "__main__":
    main(attack)
