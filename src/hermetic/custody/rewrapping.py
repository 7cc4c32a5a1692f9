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
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from queue import Empty
from time import perf_counter
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from hermetic.audit.leaf import Entry, Hidden
from hermetic.custody import moving, residency
from hermetic.custody.call import TRIES
from hermetic.custody.decide import still_the_same
from hermetic.custody.keyring import administrator
from hermetic.custody.rewrap_helper import Gone
from hermetic.custody.rewrap_rows import Job, RowMover, asset_of
from hermetic.custody.work import unit
from hermetic.db import tables
from hermetic.errors import Conflict, UsageError
from hermetic.formats.binary_text import to_base64url
from hermetic.formats.messages.keys import RewrapKey, Rewrapped
from hermetic.ids import AssetId, DataKeyId, KeyState, VersionId
from hermetic.keys import hierarchy
from hermetic.keys import kek as keks
from hermetic.keys.wrap import DataKeyContext

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from concurrent.futures import Future
    from queue import SimpleQueue

    from hermetic.crypto.secret import Secret
    from hermetic.custody.call import Call
    from hermetic.custody.callers import Caller
    from hermetic.custody.rewrap_helper import Helper
    from hermetic.db.bulk import Bulk, Page, Stored
    from hermetic.db.rows import ReadSession
    from hermetic.formats.canonical import JsonValue
    from hermetic.ids import KekId
    from hermetic.keys.kek import Kek

HELPED = 5_000  # data keys from which on helper processes are worth their start
REQUEST = 50_000  # data keys in one request
COUNTED = 10_000  # data keys that are counted when the answer says how many are left
_OPENING = frozenset({KeyState.DEACTIVATED, KeyState.ACTIVE})


@dataclass(frozen=True, slots=True)
class _Campaign:
    """One request: who asked, the KEK as it stood, the version that keys move to."""

    call: Call
    caller: Caller
    kek: Kek
    number: int

    def older(self) -> list[int]:
        """Return the numbers of older versions whose keys may be unwrapped for rewrapping."""
        return [item.number for item in self.kek.versions if item.number != self.number and item.state in _OPENING]

    def job(self, old: int) -> Job:
        """Return what moves from one older version."""
        return Job(self.call.custodian.domain, self.kek.context(old), self.kek.context(self.number))


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
    return _Campaign(call, caller, kek, kek.active().number)  # type: ignore[arg-type]


def _batches(call: Call, caller: Caller, kek: Kek, limit: int) -> Iterator[int]:
    """Yield how many data keys each batch moved, once it is durable."""
    with call.custodian.database.read(call.custodian.row_keys) as session:
        campaign = _campaign(call, caller, keks.get(session, kek.kek_id))
        residency.require_kek(call, session, campaign.kek, campaign.number)
    if campaign.number != kek.active().number:
        raise Conflict("the key was rotated meanwhile", hint="run the command again")
    left = limit
    for old in campaign.older():
        bulk = campaign.job(old).bulk(call.custodian.row_keys.mac)
        with closing(_worked_out(campaign, old, bulk, left)) as pages:
            for page in pages:
                left -= len(page.keys)
                yield _write(campaign, bulk, page)


def _worked_out(campaign: _Campaign, old: int, bulk: Bulk, limit: int) -> Generator[Page, None, None]:
    """Yield the changes of one batch after the other; no two hold the same data key. Others are worked out meanwhile."""
    with _mover(campaign, old, limit) as (move, hands), _threads(hands) as pool:
        waiting: deque[Future[list[Any]]] = deque()
        for rows in _rows(campaign, bulk, limit):
            waiting.append(pool.submit(move, rows))
            if len(waiting) > hands:
                yield bulk.page_of(waiting.popleft().result())
        while waiting:
            yield bulk.page_of(waiting.popleft().result())


def _rows(campaign: _Campaign, bulk: Bulk, limit: int) -> Iterator[list[Stored]]:
    """Yield the rows that wait, not verified, as many at a time as the next batch shall hold."""
    database, row_keys = campaign.call.custodian.database, campaign.call.custodian.row_keys
    after, left = "", limit
    while left > 0:
        with database.read(row_keys) as session:
            rows = bulk.page(session, after=after, limit=min(campaign.call.custodian.pace.size, left))
        if not rows:
            return
        yield rows
        after, left = rows[-1][bulk.at["id"]], left - len(rows)


