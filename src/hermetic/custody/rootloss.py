"""A root that somebody else has: marked as compromised, and what it could open told until all of that was changed.

Marking is refused until the domain can do without the root, as before a drop: another root is active, opens the domain secret, and
every key. From then on nothing is wrapped under it, and it opens for recovery and re-encryption only. That takes nothing back: `key
compromise` for each KEK, and new signing keys, do what can be done (docs/runbooks/root-stolen.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermetic.custody import rootwork
from hermetic.errors import Conflict, UsageError
from hermetic.formats.findings import Finding
from hermetic.ids import KeyState
from hermetic.keys import migration, root_exposure

if TYPE_CHECKING:
    from hermetic.custody.call import Call
    from hermetic.db.rows import ReadSession
    from hermetic.keys.root_exposure import Exposure
    from hermetic.keys.roots import Root

CODE = "root-compromised"
NAMED = 5  # KEKs in a finding


def require_doing_without(call: Call, root: Root, reason: str) -> None:
    """See that the domain can do without a root before it is marked. Raises UsageError, Conflict, and what a wrong slot raises."""
    if not reason.strip():
        raise UsageError("a root is compromised for a reason", hint="--reason TEXT goes on record")
    if root.state is KeyState.DESTROYED:
        raise Conflict(
            f"root {root.root_id} was dropped before",
            hint="`hermetic key compromise KEK` for each key that it opened: hermetic key ls",
        )
    with call.custodian.database.read(call.custodian.row_keys) as session:
        rootwork.require_another(session, root)
        migration.check_without(session, call.custodian.anchors, root.root_id)
    rootwork.require_opening_without(call, root)


def finding(session: ReadSession, root: Root) -> Finding | None:
    """Return what is still to do about a compromised root; None for another, and when all that it could open was changed."""
    left = root_exposure.remaining(session, root)
    return Finding(CODE, "high", root.provider_uri, _message(root, left), _remedy(left)) if left else None


def _message(root: Root, left: Exposure) -> str:
    said = []
    if left.keks:
        named = ", ".join(left.keks[:NAMED]) + (f" and {len(left.keks) - NAMED} more" if len(left.keks) > NAMED else "")
        said.append(f"{len(left.keks)} keys that are not revoked ({named})")
    if left.signing:
        said.append(f"{len(left.signing)} keys that sign")
    if left.authorities:
        said.append(f"{len(left.authorities)} keys that sign certificates")
    return f"whoever has root {root.root_id[:8]} opens everything that was sealed under it, with {' and '.join(said)}"


def _remedy(left: Exposure) -> str:
    ways = []
    if left.signing:  # first: what is sealed anew before is signed by the old key, and then in doubt
        ways.append("hermetic key signing rotate log --compromised-after ENTRY, and the same for manifest")
    if left.authorities:
        ways.append("hermetic identity authority rotate --root, and retire the old root once clients have renewed")
    if left.keks:
        ways.append(f"hermetic key compromise {left.keks[0]} --reason WHY, for each")
    return "; ".join(ways) + ": docs/runbooks/root-stolen.md"
