"""The anchor command: gets every new checkpoint on its standard input, so that it is kept where this user cannot rewrite it.

The command comes from the user's own settings. It has ten seconds; what it says on failure is remembered and shown by `status`. It
refuses nothing: an anchor that is down must not stop work, but it must not go unseen either. After a failure it rests for a minute,
so that work is not slowed by ten seconds a step; the checkpoint given then covers everything in between.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from typing import TYPE_CHECKING

from hermetic.audit.tables_store import TablesStore
from hermetic.custody.looking import look
from hermetic.domain.backing import write_state
from hermetic.providers.place import boot_ms

if TYPE_CHECKING:
    from collections.abc import Callable

    from hermetic.custody.custodian import Custodian

TIMEOUT_S = 10.0
REST_MS = 60_000
SAID = 200  # characters of what a failing command says


class AnchorCommand:
    """Runs the user's command for each checkpoint. `boot` is a clock in milliseconds that nobody sets."""

    def __init__(
        self,
        custodian: Custodian,
        command: tuple[str, ...],
        *,
        timeout_s: float = TIMEOUT_S,
        boot: Callable[[], int] = boot_ms,
    ) -> None:
        self._custodian, self._command, self._timeout_s, self._boot = custodian, command, timeout_s, boot
        self._last = ""
        self._failed: int | None = None

    def give_newest(self) -> None:
        """Hand over the newest checkpoint, unless it was handed over before or the command failed a moment ago."""
        if self._failed is not None and self._boot() - self._failed < REST_MS:
            return
        checkpoint, note = look(self._custodian, lambda session: self._custodian.log.head(TablesStore(session.connection)))
        self.give(str(note), checkpoint.size)

    def give(self, note: str, size: int) -> None:
        """Hand over a checkpoint, unless it was handed over before."""
        if note == self._last:
            return
        problem = self._run(note)
        self._failed = None if problem is None else self._boot()
        said = {"anchor_problem": problem or "", "anchor_ms": str(self._custodian.clock())}
        if problem is None:
            self._last = note
            said["anchor_size"] = str(size)
        write_state(self._custodian, said)

    def _run(self, note: str) -> str | None:
        """Return what went wrong. The command runs apart from the terminal and outside the project, with everything it starts."""
        try:
            with subprocess.Popen(  # noqa: S603 - the user's own setting, never the project's
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                cwd="/",
                start_new_session=True,
            ) as process:
                return self._wait(process, note)
        except (OSError, ValueError) as error:
            return f"the anchor command did not run: {error}"

    def _wait(self, process: subprocess.Popen[bytes], note: str) -> str | None:
        try:
            _, said = process.communicate(note.encode("utf-8"), timeout=self._timeout_s)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            return f"the anchor command did not end within {self._timeout_s:g} seconds"
        if process.returncode != 0:
            return f"the anchor command ended with {process.returncode}: {said.decode('utf-8', 'replace').strip()[:SAID]}"
        return None
