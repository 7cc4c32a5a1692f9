"""What a run writes to one name, in any number of files, is one draft: published whole when the run ends well.

The process that writes need not be the one that ends the run: `hermetic run` ends it for its child, and only `hermetic run` knows how
the child ended. So what is needed to publish lies in the run's scratch, sealed under the run key:

    .hermetic/claims/<name>               the draft that this name has in this run; the first writer makes it, without replacing
    .hermetic/records/<version>/<index>   one finished object of it, written when its file was closed

    run ends well      every claimed draft with records is published
    run fails          every claimed draft is abandoned and its objects removed
    run is killed      nothing was published; `gc` removes the drafts
    the run reads it   a name that this run has written is published at the first reading, since later steps build on it

A data key belongs to the process that asked for it, so one process writes a name in a run. A second one is refused when it begins,
not when its files turn out to be missing.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hermetic.assets.drafts import DraftVersion, put_manifest, remove_folder
from hermetic.assets.notes import tell
from hermetic.assets.scratch import FOLDER, PENDING, RESERVED, ScratchSpace
from hermetic.assets.sealing import Terms, begin
from hermetic.assets.unfinished import announced
from hermetic.errors import Conflict, IntegrityError, NotFound, UsageError
from hermetic.formats import canonical, codec
from hermetic.formats.messages.versions import AbandonVersion, PublishVersion

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from hermetic.assets.session import Session
    from hermetic.assets.staging import MemberWriter
    from hermetic.formats.messages.versions import ObjectRecord, Published

_CLAIMS = f"{RESERVED}claims"
_RECORDS = f"{RESERVED}records"
_CLAIM_LIMIT = 64 * 1024


@dataclass(frozen=True, slots=True)
class Claim:
    """A name that a run has a draft for."""

    name: str
    version: str
    store: str

    @property
    def place(self) -> str | None:
        """The place whose locations it is for; None for a version in a store."""
        _, at, place = self.name.partition("@")
        return place if at else None

    def encode(self) -> bytes:
        """Return canonical JSON."""
        return canonical.encode({"name": self.name, "store": self.store, "version": self.version})

    @classmethod
    def decode(cls, raw: bytes) -> Claim:
        """Read canonical JSON. Raises FormatError, IntegrityError."""
        fields = canonical.decode(raw, limit=_CLAIM_LIMIT)
        if not isinstance(fields, dict):
            raise IntegrityError("a run's claim is not one")
        values = [fields.get(name) for name in ("name", "version", "store")]
        if not all(isinstance(value, str) for value in values):
            raise IntegrityError("a run's claim lacks a field")
        return cls(*(str(value) for value in values))


class RunDrafts:
    """The drafts of one run: those that this process writes, and what all its processes have handed over."""

    def __init__(self, session: Session, scratch: ScratchSpace) -> None:
        self._session, self._scratch = session, scratch
        self._mine: dict[str, DraftVersion] = {}
        self._undelivered: list[tuple[Claim, Published, tuple[ObjectRecord, ...]]] = []
        self._notes: tuple[str, ...] = ()
        self._lock = threading.Lock()

    def add_member(self, name: str, member: str, terms: Terms | None = None) -> PendingMember:
        """Begin a file of `name`. Raises Conflict if another process of the run writes that name, and what `begin` raises.

        For files at plain locations `name` is `slot_of(terms)`, and `terms` are what the rules say of them.
        """
        with self._lock:
            draft = self._mine.get(name)
            if draft is None:
                draft = self._mine[name] = self._begin(name, terms)
        return PendingMember(self, name, draft, draft.add_member(member))

    def reserve(self, name: str) -> None:
        """Begin a draft for `name` before there is anything to write: a refusal comes now. Raises as `add_member` does."""
        with self._lock:
            if name not in self._mine:
                self._mine[name] = self._begin(name)

    def guard(self, name: str) -> None:
        """Confirm that what was reserved can still be written. Raises LeaseEnded."""
        with self._lock:
            draft = self._mine.get(name)
        if draft is not None:
            draft.leased.guard()

    def renew(self, name: str) -> None:
        """Begin again what was reserved: its key has gone, or the run has read more since, which decides class and lineage."""
        with self._lock:
            claim = self._claim(name)
            if claim is not None and self._mine.pop(name, None) is not None:
                self._give_up(claim)
            self._mine[name] = self._begin(name)

    def hand_over(self, name: str, draft: DraftVersion, record: ObjectRecord) -> None:
        """Keep the record of a finished file for whoever ends the run. Raises Conflict if the draft was published meanwhile."""
        claim = self._claim(name)
        if claim is None or claim.version != draft.version:
            raise Conflict(
                f"another process of this run has read {name} while this one was writing it", hint="read it after it is written"
            )
        message = codec.encode(PublishVersion(draft.version, (record,)))
        self._scratch.write(f"{_RECORDS}/{draft.version}/{record.index}", message)

    def members(self, name: str) -> tuple[tuple[str, int], ...]:
        """Return (member, length in bytes) of what any process of the run has finished under `name`."""
        claim = self._claim(name)
        return tuple((record.member, record.plaintext_length) for record in self._records(claim)) if claim else ()

    def publish(self, name: str) -> Published | None:
        """Publish what was finished under `name`, None if there is nothing. Raises what custody refuses with."""
        claim = self._claim(name)
        if claim is None:
            return None
        with self._lock:
            mine = self._mine.get(name)
            if mine is not None and mine.busy:
                raise Conflict(f"{name} is being written in this run", hint="close the file before reading it")
            published = self._publish(claim)
            self._mine.pop(name, None)
            self._deliver()
        return published

    def located(self, place: str) -> tuple[tuple[str, str, int], ...]:
        """Return (slot, key, length in bytes) of everything that the run has finished for locations in `place`."""
        slots = [claim.name for claim in self._claims() if claim.place == place]
        return tuple((slot, key, length) for slot in slots for key, length in self.members(slot))

    def settle(self, *, succeeded: bool) -> tuple[Published, ...]:
        """End all drafts of the run: publish or abandon them. After an error the rest is abandoned, then it is raised."""
        published = []
        left = list(self._claims())
        try:
            while succeeded and left:
                result = self._publish(left[0])
                published += [result] if result else []
                del left[0]
            self._deliver()
        finally:
            for claim in left:
                self._give_up(claim)
        return tuple(published)

    def _begin(self, name: str, terms: Terms | None = None) -> DraftVersion:
        if self._claim(name) is not None:
            raise _taken(name)
        draft = begin(self._session, replace(terms or Terms(name=name), run=self._scratch.run))
        claim = Claim(name, draft.version, draft.draft.store)
        try:
            self._scratch.write(_claim_path(name), claim.encode(), replace=False)
        except Conflict:  # another process was quicker
            draft.abandon()
            raise _taken(name) from None
        except BaseException:
            draft.abandon()
            raise
        return draft

    def _publish(self, claim: Claim) -> Published | None:
        records = self._records(claim)
        if not records:
            self._abandon(claim)
            return None
        if [record.index for record in records] != list(range(len(records))):
            raise UsageError(
                f"a file of {claim.name} was begun in this run and not finished", hint="write it again, or let the run fail"
            )
        with announced(self._session, claim.place, claim.version, records):
            published = self._session.ask(PublishVersion(claim.version, records))
        self._notes += published.notes
        put_manifest(self._session.store(claim.store), claim.version, published.manifest)
        self._forget(claim)
        if claim.place is not None:
            self._undelivered.append((claim, published, records))
        return published

    def _deliver(self) -> None:
        """Bring what is for plain locations there, and tell notes, after everything is published: a failure undoes nothing."""
        waiting, self._undelivered = self._undelivered, []
        for claim, published, records in waiting:
            from hermetic.assets.delivery import deliver_published  # noqa: PLC0415 - only plain locations need fsspec

            deliver_published(self._session, (claim.store, claim.place or ""), published.manifest, records)
        notes, self._notes = self._notes, ()
        tell(notes)

    def _abandon(self, claim: Claim) -> None:
        self._session.ask(AbandonVersion(claim.version))
        remove_folder(self._session.store(claim.store), claim.version)
        self._forget(claim)

    def _give_up(self, claim: Claim) -> None:
        """Abandon a draft after an error. A publication whose commit failed is not known to have failed: what came of it stays.

        So is a claim whose removal failed: it may be gone.
        """
        with suppress(NotFound):
            try:
                self._abandon(claim)
            except Conflict:
                self._forget(claim)

    def _forget(self, claim: Claim) -> None:
        self._scratch.delete(_claim_path(claim.name))

    def _claims(self) -> tuple[Claim, ...]:
        paths = [path for path, _ in self._scratch.paths(reserved=True) if path.startswith(f"{_CLAIMS}/")]
        return tuple(Claim.decode(self._scratch.read(path)) for path in sorted(paths))

    def _claim(self, name: str) -> Claim | None:
        try:
            claim = Claim.decode(self._scratch.read(_claim_path(name)))
        except NotFound:
            return None
        if claim.name != name:
            raise IntegrityError("a run's claim is not where it was written")
        return claim

    def _records(self, claim: Claim) -> tuple[ObjectRecord, ...]:
        prefix = f"{_RECORDS}/{claim.version}/"
        found = [self._record(path, claim.version) for path, _ in self._scratch.paths(reserved=True) if path.startswith(prefix)]
        return tuple(sorted(found, key=lambda record: record.index))

    def _record(self, path: str, version: str) -> ObjectRecord:
        message = codec.decode_kept(self._scratch.read(path))
        if not isinstance(message, PublishVersion) or message.version != version or len(message.objects) != 1:
            raise IntegrityError("a run's record is not one")
        return message.objects[0]


class PendingMember:
    """A file of a run's draft being written; `finish` hands it over to the end of the run."""

    def __init__(self, drafts: RunDrafts, name: str, draft: DraftVersion, writer: MemberWriter) -> None:
        self._drafts, self._name, self._draft, self._writer = drafts, name, draft, writer

    @property
    def length(self) -> int:
        """Bytes written so far."""
        return self._writer.length

    def write(self, data: Buffer, /) -> int:
        """Seal more bytes. Raises LeaseEnded, StorageError."""
        return self._writer.write(data)

    def finish(self) -> None:
        """Make the object durable and hand it over."""
        self._drafts.hand_over(self._name, self._draft, self._writer.finish())

    def abort(self) -> None:
        """Give the file up."""
        self._writer.abort()


def has_pending(session: Session, run: str) -> bool:
    """Say whether any process of a run has begun a draft that is not settled; asks for no key."""
    prefix = f"{FOLDER}/{run}/{PENDING}/"
    return any(next(iter(store.list(prefix)), None) is not None for store in session.connection.stores.values())


def slot_of(terms: Terms) -> str:
    """Return what stands for a name in a run: files at locations of one place are a draft apart, `features/x@lake`."""
    return str(terms.name) if terms.place is None else f"{terms.name}@{terms.place}"


def _claim_path(name: str) -> str:
    return f"{_CLAIMS}/{name}"


def _taken(name: str) -> Conflict:
    return Conflict(
        f"another process of this run writes {name} already",
        hint="one process writes a name in a run; give workers names of their own, or let them write to hermetic://scratch/",
    )
