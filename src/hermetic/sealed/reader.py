"""ObjectReader: verified bytes of a sealed object, at any offset, straight into the caller's buffer.

Opening checks everything around the payload against the signed record (steps 1 to 9 of spec/sealed-object.md section 8). Every
segment is then fetched into a private buffer, checked against its leaf, and decrypted from that same buffer: a store that gives other
bytes on a second read gains nothing. A failed check wipes the destination, then raises.
"""

from __future__ import annotations

import functools
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Self

from hermetic.crypto.digests import digest
from hermetic.crypto.floe import FloeDecryptor
from hermetic.errors import FormatError, UsageError
from hermetic.formats.object_metadata import ObjectMetadata, parse_metadata
from hermetic.formats.padding import padded_length
from hermetic.formats.suites import FLOE_HEADER, MIB
from hermetic.sealed._binding import METADATA, PAYLOAD, associated_data, parameters
from hermetic.sealed._io import ALIGNED_WRITE, check_output, empty, fetch_into, preallocate, start_writing, write_at
from hermetic.sealed._parallel import Claims, share
from hermetic.sealed._parts import Parts, read_expected

if TYPE_CHECKING:
    from hermetic.crypto.secret import Secret
    from hermetic.formats.manifest import ManifestObject
    from hermetic.formats.object_header import ObjectHeader
    from hermetic.stores.base import RangeSource

_UNIT = MIB  # plaintext handled at once by a thread
_CACHE = 4 * MIB  # decrypted segments kept for small reads
_ZEROS = bytes(MIB)


def _wipe(view: memoryview) -> None:
    for start in range(0, view.nbytes, MIB):
        part = view[start : start + MIB]
        part[:] = _ZEROS[: part.nbytes]


class ObjectReader:
    """Reads one object; safe to use from several threads. Closing it closes `source`; if opening fails, `source` stays open.

    `expected` is the object's record in a manifest whose signature the caller has verified. Raises WrongKey if `key` did not seal
    it, IntegrityError or FormatError if anything else is not what was signed, StorageError if the store fails.
    """

    def __init__(self, source: RangeSource, key: Secret, expected: ManifestObject, *, threads: int = 2) -> None:
        parts = read_expected(source, expected)
        self.header: ObjectHeader = parts.header
        self._source, self._parts, self._threads = source, parts, threads
        self._suite, self._plain_length = parts.layout.suite, parts.layout.plain_length
        self._last = parts.layout.segments - 1
        self._body = parts.layout.prefix + FLOE_HEADER
        self._payload = _decryptor(parts, key, PAYLOAD, parts.floe_header)
        self.metadata: ObjectMetadata = _open_metadata(parts, key)
        self.length: int = self.metadata.length
        self._run = _UNIT // self._suite.plain_segment  # segments fetched at once
        self._scratch: list[memoryview] = []
        self._cache: OrderedDict[int, memoryview] = OrderedDict()
        self._lock = threading.Lock()
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
        with self._lock:
            for segment in self._cache.values():
                _wipe(segment)
            self._cache.clear()
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
                _wipe(view)
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
            share(-(-self.length // _UNIT), threads or self._threads, work)
            done = True
        finally:
            if not done:
                empty(out_fd)
        return self.length

    def _expose(self, claims: Claims, *, out_fd: int, write_behind: bool) -> None:
        plain = memoryview(bytearray(_UNIT))
        for unit in claims:
            offset = unit * _UNIT
            count = self._open_run(unit * self._run, self._segments_from(unit * self._run), plain)
            count = min(count, self.length - offset)
            write_at(out_fd, plain[:count], offset, at_once=ALIGNED_WRITE)
            if write_behind:
                start_writing(out_fd, offset, offset + count)
        _wipe(plain)

    def _segments_from(self, first: int) -> int:
        return min(self._run, self._last + 1 - first)

    def _read(self, offset: int, view: memoryview) -> None:
        """Split into a partial segment, whole segments, and a partial segment again."""
        step, done = self._suite.plain_segment, 0
        while done < view.nbytes:
            segment, inside = divmod(offset + done, step)
            whole = (view.nbytes - done) // step if inside == 0 else 0
            if whole:
                self._read_whole(segment, whole, view[done : done + whole * step])
                done += whole * step
            else:
                count = min(view.nbytes - done, step - inside)
                self._read_part(segment, inside, view[done : done + count])
                done += count

    def _read_whole(self, first: int, count: int, view: memoryview) -> None:
        run, step = self._run, self._suite.plain_segment

        def work(claims: Claims) -> None:
            for number in claims:
                here = number * run
                self._open_run(first + here, min(run, count - here), view[here * step :])

        share(-(-count // run), self._threads, work)

    def _read_part(self, segment: int, inside: int, view: memoryview) -> None:
        with self._lock:
            plain = self._cache.get(segment)
            if plain is not None:
                self._cache.move_to_end(segment)
                view[:] = plain[inside : inside + view.nbytes]
                return
        plain = memoryview(bytearray(self._suite.plain_segment))
        self._open_run(segment, 1, plain)
        view[:] = plain[inside : inside + view.nbytes]
        self._keep(segment, plain)

    def _keep(self, segment: int, plain: memoryview) -> None:
        with self._lock:
            if not self._open:  # closed meanwhile: nothing is kept
                _wipe(plain)
                return
            self._cache[segment] = plain
            while len(self._cache) > _CACHE // self._suite.plain_segment:
                _, oldest = self._cache.popitem(last=False)
                _wipe(oldest)

    def _open_run(self, first: int, count: int, out: memoryview) -> int:
        """Fetch, check and decrypt `count` neighbouring segments into `out`; return the plaintext bytes."""
        stored, scratch = self._suite.stored_segment, self._borrow()
        start = first * stored
        length = min(count * stored, self._parts.layout.payload - FLOE_HEADER - start)
        fetch_into(self._source, self._body + start, scratch[:length])
        done = 0
        for index in range(count):
            segment = scratch[index * stored : min((index + 1) * stored, length)]
            self._parts.leaves.check(first + index, digest(self._suite.digest, segment))
            is_final = first + index == self._last
            done += self._payload.decrypt_into(first + index, segment, out[done:], is_final=is_final)
        self._scratch.append(scratch)
        return done

    def _borrow(self) -> memoryview:
        try:
            return self._scratch.pop()
        except IndexError:
            return memoryview(bytearray(self._run * self._suite.stored_segment))


def _decryptor(parts: Parts, key: Secret, label: bytes, floe_header: bytes) -> FloeDecryptor:
    # 8. The key is the one that sealed it: the FLOE header commits to key and prefix.
    return FloeDecryptor(key, associated_data(label, parts.prefix), parameters(parts.layout.suite), floe_header)


def _open_metadata(parts: Parts, key: Secret) -> ObjectMetadata:
    # 9. The metadata opens, and the payload has exactly the length that its true length is padded to.
    decryptor = _decryptor(parts, key, METADATA, parts.metadata[:FLOE_HEADER])
    metadata = parse_metadata(decryptor.message(parts.metadata))
    suite, padding = parts.layout.suite, parts.header.padding
    if padded_length(padding, metadata.length, suite.plain_segment) != parts.layout.plain_length:
        raise FormatError("payload is not as long as its metadata says")
    return metadata
