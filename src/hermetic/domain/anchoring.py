"""The anchor command: gets every new checkpoint on its standard input, so that it is kept where this user cannot rewrite it.

The command comes from the user's own settings. It has ten seconds; what it says on failure is remembered and shown by `status`. It
refuses nothing: an anchor that is down must not stop work, but it must not go unseen either.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from hermetic.domain.backing import write_state

if TYPE_CHECKING:
    from hermetic.custody.custodian import Custodian

TIMEOUT_S = 10.0


class AnchorCommand:
    """Runs the user's command for each checkpoint."""

    def __init__(self, custodian: Custodian, command: tuple[str, ...]) -> None:
        self._custodian, self._command = custodian, command
        self._last = ""

    def give(self, note: str, size: int) -> None:
        """Hand over a checkpoint, unless it was handed over before."""
        if note == self._last:
            return
        problem = self._run(note)
        if problem is None:
            self._last = note
        said = {"anchor_problem": problem or "", "anchor_ms": str(self._custodian.clock())}
        if problem is None:
            said["anchor_size"] = str(size)
        write_state(self._custodian, said)

    def _run(self, note: str) -> str | None:
        try:
            done = subprocess.run(  # noqa: S603 - the user's own setting, never the project's
                self._command, input=note.encode("utf-8"), capture_output=True, timeout=TIMEOUT_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"the anchor command did not run: {error}"
        if done.returncode != 0:
            return f"the anchor command ended with {done.returncode}: {done.stderr.decode('utf-8', 'replace').strip()[:200]}"
        return None
