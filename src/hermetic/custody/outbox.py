"""Notifications: what people wait for or have to look at, told outside (`domain.notifying` delivers).

A row is written in the unit of work of the event itself, so that there is one exactly if the event is on record; it is sent after the
commit, and until it was taken it stays. Which events there are follows from entries of the log, so that no handler can forget one.

A notification says ids, action, class, numbers and times. Names are in it only for a target whose settings ask for them; reasons,
paths and what a request is about never are.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from hermetic.access import approvals
from hermetic.catalog.values import fresh_id
from hermetic.db.identity_tables import notification
from hermetic.errors import NotFound
from hermetic.formats.messages.base import Pair

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hermetic.audit.leaf import Entry
    from hermetic.db.rows import ReadSession
    from hermetic.formats.canonical import JsonValue

KINDS: Final = {
    "approval.asked": "approval.asked",
    "approval.given": "approval.given",
    "approval.refused": "approval.denied",
    "approval.used": "approval.used",
    "approval.expired": "approval.expired",
    "approval.withdrawn": "approval.withdrawn",
    "principal.state": "principal.disabled",
    "break-glass.opened": "break-glass.opened",
}
"""Kinds of entries, and what the notification about each is called."""
EVENTS: Final = frozenset(KINDS.values())
WAITING, DEAD = "waiting", "dead"
LATE_MS: Final = 3_600_000
_TOLD: Final = ("request", "grant", "expires_ms", "needed")  # facts that are told as they are
_NAMES: Final = {"principal": "by", "approver": "approver", "subject": "subject"}


@dataclass(frozen=True, slots=True)
class Wants:
    """What one target is told: its name, the events, and whether with names."""

    target: str
    events: frozenset[str] = EVENTS
    names: bool = False


@dataclass(slots=True)
class Outbox:
    """Who is told of what; without targets nothing is written. `wake` is set when something was written and is durable."""

    wants: tuple[Wants, ...] = ()
    wake: threading.Event = field(default_factory=threading.Event)

    def put(self, session: Any, entries: Iterable[Entry], *, domain: str, now_ms: int) -> bool:
        """Write what entries that this session is about to commit give reason for; tell whether that was anything."""
        if not self.wants:
            return False
        found = [(event, entry) for entry in entries if (event := _event(entry)) is not None]
        for event, entry in found:
            for wants in self.wants:
                if event in wants.events:
                    _insert(session, wants, (event, _about(session, entry, wants, domain)), now_ms)
        return bool(found)


def _event(entry: Entry) -> str | None:
    if entry.kind == "principal.state" and entry.facts.get("state") != "disabled":
        return None
    return KINDS.get(entry.kind)


def _about(session: ReadSession, entry: Entry, wants: Wants, domain: str) -> dict[str, JsonValue]:
    about: dict[str, JsonValue] = {"domain": domain, **{name: entry.facts[name] for name in _TOLD if name in entry.facts}}
    about |= _request(session, entry.facts.get("request"))
    if "class" in entry.hidden:
        about["class"] = entry.hidden["class"].value
    if wants.names:
        about["names"] = {_NAMES[name]: hidden.value for name, hidden in entry.hidden.items() if name in _NAMES}
    return about


def _request(session: ReadSession, request_id: object) -> dict[str, JsonValue]:
    """Return what is told of a request for approval; the transaction sees it as it will be."""
    if not isinstance(request_id, str):
        return {}
    try:
        item = approvals.asked(session, request_id)
    except NotFound:
        return {}
    return {"action": item.action, "needed": item.needed, "expires_ms": item.expires_ms}


def _insert(session: Any, wants: Wants, said: tuple[str, dict[str, JsonValue]], now_ms: int) -> None:
    event, about = said
    session.insert(
        notification,
        id=fresh_id(),
        kind=event,
        about=about,
        target=wants.target,
        state=WAITING,
        tries=0,
        due_ms=now_ms,
        created_ms=now_ms,
    )


def notes(session: ReadSession, now_ms: int) -> Iterator[Pair]:
    """Yield what `status` tells of notifications: targets that were given up on, and that are late."""
    counted: dict[tuple[str, str], int] = {}
    for row in session.find(notification, state=DEAD):
        counted["notifications-dead", row["target"]] = counted.get(("notifications-dead", row["target"]), 0) + 1
    for row in session.find(notification, state=WAITING):
        if now_ms - row["created_ms"] > LATE_MS:
            counted["notifications-late", row["target"]] = counted.get(("notifications-late", row["target"]), 0) + 1
    for (code, target), count in sorted(counted.items()):
        yield Pair(code, f"{target}|{count}")
