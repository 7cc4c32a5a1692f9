"""Authorities whose certificates this domain believes: rows, and what follows from them.

    root          signed by itself; its key is wrapped here, and destroyed when another root follows
    intermediate  signs the certificates of people, workloads and the service
    cross         says with the old root's signature that a new root's key is the domain's too: for clients that pin the old one
    external      somebody else's, trusted as it is (OpenBao PKI); no key of it is here

States: *active*; *retiring*, which signs nothing any more while what it signed stays good; *retired*, which is believed no more, nor
is anything under it. There is no way back: an authority that is trusted again is a new row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from hermetic.db import tables
from hermetic.errors import Conflict, NotFound, UsageError
from hermetic.keys.secret_keys import SecretKeyId

if TYPE_CHECKING:
    from hermetic.db.rows import ReadSession, Session

ACTIVE, RETIRING, RETIRED = "active", "retiring", "retired"
ROOT, INTERMEDIATE, CROSS, EXTERNAL = "root", "intermediate", "cross", "external"
PREFIX: Final = 4  # shortest prefix of an id that names an authority
LIMIT: Final = 64  # authorities that are believed at once


@dataclass(frozen=True, slots=True)
class Authority:
    """An authority as the domain knows it; `key_id` None says that its key is elsewhere."""

    id: str
    key_id: SecretKeyId | None
    parent_id: str | None
    certificate: bytes
    state: str
    not_after_ms: int
    created_ms: int
    revision: int
    shared: bool = False  # its key is that of a root too

    @property
    def kind(self) -> str:
        """What it is: see the table above."""
        if self.key_id is None:
            return EXTERNAL
        if self.parent_id is None:
            return ROOT
        return CROSS if self.shared else INTERMEDIATE

    @property
    def anchor(self) -> bool:
        """Whether a path of certificates may end here."""
        return self.parent_id is None


def ls(session: ReadSession) -> tuple[Authority, ...]:
    """Return every authority, oldest first. Raises RowTampered."""
    rows = session.find(tables.authority)
    roots = {row["key_id"] for row in rows if row["parent_id"] is None}
    found = [_authority(row, roots) for row in rows]
    return tuple(sorted(found, key=lambda item: (item.created_ms, not item.anchor, item.id)))


def believed(session: ReadSession) -> tuple[Authority, ...]:
    """Return those that are not retired, anchors first."""
    return tuple(sorted((item for item in ls(session) if item.state != RETIRED), key=lambda item: not item.anchor))


def issuing(session: ReadSession) -> Authority:
    """Return the intermediate that signs now. Raises NotFound."""
    return _active(session, INTERMEDIATE)


def root(session: ReadSession) -> Authority:
    """Return the root in force. Raises NotFound."""
    return _active(session, ROOT)


def crosses(session: ReadSession) -> tuple[Authority, ...]:
    """Return the certificates that lead from roots which some clients still pin to the one in force."""
    return tuple(item for item in believed(session) if item.kind == CROSS)


def named(session: ReadSession, text: str) -> Authority:
    """Return the authority whose id starts with `text`. Raises NotFound, UsageError when several do."""
    found = [item for item in ls(session) if item.id.startswith(text)] if len(text) >= PREFIX else []
    if not found:
        raise NotFound(f"no authority {text!r}", hint="`hermetic identity authority ls` lists them; four letters are enough")
    if len(found) > 1:
        raise UsageError(f"{text!r} names {len(found)} authorities", hint="write more of the id")
    return found[0]


def add(session: Session, made: Authority) -> Authority:
    """Keep an authority. Raises Conflict when it is believed already, or too many are."""
    there = believed(session)
    if any(item.certificate == made.certificate for item in there):
        raise Conflict("this authority is trusted already")
    if len(there) >= LIMIT:
        raise Conflict(f"a domain believes at most {LIMIT} authorities", hint="retire those that nobody uses")
    session.insert(
        tables.authority,
        id=made.id,
        key_id=made.key_id,
        parent_id=made.parent_id,
        certificate=made.certificate,
        state=made.state,
        not_after_ms=made.not_after_ms,
        created_ms=made.created_ms,
    )
    return made


def set_state(session: Session, item: Authority, state: str) -> None:
    """Change the state of an authority. Raises Conflict for a step back, or when the row has moved on."""
    order = (ACTIVE, RETIRING, RETIRED)
    if order.index(state) <= order.index(item.state):
        raise Conflict(f"this authority is {item.state}", hint="an authority that is trusted again is a new one")
    session.update(tables.authority, item.id, item.revision, state=state)


def under(session: ReadSession, item: Authority) -> tuple[Authority, ...]:
    """Return the authorities that an authority signed and that are not retired, at any depth."""
    found: list[Authority] = []
    ids = {item.id}
    everyone = believed(session)
    while more := [one for one in everyone if one.parent_id in ids and one not in found]:
        found += more
        ids |= {one.id for one in more}
    return tuple(found)


def _active(session: ReadSession, kind: str) -> Authority:
    for item in ls(session):
        if (item.kind, item.state) == (kind, ACTIVE):
            return item
    raise NotFound("this domain has no authority of its own", hint="`hermetic identity authority create --reason WHY`")


def _authority(row: dict[str, Any], roots: set[str]) -> Authority:
    return Authority(
        id=row["id"],
        key_id=None if row["key_id"] is None else SecretKeyId(row["key_id"]),
        parent_id=row["parent_id"],
        certificate=row["certificate"],
        state=row["state"],
        not_after_ms=row["not_after_ms"],
        created_ms=row["created_ms"],
        revision=row["revision"],
        shared=row["parent_id"] is not None and row["key_id"] in roots,
    )
