"""Writes of hermetic:// outside a run: one file that is a version, and transactions in which many files are."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from fsspec.transaction import Transaction

from hermetic.assets.notes import tell
from hermetic.assets.pending import slot_of
from hermetic.assets.sealing import begin
from hermetic.errors import UsageError

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from hermetic.assets.drafts import DraftVersion
    from hermetic.assets.sealing import Terms
    from hermetic.assets.staging import MemberWriter
    from hermetic.integrations.attached import Attached


class HermeticTransaction(Transaction):  # type: ignore[misc]  # fsspec has no types
    """Files written inside are one draft for each name; all drafts are published at its end, or none that is left after an error."""

    def __init__(self, fs: Any, **options: Any) -> None:
        super().__init__(fs, **options)
        self.drafts: dict[str, DraftVersion] = {}
        self.failed = False
        self._lock = threading.Lock()

    def add(self, files: Attached, terms: Terms, member: str) -> MemberWriter:
        """Begin a member of the draft that the name, and for plain locations the place, has in this transaction."""
        slot = slot_of(terms)
        with self._lock:  # pyarrow opens the files of a dataset from several threads: two drafts of one name would lose one
            if slot not in self.drafts:
                self.drafts[slot] = begin(files.session, terms)
            draft = self.drafts[slot]
        return draft.add_member(member)

    def done(self, counts: bool) -> None:  # noqa: FBT001 - a callback
        """Take note of a file that was given up: the whole transaction is."""
        self.failed = self.failed or not counts

    def complete(self, commit: bool = True) -> None:  # noqa: FBT001, FBT002 - fsspec's signature
        """Publish or give up everything. Raises UsageError if a file failed and the block went on all the same."""
        fs = self.fs
        drafts, self.drafts = self.drafts, {}
        notes: tuple[str, ...] = ()
        with ExitStack() as stack:
            for draft in drafts.values():
                stack.enter_context(draft)  # abandons what is not published
            super().complete(commit)
            if commit and self.failed:
                raise UsageError("a file of this transaction failed, so nothing of it was published")
            if commit:
                for slot, draft in drafts.items():
                    notes += draft.publish().notes
                    fs.attached.published(slot.partition("@")[0])
        tell(notes)


class SingleSink:
    """One file that is a version of its own."""

    def __init__(self, draft: DraftVersion, member: str) -> None:
        self._draft = draft
        try:
            self._writer = draft.add_member(member)
        except BaseException:
            draft.abandon()
            raise

    @property
    def length(self) -> int:
        """Bytes written so far."""
        return self._writer.length

    def write(self, data: Buffer, /) -> int:
        """Seal more bytes."""
        return self._writer.write(data)

    def finish(self) -> None:
        """Publish."""
        with self._draft:
            self._writer.finish()
            notes = self._draft.publish().notes
        tell(notes)

    def abort(self) -> None:
        """Abandon."""
        self._writer.abort()
        self._draft.abandon()
