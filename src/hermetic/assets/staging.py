"""One object of a draft: staged under a temporary name, sealed, made durable under its final name."""

from __future__ import annotations

import mimetypes
from contextlib import ExitStack
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Self

from hermetic.errors import FormatError, UsageError
from hermetic.formats.manifest import ManifestObject
from hermetic.formats.messages.versions import ObjectRecord
from hermetic.formats.object_header import FIXED, ObjectHeader, parse_fixed, parse_prefix
from hermetic.formats.object_metadata import ObjectMetadata
from hermetic.formats.trailer import TRAILER, parse_trailer
from hermetic.ids import AssetId, DataKeyId, DomainId, ObjectId, VersionId
from hermetic.sealed.writer import ObjectWriter
from hermetic.steps import reached

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Buffer

    from hermetic.assets.drafts import DraftVersion
    from hermetic.formats.messages.versions import Draft
    from hermetic.sealed._sealing import SealedObject
    from hermetic.stores.base import Output, RangeSource


class StagedObject:
    """An object under a temporary name, and the header it is sealed under. Leaving the block without `commit` gives it up."""

    def __init__(self, draft: DraftVersion, member: str, header: ObjectHeader) -> None:
        self._draft, self._member, self.header = draft, member, header
        self._staged = draft.store.stage(object_key(draft.version, header.index))
        self._record: ObjectRecord | None = None

    @property
    def output(self) -> Output:
        """Where the object is written."""
        return self._staged

    def __enter__(self) -> Self:
        try:
            self._staged.__enter__()
        except BaseException:
            self._draft.settle(self._member, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._draft.settle(self._member, self._record)
        self._staged.__exit__(kind, error, trace)

    def commit(self, sealed: SealedObject) -> ObjectRecord:
        """Give the finished object its final name, durably, and return its record."""
        reached("seal.object.staged")
        self._staged.commit()
        reached("seal.object.renamed")
        self._record = record_of(self._member, sealed)
        return self._record


class MemberWriter:
    """A member being written as a stream; `finish` makes it part of the version, anything else gives it up."""

    def __init__(self, draft: DraftVersion, member: str) -> None:
        self.member = member
        self._leased = draft.leased
        with ExitStack() as stack:
            self._staged = stack.enter_context(draft.stage_object(member))
            header = self._staged.header
            self._writer = ObjectWriter(self._staged.output, header, self._leased.key(), content_algorithm=header.suite.digest)
            self._stack = stack.pop_all()

    @property
    def length(self) -> int:
        """Bytes written so far."""
        return self._writer.plaintext_length

    def write(self, data: Buffer) -> int:
        """Seal more bytes. Raises LeaseEnded, StorageError."""
        self._leased.guard()
        return self._writer.write(data)

    def finish(self, metadata: ObjectMetadata | None = None) -> ObjectRecord:
        """Make the object durable and part of the version; `metadata` of a copy is that of what it is a copy of."""
        with self._stack:
            self._leased.guard()
            sealed = self._writer.finish(metadata or ObjectMetadata(name=self.member, media_type=media_type(self.member)))
            return self._staged.commit(sealed)

    def abort(self) -> None:
        """Give the object up; after `finish` or a second time it does nothing."""
        with self._stack:
            self._writer.abort()


def record_of(member: str, sealed: SealedObject) -> ObjectRecord:
    """Return what custody is told of a finished object. Raises UsageError if its content digest was not asked for."""
    if sealed.content_digest is None:
        raise UsageError("an object of a version is sealed with a content digest")
    return ObjectRecord(
        index=sealed.header.index,
        object=sealed.header.object,
        root=sealed.root,
        algorithm=sealed.algorithm,
        length=sealed.length,
        member=member,
        plaintext_length=sealed.plaintext_length,
        digest=sealed.content_digest,
        suite=sealed.header.suite.name,
    )


def expected_of(draft: Draft, record: ObjectRecord) -> ManifestObject:
    """Return what the manifest will say about an object of a draft, to read it back before it is published."""
    return ManifestObject(
        domain=DomainId(draft.domain),
        asset=AssetId(draft.asset),
        version=VersionId(draft.version),
        index=record.index,
        id=ObjectId(record.object),
        root=record.root,
        algorithm=record.algorithm,
        length=record.length,
        data_key=DataKeyId(draft.lease.data_key),
    )


def header_of(source: RangeSource) -> ObjectHeader:
    """Return the header of a sealed object as it claims to be; nothing is verified. Raises FormatError."""
    head = bytearray(FIXED.size)
    if source.readinto_at(0, head) < FIXED.size:
        raise FormatError("too short for a sealed object")
    prefix = bytearray(FIXED.size + parse_fixed(bytes(head)))
    count = source.readinto_at(0, prefix)
    return parse_prefix(bytes(prefix[:count]))


def claimed_record(source: RangeSource) -> ManifestObject:
    """Return what an object says about itself, for places where nobody signs manifests: the key alone vouches for it then."""
    header = header_of(source)
    tail = bytearray(min(TRAILER, source.size))
    source.readinto_at(source.size - len(tail), tail)
    layout, root = parse_trailer(bytes(tail), source.size)
    return ManifestObject(
        domain=header.domain,
        asset=header.asset,
        version=header.version,
        index=header.index,
        id=header.object,
        root=root,
        algorithm=layout.suite.digest,
        length=source.size,
        data_key=header.data_key,
    )


def object_key(version: str, index: int) -> str:
    """Return where an object lies in its store."""
    return f"{version}/{index}.sealed"


def media_type(member: str) -> str:
    """Guess a media type from a member's name; empty when unknown."""
    known = {".parquet": "application/vnd.apache.parquet", ".safetensors": "application/vnd.safetensors"}
    return known.get(PurePosixPath(member).suffix) or mimetypes.guess_type(member, strict=False)[0] or ""
