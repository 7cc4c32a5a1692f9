"""What collects one part of an upload: memory, or a file without a name. Only ciphertext ever comes here."""

from __future__ import annotations

import tempfile
import threading
import zlib
from typing import IO, Final, Protocol, TypeAlias

from hermetic.stores.base import translated

MIB: Final = 1024 * 1024
Body: TypeAlias = "bytearray | bytes | IO[bytes]"


class Buffer(Protocol):
    """A part being collected."""

    def put(self, view: memoryview, at: int) -> None:
        """Take bytes; any thread, different places at once."""

    def body(self, length: int) -> tuple[Body, int]:
        """Return the first `length` bytes for a request, and their CRC-32."""

    def close(self) -> None:
        """Give the space back."""


class MemoryBuffer:
    """A part in memory."""

    __slots__ = ("_bytes",)

    def __init__(self, size: int) -> None:
        self._bytes = bytearray(size)

    @property
    def size(self) -> int:
        """How much fits."""
        return len(self._bytes)

    def put(self, view: memoryview, at: int) -> None:
        """Copy."""
        self._bytes[at : at + view.nbytes] = view

    def body(self, length: int) -> tuple[Body, int]:
        """Return the bytes themselves where all are wanted."""
        body = self._bytes if length == len(self._bytes) else self._bytes[:length]
        return body, zlib.crc32(body)

    def close(self) -> None:
        """Do nothing: memory goes with the object."""


class FileBuffer:
    """A part in a file without a name, for parts that are too large for memory. What comes here is ciphertext."""

    __slots__ = ("_file", "_lock")

    def __init__(self) -> None:
        with translated("buffer", "a part of the upload"):
            self._file = tempfile.TemporaryFile(prefix="hermetic-part-")  # noqa: SIM115 - closed by `close`
        self._lock = threading.Lock()

    def put(self, view: memoryview, at: int) -> None:
        """Write. Raises StorageError."""
        with self._lock, translated("buffer", "a part of the upload"):
            self._file.seek(at)
            self._file.write(view)

    def body(self, length: int) -> tuple[Body, int]:
        """Return the file, cut to `length`."""
        crc = 0
        with translated("buffer", "a part of the upload"):
            self._file.truncate(length)
            self._file.seek(0)
            while piece := self._file.read(MIB):
                crc = zlib.crc32(piece, crc)
            self._file.seek(0)
        return self._file, crc

    def close(self) -> None:
        """Let the file go."""
        self._file.close()
