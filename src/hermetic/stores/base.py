"""What a store promises, the rule for keys, and how operating-system errors become ours."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, Self

from hermetic.errors import Conflict, InvalidName, NotFound, StorageError, UsageError
from hermetic.ids import check_member

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

TEMPORARY_PREFIX = ".hermetic-tmp-"  # no key has a segment that starts like this
REQUEST = 1024 * 1024  # bytes worth one request where a request costs next to nothing
SEGMENT_LIMIT = 255  # UTF-8 bytes of one segment of a key, what common file systems take

_HINT = "check the disk, its mount and the permissions"
_HINTS = {
    errno.ENOSPC: "free some space and try again; nothing was half-written",
    errno.EDQUOT: "the quota is used up; nothing was half-written",
    errno.EROFS: "the file system is read-only; nothing was written",
    errno.EACCES: "check who owns the file and its folder, and their modes",
    errno.EPERM: "check who owns the file and its folder, and their modes",
    errno.EIO: "the device reported an error; check the disk before trying again",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
}


def hint_for(error: OSError) -> str:
    """Return what a person should do about a failure of the file system."""
    return _HINTS.get(error.errno or 0, _HINT)


class Output(Protocol):
    """Where the bytes of one object go, each once.

    A store may send them off while they come, so they are written from the beginning to the end. Several threads may overtake one
    another by the pieces that they took in order; `write_at` may make one that is far ahead wait for the others. Whoever gives up,
    calls `discard`, which wakes those that wait.
    """

    def reserve(self, length: int | None) -> None:
        """Begin: say how long the object will be, None if that is not known. Raises UsageError if it has begun, StorageError."""

    def write_at(self, view: memoryview, offset: int) -> None:
        """Take all of `view`, which the caller may use again afterwards. Raises StorageError, UsageError after `discard`."""

    def begin_writeback(self, start: int, end: int) -> None:
        """Hear that everything in `start`..`end` was written and may be brought to the disk; promises nothing."""

    def discard(self) -> None:
        """Forget what was written, after a failure; from any thread, as often as wanted. Raises StorageError."""


class StagedFile(Output, Protocol):
    """An object being written: a context manager around what has no final name yet. `write` is for one thread."""

    @property
    def key(self) -> str:
        """The key that `commit` will give it."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append all of `data`; an object is written either so or by `write_at`. Raises StorageError."""

    def commit(self) -> None:
        """Sync the object and give it its final name, durably, without replacing anything.

        Raises Conflict if the name is taken, StorageError if anything fails; then no final name is left.
        """

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...


class RangeSource(Protocol):
    """An object open for reading at any offset, from any thread."""

    @property
    def size(self) -> int:
        """Length in bytes when it was opened."""

    @property
    def request_size(self) -> int:
        """How many bytes are worth one request: whoever needs more asks for pieces of about this size, in parallel.

        1 MiB where a request is a system call; 8 MiB where it is a round trip.
        """

    def readinto_at(self, offset: int, buffer: memoryview | bytearray) -> int:
        """Fill `buffer` from `offset`; the count is short only at the end of the object. Raises StorageError."""

    def close(self) -> None:
        """Give up what was open; closing twice is allowed."""

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...


class Store(Protocol):
    """A place for objects. Keys are checked by `check_key`; a bad one raises InvalidName in every method."""

    def stage(self, key: str) -> StagedFile:
        """Begin a new object; see StagedFile.

        Entering the block, or writing where looking costs a request, raises Conflict if the key is taken already; StorageError.
        """

    def open(self, key: str) -> RangeSource:
        """Open an object. Raises NotFound, StorageError, and IntegrityError if a link or device stands in its place."""

    def read_bytes(self, key: str, *, limit: int) -> bytes:
        """Return a whole small object. Raises NotFound, and FormatError above `limit` bytes."""

    def put_bytes(self, key: str, data: bytes, *, replace: bool = False) -> None:
        """Write a small object, durable on return. Raises Conflict if the key is taken and `replace` is not set."""

    def exists(self, key: str) -> bool:
        """Say whether an object, complete and with its final name, is there."""

    def list(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        """Yield (key, size in bytes) of every object whose key starts with the string `prefix`, in order of key.

        Raises InvalidName for a prefix that no key can have, IntegrityError for one that leads through a link.
        """

    def delete(self, key: str) -> None:
        """Remove an object, durable on return. Raises NotFound."""

    def sweep(self, older_than_ms: int, now_ms: int) -> int:
        """Remove temporary files that no living process writes and that were last written before `now_ms - older_than_ms`.

        Returns how many were removed.
        """


def check_key(key: str) -> str:
    """Return `key` if it is a relative POSIX path that every store takes, else raise InvalidName."""
    if not isinstance(key, str):
        raise InvalidName("a store key is text")
    check_member(key)
    for part in key.split("/"):
        if part.startswith(TEMPORARY_PREFIX) or len(part.encode()) > SEGMENT_LIMIT:
            raise InvalidName(f"{part[:40]!r} cannot be part of a store key", hint=f"at most {SEGMENT_LIMIT} bytes a segment")
    return key


def check_prefix(prefix: str) -> str:
    """Return `prefix` if keys can start with it, else raise InvalidName: its folders, up to the last '/', must be a key."""
    folder, slash, _ = prefix.rpartition("/")
    if slash:
        check_key(folder)
    return prefix


def read_fully(fd: int, offset: int, view: memoryview) -> int:
    """Fill `view` from `offset` of the file, repeating short reads; the count is short only at its end. Raises OSError."""
    if offset < 0:
        raise UsageError("an offset counts from 0")
    done = 0
    while done < len(view):
        count = os.preadv(fd, [view[done:] if done else view], offset + done)
        if not count:
            break
        done += count
    return done


def write_fully(fd: int, view: memoryview) -> None:
    """Append all of `view` at the descriptor's position. Raises OSError."""
    while view:
        view = view[os.write(fd, view) :]


@contextmanager
def translated(action: str, key: str) -> Iterator[None]:
    """Turn an OSError inside the block into NotFound, Conflict or StorageError that names `action` and `key`."""
    try:
        yield
    except FileNotFoundError as error:
        raise NotFound(f"cannot {action} {key!r}: not in the store") from error
    except FileExistsError as error:
        raise Conflict(f"cannot {action} {key!r}: it exists already") from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise StorageError(f"cannot {action} {key!r}: {reason}", hint=hint_for(error)) from error
