"""The playbook for a key that somebody else has: everything it could open is sealed anew, and the report says when what was done.

    1  revoke          every version of the KEK is marked as compromised, leases end at their next check, new data gets a new version
    2  find            every published version whose data key hangs on a compromised version of it, oldest first
    3  seal anew       each as the next version of its asset, with a new data key, new ciphertext, a new signature
    4  verify          signature and every stored byte of the new version
    5  report          old and new of each, how long it took, and what failed

Rewrapping would not do: whoever had the KEK may have copied the data keys. What has been read cannot be un-read, and the old
ciphertext is still there: `hermetic key shred` ends what this domain can do with it.

It may be interrupted and repeated with `go_on`: what was sealed anew says in its labels of what, and is passed over.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermetic.formats.findings import Finding
from hermetic.formats.messages.keys import ChangeKeyState, ShowKey
from hermetic.ids import KeyState
from hermetic.recovery import anew
from hermetic.recovery.anew import Anew
from hermetic.steps import reached

if TYPE_CHECKING:
    from collections.abc import Callable

    from hermetic.assets.workspace import Workspace
    from hermetic.errors import HermeticError
    from hermetic.formats.messages.keys import KeyRow

__all__ = ["Anew", "Report", "compromise"]


@dataclass(frozen=True, slots=True)
class Report:
    """What the playbook did. `failed` says what is still to do.

    `revoke_s` is the time until no new release was possible; None where an earlier run had revoked.
    """

    key: KeyRow
    revoke_s: float | None
    anew: tuple[Anew, ...]
    before: int
    failed: tuple[Finding, ...]
    seconds: float


def compromise(
    h: Workspace, kek: str, reason: str, *, go_on: bool = False, advance: Callable[[int], None] = lambda _count: None
) -> Report:
    """Run the playbook for the KEK that `kek` names; with `go_on` an earlier run that was interrupted goes on.

    Raises NotFound, PolicyDenied, KeyUnusable from step 1. What fails later is a finding, and the rest goes on.
    """
    start = time.monotonic()
    # 1. Nothing is released under it any more.
    row = h.connection.ask(ShowKey(kek))
    if not go_on:
        row = h.connection.ask(ChangeKeyState(row.kek, "revoke", reason)).key
    revoked = None if go_on else time.monotonic() - start
    reached("recovery.compromise.revoked")
    # 2. to 4. Everything that it could open.
    lost = {item.number for item in row.versions if item.state == KeyState.COMPROMISED}
    affected = anew.find(h, lambda details: details.kek == row.kek and details.kek_number in lost)
    made, failed = anew.seal_all(h, affected, _failure, after_each=lambda: reached("recovery.compromise.anew"), advance=advance)
    # 5.
    now = h.connection.ask(ShowKey(row.kek))
    return Report(now, revoked, tuple(made), affected.before, tuple(failed), time.monotonic() - start)


def _failure(ref: str, error: HermeticError) -> Finding:
    remedy = error.hint or "mend what it says, then run the command again with --go-on"
    return Finding("not-sealed-anew", "high", ref, f"it still hangs on the compromised key: {error.message}", remedy)
