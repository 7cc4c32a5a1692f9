"""What a domain keeps about its signing keys beside the keys themselves, as settings (sealed, authenticated, logged):

signing-care/<purpose>          who answers for the key, whom to call, how old it may become
signing-compromised/<key id>    from which entry of the log on its signatures may be somebody else's
signing-gone/<key id>           its wraps are overwritten, and the files were not searched for copies of them yet; with `home`: it is
                                still in that token
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from hermetic.db import tables
from hermetic.errors import UsageError
from hermetic.keys.contacts import LIMIT
from hermetic.keys.secret_keys import SecretKeyId

if TYPE_CHECKING:
    from hermetic.db.rows import ReadSession, Session

GONE: Final = "signing-gone/"


@dataclass(frozen=True, slots=True)
class Care:
    """Of the keys of one purpose; no number of days means: not by time."""

    owner: str = ""
    contact: str = ""
    rotate_after_days: int | None = None


@dataclass(frozen=True, slots=True)
class Doubt:
    """Signatures that go with entries after `index` of `generation`, and later generations, may be somebody else's."""

    generation: int
    index: int

    def covers(self, generation: int, index: int) -> bool:
        """Whether a signature made with that entry is in doubt."""
        return (generation, index) > (self.generation, self.index)


def care_of(session: ReadSession, purpose: str) -> Care:
    """Return who answers for the keys of a purpose, and their schedule. Raises RowTampered."""
    row = session.get(tables.setting, f"signing-care/{purpose}")
    return Care() if row is None else Care(**row["value"])


def set_care(session: Session, purpose: str, care: Care) -> None:
    """Change it. Raises UsageError for texts of more than one line of 200 characters."""
    if any(len(text) > LIMIT or not text.isprintable() for text in (care.owner, care.contact)):
        raise UsageError(f"owner and contact are one line of at most {LIMIT} characters each")
    _put(session, f"signing-care/{purpose}", asdict(care))


def doubt_about(session: ReadSession, key_id: SecretKeyId) -> Doubt | None:
    """Return from where on the signatures of a key are in doubt; None for a key that nobody else had."""
    row = session.get(tables.setting, f"signing-compromised/{key_id}")
    return None if row is None else Doubt(**row["value"])


def set_doubt(session: Session, key_id: SecretKeyId, doubt: Doubt) -> None:
    """Say that somebody else may have had a key."""
    _put(session, f"signing-compromised/{key_id}", asdict(doubt))


def note_gone(session: Session, key_id: SecretKeyId, home: str = "") -> None:
    """Remember that the files still have to be searched for copies of a key's wraps; or that it is to be deleted in its token."""
    _put(session, f"{GONE}{key_id}", {"home": home} if home else {})


def still_in(session: ReadSession, key_id: SecretKeyId) -> str:
    """Return the URI of the token in which a key is that signs no more, and that is to be deleted there; "" for others."""
    row = session.get(tables.setting, f"{GONE}{key_id}")
    return "" if row is None else str(row["value"].get("home", ""))


def is_gone(session: ReadSession, key_id: SecretKeyId) -> bool:
    """Whether that is still to be done."""
    return session.get(tables.setting, f"{GONE}{key_id}") is not None


def gone(session: ReadSession) -> list[SecretKeyId]:
    """Return the keys of which that is still to be done."""
    rows = session.scan(tables.setting, tables.setting.c.key.like(f"{GONE}%"))
    return [SecretKeyId(row["key"].removeprefix(GONE)) for row in rows]


def settle_gone(session: Session, key_id: SecretKeyId) -> None:
    """It was done."""
    session.delete(tables.setting, f"{GONE}{key_id}")


def _put(session: Session, key: str, value: dict[str, Any]) -> None:
    row = session.get(tables.setting, key)
    if row is None:
        session.insert(tables.setting, key=key, value=value)
    else:
        session.update(tables.setting, key, row["revision"], value=value)
