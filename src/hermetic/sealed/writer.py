"""ObjectWriter: seal a stream whose length is known only at its end, in bounded memory.

The writer holds back at least the last byte it was given: only `finish` knows which segment is the final one.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from hermetic.errors import StorageError, UsageError
from hermetic.formats.padding import padded_length
from hermetic.sealed._parallel import Claims, share
from hermetic.sealed._sealing import UNIT, SealedObject, Sealing

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer

    from hermetic.crypto.secret import Secret
    from hermetic.formats.object_header import ObjectHeader
    from hermetic.formats.object_metadata import ObjectMetadata
    from hermetic.stores.base import Output

_ZEROS = bytes(64 * 1024)


class ObjectWriter:
    """Writes one sealed object to `output`, which nothing was written to; for one caller at a time.

    Nothing is committed here: that is for the store that lent the output. After any error the object is given up, what was
    written discarded, and a retry needs a new object id.
    """

    def __init__(
        self,
        output: Output,
        header: ObjectHeader,
        key: Secret,
        *,
        threads: int | None = None,
        content_algorithm: str | None = None,
        deterministic_randomness_for_vectors: Callable[[int], bytes] | None = None,
    ) -> None:
        self._sealing = Sealing(output, header, key, content_algorithm=content_algorithm, random=deterministic_randomness_for_vectors)
        self._sealing.begin(None)
        self._threads = threads
        self._held = memoryview(bytearray(UNIT))
        self._filled = 0  # bytes in _held
        self._units = 0  # sealed and written
        self._content = 0  # bytes of content given so far
        self._scratch = self._sealing.scratch()
        self._open = True

    @property
    def plaintext_length(self) -> int:
        """Bytes written so far."""
        return self._content

    def write(self, data: Buffer) -> int:
        """Seal more bytes; return their number. Raises StorageError, UsageError over 2^24 segments."""
        view = memoryview(data).cast("B")
        with self._giving_up_on_error():
            self._content += view.nbytes
            self._append(view)
        return view.nbytes

    def finish(self, metadata: ObjectMetadata) -> SealedObject:
        """Pad, seal the rest and everything around it. `metadata.length` is filled in. The writer is closed afterwards."""
        header, content = self._sealing.header, self._content
        with self._giving_up_on_error():
            raw = metadata.with_length(content).encode()
            target = padded_length(header.padding, content, header.suite.plain_segment)
            self._pad(target - content)
            self._seal_held(last=True)
            sealed = self._sealing.finish(raw, plain_length=target, content_length=content)
        self._close()
        return sealed

    def abort(self) -> None:
        """Give the object up: wipe what was held back, discard what was written. Does nothing after `finish`."""
        if self._open:
            self._close()
            self._sealing.output.discard()

    def _giving_up_on_error(self) -> _GiveUp:
        if not self._open:
            raise UsageError("this writer is finished or failed", hint="a retry is a new object with a new id")
        return _GiveUp(self)

    def _close(self) -> None:
        self._open = False
        self._held[:] = bytes(UNIT)

    def _append(self, view: memoryview) -> None:
        while view:
            if self._filled == UNIT:
                self._seal_held(last=False)
            if self._filled == 0 and view.nbytes > UNIT:
                view = self._seal_directly(view)
                continue
            count = min(view.nbytes, UNIT - self._filled)
            self._held[self._filled : self._filled + count] = view[:count]
            self._filled += count
            view = view[count:]

    def _seal_directly(self, view: memoryview) -> memoryview:
        """Seal whole units from the caller's own buffer, and return the rest, which is never empty."""
        count, first = (view.nbytes - 1) // UNIT, self._units
        self._sealing.reserve((first + count) * UNIT, self._content)

        def work(claims: Claims) -> None:
            scratch = self._sealing.scratch()
            with self._sealing.giving_up():
                for unit in claims:
                    part = view[unit * UNIT : (unit + 1) * UNIT]
                    self._sealing.seal_unit(first + unit, part, scratch, last=False, content=self._content_of(first + unit))

        share(count, self._threads, work)
        self._units += count
        return view[count * UNIT :]

    def _seal_held(self, *, last: bool) -> None:
        content = self._content_of(self._units)
        self._sealing.seal_unit(self._units, self._held[: self._filled], self._scratch, last=last, content=content)
        self._units += 1
        self._filled = 0

    def _content_of(self, unit: int) -> int:
        return max(0, min(UNIT, self._content - unit * UNIT))

    def _pad(self, count: int) -> None:
        while count > 0:
            part = min(count, len(_ZEROS))
            self._append(memoryview(_ZEROS)[:part])
            count -= part


class _GiveUp:
    """On any error inside the block, give the object up."""

    def __init__(self, writer: ObjectWriter) -> None:
        self._writer = writer

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            with suppress(StorageError):  # what failed first is what counts
                self._writer.abort()
