"""Writes of hermetic:// outside a run: one file that is a version, and transactions in which many files are."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from fsspec.transaction import Transaction

from hermetic.assets.sealing import DEFAULT_MEMBER, Terms, begin
from hermetic.errors import UsageError

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from hermetic.assets.drafts import DraftVersion
    from hermetic.assets.staging import MemberWriter
    from hermetic.integrations.attached import Attached


class HermeticTransaction(Transaction):  # type: ignore[misc]  # fsspec has no types
    """Files written inside are one draft for each name; all drafts are published at its end, or none that is left after an error."""

    def __init__(self, fs: Any, **options: Any) -> None:
        super().__init__(fs, **options)
        self.drafts: dict[str, DraftVersion] = {}
        self.failed = False
        self._lock = threading.Lock()

    def add(self, files: Attached, name: str, member: str) -> MemberWriter:
        """Begin a member of a name's draft."""
        with self._lock:  # pyarrow opens the files of a dataset from several threads: two drafts of one name would lose one
            if name not in self.drafts:
                self.drafts[name] = begin(files.session, Terms(name=name))
            draft = self.drafts[name]
        return draft.add_member(member)

    def done(self, counts: bool) -> None:  # noqa: FBT001 - a callback
        """Take note of a file that was given up: the whole transaction is."""
        self.failed = self.failed or not counts

    def complete(self, commit: bool = True) -> None:  # noqa: FBT001, FBT002 - fsspec's signature
        """Publish or give up everything. Raises UsageError if a file failed and the block went on all the same."""
        fs = self.fs
        drafts, self.drafts = self.drafts, {}
        with ExitStack() as stack:
            for draft in drafts.values():
                stack.enter_context(draft)  # abandons what is not published
            super().complete(commit)
            if commit and self.failed:
                raise UsageError("a file of this transaction failed, so nothing of it was published")
            if commit:
                for name, draft in drafts.items():
                    draft.publish()
                    fs.attached.published(name)


class SingleSink:
    """One file that is a version of its own."""

    def __init__(self, draft: DraftVersion) -> None:
        self._draft, self._writer = draft, draft.add_member(DEFAULT_MEMBER)

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
            self._draft.publish()

    def abort(self) -> None:
        """Abandon."""
        self._writer.abort()
        self._draft.abandon()
