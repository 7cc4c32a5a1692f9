"""Destroying versions of KEKs: announced with a waiting period, refused while anything needs them, done when due, certified.

1. An announcement needs approvals (`operations: destroy-keys` of the policy). Only a version that wraps nothing new and that no data
   key hangs on can be announced: what still needs it is shown instead.
2. When the day has come it is done by `hermetic key destroy --due`, by garbage collection, or by whoever connects next. Everything is
   looked at again: a copy of custody from before the announcement may still need the key, so people vouch first that those are gone.
3. The slots are deleted and the database's files searched for them. The row stays, as destroyed; a certificate says so.

The waiting period is counted by the wall clock. Setting it back makes the wait longer; moving it forward takes the machine's
administrator. That people vouched for the copies after the announcement goes by the log as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hermetic.audit.leaf import Entry, Hidden
from hermetic.custody import approved, blast, callers, certifying, forgetting, held_up, unfinished
from hermetic.custody.call import receipt
from hermetic.custody.decide import allowed_caller, still_the_same
from hermetic.custody.due import do_due
from hermetic.custody.finishing import certify
from hermetic.custody.keyring import find_key
from hermetic.custody.work import unit
from hermetic.db import tables
from hermetic.errors import Conflict, HermeticError, KeyUnusable, UsageError
from hermetic.formats.certificate import Certificate
from hermetic.formats.messages.destruction import (
    AnnounceDestruction,
    BlastRadius,
    CancelDestruction,
    DestroyDue,
    DestroyedDue,
    DestructionAnnounced,
    DestructionPlan,
    DestructionRow,
    PlanDestruction,
)
from hermetic.ids import KekId, KeyState
from hermetic.keys import destruction, in_provider
from hermetic.keys import kek as keks
from hermetic.policy.request import Action, DomainResource

if TYPE_CHECKING:
    from hermetic.custody.call import Call
    from hermetic.custody.callers import Caller
    from hermetic.db.rows import ReadSession
    from hermetic.formats.canonical import JsonValue
    from hermetic.keys.kek import Kek, KekVersion

ANNOUNCED = "destruction/"  # row of `setting`: who announced the destruction of KEK/NUMBER, why, and who approved it


def plan_destruction(call: Call, request: PlanDestruction) -> DestructionPlan:
    """Show what destroying a version would concern. Raises NotFound, UsageError, PolicyDenied."""
    allowed_caller(call, Action.READ_CATALOG)
    with call.custodian.database.read(call.custodian.row_keys) as session:
        kek = find_key(session, request.kek)
        only_active = not request.number and len(kek.versions) == 1
        version = kek.versions[0] if only_active else _version(kek, request.number)
        return DestructionPlan(
            kek.kek_id, version.number, version.state.value, version.destroy_after_ms, _radius(call, session, kek, version)
        )


def _version(kek: Kek, number: int) -> KekVersion:
    """Return the version meant; 0 means the only one that can be destroyed. Raises NotFound, UsageError."""
    if number:
        return kek.version(number)
    ready = [item for item in kek.versions if item.state not in {KeyState.ACTIVE, KeyState.DESTROYED}]
    if not ready:
        raise KeyUnusable(f"KEK {kek.kek_id} has no version but the active one", hint="`hermetic key rotate` first")
    if len(ready) > 1:
        numbers = ", ".join(str(item.number) for item in ready)
        raise UsageError(f"KEK {kek.kek_id} has several versions that can be destroyed: {numbers}", hint="write KEK/NUMBER")
    return ready[0]


def _radius(call: Call, session: ReadSession, kek: Kek, version: KekVersion) -> BlastRadius:
    found = blast.on_kek(session, kek.kek_id, version.number)
    needed = destruction.count_data_keys(session, kek.kek_id, version.number)
    return blast.radius(call, session, found, data_keys=needed, in_the_way=_in_the_way(session, version, needed))


def _in_the_way(session: ReadSession, version: KekVersion, needed: int) -> list[str]:
    found = []
    if version.state is KeyState.ACTIVE:
        found.append("it is the active version: `hermetic key rotate` first")
    if needed:
        found.append(f"{needed} data keys hang on it: `hermetic key rewrap` moves them, `hermetic key shred` destroys them")
    if version.destroy_after_ms is not None and version.state is not KeyState.DESTROYED:
        copies = blast.copies_of_key(session, version)
        found += [copies] if copies else []
    return found


def announce_destruction(call: Call, request: AnnounceDestruction) -> DestructionAnnounced:
    """Announce. Raises NotFound, UsageError, PolicyDenied, ApprovalNeeded, KeyUnusable, Conflict (something needs it)."""
    caller, kek, number = _administrator(call, request)
    with unit(call.custodian, "custody.destruction.announced", call.now_ms) as work:
        voices = approved.in_favour(call, work.session, caller)
        _check_unneeded(work.session, kek.kek_id, number)
        still_the_same(call, work.session, caller)
        version = destruction.schedule(work.session, kek.kek_id, number, days=request.days, now_ms=call.now_ms)
        facts: dict[str, JsonValue] = {
            "key": kek.kek_id,
            "number": number,
            "due_ms": version.destroy_after_ms,
            "approvals": len(voices),
        }
        hidden = {"principal": caller.hidden(), "reason": Hidden(request.reason, f"principal:{caller.id}")}
        at = work.log(Entry("key.destruction-announced", facts, hidden))
        said = {"who": caller.name, "reason": request.reason, "approvers": [item.name for item in voices]}
        _remember(work.session, f"{ANNOUNCED}{kek.kek_id}/{number}", said)
        radius = _radius(call, work.session, keks.get(work.session, kek.kek_id), version)
    proof = receipt(call.custodian.generation, work.logged(), at)
    return DestructionAnnounced(kek.kek_id, number, version.destroy_after_ms, radius, proof)


def cancel_destruction(call: Call, request: CancelDestruction) -> DestructionAnnounced:
    """Take an announcement back; that needs no approval. Raises NotFound, UsageError, PolicyDenied, Conflict (there is none)."""
    with call.custodian.database.read(call.custodian.row_keys) as session:
        callers.require(call, session)
        kek = find_key(session, request.kek)
    if not request.reason.strip():
        raise UsageError("say why", hint="--reason TEXT goes on record")
    resource = DomainResource(call.custodian.domain, kek.environment, kek.project, kek.data_class)
    caller = allowed_caller(call, Action.ADMINISTER_KEYS, resource)
    number = request.number or _announced(kek)
    with unit(call.custodian, "custody.destruction.cancelled", call.now_ms) as work:
        still_the_same(call, work.session, caller)
        version = destruction.cancel(work.session, kek.kek_id, number, now_ms=call.now_ms)
        held_up.forget(work.session, (kek.kek_id, number))
        hidden = {"principal": caller.hidden(), "reason": Hidden(request.reason, f"principal:{caller.id}")}
        at = work.log(Entry("key.destruction-cancelled", {"key": kek.kek_id, "number": number}, hidden))
        radius = _radius(call, work.session, keks.get(work.session, kek.kek_id), version)
    return DestructionAnnounced(kek.kek_id, number, None, radius, receipt(call.custodian.generation, work.logged(), at))


def _announced(kek: Kek) -> int:
    found = [item.number for item in kek.versions if item.destroy_after_ms is not None and item.state is not KeyState.DESTROYED]
    if len(found) != 1:
        raise Conflict(f"{len(found)} versions of this key are announced", hint="write KEK/NUMBER; `hermetic key show` lists them")
    return found[0]


def _administrator(call: Call, request: AnnounceDestruction) -> tuple[Caller, Kek, int]:
    """Return the caller, who may destroy it, the key, and the version's number. Nobody is asked to approve what is needed."""
    certifying.check_reason(request.reason)
    with call.custodian.database.read(call.custodian.row_keys) as session:
        callers.require(call, session)
        kek = find_key(session, request.kek)
    if request.kek != kek.kek_id:
        raise UsageError("a destruction names its key in full", hint=f"write {kek.kek_id}")
    resource = DomainResource(call.custodian.domain, kek.environment, kek.project, kek.data_class)

    def unneeded(session: ReadSession) -> None:
        version = _version(kek, request.number)
        destruction.check(version, days=request.days)
        _check_unneeded(session, kek.kek_id, version.number)

    caller = allowed_caller(call, Action.DESTROY_KEYS, resource, before_asking=unneeded)
    return caller, kek, _version(kek, request.number).number


