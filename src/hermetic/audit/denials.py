"""Floods of equal denials become counted leaves.

The first denial of its sort is logged at once. Equal ones that follow are only counted; the count goes into one leaf
`denials.counted` when anything but a denial is logged, or when the window that the first one opened has passed, or when 256 sorts
are waiting. "Equal" means: same kind, same hidden values of the same subjects, same facts; except those named in `VARYING`.

    {"at_ms":...,"kind":"denials.counted","facts":{"of":[generation,index],"count":n,"first_ms":...,"last_ms":...}}

Refusals that are not equal are metered by caller (`floods`), and beyond what a meter allows they are summed.

Both wait in one row of the database, written in the same transaction as everything else, so a crash loses none of them:

    "hermetic-refusals/2" || due (8, Unix ms) || length of counts (4) || counts || meters       big-endian; either part may be empty
    part = salt (32, random) || AES-256-GCM(derive(state key, "log-denials", salt), canonical JSON)

`due` is when meters have something to write; only then does an entry that is no denial have to read them. A flood seals the row anew
with every denial, as often as somebody likes; with a key for each salt no number of times is too large.
Until they are in a leaf they are not covered by a checkpoint: somebody who writes the database could drop them (spec, section 8).
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from hermetic.audit import floods
from hermetic.audit.floods import Meters, Refused
from hermetic.audit.leaf import Entry
from hermetic.crypto import aead, mac
from hermetic.crypto.kdf import derive
from hermetic.errors import FormatError, WrongKey
from hermetic.formats import canonical
from hermetic.formats.binary_text import to_base64url

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hermetic.audit.openings import LogKeys
    from hermetic.audit.store import LogStore

VARYING = frozenset({"request", "request_hash", "recipient", "at", "mfa_age_ms", "reason"})
"""Facts, and hidden values, that differ between denials that are otherwise equal: a reason is whatever the caller likes to write."""
SORT_LIMIT = 256
STATE_LIMIT = 4 * 1024 * 1024  # bytes; 64 full meters have less than 1 MiB

_CONTEXT = b"hermetic/v1/log-denials"
_MARKER = b"hermetic-refusals/2"
_HEAD = struct.Struct(">QI")


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


def refused(entry: Entry, keys: LogKeys, things: Sequence[str] = ()) -> Refused:
    """Return what a meter needs to know of a denial. Denials of nobody share a meter for each sort of entry."""
    whose = entry.hidden.get("principal")
    caller = entry.kind if whose is None else whose.subject
    return Refused(caller, floods.lot_of(entry), tuple(things), sort_of(entry, keys), whose)


@dataclass(slots=True)
class Held:
    """What waits: counts by sort, and meters by caller, which are opened when somebody asks for them."""

    waiting: dict[str, Waiting] = field(default_factory=dict)
    due_ms: int = floods.NEVER
    _sealed: bytes = b""
    _meters: Meters | None = None

    @classmethod
    def load(cls, store: LogStore, keys: LogKeys) -> Held:
        """Return what waits. Raises IntegrityError when the row was not written by this log."""
        raw = store.state()
        if raw is None:
            return cls()
        if not raw.startswith(_MARKER):
            return cls(_waiting(keys, raw))  # as databases had it before there were meters
        at = len(_MARKER)
        due_ms, length = _HEAD.unpack_from(raw, at) if len(raw) >= at + _HEAD.size else (0, len(raw))
        at += _HEAD.size
        if at + length > len(raw):
            raise FormatError("the log's waiting denials are not readable")
        return cls(_waiting(keys, raw[at : at + length]), due_ms, raw[at + length :])

    def meters(self, keys: LogKeys) -> Meters:
        """Return the meters, to be changed. Raises IntegrityError as `load`."""
        if self._meters is None:
            self._meters = (
                Meters.from_json(canonical.decode(_open(keys, self._sealed), limit=STATE_LIMIT)) if self._sealed else Meters()
            )
        return self._meters

    def save(self, store: LogStore, keys: LogKeys) -> None:
        """Replace what waits."""
        if self._meters is not None:
            self.due_ms = self._meters.due_ms()
            self._sealed = _seal(keys, canonical.encode(self._meters.to_json())) if self._meters.of else b""
        rows: dict[str, list[int]] = {
            sort: [item.generation, item.index, item.count, item.first_ms, item.last_ms] for sort, item in self.waiting.items()
        }
        counts = _seal(keys, canonical.encode(rows)) if rows else b""
        held = counts or self._sealed
        store.put_state(_MARKER + _HEAD.pack(self.due_ms, len(counts)) + counts + self._sealed if held else None)

    def take_counts(self) -> list[Entry]:
        """Remove all counts, and return the entries that say them."""
        taken, self.waiting = list(self.waiting.values()), {}
        return [item.counted() for item in taken if item.count]

    def take_due_counts(self, now_ms: int, window_ms: int) -> list[Entry]:
        """Remove the counts whose window has passed, and return the entries that say them."""
        taken = [self.waiting.pop(sort) for sort in due(self.waiting, now_ms, window_ms)]
        return [item.counted() for item in taken if item.count]

    def take_sums(self, keys: LogKeys, now_ms: int, *, everything: bool = False) -> list[Entry]:
        """Remove the sums whose minute has passed, and return the entries that say them."""
        if not (everything or self.is_due(now_ms)):
            return []
        return self.meters(keys).take_due(now_ms, everything=everything)

    def count(self, keys: LogKeys) -> int:
        """How many denials wait to be written."""
        return sum(item.count for item in self.waiting.values()) + self.meters(keys).waiting()

    def is_due(self, now_ms: int) -> bool:
        """Whether meters have something to do; also when the clock went far back."""
        return self.due_ms != floods.NEVER and not self.due_ms - 2 * floods.WINDOW_MS <= now_ms < self.due_ms


def _waiting(keys: LogKeys, sealed: bytes) -> dict[str, Waiting]:
    if not sealed:
        return {}
    body: Any = canonical.decode(_open(keys, sealed), limit=STATE_LIMIT)
    try:
        return {sort: Waiting(*fields) for sort, fields in body.items()}
    except (AttributeError, TypeError):
        raise FormatError("the log's waiting denials are not readable") from None


def mark_of(keys: LogKeys) -> Callable[[str], str]:
    """Return what hashes a first for a meter: under a key, so that the row's size says nothing more than how many there are."""
    key = derive(keys.state, "log-refusal-mark")
    return lambda text: to_base64url(mac.hmac_sha256(key, text.encode("utf-8", "replace"))[: floods.MARK])


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
