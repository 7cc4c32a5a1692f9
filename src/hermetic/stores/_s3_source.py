"""An object in a bucket, read by ranges: every answer must be about the very object that was opened."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Self

from hermetic.errors import Conflict, IntegrityError, NotFound, StorageError, UsageError
from hermetic.stores._s3_client import ATTEMPTS

if TYPE_CHECKING:
    from types import TracebackType

    from hermetic.stores._s3_client import Bucket

REQUEST: Final = 8 * 1024 * 1024
_PIECE: Final = 256 * 1024  # taken from the connection at once
_PAUSE: Final = 0.1  # seconds before the first repetition; doubled every time
_RANGE: Final = re.compile(r"bytes ([0-9]+)-([0-9]+)/([0-9]+)")


def tag_of(answer: dict[str, Any]) -> str:
    """Return the entity tag of an answer without its quotes. Raises StorageError if it has none."""
    tag = str(answer.get("ETag", "")).strip('"')
    if not tag:
        raise StorageError("the store gives objects no entity tag", hint="it is not compatible enough with S3")
    return tag


class S3Source:
    """A RangeSource. An object that was replaced or deleted since it was opened is refused, not mixed."""

    __slots__ = ("_bucket", "_key", "_open", "_size", "_tag")

    def __init__(self, bucket: Bucket, key: str, size: int, tag: str) -> None:
        self._bucket, self._key, self._size, self._tag = bucket, key, size, tag
        self._open = True

    @property
    def size(self) -> int:
        """Length in bytes when it was opened."""
        return self._size

    @property
    def request_size(self) -> int:
        """How many bytes are worth one request."""
        return REQUEST

    def readinto_at(self, offset: int, buffer: memoryview | bytearray) -> int:
        """Fill `buffer` from `offset`, going on where a connection broke; the count is short only at the end of the object.

        Raises NotFound and IntegrityError if the object is not the one that was opened, StorageError.
        """
        if offset < 0 or not self._open:
            raise UsageError(f"{self._key!r} was closed, or the offset is negative")
        view = memoryview(buffer).cast("B")
        view = view[: max(0, min(view.nbytes, self._size - offset))]
        done = broken = 0
        while done < view.nbytes:
            count = self._read_some(offset + done, view[done:])
            done += count
            broken = 1 if count >= _PIECE else broken + 1
            if done < view.nbytes:
                if broken >= ATTEMPTS:
                    raise StorageError(f"cannot read {self._key!r}: the connection broke {broken} times", hint="try again later")
                time.sleep(_PAUSE * 2 ** (broken - 1))
        return done

    def _read_some(self, offset: int, view: memoryview) -> int:
        """Return how many bytes came before the connection ended."""
        body, done = self._request(offset, offset + view.nbytes), 0
        try:
            while done < view.nbytes:
                count = _take(body, view[done : done + _PIECE])
                if count <= 0:
                    break
                done += count
        finally:
            body.close()
        return done

    def _request(self, start: int, end: int) -> Any:
        wanted = {"Range": f"bytes={start}-{end - 1}", "IfMatch": f'"{self._tag}"'}
        try:
            answer = self._bucket.on_object("get_object", "read", self._key, **wanted)
        except Conflict:
            raise _replaced(self._key) from None
        except NotFound:
            raise NotFound(f"{self._key!r} was deleted while it was being read") from None
        body = answer["Body"]
        try:
            self._check(answer, start, end)
        except BaseException:
            body.close()
            raise
        return body

    def _check(self, answer: dict[str, Any], start: int, end: int) -> None:
        if tag_of(answer) != self._tag:
            raise _replaced(self._key)
        told = _RANGE.fullmatch(str(answer.get("ContentRange", "")))
        if told is None:
            if (start, end) == (0, self._size) and answer.get("ContentLength") == self._size:
                return
            raise StorageError("the store does not give ranges of objects", hint="it is not compatible enough with S3")
        if tuple(map(int, told.groups())) != (start, end - 1, self._size) or answer.get("ContentLength") != end - start:
            raise _replaced(self._key)

    def close(self) -> None:
        """Read no more; closing twice is allowed."""
        self._open = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _take(body: Any, view: memoryview) -> int:
    """Return how many bytes the connection gave, 0 if it ended or broke."""
    from botocore.exceptions import BotoCoreError  # noqa: PLC0415 - an extra
    from urllib3.exceptions import HTTPError  # noqa: PLC0415 - comes with it

    with suppress(BotoCoreError, HTTPError, OSError):
        count: int = body.readinto(view)
        return count
    return 0


def _replaced(key: str) -> IntegrityError:
    return IntegrityError(f"{key!r} was replaced while it was being read", hint="sealed objects never change: find out who wrote it")
