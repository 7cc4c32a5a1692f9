"""Who answers for a KEK, whom to call in an emergency, how often it is rotated: changed on record, by those who administer keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermetic.audit.leaf import Entry, Hidden
from hermetic.custody.decide import still_the_same
from hermetic.custody.keyring import administrator, key_changed
from hermetic.custody.work import unit
from hermetic.errors import UsageError
from hermetic.keys import contacts, hierarchy
from hermetic.keys import kek as keks

if TYPE_CHECKING:
    from hermetic.custody.call import Call
    from hermetic.formats.messages.keys import ChangeKeySchedule, KeyChanged

NEVER = 0  # days that mean: not by time
OWNER_LIMIT = 200  # characters


def change_key_schedule(call: Call, request: ChangeKeySchedule) -> KeyChanged:
    """Set owner, contact, schedule, those that are given. Raises UsageError, NotFound, PolicyDenied, Conflict."""
    if request.owner is None and request.contact is None and request.rotate_after_days is None:
        raise UsageError("nothing to change", hint="give an owner, a contact or a schedule")
    if request.owner is not None and not 0 < len(request.owner.strip()) <= OWNER_LIMIT:
        raise UsageError(f"an owner is the name of a principal, at most {OWNER_LIMIT} characters")
    caller, kek = administrator(call, request.kek)
    with unit(call.custodian, "custody.key.scheduled", call.now_ms) as work:
        still_the_same(call, work.session, caller)
        now = keks.get(work.session, kek.kek_id)
        days = now.rotate_after_days if request.rotate_after_days is None else request.rotate_after_days or None
        owner = now.owner if request.owner is None else request.owner.strip()
        hierarchy.set_schedule(work.session, kek.kek_id, owner=owner, rotate_after_days=days)
        hidden = {"principal": caller.hidden(), "reason": Hidden(request.reason, f"principal:{caller.id}")}
        if request.owner is not None:
            hidden["owner"] = Hidden(owner, f"principal:{caller.id}")
        if request.contact is not None:
            contacts.set_contact(work.session, kek.kek_id, request.contact.strip())
            hidden["contact"] = Hidden(request.contact.strip(), f"principal:{caller.id}")
        work.log(Entry("key.changed", {"key": kek.kek_id, "rotate_after_days": days or NEVER}, hidden))
    return key_changed(call, kek.kek_id, work)
