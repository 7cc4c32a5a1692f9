"""What retired suites sealed: a plan of it, and sealing it anew with the suite that its class names now.

    1  find            every published version whose suite the policy retires, and that was not sealed anew yet
    2  seal anew       each as the next version of its asset, oldest first: new data key, new ciphertext, new signature, lineage
    3  verify          signature and every stored byte of the new version

It may be interrupted, and repeated. The old versions stay, on record, until their retention ends or `key shred`; what a weak suite has
given away cannot be taken back. Versions of before suites were noted are sealed anew where they may have a retired one.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermetic.formats.findings import Finding
from hermetic.formats.messages.suites import ListSuites
from hermetic.recovery import anew
from hermetic.steps import reached

if TYPE_CHECKING:
    from collections.abc import Callable

    from hermetic.assets.workspace import Workspace
    from hermetic.errors import HermeticError
    from hermetic.formats.messages.suites import SuiteRow
    from hermetic.recovery.anew import Affected, Anew


@dataclass(frozen=True, slots=True)
class Planned:
    """A version that is to be sealed anew: its suites, and its length in bytes."""

    ref: str
    suites: tuple[str, ...]
    bytes: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What hangs on each suite, what would be sealed anew, and how many versions were before."""

    suites: tuple[SuiteRow, ...]
    versions: tuple[Planned, ...]
    before: int

    @property
    def bytes(self) -> int:
        """Bytes of plaintext to seal anew."""
        return sum(one.bytes for one in self.versions)


@dataclass(frozen=True, slots=True)
class Report:
    """What was sealed anew; `failed` says what is still to do."""

    anew: tuple[Anew, ...]
    before: int
    failed: tuple[Finding, ...]
    seconds: float


def plan(h: Workspace) -> Plan:
    """Say what there is to do. Raises PolicyDenied."""
    rows, affected = _find(h)
    versions = tuple(Planned(details.ref, details.suites, details.length) for details in affected.versions)
    return Plan(rows, versions, affected.before)


def reseal_retired(h: Workspace, *, advance: Callable[[int], None] = lambda _count: None) -> Report:
    """Seal anew what retired suites sealed. Raises PolicyDenied; what fails later is a finding, and the rest goes on."""
    start = time.monotonic()
    _, affected = _find(h)
    made, failed = anew.seal_all(h, affected, _failure, after_each=lambda: reached("recovery.suites.anew"), advance=advance)
    return Report(tuple(made), affected.before, tuple(failed), time.monotonic() - start)


def _find(h: Workspace) -> tuple[tuple[SuiteRow, ...], Affected]:
    rows = h.connection.ask(ListSuites()).suites
    retired = {row.suites for row in rows if row.retired}
    return rows, anew.find(h, lambda details: details.suites in retired)


def _failure(ref: str, error: HermeticError) -> Finding:
    remedy = error.hint or "mend what it says, then run the command again"
    return Finding("not-sealed-anew", "medium", ref, f"it is still sealed with a retired suite: {error.message}", remedy)
