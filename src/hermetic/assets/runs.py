"""Executions of code with a declared purpose: `with workspace.run(...)`, and programs started by `hermetic run`.

A run is started on record before anything happens, and ended after its outputs are settled (`pending`): finished when the block or
the program ended well, else failed. Custody records what a run opens and seals; the key of its scratch is destroyed at its end.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from hermetic.assets import facts as run_facts
from hermetic.assets.current import VARIABLE, CurrentRun, entered
from hermetic.assets.drafts import remove_folder
from hermetic.assets.launching import launch
from hermetic.assets.pending import RunDrafts, has_pending
from hermetic.assets.private_tmp import private_folder
from hermetic.assets.scratch import FOLDER, ScratchSpace
from hermetic.assets.session import fresh_id, word
from hermetic.errors import HermeticError, UsageError
from hermetic.formats.messages.base import Pair
from hermetic.formats.messages.runs import ClassDecision, FinishRun, StartRun
from hermetic.ids import DataClass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from hermetic.assets.launching import Surroundings
    from hermetic.assets.private_tmp import PrivateFolder
    from hermetic.assets.session import Session
    from hermetic.formats.findings import Finding
    from hermetic.formats.messages.base import Receipt
    from hermetic.formats.messages.runs import RunRow
    from hermetic.ids import Purpose

    Decisions = Mapping[str, tuple[DataClass | str, str]]
    Around = Callable[["RunHandle", Path], AbstractContextManager[Surroundings]]

FINISHED, FAILED = "finished", "failed"


class RunHandle:
    """A run that is going on. `ended` is custody's record of it once it is over."""

    def __init__(
        self, session: Session, name: str, purpose: Purpose, facts: tuple[Pair, ...], *, decisions: tuple[ClassDecision, ...]
    ) -> None:
        self._session = session
        started = session.ask(StartRun(fresh_id(), name, purpose, facts, decisions=decisions))
        self.id: str = started.run
        self.name, self.purpose = name, purpose
        self.receipt: Receipt = started.receipt
        self.outputs: tuple[str, ...] = ()
        self.ended: RunRow | None = None
        self._scratch: ScratchSpace | None = None

    @property
    def scratch(self) -> ScratchSpace:
        """The run's scratch; its key is asked for at the first use."""
        if self._scratch is None:
            self._scratch = ScratchSpace(self._session, self.id)
        return self._scratch

    def finish(self, *, succeeded: bool, facts: tuple[Pair, ...] = ()) -> None:
        """Settle the outputs, end the run on record, remove its scratch. Raises the error that kept an output from being published."""
        state = FAILED
        try:
            self._settle(succeeded=succeeded)
            state = FINISHED if succeeded else FAILED
        finally:
            self.ended = self._session.ask(FinishRun(self.id, state, facts))
            for store in self._session.connection.stores.values():
                remove_folder(store, f"{FOLDER}/{self.id}")

    def _settle(self, *, succeeded: bool) -> None:
        if has_pending(self._session, self.id):
            published = RunDrafts(self._session, self.scratch).settle(succeeded=succeeded)
            self.outputs = tuple(item.ref for item in published)
        if self._scratch is not None:
            self._scratch.end()


@contextmanager
def run(
    session: Session,
    name: str,
    *,
    purpose: Purpose | str | None = None,
    parameters: Mapping[str, str] | None = None,
    decisions: Decisions | None = None,
) -> Iterator[RunHandle]:
    """Make everything inside the block part of a new run. See Workspace.run."""
    facts = run_facts.gather([sys.executable, *sys.argv], Path.cwd(), parameters=parameters)
    handle = RunHandle(session, name, _declared(session, purpose), facts, decisions=_decisions(decisions))
    succeeded = False
    try:
        with entered(CurrentRun(handle.id, session.domain, session)):
            yield handle
        succeeded = True
    except SystemExit as end:
        succeeded = end.code in {None, 0}
        raise
    finally:
        if succeeded:
            handle.finish(succeeded=True)
        else:
            with suppress(HermeticError):  # the error that ended the block is the one to tell
                handle.finish(succeeded=False)


def run_command(
    session: Session,
    name: str,
    argv: Sequence[str],
    *,
    purpose: Purpose | str | None = None,
    parameters: Mapping[str, str] | None = None,
    decisions: Decisions | None = None,
    tell: Callable[[Finding], None] | None = None,
    around: Around | None = None,
) -> tuple[int, RunHandle]:
    """Run a program as a run and return its exit code and the ended run. See Workspace.run_command."""
    if not argv:
        raise UsageError("no program was named", hint="write the command after --")
    declared, decided = _declared(session, purpose), _decisions(decisions)
    facts = run_facts.gather(argv, Path.cwd(), parameters=parameters)
    with private_folder() as folder:
        for finding in folder.findings:
            if tell is not None:
                tell(finding)
        noted = (*facts, *(Pair(f"finding.{finding.code}", finding.subject) for finding in folder.findings))
        handle = RunHandle(session, name, declared, (*noted, Pair("temporary-folder", folder.kind)), decisions=decided)
        environment = {**os.environ, VARIABLE: handle.id, "TMPDIR": str(folder.path)}
        code: int | None = None
        succeeded = False
        try:
            with around(handle, folder.path) if around is not None else nullcontext() as surroundings:
                code = launch(argv, environment, _enter_both(folder, surroundings))
                if surroundings is not None:
                    surroundings.ended(succeeded=code == 0)
            succeeded = code == 0
        finally:
            outcome = (Pair("exit-code", "not started" if code is None else str(code)),)
            handle.finish(succeeded=succeeded, facts=outcome)
        return code, handle


def _enter_both(folder: PrivateFolder, surroundings: Surroundings | None) -> Callable[[], None]:
    def enter() -> None:
        folder.enter()
        if surroundings is not None:
            surroundings.enter()

    return enter


def _decisions(decisions: Decisions | None) -> tuple[ClassDecision, ...]:
    return tuple(ClassDecision(name, word(DataClass, kind), reason) for name, (kind, reason) in (decisions or {}).items())


def _declared(session: Session, purpose: Purpose | str | None) -> Purpose:
    declared = session.purpose_for(purpose, None)
    if declared is None:
        raise UsageError("a run needs a purpose", hint="write --purpose train, or another reason; `hermetic policy show` lists them")
    return declared
