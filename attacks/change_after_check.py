"""The object changes between the check and the use.

Attacker: whoever can write the store while a reader reads (another user's folder, a bucket that answers differently each time).
Tries:    another file under the same name between opening and reading; bytes changed in place after they were verified, and
          between the read for the digest and the read for decryption; a file that is cut while it is read, which kills programs
          that map files; and the same behind a source that gives other bytes at every second read.
Stops it: each segment is fetched once into private memory, checked against its leaf there, and decrypted from that same memory;
          nothing is mapped. The open descriptor keeps the file that was checked.
"""

from __future__ import annotations

import os
from pathlib import Path

from _stage import Stage, main

from hermetic.errors import IntegrityError
from hermetic.formats.suites import MIB
from hermetic.sealed.reader import ObjectReader

CONTENT = os.urandom(6 * MIB)


def attack(stage: Stage) -> None:
    old = stage.create().seal("model/risk", bytes(6 * MIB), data_class="internal").version
    version = stage.seal("model/risk", CONTENT, data_class="internal").version
    path = stage.object(version)
    good = path.read_bytes()
    stage.honest("reading", stage.read("model/risk") == CONTENT, True)
    with stage.connect(purpose="serve") as h:
        with h.open("model/risk") as file:
            first = file.read(100)
            aside = stage.base / "evil"
            aside.write_bytes(stage.object(old).read_bytes())
            aside.replace(path)
            file.seek(5 * MIB)
            stage.honest("another file under the name: the checked one is read on", (first, file.read(100)), _parts(CONTENT))
        stage.refused("and a fresh reader refuses it", lambda: stage.read("model/risk"), IntegrityError)
        path.write_bytes(good)
        with h.open("model/risk") as file:
            file.read(100)
            _flip(path, 4 * MIB)
            file.seek(0)
            stage.refused("a byte changed in place after opening", file.read, IntegrityError)
        path.write_bytes(good)
        with h.open("model/risk") as file:
            file.read(100)
            os.truncate(path, 3 * MIB)
            file.seek(0)
            stage.refused("cut in place while reading (a map would die of SIGBUS)", file.read, IntegrityError)
        path.write_bytes(good)
        _second_reads(stage, h, good)
    maps = [line for line in Path("/proc/self/maps").read_text().splitlines() if "/sealed/" in line]
    stage.honest("no object is mapped", maps, [])


def _parts(content: bytes) -> tuple[bytes, bytes]:
    return content[:100], content[5 * MIB : 5 * MIB + 100]


def _flip(path, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1]))


class Fickle:
    """A source that answers every range truly once, and with a changed byte from then on; it counts."""

    request_size = 1024 * 1024

    def __init__(self, data: bytes) -> None:
        self.data, self.size, self.asked, self.twice = data, len(data), [], 0

    def readinto_at(self, offset: int, buffer) -> int:
        view = memoryview(buffer).cast("B")
        part = bytearray(self.data[offset : offset + view.nbytes])
        known = [(start, end) for start, end in self.asked if start < offset + len(part) and offset < end]
        if known:
            self.twice += 1
            part[len(part) // 2] ^= 1
        self.asked.append((offset, offset + len(part)))
        view[: len(part)] = part
        return len(part)

    def close(self) -> None:
        pass


def _second_reads(stage: Stage, h, good: bytes) -> None:
    with h.version("model/risk") as version:
        source = Fickle(good)
        reader = ObjectReader(source, version.leased.key(), version.manifest.objects[0])
        source.asked.clear()  # head and tail were fetched whole, and overlap the last segment
        out = bytearray(len(CONTENT))
        reader.readinto_at(0, out)
        stage.honest(
            "a source that lies on every second read: nothing was read twice", (bytes(out) == CONTENT, source.twice), (True, 0)
        )
        stage.refused("the next read of the same range is checked again", lambda: reader.readinto_at(MIB, out), IntegrityError)
        stage.found("what was about to be handed over is wiped", bytes(out[: len(CONTENT) - MIB]) == bytes(len(CONTENT) - MIB))


if __name__ == "__main__":
    main(attack)
