"""Files that hermetic:// hands out for writing.

`close` publishes (or hands over to the run or transaction), with two exceptions, since most libraries close what they were writing
also when they fail: closing while a new exception is on its way gives the file up, with a warning (`NotPublished`: the exception may
have nothing to do with the file), and so does garbage collection of a file that nobody closed.
"""

from __future__ import annotations

import io
import re
import sys
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from hermetic.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from typing_extensions import Buffer

# How files begin whose last bytes are written once all is there, and those bytes. Text such as `PARENT_ID,…` begins otherwise: the
# first field of Thrift, a length below 64 KiB, and padding hold bytes that no text has.
_BEGIN = re.compile(rb"(?P<parquet>PAR1\x15)|(?P<encrypted>PARE..\0\0)|(?P<arrow>ARROW1\0\0)", re.DOTALL)
_ENDS = {"parquet": b"PAR1", "encrypted": b"PARE", "arrow": b"ARROW1"}
_HEAD, _TAIL = 8, 6  # bytes


class NotPublished(UserWarning):
    """A file was given up, since it was closed while an exception was being handled that was not there when it was opened."""

    def __init__(self, path: str, error: BaseException) -> None:
        super().__init__(f"{path} was closed while {type(error).__name__} was being handled: nothing was published")


class Sink(Protocol):
    """Where the bytes of one file go."""

    @property
    def length(self) -> int:
        """Bytes written so far."""

    def write(self, data: Buffer, /) -> int:
        """Take all of `data`."""

    def finish(self) -> object:
        """Make the file count."""

    def abort(self) -> None:
        """Give the file up."""


class WritingFile(io.RawIOBase):
    """A writable, not seekable binary file over a sink. `path` is what was opened; `done` is called once, with whether it counts."""

    def __init__(self, path: str, sink: Sink, done: Callable[[bool], object] | None = None) -> None:
        super().__init__()
        self.path = path
        self._sink, self._done = sink, done
        self._head, self._tail = b"", b""
        self._handled = sys.exc_info()[1]  # what is being handled around our opening is not our failure

    def writable(self) -> bool:
        """Say yes."""
        return True

    def write(self, data: Buffer, /) -> int:
        """Seal more bytes; all of them are taken."""
        if self.closed:
            raise ValueError("I/O operation on closed file")  # what io promises its users
        self._note_ends(memoryview(data))
        return self._sink.write(data)

    def _note_ends(self, view: memoryview) -> None:
        if not view.nbytes:
            return
        view = view.cast("B")
        self._head += bytes(view[: _HEAD - len(self._head)])
        self._tail = (self._tail + bytes(view[-_TAIL:]))[-_TAIL:]

    def _is_torn(self) -> bool:
        begins = _BEGIN.match(self._head)
        return begins is not None and not self._tail.endswith(_ENDS[str(begins.lastgroup)])

    def tell(self) -> int:
        """Return the bytes written so far."""
        return self._sink.length

    def close(self) -> None:
        """Finish the file, or give it up if an exception that was not there at its opening is on its way."""
        if self.closed:
            return
        flying = sys.exc_info()[1]
        if flying is not None and flying is not self._handled:
            self.discard()
            with suppress(NotPublished):  # where warnings are errors, the one on its way is enough
                warnings.warn(NotPublished(self.path, flying), stacklevel=2)
            return
        if self._is_torn():
            self.discard()
            raise IntegrityError(f"{self.path} was closed before it was whole: nothing was published", hint="what wrote it has failed")
        super().close()
        succeeded = False
        try:
            self._sink.finish()
            succeeded = True
        finally:
            self._tell(succeeded=succeeded)

    def commit(self) -> None:
        """Take part in a transaction; the transaction itself publishes, and only what was closed counts."""
        self.close()

    def discard(self) -> None:
        """Give the file up. After `close` it does nothing."""
        if self.closed:
            return
        super().close()
        try:
            self._sink.abort()
        finally:
            self._tell(succeeded=False)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def __del__(self) -> None:
        self.discard()

    def _tell(self, *, succeeded: bool) -> None:
        done, self._done = self._done, None
        if done is not None:
            done(succeeded)
