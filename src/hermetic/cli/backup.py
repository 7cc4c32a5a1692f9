"""`hermetic backup …`: the encrypted copy of custody."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hermetic.cli import findings as findings_blocks
from hermetic.cli.blocks import Facts, Mark
from hermetic.cli.lazy import Group
from hermetic.cli.options import exit_with, output
from hermetic.cli.session import connected
from hermetic.cli.words import moment
from hermetic.errors import StorageError
from hermetic.evidence.status import backup_answer
from hermetic.evidence.upkeep import backup_findings
from hermetic.formats.messages.domain import GatherFacts, TakeBackup

if TYPE_CHECKING:
    from hermetic.cli.out import Out


@click.group(cls=Group, invoke_without_command=True)
@click.pass_context
def backup(ctx: click.Context) -> int:
    """Encrypted copies of custody: state, and bring up to date."""
    if ctx.invoked_subcommand is not None:
        return 0
    code: int = ctx.invoke(status, as_json=False)
    return code


@backup.command()
@output
def status(out: Out) -> int:
    """Say where the copy lies and how far it is behind.

    Exits with 7 if there is none, it is failing, or nobody ever opened anything from it.
    """
    with connected() as connection:
        facts = connection.ask(GatherFacts())
    answer = backup_answer(facts)
    findings = tuple(backup_findings(facts, answer))
    state = [
        ("place", answer.place or Mark("none", "warn")),
        ("last copy", f"{moment(answer.last_ms)}, {answer.behind} log entries behind"),
        ("last restore check", moment(answer.checked_ms) if answer.checked_ms else Mark("never", "warn")),
        ("recovery passphrase", "set" if answer.has_recovery else Mark("not set", "warn")),
    ]
    out.emit({"backup": answer, "findings": findings}, Facts(state), *findings_blocks.blocks(findings))
    return exit_with(findings)


@backup.command()
@output
def now(out: Out) -> int:
    """Bring the copy up to date now.

    Custody does so after every change; this is for a backup place that was away.
    """
    with connected() as connection:
        state = connection.ask(TakeBackup())
    if state.problem is not None:
        raise StorageError(f"the backup is not up to date: {state.problem}", hint="hermetic backup status")
    facts = [("place", state.place), ("copied", moment(state.last_ms)), ("up to log entry", state.log_size)]
    out.emit(state, Facts(facts))
    return 0
