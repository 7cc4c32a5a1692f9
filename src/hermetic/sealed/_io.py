"""Whole reads and writes at an offset, with operating-system errors turned into StorageError."""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hermetic.errors import IntegrityError, StorageError, UsageError
from hermetic.stores import output
from hermetic.stores.output import start_writing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermetic.stores.base import RangeSource

__all__ = [
    "ALIGNED_WRITE",
    "check_output",
    "empty",
    "fetch",
    "fetch_into",
    "preallocate",
    "read_at",
    "start_writing",
    "storage_errors",
    "write_at",
]

ALIGNED_WRITE = 256 * 1024  # aligned writes of a megabyte take megabyte pages of the cache, which virtual machines are slow to give


@contextmanager
def storage_errors(action: str) -> Iterator[None]:
    """Turn an OSError inside the block into a StorageError that names `action`."""
    try:
        yield
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise StorageError(f"cannot {action}: {reason}", hint="nothing was half-written; see to it and try again") from error


def check_output(fd: int) -> None:
    """Raise UsageError unless `fd` is an empty regular file."""
    with storage_errors("look at the output"):
        status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode) or status.st_size:
        raise UsageError("the output is not an empty regular file", hint="give a new file")


def write_at(fd: int, view: memoryview, offset: int, *, at_once: int = 1 << 30) -> None:
    """Write all of `view` at `offset`, at most `at_once` bytes a call. Raises StorageError."""
    with storage_errors("write the output"):
        output.pwrite_fully(fd, view, offset, at_once=at_once)


def read_at(fd: int, view: memoryview, offset: int) -> int:
    """Fill `view` from `offset`; the count is short only at the end of the file. Raises StorageError."""
    done = 0
    with storage_errors("read the input"):
        while done < view.nbytes:
            count = os.preadv(fd, [view[done:]], offset + done)
            if count == 0:
                break
            done += count
    return done


def fetch_into(source: RangeSource, offset: int, view: memoryview) -> None:
    """Fill all of `view` from `source`. Raises StorageError, and IntegrityError if the object ends too early."""
    done = 0
    with storage_errors("read the sealed object"):
        while done < view.nbytes:
            count = source.readinto_at(offset + done, view[done:])
            if count <= 0:
                raise IntegrityError("sealed object ended while it was being read", hint="it was cut or replaced; restore it")
            done += count


def fetch(source: RangeSource, offset: int, length: int) -> bytes:
    """Return `length` bytes from `offset`; same errors as `fetch_into`."""
    buffer = bytearray(length)
    fetch_into(source, offset, memoryview(buffer))
    return bytes(buffer)


def preallocate(fd: int, length: int) -> None:
    """Reserve the space, so that a full disk shows now and writing is faster; not every file system can. Raises StorageError."""
    if length:
        with storage_errors("reserve space for the output"):
            output.preallocate(fd, length)


def empty(fd: int) -> None:
    """Cut the output to nothing, after a failure."""
    with storage_errors("empty the output"):
        os.ftruncate(fd, 0)
