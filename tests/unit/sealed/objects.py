"""Objects to seal and open: fixed ids, a key, and a source over bytes."""

from __future__ import annotations

import dataclasses
import os

from hermetic.crypto.secret import Secret
from hermetic.formats.object_header import ObjectHeader
from hermetic.formats.object_metadata import ObjectMetadata
from hermetic.formats.padding import Padding
from hermetic.ids import id_from_bytes
from hermetic.sealed.writer import ObjectWriter
from hermetic.stores.output import DescriptorOutput

SMALL = "FLOE-AES256-GCM-64K-BLAKE3"
SEGMENT = 65_536
KEY = Secret(bytes(range(32)))


def make_header(*, suite: str = SMALL, padding: Padding = Padding.NONE, index: int = 0) -> ObjectHeader:
    ids = [id_from_bytes(bytes([number]) * 16) for number in range(1, 6)]
    return ObjectHeader(*ids, index=index, suite_name=suite, padding=padding)


class BytesSource:
    """A RangeSource over bytes in memory that hands out at most `step` bytes at once."""

    request_size = 1024 * 1024

    def __init__(self, data: bytes, step: int = 1 << 30) -> None:
        self.data, self.step, self.closed = data, step, False

    @property
    def size(self) -> int:
        return len(self.data)

    def readinto_at(self, offset, buffer) -> int:
        part = self.data[offset : offset + min(len(buffer), self.step)]
        buffer[: len(part)] = part
        return len(part)

    def close(self) -> None:
        self.closed = True


def seal_bytes(folder, plain: bytes, *, header=None, key=KEY, metadata=None, writes=None, **options):
    """Return (bytes of the object, SealedObject)."""
    path = folder / os.urandom(8).hex()
    with path.open("xb+") as out:
        writer = ObjectWriter(DescriptorOutput(out.fileno()), header or make_header(), key, **options)
        for part in writes or [plain]:
            writer.write(part)
        sealed = writer.finish(metadata or ObjectMetadata(name="a.csv", labels={"k": "v"}))
    data = path.read_bytes()
    path.unlink()
    return data, sealed


def other_record(sealed, **changes):
    return dataclasses.replace(sealed.record, **changes)


def content_of(fd: int) -> bytes:
    return os.pread(fd, os.fstat(fd).st_size, 0)
