"""Certificates that a crash kept from being made: what they will say is on record together with what was destroyed.

begin    in the transaction that destroys: everything but what the files held afterwards, and where the entry stands
end      in the transaction that makes the certificate
finish   after a crash, by who looks next: the files are rebuilt, since what to search for is gone, and the certificate is made
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from hermetic.audit.leaf import Leaf
from hermetic.audit.tree import leaf_hash
from hermetic.custody import certifying
from hermetic.custody.work import unit
from hermetic.db import tables
from hermetic.errors import RowTampered
from hermetic.formats.binary_text import from_base64url, to_base64url
from hermetic.formats.certificate import Certificate, Logged, parse_certificate

if TYPE_CHECKING:
    from hermetic.custody.call import Call
    from hermetic.db.rows import ReadSession

PREFIX = "certificate/"  # rows of `setting`: {payload, ids}
NOWHERE = Logged(1, 0, bytes(32))  # until the entry is durable


def begin(session: Any, made: Certificate, ids: tuple[str, ...]) -> None:
    """Put on record what the certificate about `ids` will say."""
    value = {"payload": to_base64url(made.encode()), "ids": list(ids)}
    session.insert(tables.setting, key=f"{PREFIX}{ids[0]}", value=value)


def end(session: Any, ids: tuple[str, ...]) -> None:
    """Take that off the record: the certificate is being made."""
    session.delete(tables.setting, f"{PREFIX}{ids[0]}")


def is_waiting(session: ReadSession, ids: tuple[str, ...]) -> bool:
    """Whether nobody has made the certificate about `ids` yet."""
    return session.get(tables.setting, f"{PREFIX}{ids[0]}") is not None


def waiting(session: ReadSession) -> list[tuple[Certificate, tuple[str, ...]]]:
    """Return what is unfinished."""
    rows = session.scan(tables.setting, tables.setting.c.key.like(f"{PREFIX}%"))
    return [(parse_certificate(from_base64url(row["value"]["payload"])), tuple(row["value"]["ids"])) for row in rows]


def finish(call: Call) -> None:
    """Make the certificates that a crash left behind. Beside the process that is at work on one, one of the two wins."""
    with call.custodian.database.read(call.custodian.row_keys) as session:
        found = waiting(session)
    for made, ids in found:
        cleaned = certifying.rebuild(call)
        with unit(call.custodian, "custody.certificate.made", call.now_ms) as work:
            if not is_waiting(work.session, ids):
                continue  # the other one has made it
            done_ms = max(made.done_ms, call.custodian.clock())  # at the latest: when exactly, the crash took along
            whole = replace(made, log=_logged(work.session, ids[0]), done_ms=done_ms)
            certifying.issue(call, work, settled(work.session, whole, cleaned), ids)
            end(work.session, ids)


def settled(session: ReadSession, made: Certificate, cleaned: str) -> Certificate:
    """Return a certificate with what is known after the files were cleaned (or, empty, could not be)."""
    now = certifying.standing(session, made, cleaned=cleaned)
    return replace(made, state=now.state, relies=now.relies, missing=now.missing)


def _logged(session: ReadSession, subject: str) -> Logged:
    """Return where the entry about a subject stands. Raises RowTampered when there is none."""
    leaf = tables.log_leaf
    query = sa.select(leaf.c.leaf).where(leaf.c.kind.in_(("version.deleted", "key.destroyed")))
    for (raw,) in session.connection.execute(query.order_by(leaf.c.generation.desc(), leaf.c.idx.desc())):
        found = Leaf.parse(bytes(raw))
        if subject in {found.facts.get("version"), f"{found.facts.get('key')}/{found.facts.get('number')}"}:
            return Logged(found.generation, found.index, leaf_hash(bytes(raw)))
    raise RowTampered("something was destroyed without an entry", hint="run `hermetic log verify`")
