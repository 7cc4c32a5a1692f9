"""What a Workspace does with runs."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from hermetic import assets
from hermetic.domain.listing import every
from hermetic.formats import messages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from hermetic.assets.runs import Around, Decisions, RunHandle
    from hermetic.assets.session import Session
    from hermetic.formats.findings import Finding
    from hermetic.formats.messages.runs import RunRow
    from hermetic.ids import Purpose


class RunMethods:
    """The part of Workspace that is about runs."""

    session: Session

    @contextmanager
    def run(
        self,
        name: str,
        *,
        purpose: Purpose | str | None = None,
        parameters: Mapping[str, str] | None = None,
        decisions: Decisions | None = None,
    ) -> Iterator[RunHandle]:
        """Make everything inside the block part of a run: its purpose is declared by default, its reads and writes are lineage.

        Code version, command, packages and `parameters` go on record. Files written to `hermetic://` names inside are published
        when the block ends well, and abandoned when it raises.

        `decisions` maps names of assets to (class, reason): what the run writes there may be of that class although what it has
        read is stricter. The reason goes on record.
        """
        with assets.runs.run(self.session, name, purpose=purpose, parameters=parameters, decisions=decisions) as handle:
            yield handle

    def run_command(
        self,
        name: str,
        argv: Sequence[str],
        *,
        purpose: Purpose | str | None = None,
        parameters: Mapping[str, str] | None = None,
        decisions: Decisions | None = None,
        tell: Callable[[Finding], None] | None = None,
        around: Around | None = None,
    ) -> tuple[int, RunHandle]:
        """Run a program as a run; return its exit code (128 + N if signal N ended it) and the ended run.

        The program gets the caller's environment, HERMETIC_RUN, a TMPDIR that stays in memory, and no core dumps. `tell` is called
        with each finding, for example swap that is not encrypted, before the program starts. `decisions` as for `run`. `around` makes
        what the program gets beside that, from the run and its private folder (`hermetic.integrations.mount`).
        """
        return assets.runs.run_command(
            self.session, name, argv, purpose=purpose, parameters=parameters, decisions=decisions, tell=tell, around=around
        )

    def runs(self, *, limit: int = 100) -> tuple[RunRow, ...]:
        """Return the latest runs first."""
        return every(self.session.ask, messages.runs.ListRuns(limit), "runs", most=limit)

    def show_run(self, run: str) -> RunRow:
        """Return one run with what it read and wrote."""
        return self.session.ask(messages.runs.ShowRun(run))
