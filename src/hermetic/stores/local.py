"""A folder as a store. Layout and durability rules are those of `stores`; files are 0600, folders 0700, or those of a
group that shares the folder (`_folders`).
"""

from __future__ import annotations

import fcntl
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from hermetic.errors import FormatError, IntegrityError, InvalidName, NotFound, UsageError
from hermetic.steps import reached
from hermetic.stores._folders import entries, open_folder, parent_of, refuse_link, remove_empty
from hermetic.stores._staging import LocalStagedFile
from hermetic.stores.base import REQUEST, TEMPORARY_PREFIX, check_key, check_prefix, read_fully, translated

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # non-blocking: a FIFO in its place must not hang us


class LocalSource:
    """A RangeSource over one file."""

    __slots__ = ("_fd", "_key", "_size")

    def __init__(self, fd: int, key: str, size: int) -> None:
        self._fd, self._key, self._size = fd, key, size

    @property
    def size(self) -> int:
        """Length in bytes when it was opened."""
        return self._size

    @property
    def request_size(self) -> int:
        """How many bytes are worth one request."""
        return REQUEST

    def fileno(self) -> int:
        """Return the descriptor. Raises UsageError after `close`."""
        if self._fd < 0:
            raise UsageError(f"{self._key!r} was closed")
        return self._fd

    def readinto_at(self, offset: int, buffer: memoryview | bytearray) -> int:
        """Fill `buffer` from `offset`; the count is short only at the end of the file. Raises StorageError."""
        with translated("read", self._key):
            return read_fully(self.fileno(), offset, memoryview(buffer).cast("B"))

    def close(self) -> None:
        """Give up the descriptor; closing twice is allowed."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()


class LocalStore:
    """A Store in the folder `root`, which is made by the first write. `root` may be reached through links; nothing below may."""

    __slots__ = ("root",)

    def __init__(self, root: Path) -> None:
        self.root = root

    def stage(self, key: str) -> LocalStagedFile:
        """Begin a new object. Entering the block raises Conflict if the key is taken, StorageError."""
        return LocalStagedFile(self.root, check_key(key))

    def open(self, key: str) -> LocalSource:
        """Open an object. Raises NotFound, StorageError, IntegrityError for anything but a regular file."""
        with translated("open", check_key(key)), parent_of(self.root, key) as (folder, name):
            refuse_link(folder, name)
            fd = os.open(name, _READ, dir_fd=folder)
            try:
                status = os.fstat(fd)
                _require_file(status.st_mode, key)
            except BaseException:
                os.close(fd)
                raise
        return LocalSource(fd, key, status.st_size)

    def read_bytes(self, key: str, *, limit: int) -> bytes:
        """Return a whole small object. Raises NotFound, FormatError above `limit` bytes, StorageError."""
        with self.open(key) as source:
            buffer = bytearray(min(source.size, limit) + 1)  # one more byte tells a file that grew meanwhile
            count = source.readinto_at(0, buffer)
            if count > limit:
                raise FormatError(f"{key!r} is longer than {limit} bytes")
            return bytes(memoryview(buffer)[:count])

    def put_bytes(self, key: str, data: bytes, *, replace: bool = False) -> None:
        """Write a small object, durable on return. Raises Conflict if the key is taken and `replace` is not set."""
        with LocalStagedFile(self.root, check_key(key), replace=replace) as staged:
            staged.write(data)
            staged.commit()

    def exists(self, key: str) -> bool:
        """Say whether a regular file is there. Raises StorageError when that cannot be told."""
        try:
            with translated("look for", check_key(key)), parent_of(self.root, key) as (folder, name):
                return stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
        except NotFound:
            return False

    def list(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        """Yield (key, size) in order of key; temporary files, links and names that are no keys are left out."""
        found = self._walk(check_prefix(prefix))
        return ((key, status.st_size) for key, status in found if not key.rpartition("/")[2].startswith(TEMPORARY_PREFIX))

    def delete(self, key: str) -> None:
        """Remove an object and the folders it leaves empty, durable on return. Raises NotFound, StorageError."""
        with translated("delete", check_key(key)), parent_of(self.root, key) as (folder, name):
            _require_file(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode, key)
            os.unlink(name, dir_fd=folder)
            os.fsync(folder)
            reached("store.delete.folder-synced")
        remove_empty(self.root, key)

    def sweep(self, older_than_ms: int, now_ms: int) -> int:
        """Remove temporary files left by processes that died; returns how many. Raises StorageError."""
        removed = 0
        for key, status in list(self._walk("")):
            folder, _, name = key.rpartition("/")
            if name.startswith(TEMPORARY_PREFIX) and status.st_mtime_ns // 1_000_000 < now_ms - older_than_ms:
                with suppress(NotFound), translated("sweep", key), parent_of(self.root, key) as (fd, _):
                    removed += _remove_unlocked(fd, name)
                remove_empty(self.root, f"{folder}/{name}" if folder else name)
        return removed

    def _walk(self, prefix: str) -> Iterator[tuple[str, os.stat_result]]:
        start, slash, _ = prefix.rpartition("/")
        try:
            with translated("list", prefix or "."), parent_of(self.root, f"{start}/." if slash else ".") as (fd, _):
                yield from _walk_folder(fd, f"{start}{slash}", prefix)
        except NotFound:
            return


def _walk_folder(fd: int, base: str, prefix: str) -> Iterator[tuple[str, os.stat_result]]:
    for name, status in entries(fd):
        key = base + name
        if stat.S_ISREG(status.st_mode):
            if key.startswith(prefix) and _is_key(key):
                yield key, status
        elif f"{key}/".startswith(prefix) or prefix.startswith(f"{key}/"):
            with suppress(FileNotFoundError, NotADirectoryError):
                child = open_folder(fd, name)
                try:
                    yield from _walk_folder(child, f"{key}/", prefix)
                finally:
                    os.close(child)


def _is_key(key: str) -> bool:
    folder, slash, name = key.rpartition("/")
    try:
        check_key(folder + slash + name.removeprefix(TEMPORARY_PREFIX))
    except InvalidName:
        return False
    return True


def _require_file(mode: int, key: str) -> None:
    if stat.S_ISDIR(mode):
        raise NotFound(f"{key!r} is a folder of the store, not an object")
    if not stat.S_ISREG(mode):
        raise IntegrityError(f"{key!r} is not a regular file", hint="something else stands in its place; find out who made it")


def _remove_unlocked(folder: int, name: str) -> bool:
    """Remove a temporary file unless its writer lives, which the lock tells."""
    fd = os.open(name, _READ, dir_fd=folder)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(name, dir_fd=folder)
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True
