"""A store that lives as long as the process: the same promises as a folder, nothing on disk."""

from __future__ import annotations

import os
import tempfile
import threading
from typing import TYPE_CHECKING, Self

from hermetic.errors import Conflict, FormatError, NotFound, UsageError
from hermetic.steps import reached
from hermetic.stores.base import REQUEST, check_key, check_prefix, read_fully, translated, write_fully
from hermetic.stores.output import DescriptorOutput

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType


def _anonymous_file() -> int:
    """Return a descriptor that has no name anywhere, in memory where the system can."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("hermetic")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


class MemoryStagedFile(DescriptorOutput):
    """A StagedFile of a MemoryStore; `fd` is an anonymous file in memory."""

    __slots__ = ("_key", "_store")

    def __init__(self, store: MemoryStore, key: str) -> None:
        super().__init__(-1, key)
        self._store, self._key = store, key

    @property
    def key(self) -> str:
        """The key that `commit` will give it."""
        return self._key

    @property
    def fd(self) -> int:
        """Descriptor open for reading and writing. Raises UsageError outside the block and after `commit`."""
        if self._fd < 0:
            raise UsageError("a staged file is written inside its block and before commit")
        return self._fd

    def commit(self) -> None:
        """Give the bytes their key. Raises Conflict."""
        with translated("write", self._key):
            data = bytearray(os.fstat(self.fd).st_size)
            read_fully(self.fd, 0, memoryview(data))
        reached("store.stage.synced")
        self._store.put_bytes(self._key, bytes(data))
        reached("store.stage.renamed")
        reached("store.stage.folder-synced")
        self._close()

    def __enter__(self) -> Self:
        self._store.check_free(self._key)
        self._fd = _anonymous_file()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._close()

    def _close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class MemorySource:
    """A RangeSource over bytes; `fileno` makes an anonymous copy at the first call."""

    __slots__ = ("_data", "_fd", "_key")

    def __init__(self, key: str, data: bytes) -> None:
        self._key, self._fd = key, -1
        self._data: bytes | None = data

    def _bytes(self) -> bytes:
        if self._data is None:
            raise UsageError(f"{self._key!r} was closed")
        return self._data

    @property
    def size(self) -> int:
        """Length in bytes."""
        return len(self._bytes())

    @property
    def request_size(self) -> int:
        """How many bytes are worth one request."""
        return REQUEST

    def readinto_at(self, offset: int, buffer: memoryview | bytearray) -> int:
        """Fill `buffer` from `offset`; the count is short only at the end."""
        if offset < 0:
            raise UsageError("an offset counts from 0")
        view = memoryview(buffer).cast("B")
        part = memoryview(self._bytes())[offset : offset + len(view)]
        view[: len(part)] = part
        return len(part)

    def fileno(self) -> int:
        """Return a descriptor of an anonymous copy, which belongs to this source. Raises UsageError after `close`."""
        data = self._bytes()
        if self._fd < 0:
            self._fd = _anonymous_file()
            with translated("open", self._key):
                write_fully(self._fd, memoryview(data))
        return self._fd

    def close(self) -> None:
        """Give up the bytes; closing twice is allowed."""
        self._data = None
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()


class MemoryStore:
    """A Store in a dictionary, safe for several threads."""

    __slots__ = ("_lock", "_objects")

    def __init__(self) -> None:
        self._objects: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def stage(self, key: str) -> MemoryStagedFile:
        """Begin a new object. Entering the block raises Conflict if the key is taken."""
        return MemoryStagedFile(self, check_key(key))

    def open(self, key: str) -> MemorySource:
        """Open an object. Raises NotFound."""
        return MemorySource(key, self._get(check_key(key)))

    def read_bytes(self, key: str, *, limit: int) -> bytes:
        """Return a whole small object. Raises NotFound, FormatError above `limit` bytes."""
        data = self._get(check_key(key))
        if len(data) > limit:
            raise FormatError(f"{key!r} is longer than {limit} bytes")
        return data

    def put_bytes(self, key: str, data: bytes, *, replace: bool = False) -> None:
        """Keep a small object. Raises Conflict if the key is taken and `replace` is not set."""
        check_key(key)
        with self._lock:
            self._check_free(key, replace=replace)
            self._objects[key] = bytes(data)

    def exists(self, key: str) -> bool:
        """Say whether an object is there."""
        return check_key(key) in self._objects

    def list(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        """Yield (key, size) in order of key."""
        check_prefix(prefix)
        with self._lock:
            return iter(sorted((key, len(data)) for key, data in self._objects.items() if key.startswith(prefix)))

    def delete(self, key: str) -> None:
        """Forget an object. Raises NotFound."""
        with self._lock:
            if self._objects.pop(check_key(key), None) is None:
                raise NotFound(f"cannot delete {key!r}: not in the store")
        reached("store.delete.folder-synced")

    def sweep(self, older_than_ms: int, now_ms: int) -> int:  # noqa: ARG002 - the protocol's arguments
        """Return 0: what is staged in memory leaves nothing behind."""
        return 0

    def check_free(self, key: str) -> None:
        """Raise Conflict if `key`, or a key that would be its folder or lie in it, is taken."""
        with self._lock:
            self._check_free(key, replace=False)

    def _check_free(self, key: str, *, replace: bool) -> None:
        parents = {key[:at] for at, char in enumerate(key) if char == "/"}
        taken = any(other in parents or other.startswith(f"{key}/") for other in self._objects)
        if taken or (key in self._objects and not replace):
            raise Conflict(f"{key!r} is in the store already", hint="objects are never replaced; use a new key")

    def _get(self, key: str) -> bytes:
        try:
            return self._objects[key]
        except KeyError:
            raise NotFound(f"cannot open {key!r}: not in the store") from None
