"""Plaintext that leaves through a pipe, a socket or a terminal (`cat`), and never into a file."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from hermetic.errors import StorageError, UsageError
from hermetic.formats.suites import MIB
from hermetic.stores.base import hint_for, write_fully

if TYPE_CHECKING:
    from hermetic.assets.releases import OpenVersion

PIECE = 4 * MIB


def refuse_file(fd: int) -> None:
    """Raise UsageError if `fd` leads to a file or a disk."""
    mode = os.fstat(fd).st_mode
    if stat.S_ISREG(mode) or stat.S_ISBLK(mode):
        raise UsageError("the output is a file: that would leave plaintext on disk", hint="use `hermetic expose`, which is on record")


def cat(version: OpenVersion, member: str | None, out_fd: int) -> int:
    """Write a member to a pipe, socket or terminal; return the bytes written.

    What was written before an error is a verified prefix. Raises UsageError for a file or disk as output, IntegrityError, LeaseEnded,
    StorageError, BrokenPipeError when nobody reads any more.
    """
    refuse_file(out_fd)
    with version.reader(version.member(member)) as reader:
        buffer = memoryview(bytearray(min(PIECE, max(1, reader.length))))
        done = 0
        while done < reader.length:
            version.leased.guard()
            count = reader.readinto_at(done, buffer)
            _write_out(out_fd, buffer[:count])
            done += count
        return done


def _write_out(fd: int, view: memoryview) -> None:
    try:
        write_fully(fd, view)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise StorageError(f"cannot write the output: {(error.strerror or str(error)).lower()}", hint=hint_for(error)) from error