@contextmanager
def _threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """Lend threads that have ended when the block has: keys that they work with are wiped then."""
    pool = ThreadPoolExecutor(count, thread_name_prefix="hermetic-rewrap")
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _mover(campaign: _Campaign, old: int, limit: int) -> Iterator[tuple[Callable[[list[Stored]], list[Any]], int]]:
    """Lend what moves rows, and how many threads may call it at a time. Raises KeyUnusable, Locked, KeyServiceUnavailable."""
    custodian, job, numbers = campaign.call.custodian, campaign.job(old), (old, campaign.number)
    with ExitStack() as stack:
        keys: list[Secret] = []
        with custodian.database.read(custodian.row_keys) as session:
            here = moving.homes(session, campaign.kek, numbers) == (None, None)
            for number in numbers if here else ():
                keys.append(hierarchy.load_kek(session, custodian.anchors, campaign.kek.kek_id, number))
                stack.callback(keys[-1].wipe)
            many = limit >= HELPED and _count_waiting(session, campaign, HELPED) >= HELPED
        if not here:
            yield partial(_by_provider, campaign, job), 1
            return
        mac, (old_key, new_key) = custodian.row_keys.mac, keys
        mover = stack.enter_context(RowMover(job, mac, (old_key, new_key)))
        if not many:
            yield mover.moved, 1
            return
        helpers = stack.enter_context(custodian.helpers.lent(job, (mac, old_key, new_key)))
        yield partial(_helped, helpers, mover, threading.Lock()), max(1, helpers.qsize())


def _helped(helpers: SimpleQueue[Helper], here: RowMover, alone: threading.Lock, rows: list[Stored]) -> list[Any]:
    """Have a helper move rows; where none does, do it here, one page at a time."""
    try:
        helper = helpers.get_nowait()
        found = helper.moved(rows)
    except (Empty, Gone):
        found = None
    else:
        helpers.put(helper)
    if found is not None:
        return found
    with alone:
        return here.moved(rows)


def _by_provider(campaign: _Campaign, job: Job, rows: list[Stored]) -> list[Any]:
    """Do the same where a provider wraps the data keys itself."""
    custodian, kek = campaign.call.custodian, campaign.kek
    bulk = job.bulk(custodian.row_keys.mac)
    bulk.verify(rows)
    key_id, version_id, wrapped = (bulk.at[name] for name in ("id", "version_id", "wrapped"))
    asked = []
    for row in rows:
        asset, names = AssetId(asset_of(row, row[key_id])), (VersionId(row[version_id]), DataKeyId(row[key_id]))
        asked.append((DataKeyContext(custodian.domain, kek.environment, asset, *names), row[wrapped]))
    with custodian.database.read(custodian.row_keys) as session:
        moved = moving.move(session, custodian.anchors, kek, (job.old.number, job.new.number), rows=asked)
    return list(bulk.ready(bulk.changed(row, (one,)) for row, one in zip(rows, moved, strict=True)).parameters)


def _write(campaign: _Campaign, bulk: Bulk, page: Page) -> int:
    call, kek_id, ids = campaign.call, campaign.kek.kek_id, page.keys
    listed = hashlib.sha256("\n".join(ids).encode("ascii")).digest()
    with unit(call.custodian, "custody.rewrap.batch", call.now_ms, merge=False) as work:
        start = perf_counter()  # it is our turn
        still_the_same(call, work.session, campaign.caller)
        if keks.get(work.session, kek_id).epoch != campaign.kek.epoch:
            raise Conflict("the key changed while a batch was rewrapped", hint="try again")
        hierarchy.count_wraps(work.session, kek_id, campaign.number, len(ids), now_ms=call.now_ms)
        bulk.write(work.session, page)
        facts: dict[str, JsonValue] = {"key": kek_id, "number": campaign.number, "count": len(ids), "list": to_base64url(listed)}
        facts["policies"] = sorted(campaign.caller.policies)
        work.log(Entry("key.rewrapped", facts, _hidden(campaign)))
        campaign.call.custodian.pace.took(perf_counter() - start)
    if campaign.call.custodian.pace.merge_due(len(ids)):
        call.custodian.database.checkpoint()
    return len(ids)


def _hidden(campaign: _Campaign) -> dict[str, Hidden]:
    """Return who moves data keys, and why if they say so."""
    reason, who = getattr(campaign.call.request, "reason", ""), {"principal": campaign.caller.hidden()}
    return {**who, "reason": Hidden(reason, f"principal:{campaign.caller.id}")} if reason else who


def _count_waiting(session: ReadSession, campaign: _Campaign, most: int = COUNTED) -> int:
    """Return how many data keys still wait, counted up to `most`: what matters is whether any do."""
    key = tables.data_key
    where = (key.c.kek_id == campaign.kek.kek_id, key.c.kek_number.in_(campaign.older()), key.c.state == "active")
    some = sa.select(sa.literal(1)).where(*where).limit(most).subquery()
    return int(session.connection.execute(sa.select(sa.func.count()).select_from(some)).scalar_one())
