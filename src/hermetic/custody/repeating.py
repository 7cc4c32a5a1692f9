"""Requests that are done once, however often they are sent: the caller names each by an idempotency key.

Before custody is asked, the key is on record as begun; after it, with the answer. Sent again with the same bytes, a request gets the
kept answer; with other bytes, or while it is not known whether it was done (it is at work, or the process ended in the middle), a
Conflict. A refusal is not kept: nothing was done, and what it asked for may be there the next time. Answers with keys never come here.

Kept for a day, and of each caller at most `MOST`: the oldest go first, but not one that has begun, or it would be done again.
"""

from __future__ import annotations

import hashlib
import re
from itertools import islice
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from hermetic.db import tables
from hermetic.errors import Conflict, HermeticError, StorageError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from hermetic.custody.custodian import Custodian
    from hermetic.db.rows import Session

KEPT_MS: Final = 86_400_000
MOST: Final = 1000
SWEPT: Final = 100  # rows of others removed at a time
BEGUN: Final = b""
_KEY: Final = re.compile(r"[A-Za-z0-9._:-]{8,128}")


def once(custodian: Custodian, named: tuple[str, str], request: bytes, answer: Callable[[], bytes]) -> bytes:
    """Return what `answer` gives for the request with these bytes, or what it gave. `named` is (principal, idempotency key).

    Raises UsageError for a key that is none, Conflict, and what `answer` raises.
    """
    if not _KEY.fullmatch(named[1]):
        raise UsageError("an idempotency key has 8 to 128 letters, digits and ._:-", hint="a fresh random one for each request")
    digest = hashlib.sha256(request).digest()
    now_ms = custodian.clock()
    with custodian.database.write(custodian.row_keys) as session:
        known = _known(session, named, digest, now_ms)
        if known is not None:
            return known
        _make_room(session, named[0], now_ms)
        session.insert(tables.answered, principal_id=named[0], key=named[1], request=digest, answer=BEGUN, at_ms=now_ms)
    try:
        said = answer()
    except StorageError:
        raise  # whether it was done is not known
    except HermeticError:
        with custodian.database.write(custodian.row_keys) as session:
            session.delete(tables.answered, named)
        raise
    with custodian.database.write(custodian.row_keys) as session:
        row = session.require(tables.answered, named)
        session.update(tables.answered, named, row["revision"], answer=said)
    return said


def _known(session: Session, named: tuple[str, str], digest: bytes, now_ms: int) -> bytes | None:
    """Return the answer that was kept, None for a request that is new. Raises Conflict."""
    row = session.get(tables.answered, named)
    if row is None:
        return None
    if row["at_ms"] <= now_ms - KEPT_MS:
        session.delete(tables.answered, named)
        return None
    if row["request"] != digest:
        raise Conflict("this idempotency key was used for another request", hint="a fresh key for each request")
    if row["answer"] == BEGUN:
        raise Conflict(
            "this request has begun, and whether it was done is not known", hint="look before you ask again, with a fresh key"
        )
    return bytes(row["answer"])


def _make_room(session: Session, principal: str, now_ms: int) -> None:
    """Remove what is too old, and the oldest of the caller where there are too many."""
    table = tables.answered
    old = sa.select(table.c.principal_id, table.c.key).where(table.c.at_ms <= now_ms - KEPT_MS).order_by(table.c.at_ms).limit(SWEPT)
    for found in session.connection.execute(old).all():
        session.delete(table, (str(found[0]), str(found[1])))
    count = session.connection.execute(sa.select(sa.func.count()).where(table.c.principal_id == principal)).scalar_one()
    if count >= MOST:
        first = sa.select(table.c.key).where(table.c.principal_id == principal).order_by(table.c.at_ms).limit(count - MOST + SWEPT)
        keys = (str(key) for (key,) in session.connection.execute(first).all())
        done = (key for key in keys if session.require(table, (principal, key))["answer"] != BEGUN)
        for key in list(islice(done, count - MOST + 1)):
            session.delete(table, (principal, key))