def _check_unneeded(session: ReadSession, kek_id: KekId, number: int) -> None:
    needed = destruction.count_data_keys(session, kek_id, number)
    if needed:
        raise Conflict(
            f"{needed} data keys still hang on version {number}",
            hint="`hermetic key rotate`, where it is the version in use, then `hermetic key rewrap` moves them; `hermetic key shred` "
            "destroys them",
        )


def _remember(session: Any, key: str, value: dict[str, Any]) -> None:
    row = session.get(tables.setting, key)
    if row is None:
        session.insert(tables.setting, key=key, value=value)
    else:
        session.update(tables.setting, key, row["revision"], value=value)


# When the day has come


def destroy_due(call: Call, _request: DestroyDue) -> DestroyedDue:
    """Destroy what is due; what something still needs stays, with the reason. Raises PolicyDenied."""
    allowed_caller(call, Action.READ_CATALOG)
    return DestroyedDue(do_due(call))


def destroy_when_due(call: Call, due: list[tuple[KekId, int]]) -> tuple[DestructionRow, ...]:
    """Do what was announced and approved, whoever is asking; nobody has to be there on the day."""
    found = []
    for kek_id, number in due:
        due_ms = 0
        try:
            with call.custodian.database.read(call.custodian.row_keys) as session:
                due_ms = keks.get(session, kek_id).version(number).destroy_after_ms or 0
            found.append(DestructionRow(kek_id, number, due_ms, _destroy(call, kek_id, number), ""))
        except HermeticError as error:
            held_up.note(call, (kek_id, number), error)
            found.append(DestructionRow(kek_id, number, due_ms, "", error.message))
    return tuple(found)


