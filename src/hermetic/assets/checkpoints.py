"""Checkpoints: versions that are published the moment they are complete, and the newest one that can be believed.

    with h.checkpoint("checkpoint/risk") as saved:            # any number of files, one version
        with saved.open("model.pt") as file: ...
    saved.version.ref                                         # checkpoint/risk@7

Inside a run other outputs wait for its good end. A checkpoint does not: it is there for the case that the run ends badly. It is
published at the clean end of its block, whole, and otherwise nothing of it is left; what a killed process leaves is a draft, which no
reader sees and `gc` removes. Its lineage is what the run has read until it was begun, and its class is inherited from that.

`latest_good` reads every stored byte of the newest version, and its signature, before anything resumes from it. A version that is not
what was published is refused, since somebody or something has changed it. Falling back to an older one is the caller's decision, and
is put on record before it happens.
"""

from __future__ import annotations

import io
import warnings
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from hermetic.assets.checking import Verified, verify
from hermetic.assets.sealing import Terms, begin, summary
from hermetic.assets.session import word
from hermetic.errors import HermeticError, IntegrityError, NotFound, UsageError
from hermetic.formats.messages.catalogue import RecordDecision, ShowVersion
from hermetic.ids import AssetName, DataClass, Ref

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Buffer

    from hermetic.assets.drafts import DraftVersion
    from hermetic.assets.sealing import SealedVersion
    from hermetic.assets.session import Session
    from hermetic.assets.staging import MemberWriter
    from hermetic.formats.messages.catalogue import VersionDetails

_DELETED = "deleted"
PART = "part"  # the label by which a checkpoint names versions that belong to it
_REASON = 900  # characters, well below what custody keeps of a reason


class OlderCheckpoint(UserWarning):
    """The newest version is not what was published, and an older one is used."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A version that is not what was published, and why."""

    ref: str
    reason: str


@dataclass(frozen=True, slots=True)
class GoodVersion:
    """The newest version of which every byte is what was signed; `refused` are newer ones that were passed over."""

    ref: str
    verified: Verified
    refused: tuple[Refused, ...]


class CheckpointWriter:
    """See the module's text. Files may be written from several threads."""

    def __init__(self, session: Session, terms: Terms) -> None:
        if terms.data_class is not None:
            word(DataClass, terms.data_class)
        AssetName.parse(terms.name or "")
        self._session, self._terms = session, terms
        self._draft: DraftVersion | None = None
        self._begun = False
        self._stack = ExitStack()
        self._result: SealedVersion | None = None

    @property
    def version(self) -> SealedVersion:
        """What was published. Raises UsageError before the block has ended well."""
        if self._result is None:
            raise UsageError("nothing was published", hint="the end of the block `with h.checkpoint(...)` publishes")
        return self._result

    def __enter__(self) -> Self:
        self.begin()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not None:
            self.abandon()
        elif self._result is None:
            self.publish()

    def begin(self) -> None:
        """Ask for the key. Raises UsageError when done twice, PolicyDenied."""
        if self._begun:
            raise UsageError("a checkpoint is begun once", hint="make one for each version")
        self._begun = True
        self._draft = self._stack.enter_context(begin(self._session, self._terms))

    def open(self, member: str) -> CheckpointFile:
        """Begin a file: writable, binary, not seekable; closing it makes it part of the checkpoint."""
        return CheckpointFile(self._writing().add_member(member))

    def publish(self, parts: tuple[str, ...] = ()) -> SealedVersion:
        """Publish what was written. Raises UsageError if a file is still open or none was written.

        `parts` are references of versions that belong to it, such as what other processes wrote; `latest_good` verifies them too.
        """
        draft, self._draft = self._writing(), None
        with self._stack:
            if draft.busy:
                raise UsageError("a file of this checkpoint is still open", hint="close every file inside the block")
            labels = (*self._terms.labels, *((PART, ref) for ref in parts))
            self._result = summary(draft, draft.publish(labels=labels), ())
        return self._result

    def abandon(self) -> None:
        """Leave nothing; after `publish` it does nothing."""
        self._draft = None
        self._stack.close()

    def _writing(self) -> DraftVersion:
        if self._draft is None:
            raise UsageError("this checkpoint is not being written", hint="write inside `with h.checkpoint(...)`")
        return self._draft


class CheckpointFile(io.RawIOBase):
    """A file of a checkpoint. Leaving its block by an exception gives the file up, and so does garbage collection."""

    def __init__(self, writer: MemberWriter) -> None:
        super().__init__()
        self._writer = writer

    def writable(self) -> bool:
        """Say yes."""
        return True

    def write(self, data: Buffer, /) -> int:
        """Seal more bytes; all of them are taken. Raises LeaseEnded, StorageError."""
        if self.closed:
            raise ValueError("I/O operation on closed file")  # what io promises its users
        return self._writer.write(data)

    def tell(self) -> int:
        """Return the bytes written so far."""
        return self._writer.length

    def close(self) -> None:
        """Make the file durable and part of the checkpoint."""
        if not self.closed:
            super().close()
            self._writer.finish()

    def discard(self) -> None:
        """Give the file up."""
        if not self.closed:
            super().close()
            self._writer.abort()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def __del__(self) -> None:
        self.discard()


def latest_good(session: Session, name: str, *, fall_back: bool = False) -> GoodVersion:
    """Return the newest version that verifies. See CheckpointMethods.latest_good."""
    AssetName.parse(name)
    seen = dict(session.connection.pins.pins.versions)
    newest = session.ask(ShowVersion(name))
    if newest.number < seen.get(newest.asset, 0):
        raise IntegrityError(
            f"{name} was at version {seen[newest.asset]} before, and custody now calls {newest.number} the latest",
            hint="the catalogue was put back to an older state: run `hermetic log verify`",
        )
    refused: list[Refused] = []
    for number in range(newest.number, 0, -1):
        ref = f"{name}@{number}"
        try:
            details = session.ask(ShowVersion(ref))
            if details.state == _DELETED:
                continue
            verified = verify(session, ref)
            for label in details.labels:
                if label[0] == PART:
                    verify(session, label[1])
        except (IntegrityError, NotFound) as error:
            if not fall_back:
                raise _not_as_published(ref, error) from error
            refused.append(Refused(ref, error.message))
            continue
        if refused:
            _record(session, newest, ref, refused)
        return GoodVersion(ref, verified, tuple(refused))
    raise IntegrityError(f"no version of {name} is what was published", hint="restore the store from a copy")


def _not_as_published(ref: str, error: HermeticError) -> IntegrityError:
    return IntegrityError(
        f"{ref} is not what was published: {error.message}",
        hint="find out who or what changed it; fall_back=True then takes the newest older version that is whole, on record",
    )


def _record(session: Session, newest: VersionDetails, ref: str, refused: list[Refused]) -> None:
    """Put a fallback on the log and tell it; who may not decide about the asset may not fall back either."""
    reason = f"resumed from {ref}: " + "; ".join(f"{item.ref} was refused, {item.reason}" for item in refused)
    session.ask(RecordDecision(str(AssetName.parse(newest.name)), reason[:_REASON], fallback=Ref.parse(ref).number))
    warnings.warn(reason, OlderCheckpoint, stacklevel=4)
