"""A rewrap campaign: data keys move to the active version of their KEK, a batch at a time, beside readers and writers.

A batch is one short transaction with one log entry that commits to its list; how many keys it holds follows how long writing takes
(`pacing`), and the write-ahead log is merged into the database file between batches, not within one. What takes time, reading,
unwrapping, checking and wrapping, is done before the transaction and, within one request, while the batch before is being written;
it holds for the revisions that were read, so a key that moved meanwhile makes the request start again. An interrupted campaign goes
on where it stopped: what still waits is what hangs on an older version.

**Rewrap is not revocation**: whoever unwrapped a data key before still has it.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING

import sqlalchemy as sa

from hermetic.audit.leaf import Entry, Hidden
from hermetic.custody import moving, residency
from hermetic.custody.call import TRIES
from hermetic.custody.decide import still_the_same
from hermetic.custody.keyring import administrator
from hermetic.custody.pacing import Pace
from hermetic.custody.work import unit
from hermetic.db import tables
from hermetic.db.bulk import Bulk
from hermetic.errors import Conflict, RowTampered, UsageError
from hermetic.formats.binary_text import to_base64url
from hermetic.formats.messages.keys import RewrapKey, Rewrapped
from hermetic.ids import AssetId, DataKeyId, KeyState, VersionId
from hermetic.keys import hierarchy
from hermetic.keys import kek as keks
from hermetic.keys.rewrapping import Rewrapper, context_for
from hermetic.keys.wrap import DataKeyContext

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from concurrent.futures import Future

    from hermetic.crypto.secret import Secret
    from hermetic.custody.call import Call
    from hermetic.custody.callers import Caller
    from hermetic.db.bulk import Change, Page, Stored
    from hermetic.db.rows import ReadSession
    from hermetic.formats.canonical import JsonValue
    from hermetic.ids import KekId
    from hermetic.keys.kek import Kek

REQUEST = 50_000  # data keys in one request
COUNTED = 10_000  # data keys that are counted when the answer says how many are left
_CHANGING = ("kek_number", "wrapped")
_OPENING = frozenset({KeyState.DEACTIVATED, KeyState.ACTIVE})


@dataclass(frozen=True, slots=True)
class _Campaign:
    """One request: who asked, the KEK as it stood, the version that keys move to."""

    call: Call
    caller: Caller
    kek: Kek
    number: int
    bulk: Bulk
    pace: Pace = field(default_factory=Pace)
    loaded: dict[int, Secret] = field(default_factory=dict, repr=False)

    def older(self) -> list[int]:
        """Return the numbers of older versions whose keys may be unwrapped for rewrapping."""
        return [item.number for item in self.kek.versions if item.number != self.number and item.state in _OPENING]

    def key(self, session: ReadSession, number: int) -> Secret:
        """Return the key of one version, unwrapped once: what ends its use later raises the epoch, which every batch compares."""
        if number not in self.loaded:
            self.loaded[number] = hierarchy.load_kek(session, self.call.custodian.anchors, self.kek.kek_id, number)
        return self.loaded[number]

    def forget(self) -> None:
        """Wipe the keys."""
        for secret in self.loaded.values():
            secret.wipe()
        self.loaded.clear()


def rewrap_key(call: Call, request: RewrapKey) -> Rewrapped:
    """Move data keys to the active version; call again until nothing is left. Raises NotFound, PolicyDenied, KeyUnusable, Conflict."""
    if not 0 < request.limit <= REQUEST:
        raise UsageError(f"a request moves 1 to {REQUEST} data keys")
    caller, kek = administrator(call, request.kek, _scope)
    moved = 0
    for _ in range(TRIES):
        try:
            for count in _batches(call, caller, kek, request.limit - moved):
                moved += count
            return _answer(call, kek.kek_id, moved)
        except Conflict:
            continue
    raise Conflict("the data keys kept changing while they were rewrapped", hint="try again")


def _scope(kek: Kek) -> str:
    """Name the campaign that one approval is for: to this version of this key."""
    return f"rewrap/{kek.kek_id}/{kek.active().number}"


def _answer(call: Call, kek_id: KekId, moved: int) -> Rewrapped:
    with call.custodian.database.read(call.custodian.row_keys) as session:
        campaign = _campaign(call, None, keks.get(session, kek_id))
        return Rewrapped(kek_id, campaign.number, moved, _count_waiting(session, campaign))


def _campaign(call: Call, caller: Caller | None, kek: Kek) -> _Campaign:
    bulk = Bulk(tables.data_key, call.custodian.row_keys, _CHANGING)
    return _Campaign(call, caller, kek, kek.active().number, bulk)  # type: ignore[arg-type]


def _batches(call: Call, caller: Caller, kek: Kek, limit: int) -> Iterator[int]:
    """Yield how many data keys each batch moved, once it is durable. One batch is written while the next is worked out."""
    with call.custodian.database.read(call.custodian.row_keys) as session:
        campaign = _campaign(call, caller, keks.get(session, kek.kek_id))
        residency.require_kek(call, session, campaign.kek, campaign.number)
    if campaign.number != kek.active().number:
        raise Conflict("the key was rotated meanwhile", hint="run the command again")
    with closing(_worked_out(campaign, limit)) as pages, ThreadPoolExecutor(1, thread_name_prefix="hermetic-rewrap") as writer:
        written: Future[int] | None = None
        for page in pages:
            if written is not None:
                yield written.result()
            written = writer.submit(_write, campaign, page)
        if written is not None:
            yield written.result()


def _worked_out(campaign: _Campaign, limit: int) -> Generator[Page, None, None]:
    """Yield the changes of one batch after the other; no two hold the same data key."""
    left = limit
    try:
        for old in campaign.older():
            after = ""
            while left > 0 and (found := _page(campaign, old, after, left)) is not None:
                (page, after), left = found, left - len(found[0].keys)
                yield page
    finally:
        campaign.forget()


def _page(campaign: _Campaign, old: int, after: str, left: int) -> tuple[Page, str] | None:
    """Return the changes of the data keys that come next after one, and the last of them; None if there are none."""
    custodian, bulk = campaign.call.custodian, campaign.bulk
    with custodian.database.read(custodian.row_keys) as session:
        equal = {"kek_id": campaign.kek.kek_id, "kek_number": old, "state": "active"}
        rows = bulk.page(session, equal, after=after, limit=min(campaign.pace.size, left))
        changes = _rewrap(campaign, session, old, rows) if rows else []
    return (bulk.ready(changes), rows[-1][bulk.at["id"]]) if rows else None


def _write(campaign: _Campaign, page: Page) -> int:
    call, kek_id, ids = campaign.call, campaign.kek.kek_id, page.keys
    listed = hashlib.sha256("\n".join(ids).encode("ascii")).digest()
    with unit(call.custodian, "custody.rewrap.batch", call.now_ms, merge=False) as work:
        start = perf_counter()  # it is our turn
        still_the_same(call, work.session, campaign.caller)
        if keks.get(work.session, kek_id).epoch != campaign.kek.epoch:
            raise Conflict("the key changed while a batch was rewrapped", hint="try again")
        hierarchy.count_wraps(work.session, kek_id, campaign.number, len(ids), now_ms=call.now_ms)
        campaign.bulk.write(work.session, page)
        facts: dict[str, JsonValue] = {"key": kek_id, "number": campaign.number, "count": len(ids), "list": to_base64url(listed)}
        facts["policies"] = sorted(campaign.caller.policies)
        work.log(Entry("key.rewrapped", facts, _hidden(campaign)))
    campaign.pace.took(perf_counter() - start)
    if campaign.pace.merge_due(len(ids)):
        call.custodian.database.checkpoint()
    return len(ids)


def _hidden(campaign: _Campaign) -> dict[str, Hidden]:
    """Return who moves data keys, and why if they say so."""
    reason, who = getattr(campaign.call.request, "reason", ""), {"principal": campaign.caller.hidden()}
    return {**who, "reason": Hidden(reason, f"principal:{campaign.caller.id}")} if reason else who


def _rewrap(campaign: _Campaign, session: ReadSession, old: int, rows: list[Stored]) -> list[Change]:
    """Return before and after of every data key. Raises KeyUnusable, WrongKey, Locked, KeyServiceUnavailable."""
    kek, bulk = campaign.kek, campaign.bulk
    if moving.homes(session, kek, (old, campaign.number)) != (None, None):
        return _move(campaign, session, old, rows)
    keys = [(campaign.key(session, number), kek.context(number)) for number in (old, campaign.number)]
    key_id, version_id, wrapped = (bulk.at[name] for name in ("id", "version_id", "wrapped"))
    assets = _assets(session, [row[version_id] for row in rows])
    context = context_for(campaign.call.custodian.domain, kek.environment)
    changes: list[Change] = []
    with Rewrapper(*keys) as mover:
        for row in rows:
            asset = _present(assets.get(row[version_id]), row[key_id])
            moved = mover.move(row[key_id], row[wrapped], context(asset, row[version_id], row[key_id]))
            changes.append((row, bulk.changed(row, (campaign.number, moved))))
    return changes


def _move(campaign: _Campaign, session: ReadSession, old: int, rows: list[Stored]) -> list[Change]:
    """Do what `_rewrap` does where a provider wraps the data keys itself."""
    custodian, kek, bulk = campaign.call.custodian, campaign.kek, campaign.bulk
    key_id, version_id, wrapped = (bulk.at[name] for name in ("id", "version_id", "wrapped"))
    assets = _assets(session, [row[version_id] for row in rows])
    asked = []
    for row in rows:
        asset = _present(assets.get(row[version_id]), row[key_id])
        context = DataKeyContext(custodian.domain, kek.environment, AssetId(asset), VersionId(row[version_id]), DataKeyId(row[key_id]))
        asked.append((context, row[wrapped]))
    moved = moving.move(session, custodian.anchors, kek, (old, campaign.number), rows=asked)
    return [(row, bulk.changed(row, (campaign.number, one))) for row, one in zip(rows, moved, strict=True)]


def _present(asset: str | None, key_id: str) -> str:
    if asset is None:
        raise RowTampered(f"the version of data key {key_id} is gone", hint="it was deleted by hand: run `hermetic log verify`")
    return asset


def _assets(session: ReadSession, versions: list[str]) -> dict[str, str]:
    """Return the asset id of each version.

    They are read without looking at row codes: the check value in the wrap binds them, so a wrong one fails as IntegrityError.
    """
    return Bulk.look_up(session, tables.version.c.asset_id, versions)


def _count_waiting(session: ReadSession, campaign: _Campaign) -> int:
    """Return how many data keys still wait, counted up to COUNTED: what matters is whether any do."""
    key = tables.data_key
    where = (key.c.kek_id == campaign.kek.kek_id, key.c.kek_number.in_(campaign.older()), key.c.state == "active")
    some = sa.select(sa.literal(1)).where(*where).limit(COUNTED).subquery()
    return int(session.connection.execute(sa.select(sa.func.count()).select_from(some)).scalar_one())
