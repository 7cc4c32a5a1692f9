"""A bucket, or anything else that speaks S3, as a store: the part of it below one prefix. Extra `s3`.

    S3Store(S3Settings("team-data", "hermetic", endpoint="https://s3.example.org"))

It holds back what `stores` promises, but for three things. A key may also be the beginning of others ("a" and "a/b"): there are no
folders. An object that is deleted while it is read is told as missing, not read on. And a name is only refused for sure to the second
of two writers at the same moment where the endpoint knows `If-None-Match` (_s3_staging.py).

Reading is pinned to the object that was opened by its entity tag. Writing and reading take a few buffers each, however long the
object. A listing may be older than what was written or deleted since; nothing here takes one for the truth: `exists`, `open` and
`delete` ask for the object itself. Credentials are boto3's business alone (_s3_client.py).
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from hermetic.errors import FormatError, NotFound, StorageError
from hermetic.steps import reached
from hermetic.stores._s3_client import Bucket
from hermetic.stores._s3_source import S3Source, tag_of
from hermetic.stores._s3_staging import S3StagedFile
from hermetic.stores.base import check_prefix
from hermetic.stores.s3_settings import S3Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

__all__ = ["S3Settings", "S3Store"]


class S3Store:
    """A Store. Nothing is asked of the endpoint before the first use; all methods may be called from any thread."""

    __slots__ = ("_bucket", "settings")

    def __init__(self, settings: S3Settings) -> None:
        self.settings = settings
        self._bucket = Bucket(settings)

    def stage(self, key: str) -> S3StagedFile:
        """Begin a new object. Its first part and `commit` raise Conflict if the key is taken, StorageError."""
        self._bucket.full(key)
        return S3StagedFile(self._bucket, key)

    def open(self, key: str) -> S3Source:
        """Open an object. Raises NotFound, StorageError."""
        answer = self._bucket.on_object("head_object", "open", key)
        return S3Source(self._bucket, key, int(answer["ContentLength"]), tag_of(answer))

    def read_bytes(self, key: str, *, limit: int) -> bytes:
        """Return a whole small object. Raises NotFound, FormatError above `limit` bytes, StorageError."""
        with self.open(key) as source:
            if source.size > limit:
                raise FormatError(f"{key!r} is longer than {limit} bytes")
            buffer = bytearray(source.size)
            source.readinto_at(0, buffer)
            return bytes(buffer)

    def put_bytes(self, key: str, data: bytes, *, replace: bool = False) -> None:
        """Write a small object, durable on return. Raises Conflict if the key is taken and `replace` is not set."""
        self._bucket.full(key)
        with S3StagedFile(self._bucket, key, replace=replace) as staged:
            staged.reserve(len(data))
            staged.write(data)
            staged.commit()

    def exists(self, key: str) -> bool:
        """Say whether an object is there. Raises StorageError when that cannot be told."""
        try:
            self._bucket.on_object("head_object", "look for", key)
        except NotFound:
            return False
        return True

    def list(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        """Yield (key, size) in order of key; names that are no keys are left out. Raises StorageError."""
        check_prefix(prefix)
        return self._list(prefix)

    def _list(self, prefix: str) -> Iterator[tuple[str, int]]:
        for page in self._pages("list_objects_v2", "list", Prefix=self._bucket.below(prefix)):
            for item in page.get("Contents", ()):
                key = self._bucket.key_of(item["Key"])
                if key is not None:
                    yield key, int(item["Size"])

    def delete(self, key: str) -> None:
        """Remove an object. Raises NotFound, StorageError. A bucket with versioning keeps its bytes, which are ciphertext."""
        self._bucket.on_object("head_object", "delete", key)
        self._bucket.on_object("delete_object", "delete", key)
        reached("store.delete.folder-synced")

    def sweep(self, older_than_ms: int, now_ms: int) -> int:
        """Abort uploads that sent nothing for so long; returns how many. Raises StorageError.

        The times are the endpoint's. Nobody can tell a dead writer from one that paused longer than that: the latter is told that
        its upload was given up, and has written nothing.
        """
        before = (now_ms - older_than_ms) / 1000
        return sum(self._abort(key, upload, before) for key, upload in list(self._uploads(before)))

    def _uploads(self, before: float) -> Iterator[tuple[str, str]]:
        """Yield key and id of uploads that began before a time."""
        with suppress(NotFound):  # how some endpoints say that there are none
            for page in self._pages("list_multipart_uploads", "sweep", Prefix=self._bucket.below("")):
                for item in page.get("Uploads", ()):
                    key = self._bucket.key_of(item["Key"])
                    if key is not None and _old(item["Initiated"], before):
                        yield key, str(item["UploadId"])

    def _abort(self, key: str, upload: str, before: float) -> bool:
        with suppress(NotFound):  # it was finished or aborted meanwhile
            for page in self._pages("list_parts", "sweep", Key=self._bucket.full(key), UploadId=upload):
                if not all(_old(part["LastModified"], before) for part in page.get("Parts", ())):
                    return False
            self._bucket.on_object("abort_multipart_upload", "sweep", key, UploadId=upload)
            return True
        return False

    def _pages(self, operation: str, action: str, **arguments: object) -> Iterator[dict[str, Any]]:
        """Yield the pages of a listing."""
        tokens: dict[str, Any] = {}
        while True:
            page = self._bucket.call(operation, action, self.settings.prefix, **arguments, **tokens)
            yield page
            if not page.get("IsTruncated"):
                return
            following = _following(operation, page)
            if not following or following == tokens:
                raise StorageError(
                    f"cannot {action} the store: its listing does not go on", hint="it is not compatible enough with S3"
                )
            tokens = following


def _following(operation: str, page: dict[str, Any]) -> dict[str, Any]:
    names = {
        "list_objects_v2": {"ContinuationToken": "NextContinuationToken"},
        "list_multipart_uploads": {"KeyMarker": "NextKeyMarker", "UploadIdMarker": "NextUploadIdMarker"},
        "list_parts": {"PartNumberMarker": "NextPartNumberMarker"},
    }
    return {argument: page[field] for argument, field in names[operation].items() if page.get(field)}


def _old(when: datetime, before: float) -> bool:
    return when.timestamp() < before
