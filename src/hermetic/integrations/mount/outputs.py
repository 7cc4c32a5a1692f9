"""What a command left in its writable mounts, sealed as drafts of its run; the run's end publishes them (`assets.pending`)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from hermetic.assets.pending import RunDrafts
from hermetic.errors import LeaseEnded
from hermetic.formats.messages.runs import ShowRun

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hermetic.assets.runs import RunHandle
    from hermetic.assets.session import Session
    from hermetic.integrations.mount.content import Content
    from hermetic.integrations.mount.draft_tree import DraftTree

WORKERS = 4  # files sealed at once: most of the time of a small one is waiting for the disk
PIECE = 4 * 1024 * 1024


class Outputs:
    """The names that the mounts of one run write."""

    def __init__(self, session: Session, run: RunHandle, note: Callable[[str], None]) -> None:
        self._session, self._run, self.note = session, run, note
        self._drafts: RunDrafts | None = None
        self._inputs: tuple[str, ...] = ()

    def reserve(self, names: Sequence[str]) -> None:
        """Ask for a draft of each name, so that a refusal comes before the command. Raises what custody refuses with, Conflict."""
        if names:
            self._drafts = RunDrafts(self._session, self._run.scratch)
            for name in names:
                self._drafts.reserve(name)
            self._inputs = self._read_so_far()

    def seal(self, name: str, tree: DraftTree) -> None:
        """Seal every file of a mount into the draft of its name. Raises StorageError, InvalidName, and what custody refuses with."""
        drafts = self._drafts
        files = list(tree.nodes.files())
        if drafts is None or not files:
            self.note(f"nothing was written for {name}, so there is no new version of it")
            return
        if self._read_so_far() != self._inputs or _is_over(drafts, name):
            drafts.renew(name)
        with ThreadPoolExecutor(WORKERS, thread_name_prefix="hermetic-mount-seal") as pool:
            futures = [pool.submit(_seal, drafts, name, file) for file in files]
            try:
                for future in futures:
                    future.result()
            except BaseException:
                for future in futures:
                    future.cancel()
                raise

    def _read_so_far(self) -> tuple[str, ...]:
        return self._session.ask(ShowRun(self._run.id)).inputs


def _is_over(drafts: RunDrafts, name: str) -> bool:
    try:
        drafts.guard(name)
    except LeaseEnded:
        return True
    return False


def _seal(drafts: RunDrafts, name: str, file: tuple[str, Content]) -> None:
    member, content = file
    writer = drafts.add_member(name, member)
    try:
        for offset in range(0, content.size, PIECE):
            for part in content.read(offset, PIECE):
                writer.write(part)
    except BaseException:
        writer.abort()
        raise
    writer.finish()
    content.clear()
