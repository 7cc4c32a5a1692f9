"""A version being written: objects first, then one message that publishes it whole.

    BeginVersion        custody makes a data key, on record
    objects             `<version id>/<n>.sealed`: staged, synced, renamed, folder synced
    PublishVersion      custody gives the number, signs the manifest, writes the log: from here on the version exists
    manifest.json       the signed manifest beside the objects

A crash before PublishVersion leaves a draft that `gc` removes. A crash between the last two leaves a published version whose manifest
is in the catalogue: the next opening puts the missing copy beside the objects. Files are removed only after custody has confirmed
that the draft is given up; if it cannot be asked, they stay for `gc`.
"""

from __future__ import annotations

import heapq
import os
import threading
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from hermetic.assets.current import note_change
from hermetic.assets.inputs import open_input
from hermetic.assets.session import fresh_id
from hermetic.assets.staging import MemberWriter, StagedObject, media_type, object_key
from hermetic.assets.unfinished import announced
from hermetic.errors import Conflict, HermeticError, NotFound, StorageError, UsageError
from hermetic.formats.messages.versions import AbandonVersion, PublishVersion
from hermetic.formats.object_header import MAX_INDEX, ObjectHeader
from hermetic.formats.object_metadata import ObjectMetadata
from hermetic.formats.padding import Padding
from hermetic.formats.suites import suite
from hermetic.ids import AssetId, DataKeyId, DomainId, ObjectId, VersionId, check_member
from hermetic.sealed.files import seal_file
from hermetic.steps import reached

if TYPE_CHECKING:
    from types import TracebackType

    from hermetic.assets.inputs import InputFile
    from hermetic.assets.session import Session
    from hermetic.formats.messages.versions import BeginVersion, Draft, ObjectRecord, Published
    from hermetic.stores.base import Store

MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class Finished:
    """What `publish` did: custody's answer, the records, and what the caller should be told."""

    published: Published
    records: tuple[ObjectRecord, ...]
    notes: tuple[str, ...]


