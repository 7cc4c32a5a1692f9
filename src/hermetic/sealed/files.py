"""seal_file: seal a regular file in parallel, and refuse one that changes while it is sealed."""

from __future__ import annotations

import os
import stat
import time
from typing import TYPE_CHECKING

from hermetic.errors import Conflict, UsageError
from hermetic.formats.padding import padded_length
from hermetic.formats.trailer import Layout
from hermetic.sealed._io import read_at, storage_errors
from hermetic.sealed._parallel import Claims, share
from hermetic.sealed._sealing import UNIT, SealedObject, Sealing

if TYPE_CHECKING:
    from hermetic.crypto.secret import Secret
    from hermetic.formats.object_header import ObjectHeader
    from hermetic.formats.object_metadata import ObjectMetadata
    from hermetic.stores.base import Output

_SETTLE_LIMIT_NS = 50_000_000


def seal_file(
    source_fd: int,
    output: Output,
    header: ObjectHeader,
    key: Secret,
    *,
    metadata: ObjectMetadata,
    threads: int | None = None,
    content_algorithm: str | None = None,
    write_behind: bool = True,
) -> SealedObject:
    """Seal the whole regular file `source_fd` into `output`, which nothing was written to.

    The file's position neither matters nor moves. Nothing is committed, but with `write_behind` the kernel is asked to begin, so
    that the commit's sync is short. With `content_algorithm` the result has a content digest.

    Raises Conflict if the source changed meanwhile (length, modification or change time, or bytes past the length it had),
    UsageError if it is not a regular file, StorageError. After any error what was written is discarded.
    """
    before = _settled(source_fd)
    sealing = Sealing(output, header, key, content_algorithm=content_algorithm, write_behind=write_behind, random=None)
    raw = metadata.with_length(before.st_size).encode()
    plain = padded_length(header.padding, before.st_size, sealing.suite.plain_segment)
    layout = Layout.of(sealing.suite, prefix=len(sealing.prefix), plain_length=plain, metadata_length=len(raw))
    sealing.begin(layout.file_length)
    with sealing.giving_up():
        _seal_units(sealing, source_fd, plain, before.st_size, threads=threads)
        sealed = sealing.finish(raw, plain_length=plain, content_length=before.st_size)
        _check_unchanged(source_fd, before)
    return sealed


def _seal_units(sealing: Sealing, source_fd: int, plain: int, content: int, *, threads: int | None) -> None:
    sealing.reserve(plain, content)
    units = max(1, -(-plain // UNIT))

    def work(claims: Claims) -> None:
        buffer, scratch = memoryview(bytearray(UNIT)), sealing.scratch()
        with sealing.giving_up():
            for unit in claims:
                view = buffer[: min(UNIT, plain - unit * UNIT)]
                count = _fill(source_fd, view, unit * UNIT, content)
                sealing.seal_unit(unit, view, scratch, last=unit == units - 1, content=count)
        buffer[:] = bytes(UNIT)

    share(units, threads, work)


def _fill(fd: int, view: memoryview, offset: int, content: int) -> int:
    """Fill `view` with content, then zeros of padding; return how many bytes are content."""
    wanted = max(0, min(view.nbytes, content - offset))
    if read_at(fd, view[:wanted], offset) != wanted:
        raise _changed()
    if wanted < view.nbytes:
        view[wanted:] = bytes(view.nbytes - wanted)
    return wanted


def _settled(fd: int) -> os.stat_result:
    """Return the status of a regular file, once the file system's clock has moved past its last change.

    Times come from a clock that ticks every few milliseconds: a change in the same tick as the one before would not show.
    """
    deadline = time.monotonic_ns() + _SETTLE_LIMIT_NS
    while True:
        with storage_errors("look at the input"):
            status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise UsageError("the input is not a regular file", hint="use a stream for pipes and devices")
        if _now_of_files() > status.st_ctime_ns or time.monotonic_ns() > deadline:
            return status
        time.sleep(0.001)


def _now_of_files() -> int:
    return time.clock_gettime_ns(getattr(time, "CLOCK_REALTIME_COARSE", time.CLOCK_REALTIME))


def _check_unchanged(fd: int, before: os.stat_result) -> None:
    with storage_errors("look at the input"):
        after = os.fstat(fd)
    facts = ("st_size", "st_mtime_ns", "st_ctime_ns")
    if any(getattr(after, fact) != getattr(before, fact) for fact in facts):
        raise _changed()
    if read_at(fd, memoryview(bytearray(1)), before.st_size):
        raise _changed()


def _changed() -> Conflict:
    return Conflict("the input changed while it was being sealed", hint="stop whatever writes to it, then seal it again")
