"""A member as a seekable binary file. Every read first confirms that the lease still holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermetic.assets.seeking import TurnTakingReader
from hermetic.sealed.stream import SealedFile

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa
    from typing_extensions import Buffer

    from hermetic.assets.releases import OpenVersion
    from hermetic.domain.leases import LeasedKey
    from hermetic.formats.messages.versions import Member
    from hermetic.sealed.reader import ObjectReader
    from hermetic.stores.base import RangeSource

BUFFER = 128 * 1024  # the reader keeps whole decrypted segments beneath; this only spares Python calls


class _Guarded(SealedFile):
    """A SealedFile that asks the lease before it reads."""

    def __init__(self, reader: ObjectReader, leased: LeasedKey, on_close: Callable[[], None] | None) -> None:
        super().__init__(reader)
        self._leased, self._on_close = leased, on_close
        self.check: Callable[[], None] | None = None

    def guard(self) -> None:
        """Confirm that the lease holds, unless the file is closed, which reading says. Raises LeaseEnded."""
        if not self.closed:
            self._leased.guard()

    def guard_and_check(self) -> None:
        """Confirm that the lease holds, and that whoever reads may have it. Raises LeaseEnded and what `check` raises."""
        self.guard()
        if self.check is not None:
            self.check()

    def readinto(self, buffer: Buffer, /) -> int:
        """Fill `buffer` after the check. Raises LeaseEnded and what the reader raises."""
        self.guard_and_check()
        return super().readinto(buffer)

    def read_at(self, offset: int, buffer: memoryview) -> int:
        """Fill `buffer` from `offset` without moving; the count is short only at the end."""
        self._check_open()
        self.guard_and_check()
        return self._reader.readinto_at(offset, buffer)

    def close(self) -> None:
        """Close the reader, then whatever was opened for it."""
        was_open = not self.closed
        super().close()
        if was_open and self._on_close is not None:
            self._on_close()


class MemberFile(TurnTakingReader):
    """What `Workspace.open` returns: read-only, seekable, verified range by range as it is read.

    `ref` names version and member, `size` is the plaintext length in bytes.
    """

    def __init__(
        self,
        version: OpenVersion,
        member: Member,
        *,
        on_close: Callable[[], None] | None = None,
        source: RangeSource | None = None,
    ) -> None:
        reader = version.reader(member, source=source)
        self._guarded = _Guarded(reader, version.leased, on_close)
        super().__init__(self._guarded, BUFFER)
        self.ref = f"{version.ref}/{member.path}"
        self.size = member.length

    def check_readers(self, check: Callable[[], None]) -> None:
        """Have `check` called before whole pieces are read, to refuse whoever reads."""
        self._guarded.check = check

    def read(self, size: int | None = -1, /) -> bytes:
        """Return up to `size` bytes, everything up to the end by default; straight into the result, without a copy."""
        self._guarded.guard_and_check()
        if size is None or size < 0:
            size = max(0, self.size - self.tell())
        return super().read(size)

    # What lies in the buffer was decrypted under a lease that may have ended since: every way to it asks first.

    def read1(self, size: int = -1, /) -> bytes:
        """Return some bytes, at most `size`."""
        self._guarded.guard_and_check()
        return super().read1(size)

    def readinto(self, buffer: Buffer, /) -> int:
        """Fill `buffer`; the count is short only at the end."""
        self._guarded.guard_and_check()
        return super().readinto(buffer)

    def readinto1(self, buffer: Buffer, /) -> int:
        """Fill some of `buffer`."""
        self._guarded.guard_and_check()
        return super().readinto1(buffer)

    def readline(self, size: int | None = -1, /) -> bytes:
        """Return one line."""
        self._guarded.guard()
        return super().readline(size)

    def peek(self, size: int = 0, /) -> bytes:
        """Return some bytes without moving."""
        self._guarded.guard()
        return super().peek(size)

    def read_at(self, offset: int, buffer: memoryview) -> int:
        """Fill `buffer` from `offset` without moving, from any thread; the count is short only at the end."""
        return self._guarded.read_at(offset, buffer)

    def read_buffer(self, count: int) -> pa.Buffer:
        """Read up to `count` bytes into memory of pyarrow, which calls this in place of `read`: no copy, no fresh pages."""
        import pyarrow as pa  # noqa: PLC0415 - whoever calls this has it

        start = self.tell()
        buffer = pa.allocate_buffer(max(0, min(count, self.size - start)))
        self.seek(start + self.read_at(start, memoryview(buffer)))
        return buffer
