"""`hermetic key root …` and `hermetic key providers`: the roots that keys are wrapped under, and the providers that hold them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hermetic.cli import key_places
from hermetic.cli.blocks import Block, Cell, Facts, Heading, Line, Mark, Table
from hermetic.cli.init import NEEDS_UNLOCK, parsed_settings
from hermetic.cli.key_root_upkeep import STATE, compromise, find_root, rewrap
from hermetic.cli.lazy import Group
from hermetic.cli.options import output, passphrase_file, reason
from hermetic.cli.passphrase import asker, has_terminal
from hermetic.cli.session import connected
from hermetic.cli.words import count, moment
from hermetic.errors import UsageError
from hermetic.formats.messages.roots import CheckRoots, DropRoot, ListRoots, SetRootState
from hermetic.ids import KeyState

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hermetic.cli.out import Out
    from hermetic.crypto.secret import Secret
    from hermetic.domain.connect import Connection
    from hermetic.formats.messages.roots import ProviderReport, RootRow

CONTRADICTED = 1
_STATUS = {"ready": "good", "locked": "warn", "unreachable": "bad", "absent": "bad"}
_OUTCOME = {"enforced": "good", "not enforced": "warn"}


@click.group(cls=Group)
def root() -> None:
    """Roots: add, suspend, drop; how a domain moves from one provider to another.

    ROOT is an id or the beginning of it. A domain may have several roots, each of which opens every key.
    """


@root.command()
@click.argument("uri")
@click.option("--setting", "settings", metavar="NAME=VALUE", multiple=True, help="How the provider is reached; kept in config.yaml.")
@passphrase_file()
@reason(required=False)
@output
def add(out: Out, *, uri: str, settings: tuple[str, ...], passphrase_file: Path | None, reason: str) -> int:
    """Add a root, and wrap every key under it too.

    Sealed data stays as it is. An interrupted `add` is taken up by the same command.
    """
    from hermetic.domain import root_moves  # noqa: PLC0415 - brings the providers

    if ":" not in uri:
        raise UsageError(f"{uri!r} does not say where a root lives", hint=f"write {NEEDS_UNLOCK}, or another provider's URI")
    ask = _asker(passphrase_file)
    with connected() as connection, out.progress("wrapping keys", None) as advance:
        changed = root_moves.add_root(
            connection, uri, reason=reason, settings=parsed_settings(settings), ask=ask, progress=lambda added, _left: advance(added)
        )
    return _shown(out, "added", changed.root, None if changed.receipt is None else changed.receipt.index)


def _asker(file: Path | None) -> Callable[..., Secret] | None:
    return asker(file, confirm=True) if file is not None or has_terminal() else None


@root.command(name="ls")
@output
def ls(out: Out) -> int:
    """List the roots: where each lives, its state, and how many keys it opens."""
    with connected() as connection:
        found = connection.ask(ListRoots()).roots
    out.emit({"roots": found}, _table(found))
    return 0


@root.command()
@click.argument("root")
@reason()
@output
def suspend(out: Out, *, root: str, reason: str) -> int:
    """Do without a root for now, as when its provider is down; new keys get no slot under it until `key root resume`."""
    return _change(out, root, "suspend", reason)


@root.command()
@click.argument("root")
@reason(required=False)
@output
def resume(out: Out, *, root: str, reason: str) -> int:
    """Take a suspended root back: wrap under it what was made meanwhile. Finishes an `add` that was interrupted, too."""
    from hermetic.domain import root_moves  # noqa: PLC0415 - brings the providers

    with connected() as connection:
        changed = root_moves.resume(connection, find_root(connection, root), reason=reason)
    return _shown(out, "resumed", changed.root, None if changed.receipt is None else changed.receipt.index)


@root.command()
@click.argument("root")
@reason()
@output
def deactivate(out: Out, *, root: str, reason: str) -> int:
    """Wrap nothing new under a root; it still opens what it has. Not to be taken back: the step before `key root drop`."""
    return _change(out, root, "deactivate", reason)


@root.command()
@click.argument("root")
@reason()
@output
def drop(out: Out, *, root: str, reason: str) -> int:
    """Delete every wrap under a root and wipe what this machine keeps of it.

    Refused while a key hangs on it alone; every key is opened through another root first. An interrupted `drop` is taken up by the
    same command. A key inside a service or device is not deleted there.
    """
    with connected() as connection:
        row = find_root(connection, root)
        recovery = connection.config.backup_place is not None and _recoverable(connection)
        done = connection.ask(DropRoot(row.root, reason))
        lost = recovery and not _recoverable(connection)
    if lost:
        out.warn("the recovery passphrase went with this root; set it anew: hermetic backup now --recovery-passphrase-file FILE")
    facts: list[tuple[str, Cell]] = [
        ("dropped", Mark(done.root.root, "name")),
        ("provider", done.root.provider),
        ("wraps deleted", str(done.slots)),
        ("root itself", done.material),
    ]
    out.emit({"root": done.root, "slots": done.slots, "material": done.material, "log_index": done.receipt.index}, Facts(facts))
    return 0


root.add_command(compromise)
root.add_command(rewrap)


@click.command()
@click.option("--check", is_flag=True, help="Try what each provider enforces, for about a second each.")
@click.argument("uri", required=False)
@output
def providers(out: Out, *, check: bool, uri: str | None) -> int:
    """List the providers of this domain's roots, or --check what they enforce.

    The report is measured, not claimed. With URI, a root is made there for the test, in a folder that is removed. Exit code 1 only if
    a provider does not do what it promises.
    """
    if uri is not None and not check:
        raise UsageError("a URI is given to be tried", hint=f"hermetic key providers --check {uri}")
    if not check:
        return _list(out)
    reports = _tried(uri)
    blocks = [block for report in reports for block in _report(report)]
    out.emit({"providers": reports}, *blocks)
    return CONTRADICTED if any(probe.contradicts for report in reports for probe in report.probes) else 0


def _list(out: Out) -> int:
    with connected() as connection:
        found = [row for row in connection.ask(ListRoots()).roots if row.state != KeyState.DESTROYED]
    rows = [
        (
            row.provider,
            Mark(row.root[:8], "name"),
            Mark(row.state, STATE.get(row.state, "dim")),
            Mark(row.status, _STATUS.get(row.status, "dim")),
            "yes" if row.root_in_process else "no",
            moment(row.expires_ms) if row.expires_ms is not None else "-",
            ", ".join(pair.name for pair in row.findings) or "-",
        )
        for row in found
    ]
    out.emit(
        {"providers": found},
        Table(("provider", "root", "state", "now", "root in process", "open until", "findings"), rows, frozenset()),
    )
    return 0


def _tried(uri: str | None) -> tuple[ProviderReport, ...]:
    if uri is None:
        with connected() as connection:
            return connection.ask(CheckRoots()).reports
    from hermetic.domain import root_trial  # noqa: PLC0415 - brings the providers

    return (root_trial.try_provider(uri),)


def _report(report: ProviderReport) -> list[Block]:
    facts: list[tuple[str, Cell]] = [
        ("now", Mark(report.status, _STATUS.get(report.status, "dim"))),
        ("root in process", "yes" if report.root_in_process else "no"),
    ]
    if report.detail:
        facts.insert(1, ("detail", report.detail))
    if report.wraps_per_s:
        facts.append(("wraps", f"{report.wraps_per_s:,}/s, p50 {report.wrap_p50_us:,} µs"))
        facts.append(("unwraps", f"{report.unwraps_per_s:,}/s, p50 {report.unwrap_p50_us:,} µs"))
    probes = [(probe.name, _outcome(probe.outcome, contradicts=probe.contradicts), probe.how) for probe in report.probes]
    lasting = {True: Mark("stands", "good"), False: Mark("exposed", "bad"), None: Mark("unknown", "warn")}
    protections = [(item.part, item.algorithm, lasting[item.lasts], item.how) for item in report.protections]
    return [
        Heading(f"{report.provider}  {report.root[:8]}"),
        Facts(facts, 2),
        Table(("probe", "outcome", "how it was found out"), probes, frozenset(), empty="not tried"),
        Heading("Recorded today, opened later"),
        Table(("part", "algorithm", "quantum computer", "where from"), protections, frozenset()),
        *(Line(Mark(f"{pair.name}: {pair.value}", "warn"), 2) for pair in report.findings),
    ]


def _outcome(outcome: str, *, contradicts: bool) -> Mark:
    return Mark(f"{outcome}, though promised" if contradicts else outcome, "bad" if contradicts else _OUTCOME.get(outcome, "dim"))


def _change(out: Out, root: str, verb: str, reason: str) -> int:
    with connected() as connection:
        changed = connection.ask(SetRootState(find_root(connection, root).root, verb, reason))
    done = {"suspend": "suspended", "deactivate": "deactivated"}[verb]
    for alone in (pair.value for pair in changed.root.findings if pair.name == key_places.ALONE):
        out.warn(f"{alone}: " + ("they open again after resume" if verb == "suspend" else "rewrap them before it is dropped"))
    return _shown(out, done, changed.root, None if changed.receipt is None else changed.receipt.index)


def _recoverable(connection: Connection) -> bool:
    """Whether the backup place holds a recovery wrap, as custody remembers it."""
    from hermetic.formats.messages.domain import GatherFacts  # noqa: PLC0415 - after a drop only

    return any((pair.name, pair.value) == ("has_recovery", "true") for pair in connection.ask(GatherFacts()).backup)


def _shown(out: Out, done: str, row: RootRow, index: int | None) -> int:
    facts: list[tuple[str, Cell]] = [
        (done, Mark(row.root, "name")),
        ("provider", row.provider),
        ("state", Mark(row.state, STATE.get(row.state, "dim"))),
        ("opens", f"{row.slots} of {count(row.keys, 'key')}"),
    ]
    out.emit({"root": row, "log_index": index}, Facts(facts))
    return 0


def _table(found: tuple[RootRow, ...]) -> Table:
    rows = [
        (
            Mark(row.root[:8], "name"),
            row.provider,
            Mark(row.state, STATE.get(row.state, "dim")),
            "-" if row.state == KeyState.DESTROYED else Mark(row.status, _STATUS.get(row.status, "dim")),
            f"{row.slots} of {row.keys}",
            "yes" if row.opens_domain else "no",
            moment(row.created_ms)[:16],
        )
        for row in found
    ]
    return Table(("root", "provider", "state", "now", "keys", "opens the domain", "made"), rows, frozenset({"keys"}))
