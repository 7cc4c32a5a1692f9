"""KEKs as people handle them: list, show, rotate, suspend, resume, revoke.

Rotation gives new data a new KEK version; `rewrapping` moves old data keys to it. Payloads and signatures stay.

Revocation: every version of the KEK goes to the state *compromised* of NIST SP 800-57 (no release any more, only recovery and
re-encryption may open it), a fresh version takes new data, the epoch rises, and leases end at their next check.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import sqlalchemy as sa

from hermetic.audit.leaf import Entry, Hidden
from hermetic.catalog import assets
from hermetic.custody import callers, keyhomes
from hermetic.custody.call import receipt
from hermetic.custody.decide import allowed_caller, still_the_same
from hermetic.custody.paging import page
from hermetic.custody.work import unit
from hermetic.db import tables
from hermetic.errors import NotFound, UsageError
from hermetic.formats.messages.keys import (
    ChangeKeyState,
    KeyChanged,
    KeyList,
    KeyRow,
    KeyVersionRow,
    ListKeys,
    RotateKey,
    ShowKey,
)
from hermetic.ids import AssetId, KekId, KeyState
from hermetic.keys import contacts, hierarchy, in_provider, limits, roots
from hermetic.keys import kek as keks
from hermetic.keys.kek import slots_of
from hermetic.policy.request import Action, DomainResource

if TYPE_CHECKING:
    from collections.abc import Callable

    from hermetic.custody.call import Call
    from hermetic.custody.callers import Caller
    from hermetic.custody.work import Work
    from hermetic.db.rows import ReadSession
    from hermetic.formats.canonical import JsonValue
    from hermetic.keys.kek import Kek, KekVersion

PREFIX = 4  # shortest prefix of an id that names a key
BATCH = 2000  # data keys in one transaction, which stays well under 50 ms
COUNTED = 10_000  # data keys that are counted when the answer says how many are left
ASKED = 500  # version ids in one query
VERBS = {"suspend": KeyState.SUSPENDED, "resume": KeyState.ACTIVE, "revoke": KeyState.COMPROMISED}


def list_keys(call: Call, request: ListKeys) -> KeyList:
    """List every KEK, as many as fit. Raises UsageError for no cursor."""
    allowed_caller(call, Action.READ_CATALOG)
    with call.custodian.database.read(call.custodian.row_keys) as session:
        return KeyList(*page(_ordered(session), request.after, partial(key_row, session), name=lambda kek: kek.kek_id))


def key_rows(session: ReadSession) -> tuple[KeyRow, ...]:
    """Return every KEK as a row, by environment, class, project."""
    return tuple(key_row(session, kek) for kek in _ordered(session))


def _ordered(session: ReadSession) -> list[Kek]:
    return sorted(keks.ls(session), key=lambda kek: (kek.environment, -kek.data_class.rank, kek.project))


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
            KeyVersionRow(
                item.number,
                item.state.value,
                item.created_ms,
                item.wraps,
                counts.get(item.number, 0),
                item.destroy_after_ms,
                _home(session, kek, item.number),
                _used(session, kek, item),
            )
            for item in kek.versions
        ),
        assets=tuple(_assets(session, kek)),
        contact=contacts.contact_of(session, kek.kek_id),
    )


def _home(session: ReadSession, kek: Kek, number: int) -> str:
    home = in_provider.home_of(session, kek.kek_id, number)
    return "" if home is None else roots.get(session, home).provider_uri


def _used(session: ReadSession, kek: Kek, version: KekVersion) -> int:
    home = in_provider.home_of(session, kek.kek_id, version.number)
    wraps = version.wraps if home is None else in_provider.wraps_under(session, home)
    return limits.used_percent(wraps, version.revision)


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
    open_by = key.select().where(key.c.version_id == version.c.id, key.c.kek_id == kek.kek_id, key.c.state == "active").exists()
    query = (
        sa.select(version.c.asset_id).where(version.c.state == "published", open_by).distinct()
    )  # there are fewer versions than keys
    ids = [AssetId(str(row[0])) for row in session.connection.execute(query)]
    return sorted(str(assets.get(session, item).name) for item in ids)


def _resource(call: Call, kek: Kek) -> DomainResource:
    return DomainResource(call.custodian.domain, kek.environment, kek.project, kek.data_class)


def administrator(call: Call, text: str, campaign: Callable[[Kek], str] | None = None) -> tuple[Caller, Kek]:
    """Return the caller, who may administer the KEK that `text` names, and the KEK. Raises NotFound, UsageError, PolicyDenied.

    `campaign` gives the scope of work that goes on after one approval.
    """
    with call.custodian.database.read(call.custodian.row_keys) as session:
        callers.require(call, session)
        kek = find_key(session, text)
    scope = "" if campaign is None else campaign(kek)
    return allowed_caller(call, Action.ADMINISTER_KEYS, _resource(call, kek), scope=scope), kek


def rotate_key(call: Call, request: RotateKey) -> KeyChanged:
    """Make the next version active. Raises NotFound, PolicyDenied, KeyUnusable, Conflict."""
    caller, kek = administrator(call, request.kek)
    with unit(call.custodian, "custody.rotate.committed", call.now_ms) as work:
        still_the_same(call, work.session, caller)
        home = keyhomes.after(call, work.session, kek)
        made = hierarchy.rotate(work.session, call.custodian.anchors, kek.kek_id, now_ms=call.now_ms, home=home)
        hidden = {"principal": caller.hidden(), "reason": Hidden(request.reason, f"principal:{caller.id}")}
        facts: dict[str, JsonValue] = {"key": kek.kek_id, "number": made.number, "home": None if home is None else home.root_id}
        work.log(Entry("key.rotated", facts, hidden))
    return key_changed(call, kek.kek_id, work)


def key_changed(call: Call, kek_id: KekId, work: Work) -> KeyChanged:
    """Return the KEK as it is after a unit: counting what hangs on it takes longer than writers should wait."""
    with call.custodian.database.read(call.custodian.row_keys) as session:
        return KeyChanged(key_row(session, keks.get(session, kek_id)), receipt(call.custodian.generation, work.logged()))


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
    return key_changed(call, kek.kek_id, work)


def _revoke(call: Call, work: Work, kek_id: KekId) -> None:
    """Close every version and make a fresh one; a KEK that was suspended first, as one does in an incident, stays suspended."""
    suspended = keks.get(work.session, kek_id).state is KeyState.SUSPENDED
    if suspended:
        hierarchy.set_state(work.session, kek_id, KeyState.ACTIVE)
    hierarchy.compromise(work.session, kek_id, now_ms=call.now_ms)
    home = keyhomes.after(call, work.session, keks.get(work.session, kek_id))
    hierarchy.rotate(work.session, call.custodian.anchors, kek_id, now_ms=call.now_ms, home=home)
    if suspended:
        hierarchy.set_state(work.session, kek_id, KeyState.SUSPENDED)
