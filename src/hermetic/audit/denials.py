"""Floods of equal denials become counted leaves.

The first denial of its sort is logged at once. Equal ones that follow are only counted; the count goes into one leaf
`denials.counted` when anything but a denial is logged, or when the window that the first one opened has passed, or when 256 sorts
are waiting. "Equal" means: same kind, same hidden values of the same subjects, same facts; except those named in `VARYING`.

    {"at_ms":...,"kind":"denials.counted","facts":{"of":[generation,index],"count":n,"first_ms":...,"last_ms":...}}

The counts wait in one sealed row of the database, written in the same transaction as everything else, so a crash loses none of them:

    salt (32, random) || AES-256-GCM(derive(state key, "log-denials", salt), canonical JSON)

A flood seals the row anew with every denial, as often as somebody likes; with a key for each salt no number of times is too large.
Until they are in a leaf they are not covered by a checkpoint: somebody who writes the database could drop them (spec, section 8).
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hermetic.audit.leaf import Entry
from hermetic.crypto import aead, mac
from hermetic.crypto.kdf import derive
from hermetic.errors import FormatError, WrongKey
from hermetic.formats import canonical
from hermetic.formats.binary_text import to_base64url

if TYPE_CHECKING:
    from hermetic.audit.openings import LogKeys
    from hermetic.audit.store import LogStore

VARYING = frozenset({"request", "request_hash", "recipient", "at", "mfa_age_ms", "reason"})
"""Facts, and hidden values, that differ between denials that are otherwise equal: a reason is whatever the caller likes to write."""
SORT_LIMIT = 256
STATE_LIMIT = 262_144  # bytes

_CONTEXT = b"hermetic/v1/log-denials"


@dataclass(frozen=True, slots=True)
class Waiting:
    """Denials equal to the one logged at (generation, index): how many came after it, and when."""

    generation: int
    index: int
    count: int
    first_ms: int
    last_ms: int

    def counted(self) -> Entry:
        """Return the entry that says so."""
        facts: dict[str, Any] = {"count": self.count, "first_ms": self.first_ms, "last_ms": self.last_ms}
        return Entry("denials.counted", {**facts, "of": [self.generation, self.index]})

    def again(self, now_ms: int) -> Waiting:
        """Return it with one more."""
        return replace(self, count=self.count + 1, last_ms=now_ms)


def sort_of(entry: Entry, keys: LogKeys) -> str:
    """Return what equal denials have in common, as a keyed hash."""
    facts = {name: value for name, value in entry.facts.items() if name not in VARYING}
    hidden = {name: [value.subject, value.value] for name, value in entry.hidden.items() if name not in VARYING}
    return to_base64url(mac.hmac_sha256(derive(keys.state, "log-denial-sort"), canonical.encode([entry.kind, facts, hidden])))


def load(store: LogStore, keys: LogKeys) -> dict[str, Waiting]:
    """Return what waits, by sort. Raises IntegrityError when the row was not written by this log."""
    sealed = store.state()
    if sealed is None:
        return {}
    body: Any = canonical.decode(_open(keys, sealed), limit=STATE_LIMIT)
    try:
        return {sort: Waiting(*fields) for sort, fields in body.items()}
    except (AttributeError, TypeError):
        raise FormatError("the log's waiting denials are not readable") from None


def save(store: LogStore, keys: LogKeys, waiting: dict[str, Waiting]) -> None:
    """Replace what waits."""
    rows: dict[str, list[int]] = {
        sort: [item.generation, item.index, item.count, item.first_ms, item.last_ms] for sort, item in waiting.items()
    }
    store.put_state(_seal(keys, canonical.encode(rows)) if rows else None)


def _seal(keys: LogKeys, plain: bytes) -> bytes:
    salt = os.urandom(mac.SALT)
    return salt + aead.seal(derive(keys.state, "log-denials", salt), plain, _CONTEXT)


def _open(keys: LogKeys, sealed: bytes) -> bytes:
    salt, rest = sealed[: mac.SALT], sealed[mac.SALT :]
    try:
        return aead.open_(derive(keys.state, "log-denials", salt), rest, _CONTEXT)
    except WrongKey:
        return aead.open_(keys.state, sealed, _CONTEXT)  # what the first databases left waiting


def due(waiting: dict[str, Waiting], now_ms: int, window_ms: int) -> list[str]:
    """Return the sorts whose window has passed; all of them when too many wait or the clock went back."""
    if len(waiting) >= SORT_LIMIT:
        return list(waiting)
    return [sort for sort, item in waiting.items() if not item.first_ms <= now_ms < item.first_ms + window_ms]
