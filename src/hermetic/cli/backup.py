"""`hermetic backup …`: the encrypted copy of custody."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hermetic.cli import around, key_places
from hermetic.cli import findings as findings_blocks
from hermetic.cli.blocks import Cell, Facts, Mark
from hermetic.cli.lazy import Group
from hermetic.cli.options import exit_with, output, passphrase_file
from hermetic.cli.passphrase import asker, from_file, has_terminal
from hermetic.cli.session import connected, own_custody
from hermetic.cli.words import moment, size
from hermetic.errors import StorageError, UsageError
from hermetic.evidence import elsewhere
from hermetic.evidence.status import backup_answer
from hermetic.evidence.upkeep import backup_findings, recovery_roots
from hermetic.formats.messages.backup import TakeBackup
from hermetic.formats.messages.domain import GatherFacts

if TYPE_CHECKING:
    from hermetic.cli.out import Out
    from hermetic.domain.connect import Connection
    from hermetic.recovery.objects import Copied


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
        facts, apart = connection.ask(GatherFacts()), connection.apart
    answer = backup_answer(facts)
    findings, held = tuple(backup_findings(facts, answer)), recovery_roots(facts)
    if apart:
        findings = elsewhere.told(findings, ())
    state = [
        ("place", answer.place or Mark("none", "warn")),
        ("last copy", f"{moment(answer.last_ms)}, {answer.behind} log entries behind"),
        ("last restore check", moment(answer.checked_ms) if answer.checked_ms else Mark("never", "warn")),
        ("recovery passphrase", "set" if answer.has_recovery else "not set"),
        ("recovery roots", ", ".join(f"{number} in {holder}" for holder, number in held.items() if number) or "none"),
    ]
    out.emit({"backup": answer, "recovery_roots": held, "findings": findings}, Facts(state), *findings_blocks.blocks(findings))
    return exit_with(findings)


@backup.command()
@click.option("--with-objects", is_flag=True, help="Copy sealed objects and manifests there too, what is missing.")
@passphrase_file("recovery-passphrase")
@output
def now(out: Out, *, with_objects: bool, recovery_passphrase_file: Path | None) -> int:
    """Bring the copy up to date now.

    Custody does so after every change; this is for a backup place that was away. --recovery-passphrase-file sets the passphrase that
    opens the copy on another machine, or replaces it; that goes on record.
    """
    if with_objects or recovery_passphrase_file is not None:
        own_custody()
    with connected() as connection:
        if connection.config.backup_place is None and not connection.apart:
            settings = around.own(connection).settings
            raise UsageError("this domain has no backup place", hint=f"add a line to {settings}: `backup: {{place: /another/disk}}`")
        if recovery_passphrase_file is not None:
            _set_recovery(connection, recovery_passphrase_file)
        state = connection.ask(TakeBackup())
        if state.problem is not None:
            hint = "hermetic backup status; if this domain was restored elsewhere, go on there: this machine's custody is stale"
            raise StorageError(f"the backup is not up to date: {state.problem}", hint=hint)
        objects = with_objects or (connection.config.backup_objects and not connection.apart)
        copied = _copy_objects(out, connection, state.place) if objects else None
        key_places.warn(out, connection)
    facts: list[tuple[str, Cell]] = [
        ("place", state.place or ""),
        ("copied", moment(state.last_ms)),
        ("up to log entry", state.log_size),
    ]
    if copied is not None:
        facts.append(("objects", f"{copied.objects} copied, {size(copied.bytes)}; {copied.versions} versions looked at"))
    findings = copied.findings if copied is not None else []
    out.emit({**asdict(state), "objects": copied}, Facts(facts), *(findings_blocks.blocks(findings) if findings else ()))
    return exit_with(findings)


def _set_recovery(connection: Connection, file: Path) -> None:
    from hermetic.domain.recovery_wrap import set_recovery  # noqa: PLC0415 - brings the providers

    passphrase = from_file(file)
    try:
        set_recovery(connection, passphrase, ask=asker(None) if has_terminal() else None)
    finally:
        passphrase.wipe()  # also after a refusal


def _copy_objects(out: Out, connection: Connection, place: str | None) -> Copied:
    from hermetic.recovery.objects import copy_out  # noqa: PLC0415 - most copies are without objects

    with out.progress("copying objects") as advance:
        return copy_out(connection, Path(place or ""), advance)
