"""One object on its way into a bucket: parts while it is written, its name in one request at the end.

Until then nobody sees it; what a process that died leaves is an unfinished upload, which `sweep` aborts. Whether the name is taken is
looked up before the first part and before the last request, and the last request asks the endpoint to refuse if it is
(`If-None-Match: *`). An endpoint that does not offer that, or ignores it, prevents everything but this: of two writers of one key
whose last requests come between look and request of each other, the later one wins, and neither is told.

Every object carries a random token of its own as metadata. If the answer to the last request is lost, the token tells whose object
stands there.
"""

from __future__ import annotations

import base64
import secrets
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Self

from hermetic.errors import Conflict, HermeticError, NotFound, StorageError, Unsupported, UsageError
from hermetic.steps import reached
from hermetic.stores._s3_parts import Parts, Plan

if TYPE_CHECKING:
    from types import TracebackType

    from hermetic.stores._s3_buffers import Body
    from hermetic.stores._s3_client import Bucket

TOKEN: Final = "hermetic-write"  # noqa: S105 - the name of a field


class S3StagedFile:
    """A StagedFile of an S3Store."""

    __slots__ = ("_active", "_appended", "_bucket", "_key", "_lock", "_parts", "_replace", "_sent", "_token", "_upload")

    def __init__(self, bucket: Bucket, key: str, *, replace: bool = False) -> None:
        self._bucket, self._key, self._replace = bucket, key, replace
        self._token = secrets.token_hex(16)
        self._parts: Parts | None = None
        self._sent: dict[int, dict[str, Any]] = {}  # what the endpoint answered, by part
        self._upload = ""
        self._appended = 0
        self._active = False
        self._lock = threading.Lock()

    @property
    def key(self) -> str:
        """The key that `commit` will give it."""
        return self._key

    def __enter__(self) -> Self:
        self._active = True
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._active:
            self._active = False
            with suppress(StorageError):  # what cannot be aborted now is left to `sweep`
                self.discard()

    def reserve(self, length: int | None) -> None:
        """Begin. Raises UsageError if it has begun, or outside the block."""
        self._check_active()
        if self._parts is not None:
            raise UsageError("the output is not empty", hint="stage a new object")
        self._parts = Parts(Plan(length), self._send)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append all of `data`. Raises StorageError."""
        if self._parts is None:
            self.reserve(None)
        view = memoryview(data).cast("B")
        self.write_at(view, self._appended)
        self._appended += view.nbytes

    def write_at(self, view: memoryview, offset: int) -> None:
        """Take bytes; waits while too much is under way. Raises StorageError."""
        self._check_active()
        if self._parts is None:
            raise UsageError("an object is written after `reserve`")
        self._parts.add(view, offset)

    def begin_writeback(self, start: int, end: int) -> None:
        """Do nothing: parts are sent as they fill."""

    def discard(self) -> None:
        """End the senders and abort the upload. Raises StorageError if the endpoint cannot be told."""
        if self._parts is not None:
            self._parts.stop(UsageError("this object was given up", hint="stage a new one"))
        with self._lock:
            upload, self._upload = self._upload, ""
        if upload:
            with suppress(NotFound):
                self._on("abort_multipart_upload", UploadId=upload)

    def commit(self) -> None:
        """Send the rest and name the object. Raises Conflict if the name is taken, StorageError; then it has no name."""
        self._check_active()
        if self._parts is None:
            self.reserve(0)
        try:
            self._name()
        except HermeticError as error:
            with suppress(StorageError):
                self.discard()  # after that no late answer can give it a name
            if not self._is_ours():
                raise self._failure(error) from None
        reached("store.stage.renamed")
        reached("store.stage.folder-synced")
        self._active = False
        if self._parts is not None:
            self._parts.stop(UsageError("this object is committed"))

    def _check_active(self) -> None:
        if not self._active:
            raise UsageError("a staged file is written inside its block and before commit")

    def _name(self) -> None:
        parts = self._parts
        whole = parts.whole() if parts is not None else None
        if parts is None or whole is not None:
            body, crc = whole or (b"", 0)
            reached("store.stage.synced")
            self._finally("put_object", Body=body, ChecksumCRC32=_encoded(crc), Metadata={TOKEN: self._token})
            return
        parts.finish()
        listed = [self._sent[number] for number in sorted(self._sent)]
        reached("store.stage.synced")
        self._finally("complete_multipart_upload", UploadId=self._upload, MultipartUpload={"Parts": listed})
        self._upload = ""

    def _finally(self, operation: str, **arguments: object) -> None:
        """Make the request that gives the object its name, on condition that it is free if the endpoint knows conditions."""
        self._look()
        if self._bucket.conditional and not self._replace:
            try:
                self._on(operation, IfNoneMatch="*", **arguments)
            except Unsupported:
                self._bucket.conditional = False
            else:
                return
        self._on(operation, **arguments)

    def _look(self) -> None:
        if not self._replace and self._found() is not None:
            raise _taken(self._key)

    def _send(self, number: int, body: Body, crc: int) -> None:
        """Send one part; called from several threads."""
        part, checksum = number + 1, _encoded(crc)
        answer = self._on("upload_part", UploadId=self._begun(), PartNumber=part, Body=body, ChecksumCRC32=checksum)
        self._sent[number] = {"PartNumber": part, "ETag": answer.get("ETag", ""), "ChecksumCRC32": checksum}

    def _begun(self) -> str:
        with self._lock:
            if not self._upload:
                self._look()
                answer = self._on("create_multipart_upload", ChecksumAlgorithm="CRC32", Metadata={TOKEN: self._token})
                self._upload = str(answer["UploadId"])
            return self._upload

    def _found(self) -> dict[str, Any] | None:
        try:
            return self._on("head_object")
        except NotFound:
            return None

    def _is_ours(self) -> bool:
        with suppress(StorageError):
            found = self._found() or {}
            return self._token in {value for name, value in found.get("Metadata", {}).items() if name.lower() == TOKEN}
        return False

    def _failure(self, error: HermeticError) -> HermeticError:
        if isinstance(error, Conflict):
            return _taken(self._key)
        if isinstance(error, NotFound):
            hint = "a sweep or a rule of the bucket aborted it; nothing was half-written, write it again"
            return StorageError(f"cannot write {self._key!r}: the upload was given up meanwhile", hint=hint)
        return error

    def _on(self, operation: str, **arguments: object) -> dict[str, Any]:
        return self._bucket.on_object(operation, "write", self._key, **arguments)


def _encoded(crc: int) -> str:
    return base64.b64encode(crc.to_bytes(4, "big")).decode("ascii")


def _taken(key: str) -> Conflict:
    return Conflict(f"{key!r} is in the store already", hint="objects are never replaced; use a new key")
