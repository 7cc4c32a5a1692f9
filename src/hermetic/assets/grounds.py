"""Bytes at plain locations, by whatever fsspec file system leads there: read by range, put whole or not at all, removed, copied.

What lies there is other people's to change at any time. Nothing here believes it: readers verify every byte. On a local disk a file
is opened without following a link in its place, and written under a temporary name, synced and renamed; elsewhere a file appears when
it is closed, as object stores have it.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

from hermetic.assets.ground_caches import caches_of, drop, innermost
from hermetic.assets.ground_errors import far_errors, local_errors, no_file, too_long
from hermetic.errors import IntegrityError, NotFound, StorageError, UsageError
from hermetic.stores.base import TEMPORARY_PREFIX, write_fully
from hermetic.stores.durable import make_folders, sync_folder
from hermetic.stores.local import LocalSource

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from hermetic.stores.base import RangeSource

FAR_REQUEST = 8 * 1024 * 1024  # where a request is a round trip
PIECE = 4 * 1024 * 1024
_TEMPORARY = len(TEMPORARY_PREFIX) + 16
_BUCKETS = frozenset({"s3", "s3a", "gs", "gcs"})
_KEY_BYTES = 1024
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Ground(Protocol):
    """Where files lie, by the paths of one file system."""

    def open(self, path: str) -> RangeSource:
        """Open a file. Raises NotFound, StorageError, IntegrityError for a link or device."""

    def put(self, path: str, source: RangeSource) -> None:
        """Write all of `source` to a file, in place of one that is there. Raises StorageError."""

    def put_bytes(self, path: str, data: bytes) -> None:
        """Write a small file, in place of one that is there. Raises StorageError."""

    def copy(self, path: str, target: str) -> None:
        """Copy a file, in place of one that is there. Raises NotFound, StorageError."""

    def delete(self, path: str) -> None:
        """Remove a file. Raises NotFound, StorageError."""

    def require_room(self, path: str, longest: int) -> None:
        """Raise UsageError if a name in the folder of `path` cannot have `longest` bytes more than the name of `path`."""

    def is_one_file(self, path: str, other: str) -> bool:
        """Whether two paths are known to lead to one file."""

    def forget(self, path: str) -> None:
        """Have caches in between look again."""


def ground_of(fs: Any) -> Ground:
    """Return the ground that a file system leads to. What is written goes past its caches."""
    from fsspec.implementations.local import LocalFileSystem  # noqa: PLC0415 - hermetic without locations does not pay for fsspec

    return LocalGround() if isinstance(innermost(fs), LocalFileSystem) else FarGround(fs)


def _protocols(fs: Any) -> tuple[str, ...]:
    return (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)


def real(path: str) -> str:
    """Return a local path with the links of its folders followed, but not one in its own place."""
    folder, name = os.path.split(path)
    return os.path.join(os.path.realpath(folder), name)  # noqa: PTH118 - as text, like all paths of fsspec


def read_small(source: RangeSource, limit: int) -> bytes:
    """Return a whole small file. Raises IntegrityError above `limit` bytes."""
    with source:
        if source.size > limit:
            raise IntegrityError(f"a file of at most {limit} bytes has {source.size}")
        buffer = bytearray(source.size)
        count = source.readinto_at(0, buffer)
        return bytes(memoryview(buffer)[:count])


class LocalGround:
    """A local disk."""

    def open(self, path: str) -> LocalSource:
        """Open a regular file."""
        with local_errors("open", path):
            try:
                fd = os.open(real(path), _READ)
            except OSError as error:
                if error.errno == errno.ENAMETOOLONG:
                    raise FileNotFoundError(errno.ENOENT, "a name that no file can have", path) from error
                raise
            try:
                status = os.fstat(fd)
                _require_file(status.st_mode, path)
            except BaseException:
                os.close(fd)
                raise
        return LocalSource(fd, path, status.st_size)

    def put(self, path: str, source: RangeSource) -> None:
        """Write under a temporary name, sync, rename, sync the folder."""
        place = Path(real(path))
        with local_errors("write", path):
            make_folders(place.parent)
            temporary = place.parent / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}"
            fd = os.open(temporary, _CREATE, 0o600)
            try:
                try:
                    for piece in pieces(source):
                        write_fully(fd, piece)
                    os.fsync(fd)
                finally:
                    os.close(fd)
                temporary.replace(place)  # a link is replaced, not followed; a folder is an error
            except BaseException:
                with suppress(OSError):
                    temporary.unlink()
                raise
            sync_folder(place.parent)

    def take(self, path: str, origin: Path) -> bool:
        """Move a file of ours to `path`, durably and in place of one that is there; False where that takes copying."""
        place = Path(real(path))
        with local_errors("write", path):
            make_folders(place.parent)
            try:
                origin.replace(place)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                return False
            sync_folder(place.parent)
            sync_folder(origin.parent)
        return True

    def put_bytes(self, path: str, data: bytes) -> None:
        """Write as `put` does."""
        self.put(path, BytesSource(data))

    def copy(self, path: str, target: str) -> None:
        """Copy as `put` writes."""
        with self.open(path) as source:
            self.put(target, source)

    def delete(self, path: str) -> None:
        """Remove a file or a link, durably."""
        place = Path(real(path))
        with local_errors("remove", path):
            place.unlink()
            sync_folder(place.parent)

    def require_room(self, path: str, longest: int) -> None:
        """Ask the file system how long names and paths may be."""
        name, whole = len(os.fsencode(Path(path).name)), len(os.fsencode(real(path)))
        folder = Path(path).parent
        with local_errors("look at", path):
            while not os.path.isdir(folder):  # noqa: PTH112 - Path.is_dir raises for names that are too long
                folder = folder.parent
            names, paths = os.pathconf(folder, "PC_NAME_MAX"), os.pathconf(folder, "PC_PATH_MAX")
        if any(len(os.fsencode(part)) > names for part in Path(path).parts[:-1]):
            raise too_long(path, names)
        if name + longest > names:
            raise too_long(path, names - longest)
        if max(whole + longest, whole - name + _TEMPORARY) >= paths:
            raise too_long(path, names)

    def is_one_file(self, path: str, other: str) -> bool:
        """Compare what the names lead to: a folder may be there twice, and a disk may take `a` for `A`."""
        with suppress(OSError):
            return os.path.samestat(os.lstat(real(path)), os.lstat(real(other)))
        return False

    def forget(self, path: str) -> None:
        """Nothing is in between: local files are read past caches."""


class FarGround:
    """Anything else that fsspec opens."""

    def __init__(self, fs: Any) -> None:
        self._fs = fs

    def open(self, path: str) -> FarSource:
        """Open a file, of which only its length is asked now."""
        with far_errors("open", path):
            facts = self._fs.info(path)
            if facts["type"] == "directory":
                raise IsADirectoryError(path)
            size = int(facts["size"])
        return FarSource(self._fs, path, size)

    def put(self, path: str, source: RangeSource) -> None:
        """Write a file that appears when it is closed."""
        fs = innermost(self._fs)
        if "memory" in _protocols(fs):  # its files show while they are written, unless they are written at once
            self.put_bytes(path, b"".join(pieces(source)))
            return
        with far_errors("write", path):
            file = fs.open(path, "wb")
            try:
                for piece in pieces(source):
                    file.write(piece)
            except BaseException:
                with suppress(StorageError, NotFound), far_errors("give up", path):
                    file.discard()  # the first failure is told; what was begun never gets its name
                raise
            file.close()
            self._forget(path)

    def put_bytes(self, path: str, data: bytes) -> None:
        """Write a small file in one request."""
        with far_errors("write", path):
            innermost(self._fs).pipe_file(path, data)
            self._forget(path)

    def copy(self, path: str, target: str) -> None:
        """Have the storage copy a file, where it can."""
        with far_errors("copy", path):
            innermost(self._fs).cp_file(path, target)
            self._forget(target)

    def delete(self, path: str) -> None:
        """Remove a file."""
        with far_errors("remove", path):
            innermost(self._fs).rm_file(path)
            self._forget(path)

    def require_room(self, path: str, longest: int) -> None:
        """Buckets of S3 and Google Cloud Storage limit a key as a whole; of others nothing is known."""
        key = path.partition("/")[2]
        if _BUCKETS.intersection(_protocols(innermost(self._fs))) and len(key.encode()) + longest > _KEY_BYTES:
            raise too_long(path, _KEY_BYTES - longest)

    def is_one_file(self, path: str, other: str) -> bool:
        """Nothing but the path is known of a file."""
        return path == other

    def forget(self, path: str) -> None:
        """Have caches of listings and of content look again."""
        with far_errors("look at", path):
            self._forget(path)

    def _forget(self, path: str) -> None:
        self._fs.invalidate_cache(path)
        for cache in caches_of(self._fs):
            drop(cache, path)


class FarSource:
    """A RangeSource over a file of an fsspec file system: every read is a request of its own."""

    __slots__ = ("_fs", "_path", "_size")

    def __init__(self, fs: Any, path: str, size: int) -> None:
        self._fs, self._path, self._size = fs, path, size

    @property
    def size(self) -> int:
        """Length in bytes when it was opened."""
        return self._size

    @property
    def request_size(self) -> int:
        """How many bytes are worth one request."""
        return FAR_REQUEST

    def readinto_at(self, offset: int, buffer: memoryview | bytearray) -> int:
        """Fill `buffer` from `offset`; the count is short only at the end of the object. Raises StorageError."""
        if offset < 0:
            raise UsageError("an offset counts from 0")
        view = memoryview(buffer).cast("B")
        end = min(self._size, offset + len(view))
        if end <= offset:
            return 0
        with far_errors("read", self._path):
            data = self._fs.cat_file(self._path, start=offset, end=end)
        if len(data) > end - offset:
            raise IntegrityError(f"{self._path!r} gave more bytes than it was asked for")
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Nothing is open between reads."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class BytesSource(FarSource):
    """A RangeSource over bytes."""

    __slots__ = ("_data",)

    def __init__(self, data: bytes) -> None:
        super().__init__(None, "", len(data))
        self._data = data

    def readinto_at(self, offset: int, buffer: memoryview | bytearray) -> int:
        """Fill `buffer` from `offset`."""
        view = memoryview(buffer).cast("B")
        part = self._data[offset : offset + len(view)]
        view[: len(part)] = part
        return len(part)


def pieces(source: RangeSource) -> Iterator[memoryview]:
    """Yield all of a source, piece by piece, in one buffer. Raises StorageError if it ends early."""
    buffer = memoryview(bytearray(min(PIECE, max(1, source.size))))
    done = 0
    while done < source.size:
        count = source.readinto_at(done, buffer[: min(len(buffer), source.size - done)])
        if not count:
            raise StorageError("a file ended while it was being copied", hint="try again")
        yield buffer[:count]
        done += count


def _require_file(mode: int, path: str) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(path)
    if not stat.S_ISREG(mode):
        raise no_file(path)