def _destroy(call: Call, kek_id: KekId, number: int) -> str:
    """Destroy one version and return the id of its certificate. Raises Conflict while something needs it."""
    name = f"{kek_id}/{number}"
    with unit(call.custodian, "custody.key.destroyed", call.now_ms) as work:
        version = keks.get(work.session, kek_id).version(number)
        copies = blast.copies_of_key(work.session, version)
        if copies:
            raise Conflict(copies)
        slots = [wrapped for wrapped in keks.slots_of(work.session, kek_id, number).values() if wrapped != in_provider.MARKER]
        destruction.destroy(work.session, kek_id, number, now_ms=call.now_ms)
        said = _said(work.session, name)
        made = Certificate(
            domain=call.custodian.domain,
            kind="kek",
            subjects=(name,),
            state="deleted",
            relies=(),
            missing=(),
            reason=str(said.get("reason", "")),
            requester=str(said.get("who", "")),
            approvers=tuple(str(item) for item in said.get("approvers", [])),
            done_ms=call.now_ms,
            made_ms=call.now_ms,
            log=unfinished.NOWHERE,
        )
        unfinished.begin(work.session, made, (name,))
        forgetting.note(work.session)
        held_up.forget(work.session, (kek_id, number))
        caller = callers.require(call, work.session)  # who looked first when the day had come; the announcement says who wanted it
        at = work.log(Entry("key.destroyed", {"key": kek_id, "number": number}, {"principal": caller.hidden()}))
    made = certifying.durable(call, made, work.logged(), at)
    return certify(call, made, (name,), slots)[1]


def _said(session: ReadSession, name: str) -> dict[str, Any]:
    row = session.get(tables.setting, f"{ANNOUNCED}{name}")
    value = None if row is None else row["value"]
    return value if isinstance(value, dict) else {}