class DraftVersion:
    """One draft. Leaving the block without `publish` gives it up. Members may be added from several threads."""

    def __init__(self, session: Session, request: BeginVersion) -> None:
        self._session, self._place = session, request.place
        self.draft: Draft = session.ask(request)
        self.leased = session.connection.leases.take(self.draft.lease)
        self._records: dict[str, ObjectRecord] = {}
        self._writing: dict[str, int] = {}
        self._free: list[int] = []  # a heap of indices that were begun and given up
        self._next = 0
        self._lock = threading.Lock()
        self._settled = False
        try:
            self.store: Store = session.store(self.draft.store)
        except NotFound:  # hermetic.yaml was changed a moment ago
            self._give_up()
            raise

    @property
    def version(self) -> str:
        """The version's id."""
        return self.draft.version

    @property
    def members(self) -> tuple[str, ...]:
        """Member names so far, in order."""
        return tuple(sorted(self._records))

    @property
    def busy(self) -> bool:
        """Whether a member is being written."""
        return bool(self._writing)

    @property
    def records(self) -> tuple[ObjectRecord, ...]:
        """What was sealed so far, in order of index."""
        return tuple(sorted(self._records.values(), key=lambda record: record.index))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if not self._settled:
            self.abandon()

    def add_file(self, file: InputFile, *, threads: int | None = None) -> ObjectRecord:
        """Seal a file as a member. Raises Conflict if it changes meanwhile, StorageError, LeaseEnded."""
        details = {"modified_ms": file.modified_ns // 1_000_000}
        metadata = ObjectMetadata(name=file.member, media_type=media_type(file.member), details=details)
        fd = open_input(file)
        try:
            with self.stage_object(file.member) as staged:
                sealed = seal_file(
                    fd,
                    staged.output,
                    staged.header,
                    self.leased.key(),
                    metadata=metadata,
                    threads=threads,
                    content_algorithm=staged.header.suite.digest,
                )
                return staged.commit(sealed)
        finally:
            os.close(fd)

    def add_member(self, member: str) -> MemberWriter:
        """Begin a member whose content comes as a stream."""
        return MemberWriter(self, check_member(member))

    def note_former(self, member: str, digest: bytes) -> None:
        """Say what the digest of a finished member's content is under the algorithm of the version that it was sealed anew from."""
        with self._lock:
            self._records[member] = replace(self._records[member], former=digest)

    def stage_object(self, member: str) -> StagedObject:
        """Begin an object. A member that is there already is replaced. Raises Conflict if it is being written just now."""
        index = self._claim(member)
        draft = self.draft
        header = ObjectHeader(
            domain=DomainId(draft.domain),
            asset=AssetId(draft.asset),
            version=VersionId(draft.version),
            object=ObjectId(fresh_id()),
            data_key=DataKeyId(draft.lease.data_key),
            index=index,
            suite_name=suite(draft.suite).name,
            padding=Padding(draft.padding),
        )
        return StagedObject(self, member, header)

    def _claim(self, member: str) -> int:
        with self._lock:
            if member in self._writing:
                raise Conflict(f"{member!r} is being written already", hint="one writer a member")
            former = self._records.pop(member, None)
            if former is not None:
                index = former.index
            elif self._free:
                index = heapq.heappop(self._free)
            else:
                index, self._next = self._next, self._next + 1
            self._writing[member] = index
        if index > MAX_INDEX:
            raise UsageError(f"a version holds at most {MAX_INDEX + 1} objects", hint="write fewer, larger files")
        if former is not None:
            self.store.delete(object_key(self.version, index))
        return index

    def settle(self, member: str, record: ObjectRecord | None) -> None:
        """End the writing of a member: with a record it is part of the version, without one its index is free again."""
        with self._lock:
            index = self._writing.pop(member, None)
            if index is not None and record is not None:
                self._records[member] = record
            elif index is not None:
                heapq.heappush(self._free, index)

    def publish(self, *, parents: tuple[str, ...] = (), labels: tuple[tuple[str, ...], ...] = ()) -> Finished:
        """Publish what was added; afterwards the version exists. Raises what custody refuses with, UsageError if it is empty."""
        records = self._numbered_records()
        with announced(self._session, self._place, self.draft.version, records):
            published = self._session.ask(PublishVersion(self.draft.version, records, parents, labels))
        self._settled = True
        notes = published.notes + put_manifest(self.store, self.draft.version, published.manifest)
        self._end_lease()
        if self._place is not None:
            from hermetic.assets.delivery import deliver_published  # noqa: PLC0415 - only what goes to plain locations needs fsspec

            deliver_published(self._session, (self.draft.store, self._place), published.manifest, records)
        return Finished(published, records, notes)

    def abandon(self) -> None:
        """Give the draft up and remove its files. What cannot be removed now is left to `gc`."""
        with suppress(HermeticError):
            self._give_up()
            remove_folder(self.store, self.draft.version)

    def _give_up(self) -> None:
        """Tell custody, and end the lease in any case."""
        self._settled = True
        try:
            self._session.ask(AbandonVersion(self.draft.version))
        finally:
            self._end_lease()

    def hand_over(self) -> None:
        """Let another process publish: neither publish nor abandon at the end of the block."""
        self._settled = True

    def _numbered_records(self) -> tuple[ObjectRecord, ...]:
        """Return the records if their indices count from 0, as a manifest's must."""
        records = self.records
        if not records:
            raise UsageError("nothing was written to this version", hint="write at least one member; it may be empty")
        if [record.index for record in records] != list(range(len(records))):
            raise UsageError("a member of this version was begun and not finished", hint="write it again, or give the version up")
        return records

    def _end_lease(self) -> None:
        with suppress(HermeticError):  # the lease ends by itself; the version is settled either way
            self.leased.end()


def put_manifest(store: Store, version: str, manifest: bytes) -> tuple[str, ...]:
    """Put the signed manifest beside the objects; return a note if that failed, since the version exists all the same."""
    note_change()
    try:
        store.put_bytes(f"{version}/{MANIFEST}", manifest)
    except StorageError as error:
        return (f"the manifest's copy beside the objects could not be written ({error.message}); the next opening repairs it",)
    reached("seal.manifest.written")
    return ()


def remove_folder(store: Store, folder: str) -> int:
    """Remove every object below `folder`; return how many there were."""
    keys = [key for key, _ in store.list(f"{folder}/")]
    for key in keys:
        with suppress(NotFound):
            store.delete(key)
    return len(keys)
