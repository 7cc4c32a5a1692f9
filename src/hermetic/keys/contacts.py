"""Whom to call when a KEK is in trouble: one line of text a KEK, kept as a setting of the domain (sealed, authenticated, logged)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hermetic.db import tables
from hermetic.errors import UsageError

if TYPE_CHECKING:
    from hermetic.db.rows import ReadSession, Session
    from hermetic.ids import KekId

LIMIT: Final = 200  # characters


def contact_of(session: ReadSession, kek_id: KekId) -> str:
    """Return the emergency contact of a KEK, empty if nobody named one. Raises RowTampered."""
    row = session.get(tables.setting, _key(kek_id))
    return str(row["value"]["contact"]) if row is not None else ""


def set_contact(session: Session, kek_id: KekId, contact: str) -> None:
    """Name whom to call; an empty text takes the contact away. Raises UsageError for more than one line of 200 characters."""
    if len(contact) > LIMIT or not contact.isprintable():
        raise UsageError(f"a contact is one line of at most {LIMIT} characters", hint="a name and a number, or an address")
    row = session.get(tables.setting, _key(kek_id))
    if row is None:
        session.insert(tables.setting, key=_key(kek_id), value={"contact": contact})
    else:
        session.update(tables.setting, _key(kek_id), row["revision"], value={"contact": contact})


def _key(kek_id: KekId) -> str:
    return f"key-contact/{kek_id}"
