"""Writing into an open file from several threads, in the way that costs least, with errors turned into ours.

output = DescriptorOutput(fd)
output.reserve(length)                      # or None; refuses anything but an empty regular file
output.write_at(view, offset)               # any thread, any order
output.begin_writeback(start, end)          # so that a later sync is short
output.discard()                            # after a failure
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import stat
from typing import TYPE_CHECKING

from hermetic.errors import UsageError
from hermetic.stores.base import translated, write_fully

if TYPE_CHECKING:
    from collections.abc import Callable

BEHIND = 8 * 1024 * 1024  # bytes after which writing to the disk is started
_SYNC_FILE_RANGE_WRITE = 2
_NO_PREALLOCATION = {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, errno.ENODEV}


class DescriptorOutput:
    """An Output over a descriptor, which stays the caller's. `name` is only for messages."""

    __slots__ = ("_fd", "_name")

    def __init__(self, fd: int, name: str = "the output") -> None:
        self._fd, self._name = fd, name

    @property
    def fd(self) -> int:
        """The descriptor."""
        return self._fd

    def reserve(self, length: int | None) -> None:
        """Check that the file is regular and empty, and allocate `length` bytes if known and possible. Raises as Output says."""
        with translated("write", self._name):
            status = os.fstat(self.fd)
            if not stat.S_ISREG(status.st_mode) or status.st_size:
                raise UsageError("the output is not an empty regular file", hint="give a new file")
            if length:
                try:
                    preallocate(self.fd, length)
                except OSError:
                    os.ftruncate(self.fd, 0)
                    raise

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append all of `data` at the descriptor's position. Raises StorageError."""
        with translated("write", self._name):
            write_fully(self.fd, memoryview(data).cast("B"))

    def write_at(self, view: memoryview, offset: int) -> None:
        """Write all of `view` at `offset`. Raises StorageError."""
        with translated("write", self._name):
            pwrite_fully(self.fd, view, offset)

    def begin_writeback(self, start: int, end: int) -> None:
        """Ask the kernel to begin."""
        start_writing(self.fd, start, end)

    def discard(self) -> None:
        """Cut the file to nothing. Raises StorageError."""
        with translated("empty", self._name):
            os.ftruncate(self.fd, 0)


def pwrite_fully(fd: int, view: memoryview, offset: int, *, at_once: int = 1 << 30) -> None:
    """Write all of `view` at `offset`, at most `at_once` bytes a call. Raises OSError."""
    while view:
        count = os.pwrite(fd, view[:at_once], offset)
        view, offset = view[count:], offset + count


def preallocate(fd: int, length: int) -> None:
    """Reserve the space, so that a full disk shows now and writing is faster; not every file system can. Raises OSError."""
    try:
        os.posix_fallocate(fd, 0, length)
    except OSError as error:
        if error.errno not in _NO_PREALLOCATION:
            raise


def start_writing(fd: int, start: int, end: int) -> None:
    """Ask the kernel to begin bringing each whole 8 MiB that ends in `start`..`end` to the disk, so that a later sync is short.

    It promises nothing: without the call, or where there is none, the sync does all the work.
    """
    last = end // BEHIND * BEHIND
    function = _sync_file_range() if last > start else None
    if function is not None:
        function(fd, last - BEHIND, BEHIND, _SYNC_FILE_RANGE_WRITE)


@functools.cache
def _sync_file_range() -> Callable[[int, int, int, int], int] | None:
    function = getattr(ctypes.CDLL(None), "sync_file_range", None)
    if function is not None:
        function.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return function
