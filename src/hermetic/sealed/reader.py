"""ObjectReader: verified bytes of a sealed object, at any offset, straight into the caller's buffer.

Opening checks everything around the payload against the signed record (steps 1 to 9 of spec/sealed-object.md section 8). Every
segment is then fetched into a private buffer, checked against its leaf, and decrypted from that same buffer: a store that gives other
bytes on a second read gains nothing. A failed check wipes the destination, then raises.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Self

from hermetic.errors import FormatError, UsageError
from hermetic.formats.object_metadata import ObjectMetadata, parse_metadata
from hermetic.formats.padding import padded_length
from hermetic.formats.suites import FLOE_HEADER, MIB
from hermetic.sealed._binding import METADATA
from hermetic.sealed._cache import SegmentCache, wipe
from hermetic.sealed._io import ALIGNED_WRITE, check_output, empty, preallocate, start_writing, write_at
from hermetic.sealed._parallel import Claims, share, threads_for
from hermetic.sealed._parts import Parts, read_expected
from hermetic.sealed._segments import Segments, decryptor

if TYPE_CHECKING:
    from hermetic.crypto.secret import Secret
    from hermetic.formats.manifest import ManifestObject
    from hermetic.formats.object_header import ObjectHeader
    from hermetic.stores.base import RangeSource

_CACHE = 4 * MIB  # decrypted segments kept for small reads


class ObjectReader:
    """Reads one object; safe to use from several threads. Closing it closes `source`; if opening fails, `source` stays open.

    `expected` is the object's record in a manifest whose signature the caller has verified. Raises WrongKey if `key` did not seal
    it, IntegrityError or FormatError if anything else is not what was signed, StorageError if the store fails.
    """

    def __init__(self, source: RangeSource, key: Secret, expected: ManifestObject, *, threads: int | None = None) -> None:
        parts = read_expected(source, expected)
        self.header: ObjectHeader = parts.header
        self._source, self._threads = source, threads or threads_for(source.request_size)
        self._segments = Segments(source, parts, key)
        self.metadata: ObjectMetadata = _open_metadata(parts, key)
        self.length: int = self.metadata.length
        size = self._segments.plain_bytes(0, 1)
        self._far = self._unit > MIB
        self._cache = SegmentCache(size, max(_CACHE, 2 * self._unit if self._far else 0))
        self._ahead = -1  # the segment that a reader from the beginning to the end would want next
        self._open = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Wipe what is cached and close the source; closing twice is allowed."""
        if not self._open:
            return
        self._open = False
        self._cache.close()
        self._source.close()

    def readinto_at(self, offset: int, buffer: memoryview | bytearray) -> int:
        """Fill `buffer` with plaintext from `offset`; return the count, short only at the end of the object.

        Raises IntegrityError or FormatError after wiping `buffer`, StorageError, UsageError once closed.
        """
        if offset < 0 or not self._open:
            raise UsageError("reader is closed, or the offset negative")
        view = memoryview(buffer).cast("B")
        view = view[: max(0, min(view.nbytes, self.length - offset))]
        done = False
        try:
            self._read(offset, view)
            done = True
        finally:
            if not done:
                wipe(view)
        return view.nbytes

    def expose_to(self, out_fd: int, *, threads: int | None = None, write_behind: bool = True) -> int:
        """Write the whole plaintext to the empty regular file `out_fd`, all or nothing; return its length.

        Nothing is synced, but with `write_behind` the kernel is asked to begin. Same errors as `readinto_at`.
        """
        check_output(out_fd)
        done = False
        try:
            preallocate(out_fd, self.length)
            work = functools.partial(self._expose, out_fd=out_fd, write_behind=write_behind)
            share(-(-self.length // self._unit), threads or self._threads, work)
            done = True
        finally:
            if not done:
                empty(out_fd)
        return self.length

    @property
    def _unit(self) -> int:
        """Plaintext bytes that one request gets."""
        return self._segments.run * self._segments.step

    def _expose(self, claims: Claims, *, out_fd: int, write_behind: bool) -> None:
        segments, size = self._segments, self._unit
        plain = memoryview(bytearray(min(size, segments.plain_length)))
        for unit in claims:
            offset, first = unit * size, unit * segments.run
            count = min(segments.open(first, segments.from_(first), plain), self.length - offset)
            write_at(out_fd, plain[:count], offset, at_once=ALIGNED_WRITE)
            if write_behind:
                start_writing(out_fd, offset, offset + count)
        wipe(plain)

    def _read(self, offset: int, view: memoryview) -> None:
        """Split into a partial segment, whole segments, and a partial segment again."""
        step, done = self._segments.step, 0
        while done < view.nbytes:
            segment, inside = divmod(offset + done, step)
            rest = view[done:]
            whole = self._whole(segment, rest.nbytes) if inside == 0 and (rest.nbytes >= self._unit or not self._far) else 0
            if whole:
                count = self._segments.plain_bytes(segment, whole)
                self._read_whole(segment, whole, rest[:count])
            else:
                count = min(rest.nbytes, step - inside)
                self._read_part(segment, inside, rest[:count], needed=-(-(inside + rest.nbytes) // step))
            done += count

    def _whole(self, first: int, wanted: int) -> int:
        """Return how many segments from `first` on fit into `wanted` bytes; the last one of an object may be shorter than others."""
        segments = self._segments
        if first * segments.step + wanted == segments.plain_length:
            return segments.last + 1 - first
        return wanted // segments.step

    def _read_whole(self, first: int, count: int, view: memoryview) -> None:
        run, step = self._segments.run, self._segments.step

        def work(claims: Claims) -> None:
            for number in claims:
                here = number * run
                self._segments.open(first + here, min(run, count - here), view[here * step :])

        share(-(-count // run), self._threads, work)
        self._ahead = first + count

    def _read_part(self, segment: int, inside: int, view: memoryview, *, needed: int) -> None:
        """Copy out of a segment that is kept, or decrypt it to keep it.

        Of a far store the `needed` segments that this read will come to are asked for with it, or a whole request's worth if it goes
        on where the last one ended.
        """
        if self._cache.copy(segment, inside, view):
            return
        segments = self._segments
        count = min(segments.from_(segment), segments.run if segment == self._ahead else needed) if self._far else 1
        self._ahead = segment + count
        if count > 1:
            self._read_ahead(segment, count)
        if count == 1 or not self._cache.copy(segment, inside, view):
            plain = self._cache.memory()
            segments.open(segment, 1, plain)
            view[:] = plain[inside : inside + view.nbytes]
            self._cache.keep(segment, plain)

    def _read_ahead(self, first: int, count: int) -> None:
        together = memoryview(bytearray(self._segments.plain_bytes(first, count)))
        step = self._segments.step
        self._segments.open(first, count, together)
        for index in range(count):
            plain, part = self._cache.memory(), together[index * step : (index + 1) * step]
            plain[: part.nbytes] = part
            self._cache.keep(first + index, plain)
        wipe(together)


def _open_metadata(parts: Parts, key: Secret) -> ObjectMetadata:
    # 9. The metadata opens, and the payload has exactly the length that its true length is padded to.
    metadata = parse_metadata(decryptor(parts, key, METADATA, parts.metadata[:FLOE_HEADER]).message(parts.metadata))
    suite, padding = parts.layout.suite, parts.header.padding
    if padded_length(padding, metadata.length, suite.plain_segment) != parts.layout.plain_length:
        raise FormatError("payload is not as long as its metadata says")
    return metadata
