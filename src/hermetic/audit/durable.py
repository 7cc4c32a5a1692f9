"""What one process knows to be durable of a log: a store that lacks it is another one, and gets no entry.

So whoever has seen more goes on neither with a standby that lagged nor with an older copy that was put back, also once others, who
saw less, have made its log the longer one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermetic.audit.pins import FORK_HINT
from hermetic.audit.tree import root_at
from hermetic.errors import LogTampered

if TYPE_CHECKING:
    from hermetic.audit.note import Checkpoint
    from hermetic.audit.tree import NodeReader


class Durable:
    """The largest checkpoint that was committed by this process."""

    def __init__(self) -> None:
        self._checkpoint: Checkpoint | None = None

    @property
    def size(self) -> int:
        """How many entries; 0 before the first commit."""
        return 0 if self._checkpoint is None else self._checkpoint.size

    def note(self, checkpoint: Checkpoint) -> None:
        """Remember it, if it is the largest so far: threads tell in any order."""
        if checkpoint.size > self.size:
            self._checkpoint = checkpoint

    def check_size(self, size: int) -> None:
        """Raise LogTampered for a log that is shorter. Only of a snapshot that began later than what is noted here."""
        if size < self.size:
            raise LogTampered(
                f"the log has {size} entries, and {self.size} were durable: a standby that lagged was promoted, or an "
                "older copy of the custody database was put back",
                hint="bring back the server that has them; `hermetic restore` takes up an older copy, on record",
            )

    def check_continued(self, nodes: NodeReader) -> None:
        """Raise LogTampered for a log, at least as long, that is another one."""
        seen = self._checkpoint
        if seen is not None and root_at(nodes, seen.size) != seen.root:
            raise LogTampered(f"the log does not continue what was durable at size {seen.size}", hint=FORK_HINT)
