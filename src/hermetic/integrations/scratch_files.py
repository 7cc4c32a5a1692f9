"""hermetic://scratch/…: the scratch of the current run as files and folders."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from hermetic.errors import NotFound, UsageError
from hermetic.ids import Kind
from hermetic.sealed.stream import SealedFile

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from hermetic.assets.scratch import ScratchSpace, ScratchWriter

_PREFIX = f"{Kind.SCRATCH.value}/"


def info(space: ScratchSpace, path: str) -> dict[str, Any]:
    """Return name, size and type. Raises NotFound."""
    own = path.removeprefix(_PREFIX)
    if path == Kind.SCRATCH.value:
        return {"name": path, "size": 0, "type": "directory"}
    try:
        with space.reader(own) as reader:
            return {"name": path, "size": reader.length, "type": "file"}
    except NotFound:
        if any(other.startswith(f"{own}/") for other, _ in space.paths()):
            return {"name": path, "size": 0, "type": "directory"}
        raise


def entries(space: ScratchSpace, path: str) -> list[dict[str, Any]]:
    """Return what lies directly in a folder, or the file itself. Raises NotFound."""
    prefix = f"{path}/".removeprefix(_PREFIX)
    found: dict[str, dict[str, Any]] = {}
    for other, length in space.paths():
        if other.startswith(prefix):
            head, slash, _ = other[len(prefix) :].partition("/")
            name = f"{path}/{head}"
            found[name] = {"name": name, "size": 0 if slash else length, "type": "directory" if slash else "file"}
    return [found[name] for name in sorted(found)] or ([] if path == Kind.SCRATCH.value else [info(space, path)])


def open_to_read(space: ScratchSpace, path: str) -> io.BufferedReader:
    """Open a file. Raises NotFound, IntegrityError."""
    space.leased.guard()
    return io.BufferedReader(SealedFile(space.reader(_own(path))), 128 * 1024)


def sink(space: ScratchSpace, path: str) -> ScratchSink:
    """Begin a file, in place of one of that name."""
    return ScratchSink(space.create(_own(path)))


def remove(space: ScratchSpace, path: str) -> None:
    """Remove a file. Raises NotFound."""
    space.delete(_own(path))


def _own(path: str) -> str:
    own = path.removeprefix(_PREFIX)
    if own == path or own.startswith("."):
        raise UsageError(f"{path!r} is no scratch file", hint="write hermetic://scratch/NAME")
    return own


class ScratchSink:
    """A scratch file being written."""

    def __init__(self, writer: ScratchWriter) -> None:
        self._writer = writer.__enter__()
        self.length = 0

    def write(self, data: Buffer, /) -> int:
        """Seal more bytes."""
        count = self._writer.write(data)
        self.length += count
        return count

    def finish(self) -> None:
        """Make the file durable."""
        self._writer.finish()

    def abort(self) -> None:
        """Give the file up."""
        self._writer.abort()
