"""KEKs as people handle them: list, show, rotate, rewrap, suspend, resume, revoke.

Rotation gives new data a new KEK version. Rewrapping moves old data keys to it, a batch at a time, beside readers and writers: a
batch is one short transaction with one log entry that commits to its list. Payloads and signatures stay. **Rewrap is not
revocation**: whoever unwrapped a data key before still has it.

Revocation: every version of the KEK goes to the state *compromised* of NIST SP 800-57 (no release any more, only recovery and
re-encryption may open it), a fresh version takes new data, the epoch rises, and leases end at their next check.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from hermetic.audit.leaf import Entry, Hidden
from hermetic.catalog import assets
from hermetic.custody import callers
from hermetic.custody.call import TRIES, receipt
from hermetic.custody.decide import allowed_caller, still_the_same
from hermetic.custody.work import unit
from hermetic.db import tables
from hermetic.errors import Conflict, NotFound, RowTampered, UsageError
from hermetic.formats.binary_text import to_base64url
from hermetic.formats.messages.keys import (
    ChangeKeyState,
    KeyChanged,
    KeyList,
    KeyRow,
    KeyVersionRow,
    ListKeys,
    RewrapKey,
    Rewrapped,
    RotateKey,
    ShowKey,
)
from hermetic.ids import AssetId, DataKeyId, KekId, KeyState, VersionId
from hermetic.keys import contacts, hierarchy, roots, wrap
from hermetic.keys import kek as keks
from hermetic.keys.kek import slots_of
from hermetic.keys.rewrapping import Rewrapper
from hermetic.policy.request import Action, DomainResource

if TYPE_CHECKING:
    from hermetic.custody.call import Call
    from hermetic.custody.callers import Caller
    from hermetic.custody.work import Work
    from hermetic.db.rows import ReadSession
    from hermetic.formats.canonical import JsonValue
    from hermetic.keys.kek import Kek

PREFIX = 4  # shortest prefix of an id that names a key
BATCH = 2000  # data keys in one transaction, which stays well under 50 ms
COUNTED = 10_000  # data keys that are counted when the answer says how many are left
ASKED = 500  # version ids in one query
VERBS = {"suspend": KeyState.SUSPENDED, "resume": KeyState.ACTIVE, "revoke": KeyState.COMPROMISED}


def list_keys(call: Call, _request: ListKeys) -> KeyList:
    """List every KEK."""
    allowed_caller(call, Action.READ_CATALOG)
    with call.custodian.database.read(call.custodian.row_keys) as session:
        return KeyList(key_rows(session))


def key_rows(session: ReadSession) -> tuple[KeyRow, ...]:
    """Return every KEK as a row, by environment, class, project."""
    found = sorted(keks.ls(session), key=lambda kek: (kek.environment, -kek.data_class.rank, kek.project))
    return tuple(key_row(session, kek) for kek in found)


def show_key(call: Call, request: ShowKey) -> KeyRow:
    """Show a KEK. Raises NotFound."""
    allowed_caller(call, Action.READ_CATALOG)
    with call.custodian.database.read(call.custodian.row_keys) as session:
        return key_row(session, find_key(session, request.kek))


def find_key(session: ReadSession, text: str) -> Kek:
    """Return the KEK whose id starts with `text`. Raises NotFound, UsageError when several do."""
    found = [kek for kek in keks.ls(session) if kek.kek_id.startswith(text)] if len(text) >= PREFIX else []
    if not found:
        raise NotFound(f"no key {text!r}", hint="`hermetic key ls` lists them; four letters of an id are enough")
    if len(found) > 1:
        raise UsageError(f"{text!r} names {len(found)} keys", hint="write more of the id")
    return found[0]


def key_row(session: ReadSession, kek: Kek) -> KeyRow:
    """Return a KEK with its blast radius."""
    counts = _counts(session, kek)
    return KeyRow(
        kek=kek.kek_id,
        environment=kek.environment,
        data_class=kek.data_class,
        project=kek.project,
        state=kek.state.value,
        epoch=kek.epoch,
        owner=kek.owner or "",
        created_ms=kek.created_ms,
        rotate_after_days=kek.rotate_after_days,
        last_use_ms=_last_use(session, kek),
        roots=tuple(roots.get(session, root).provider_uri for root in sorted(slots_of(session, kek.kek_id, kek.versions[-1].number))),
        versions=tuple(
            KeyVersionRow(item.number, item.state.value, item.created_ms, item.wraps, counts.get(item.number, 0))
            for item in kek.versions
        ),
        assets=tuple(_assets(session, kek)),
        contact=contacts.contact_of(session, kek.kek_id),
    )


def _counts(session: ReadSession, kek: Kek) -> dict[int, int]:
    key = tables.data_key
    query = sa.select(key.c.kek_number, sa.func.count()).where(key.c.kek_id == kek.kek_id, key.c.state == "active")
    return {int(number): int(count) for number, count in session.connection.execute(query.group_by(key.c.kek_number))}


def _last_use(session: ReadSession, kek: Kek) -> int | None:
    key, lease = tables.data_key, tables.lease
    query = (
        sa.select(sa.func.max(lease.c.issued_ms))
        .select_from(key.join(lease, lease.c.version_id == key.c.version_id))
        .where(key.c.kek_id == kek.kek_id)
    )
    found = session.connection.execute(query).scalar_one_or_none()
    return None if found is None else int(found)


def _assets(session: ReadSession, kek: Kek) -> list[str]:
    key, version = tables.data_key, tables.version
    query = (
        sa.select(version.c.asset_id)
        .select_from(key.join(version, key.c.version_id == version.c.id))
        .where(key.c.kek_id == kek.kek_id, key.c.state == "active", version.c.state == "published")
        .distinct()
    )
    ids = [AssetId(str(row[0])) for row in session.connection.execute(query)]
    return sorted(str(assets.get(session, item).name) for item in ids)


def _resource(call: Call, kek: Kek) -> DomainResource:
    return DomainResource(call.custodian.domain, kek.environment, kek.project, kek.data_class)


def administrator(call: Call, text: str) -> tuple[Caller, Kek]:
    """Return the caller, who may administer the KEK that `text` names, and the KEK. Raises NotFound, UsageError, PolicyDenied."""
    with call.custodian.database.read(call.custodian.row_keys) as session:
        callers.require(call, session)
        kek = find_key(session, text)
    return allowed_caller(call, Action.ADMINISTER_KEYS, _resource(call, kek)), kek


def rotate_key(call: Call, request: RotateKey) -> KeyChanged:
    """Make the next version active. Raises NotFound, PolicyDenied, KeyUnusable, Conflict."""
    caller, kek = administrator(call, request.kek)
    with unit(call.custodian, "custody.rotate.committed", call.now_ms) as work:
        still_the_same(call, work.session, caller)
        made = hierarchy.rotate(work.session, call.custodian.anchors, kek.kek_id, now_ms=call.now_ms)
        hidden = {"principal": caller.hidden(), "reason": Hidden(request.reason, f"principal:{caller.id}")}
        work.log(Entry("key.rotated", {"key": kek.kek_id, "number": made.number}, hidden))
        row = key_row(work.session, keks.get(work.session, kek.kek_id))
    return KeyChanged(row, receipt(call.custodian.generation, work.logged()))


def change_key_state(call: Call, request: ChangeKeyState) -> KeyChanged:
    """Suspend, resume or revoke. Raises UsageError, NotFound, PolicyDenied, KeyUnusable, Conflict."""
    if request.verb not in VERBS or not request.reason.strip():
        raise UsageError("say suspend, resume or revoke, and why", hint="--reason TEXT goes on record")
    caller, kek = administrator(call, request.kek)
    with unit(call.custodian, f"custody.key.{request.verb}", call.now_ms) as work:
        still_the_same(call, work.session, caller)
        if request.verb == "revoke":
            _revoke(call, work, kek.kek_id)
        else:
            hierarchy.set_state(work.session, kek.kek_id, VERBS[request.verb])
        hidden = {"principal": caller.hidden(), "reason": Hidden(request.reason, f"principal:{caller.id}")}
        work.log(Entry("key.state", {"key": kek.kek_id, "state": VERBS[request.verb].value, "verb": request.verb}, hidden))
        row = key_row(work.session, keks.get(work.session, kek.kek_id))
    return KeyChanged(row, receipt(call.custodian.generation, work.logged()))


def _revoke(call: Call, work: Work, kek_id: KekId) -> None:
    """Close every version and make a fresh one; a KEK that was suspended first, as one does in an incident, stays suspended."""
    suspended = keks.get(work.session, kek_id).state is KeyState.SUSPENDED
    if suspended:
        hierarchy.set_state(work.session, kek_id, KeyState.ACTIVE)
    hierarchy.compromise(work.session, kek_id, now_ms=call.now_ms)
    hierarchy.rotate(work.session, call.custodian.anchors, kek_id, now_ms=call.now_ms)
    if suspended:
        hierarchy.set_state(work.session, kek_id, KeyState.SUSPENDED)


def rewrap_key(call: Call, request: RewrapKey) -> Rewrapped:
    """Move data keys to the active version; call again until nothing is left. Raises NotFound, PolicyDenied, KeyUnusable.

    What takes time, reading, unwrapping and wrapping, is done before the transaction, which writers wait for; it holds for the
    revisions that were read, so a key that moved meanwhile makes the batch start again.
    """
    if not 0 < request.limit <= BATCH:
        raise UsageError(f"a batch has 1 to {BATCH} data keys")
    caller, kek = administrator(call, request.kek)
    for _ in range(TRIES):
        try:
            return _batch(call, caller, kek.kek_id, request.limit)
        except Conflict:
            continue
    raise Conflict("the data keys kept changing while they were rewrapped", hint="try again")


def _batch(call: Call, caller: Caller, kek_id: KekId, limit: int) -> Rewrapped:
    custodian = call.custodian
    with custodian.database.read(custodian.row_keys) as session:
        kek = keks.get(session, kek_id)
        number = kek.active().number
        todo = _waiting(session, kek, number, limit)
        changes = _rewrap(call, session, (kek, number), todo)
    if todo:
        with unit(custodian, "custody.rewrap.batch", call.now_ms) as work:
            still_the_same(call, work.session, caller)
            if keks.get(work.session, kek_id).epoch != kek.epoch:
                raise Conflict("the key changed while a batch was rewrapped", hint="try again")
            hierarchy.count_wraps(work.session, kek_id, number, len(todo), now_ms=call.now_ms)
            work.session.update_many(tables.data_key, changes)
            listed = hashlib.sha256("\n".join(row["id"] for row in todo).encode("ascii")).digest()
            facts: dict[str, JsonValue] = {"key": kek_id, "number": number, "count": len(todo), "list": to_base64url(listed)}
            work.log(Entry("key.rewrapped", facts, {"principal": caller.hidden()}))
    with custodian.database.read(custodian.row_keys) as session:
        left = _count_waiting(session, kek, number)
    return Rewrapped(kek_id, number, len(todo), left)


def _usable(kek: Kek, number: int) -> list[int]:
    """Return the numbers of older versions whose keys may be unwrapped for rewrapping."""
    old = [item.number for item in kek.versions if item.number != number]
    return [item for item in old if kek.version(item).state in {KeyState.DEACTIVATED, KeyState.ACTIVE}]


def _waiting(session: ReadSession, kek: Kek, number: int, limit: int) -> list[dict[str, Any]]:
    key = tables.data_key
    where = sa.and_(key.c.kek_id == kek.kek_id, key.c.kek_number.in_(_usable(kek, number)), key.c.state == "active")
    return list(session.scan(key, where, limit=limit))


def _count_waiting(session: ReadSession, kek: Kek, number: int) -> int:
    """Return how many data keys still wait, counted up to COUNTED: what matters is whether any do."""
    key = tables.data_key
    where = (key.c.kek_id == kek.kek_id, key.c.kek_number.in_(_usable(kek, number)), key.c.state == "active")
    some = sa.select(sa.literal(1)).where(*where).limit(COUNTED).subquery()
    return int(session.connection.execute(sa.select(sa.func.count()).select_from(some)).scalar_one())


def _rewrap(
    call: Call, session: ReadSession, target: tuple[Kek, int], rows: list[dict[str, Any]]
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return (row as read, its changes) for every data key. Raises KeyUnusable, WrongKey, Locked, KeyServiceUnavailable."""
    kek, number = target
    if not rows:
        return []
    anchors = call.custodian.anchors
    new = (hierarchy.load_kek(session, anchors, kek.kek_id, number), kek.context(number))
    contexts, changes = _contexts(call, session, kek, rows), []
    for old_number in sorted({row["kek_number"] for row in rows}):
        old = (hierarchy.load_kek(session, anchors, kek.kek_id, old_number), kek.context(old_number))
        with Rewrapper(old, new) as mover:
            for row in rows:
                if row["kek_number"] == old_number:
                    wrapped = mover.move(row["id"], row["wrapped"], contexts[row["id"]])
                    changes.append((row, {"wrapped": wrapped, "kek_number": number}))
    return changes


def _contexts(call: Call, session: ReadSession, kek: Kek, rows: list[dict[str, Any]]) -> dict[str, bytes]:
    """Return the context of each data key by id.

    Asset ids are read without looking at row codes: the check value in the wrap binds them, so a wrong one fails as WrongKey.
    """
    version = tables.version
    found: dict[str, AssetId] = {}
    for at in range(0, len(rows), ASKED):
        ids = [row["version_id"] for row in rows[at : at + ASKED]]
        query = sa.select(version.c.id, version.c.asset_id).where(version.c.id.in_(ids))
        found |= {str(row[0]): AssetId(str(row[1])) for row in session.connection.execute(query)}
    missing = next((row["id"] for row in rows if row["version_id"] not in found), None)
    if missing is not None:
        raise RowTampered(f"the version of data key {missing} is gone", hint="it was deleted by hand: run `hermetic log verify`")
    domain = call.custodian.domain
    return {
        row["id"]: wrap.DataKeyContext(
            domain, kek.environment, found[row["version_id"]], VersionId(row["version_id"]), DataKeyId(row["id"])
        ).encode()
        for row in rows
    }
