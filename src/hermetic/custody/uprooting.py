"""Dropping a root: its slots, its row, its entry in domain.json, and what this machine keeps of it, in that order.

Nothing goes before every key was opened through another root. Whatever a crash leaves, the next drop finishes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermetic.custody import campaigns, rootwork
from hermetic.custody.decide import still_the_same
from hermetic.custody.work import unit
from hermetic.errors import Conflict, UsageError
from hermetic.formats.binary_text import to_base64url
from hermetic.formats.messages.roots import DropRoot, RootDropped
from hermetic.ids import KeyState
from hermetic.keys import migration, roots, secret_keys

if TYPE_CHECKING:
    from hermetic.custody.call import Call
    from hermetic.custody.callers import Caller
    from hermetic.keys.roots import Root

BATCH = 400  # slots in one transaction: what one log entry can commit to, with room


def drop_root(call: Call, request: DropRoot) -> RootDropped:
    """Delete a root's slots, take it out of domain.json, wipe it. Raises Conflict while it is active or anything hangs on it alone."""
    if not request.reason.strip():
        raise UsageError("a root is dropped for a reason", hint="--reason TEXT goes on record")
    caller, root = rootwork.changer(call, request.root, _scope)
    begun = root.state is KeyState.DESTROYED
    if begun and "wiped_ms" in root.parameters:
        raise Conflict(f"root {root.root_id} is dropped already")
    count = 0 if begun else _drop_slots(call, caller, root, request.reason)
    custodian, home = call.custodian, rootwork.home_of(call)
    with unit(custodian, "custody.root.wiped", call.now_ms) as work:
        if begun:
            still_the_same(call, work.session, caller)
        if rootwork.entry(home, root, of_any=True) is not None:
            home.put(home.file().without_root(root.root_id))
        material = home.remove(root.provider_uri, root.root_id)
        roots.note(work.session, root.root_id, wiped_ms=call.now_ms)
        campaigns.end(work.session, _scope(root))
        rootwork.log_change(work, caller, ("root.wiped", ""), {"root": root.root_id, "material": material})
    return RootDropped(rootwork.show(call, root.root_id), count, material, rootwork.receipt_of(call, work))


def _scope(root: Root) -> str:
    """Name what one approval is for: the whole drop, also when it stops half-way and is finished by another one."""
    return f"drop-root/{root.root_id}"


def _drop_slots(call: Call, caller: Caller, root: Root, reason: str) -> int:
    """Delete every slot of a root and mark it destroyed; return how many went. What they held is searched for in the files.

    Batches keep transactions short. The first asks once more whether the caller may, which may use up a grant or approvals.
    """
    custodian, gone = call.custodian, list[bytes]()
    if root.state is KeyState.ACTIVE:
        raise Conflict("an active root cannot be dropped", hint=f"`hermetic key root deactivate {root.root_id}` first")
    with custodian.database.read(custodian.row_keys) as session:
        rootwork.require_another(session, root)
        migration.check_without(session, custodian.anchors, root.root_id)
        signing = [wraps[root.root_id] for _, wraps in secret_keys.wraps_of(session) if root.root_id in wraps]
    rootwork.require_opening_without(call, root)
    while True:
        with unit(custodian, "custody.root.reduced", call.now_ms) as work:
            if not gone:
                still_the_same(call, work.session, caller)
            rootwork.require_another(work.session, root)
            batch = migration.drop_keks(work.session, root.root_id, limit=BATCH)
            if batch:
                rootwork.log_change(work, caller, ("root.reduced", ""), {"root": root.root_id, "count": len(batch)})
        gone += batch
        if len(batch) < BATCH:
            break
    with unit(custodian, "custody.root.dropped", call.now_ms) as work:
        rootwork.require_another(work.session, root)
        count = len(gone) + migration.drop_root(work.session, root.root_id)
        rootwork.log_change(
            work, caller, ("root.removed", reason), {"root": root.root_id, "provider": root.provider_uri, "slots": count}
        )
    custodian.scrub([*gone, *(to_base64url(wrapped).encode("ascii") for wrapped in signing)])
    return count
