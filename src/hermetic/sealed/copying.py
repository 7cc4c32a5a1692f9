"""copy_verified: a sealed object from one store into another, byte for byte, each checked before it is written; without a key."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from hermetic.crypto.digests import digest
from hermetic.errors import StorageError
from hermetic.formats.suites import FLOE_HEADER, MIB
from hermetic.sealed._io import fetch_into
from hermetic.sealed._parts import Parts, read_expected

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermetic.formats.manifest import ManifestObject
    from hermetic.stores.base import Output, RangeSource


def copy_verified(source: RangeSource, expected: ManifestObject, output: Output) -> int:
    """Copy the object that a signed record names into `output`, which nothing was written to; return its length.

    What is written is what was checked, from the same buffer: a source that answers otherwise a second time gains nothing. Raises
    FormatError or IntegrityError for the first byte that is not what was signed, StorageError; then the output is discarded.
    """
    parts = read_expected(source, expected)
    output.reserve(parts.layout.file_length)
    try:
        output.write_at(memoryview(parts.prefix + parts.floe_header), 0)
        for offset, view in _payload(source, parts):
            output.write_at(view, offset)
            output.begin_writeback(offset, offset + view.nbytes)
        tail = parts.metadata + parts.leaves.encode() + parts.layout.encode(parts.root)
        output.write_at(memoryview(tail), parts.layout.metadata_offset)
    except BaseException:
        with suppress(StorageError):  # what failed first is what counts
            output.discard()
        raise
    return parts.layout.file_length


def _payload(source: RangeSource, parts: Parts) -> Iterator[tuple[int, memoryview]]:
    """Yield (offset in the object, checked bytes) of the payload's segments, in order; the buffer is used again."""
    suite = parts.layout.suite
    stored, start = suite.stored_segment, parts.layout.prefix + FLOE_HEADER
    many = max(1, source.request_size // MIB) * (MIB // suite.plain_segment)
    buffer = memoryview(bytearray(many * stored))
    end = parts.layout.metadata_offset
    for first in range(0, parts.layout.segments, many):
        offset = start + first * stored
        view = buffer[: min(buffer.nbytes, end - offset)]
        fetch_into(source, offset, view)
        for index, at in enumerate(range(0, view.nbytes, stored)):
            parts.leaves.check(first + index, digest(suite.digest, view[at : at + stored]))
        yield offset, view
