"""Refusals of one caller about ever new things become summaries. Pure.

Equal refusals are counted (`denials`). A caller who names something else each time is never refused equally twice, and would write
an entry of some 1.5 KB with each request, for ever. So each caller has a *meter* for an hour. A refusal has an entry of its own when
it is

1. the first of the caller in this hour of its *lot*: the request that was made, the action, and what was the matter; or
2. the first in this hour, of this request, about a *thing* that exists: the asset, key, grant, root, run, version or
   principal that custody found, never a word that the caller wrote; or
3. one of SINGLY others.

All others go into a summary: an entry `denials.summed` a minute at most, which says who, how many of each lot, when the first and the
last was, which things they were about, and a digest that commits to each of them in order.

    {"kind":"denials.summed","facts":{"count":n,"digest":...,"first_ms":...,"last_ms":...,"sorts":{lot:count},"things":[...]}}

**What noise cannot hide.** Who is about to do one thing that should be seen may make noise before. Noise of another lot does not
matter: by rule 1 the first refusal of every lot is an entry, and lots are finite, as nothing in them is the caller's to choose. So a
refused rotation of a key is seen however many made-up datasets were asked for. Noise in the same lot uses up rule 3 only: made-up
names are no things, so that by rule 2 the first refusal about each existing thing is an entry nevertheless. That ends after FIRSTS
lots and things in an hour; who goes through that many existing things is loud by itself, and summaries still name the next ones,
THINGS in each. What is lost then, of things that do not exist or were asked for before, is the name, the purpose and the time within
the minute. Callers beyond CALLERS in an hour, and all who are nobody, share meters, but not lots and things.

**How much it is.** A caller writes at most SINGLY + FIRSTS entries and 60 summaries in an hour, however fast; with made-up names
alone about 150 entries.

**When it is written.** With the next entry or greeting once a minute is over (`due_ms`). Until then it waits in the database, in the
transaction of the refusal, so that no crash and no process of several loses a count; what nobody has a checkpoint of yet is what
was refused since the last summary: that of the last minute on a log that is in use.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hermetic.audit.leaf import Entry, Hidden
from hermetic.crypto.mac import sha256
from hermetic.errors import FormatError
from hermetic.formats.binary_text import from_base64url, to_base64url

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hermetic.formats.canonical import JsonValue

WINDOW_MS = 3_600_000
SUMMARY_MS = 60_000
SINGLY = 64
FIRSTS = 512
CALLERS = 64
SORTS = 32  # lots that one summary tells apart; the rest is "other"
THINGS = 64  # things that one summary names
LONGEST = 96  # characters of a lot or a thing in a summary
OTHER = "other"
NEVER = 2**63 - 1

_PLAIN = re.compile(r"[^ -~]")


@dataclass(frozen=True, slots=True)
class Refused:
    """What counts about one refusal: whose meter, its lot in words, the things it is about, and a keyed hash of the whole."""

    caller: str
    lot: str
    things: tuple[str, ...]
    sort: str
    whose: Hidden | None


def lot_of(entry: Entry) -> str:
    """Return what was asked and what was the matter, as far as the caller cannot choose it."""
    facts = entry.facts
    reasons = facts.get("reasons", ())
    listed = [str(item) for item in reasons] if isinstance(reasons, (list, tuple)) else []
    words = [facts.get("asks") or entry.kind, facts.get("action"), facts.get("error"), facts.get("issuer"), *sorted(listed)]
    return " ".join(str(word) for word in words if word)


def _plain(text: str) -> str:
    return _PLAIN.sub("?", text)[:LONGEST]


@dataclass(slots=True)
class Summary:
    """Refusals that have no entry of their own, until they are written."""

    count: int
    first_ms: int
    last_ms: int
    chain: str
    sorts: dict[str, int] = field(default_factory=dict)
    things: list[str] = field(default_factory=list)
    more: int = 0  # refusals about things that are not listed

    def add(self, refused: Refused, now_ms: int) -> None:
        """Count one more."""
        self.count, self.last_ms = self.count + 1, max(now_ms, self.last_ms)
        self.chain = _linked(self.chain, refused.sort, now_ms)
        lot = _plain(refused.lot)
        lot = lot if lot in self.sorts or len(self.sorts) < SORTS else OTHER
        self.sorts[lot] = self.sorts.get(lot, 0) + 1
        for thing in map(_plain, refused.things):
            if thing in self.things:
                continue
            if len(self.things) < THINGS:
                self.things.append(thing)
            else:
                self.more += 1

    def entry(self, whose: Hidden | None) -> Entry:
        """Return the entry that says so."""
        facts: dict[str, JsonValue] = {
            "count": self.count,
            "digest": self.chain,
            "first_ms": self.first_ms,
            "last_ms": self.last_ms,
            "sorts": dict(self.sorts),
            "things": list(self.things),
        }
        if self.more:
            facts["things_more"] = self.more
        return Entry("denials.summed", facts, {} if whose is None else {"principal": whose})


def _linked(chain: str, sort: str, now_ms: int) -> str:
    return to_base64url(sha256(f"hermetic/v1/log-refusals\n{chain}\n{sort}\n{now_ms}\n".encode()))


@dataclass(slots=True)
class Meter:
    """One caller's hour."""

    began_ms: int
    whose: Hidden | None
    index: int = 0  # the newest entry of its own
    taken: int = 0
    firsts: set[str] = field(default_factory=set)
    summary: Summary | None = None

    def takes(self, marks: Sequence[str]) -> bool:
        """Whether a refusal with these marks has an entry of its own; then it is taken note of."""
        new = [mark for mark in marks if mark not in self.firsts]
        if new and len(self.firsts) + len(new) <= FIRSTS:
            self.firsts.update(new)
            return True
        self.taken += 1
        return self.taken <= SINGLY

    def due_ms(self) -> int:
        """When there is something to write, or the hour is over."""
        over = self.began_ms + WINDOW_MS
        return over if self.summary is None else min(over, self.summary.first_ms + SUMMARY_MS)

    def over(self, now_ms: int) -> bool:
        """Whether the hour is over, or the clock went back by more than one: those of several machines differ a little."""
        return not self.began_ms - WINDOW_MS <= now_ms < self.began_ms + WINDOW_MS


@dataclass(slots=True)
class Meters:
    """All meters, by caller."""

    of: dict[str, Meter] = field(default_factory=dict)

    def judge(self, refused: Refused, now_ms: int, mark: Callable[[str], str]) -> tuple[Meter, bool]:
        """Return the caller's meter, and whether this refusal has an entry of its own; else it is summed. `mark` is a keyed hash."""
        name = refused.caller if refused.caller in self.of or len(self.of) < CALLERS else OTHER
        meter = self.of.get(name)
        if meter is None:
            meter = self.of[name] = Meter(now_ms, None if name == OTHER else refused.whose)
        asked = refused.lot.partition(" ")[0]
        about = [f"{refused.caller}\n{refused.lot}", *(f"{refused.caller}\n{asked}\n{thing}" for thing in refused.things)]
        if meter.takes([mark(text) for text in about]):
            return meter, True
        if meter.summary is None:
            meter.summary = Summary(0, now_ms, now_ms, "")
        meter.summary.add(refused, now_ms)
        return meter, False

    def take_due(self, now_ms: int, *, everything: bool = False) -> list[Entry]:
        """Remove what is due, and return the entries that say it."""
        said = []
        for name, meter in list(self.of.items()):
            over, found = everything or meter.over(now_ms), meter.summary
            if found is not None and (over or not found.first_ms - WINDOW_MS <= now_ms < found.first_ms + SUMMARY_MS):
                said.append(found.entry(meter.whose))
                meter.summary = None
            if over:
                del self.of[name]
        return said

    def due_ms(self) -> int:
        """When `take_due` next has something to do."""
        return min((meter.due_ms() for meter in self.of.values()), default=NEVER)

    def waiting(self) -> int:
        """How many refusals wait to be written."""
        return sum(meter.summary.count for meter in self.of.values() if meter.summary is not None)

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads."""
        return {name: _meter_json(meter) for name, meter in self.of.items()}

    @classmethod
    def from_json(cls, body: Any) -> Meters:
        """Read it back. Raises FormatError."""
        try:
            return cls({str(name): _meter(item) for name, item in body.items()})
        except (AttributeError, KeyError, TypeError, ValueError):
            raise FormatError("the log's meters of refusals are not readable") from None


MARK = 8  # bytes of a keyed hash that tell firsts apart


def _meter_json(meter: Meter) -> dict[str, Any]:
    found = meter.summary
    return {
        "began": meter.began_ms,
        "whose": None if meter.whose is None else [meter.whose.value, meter.whose.subject],
        "index": meter.index,
        "taken": meter.taken,
        "firsts": to_base64url(b"".join(sorted(map(from_base64url, meter.firsts)))),
        "summary": None
        if found is None
        else [found.count, found.first_ms, found.last_ms, found.chain, found.sorts, found.things, found.more],
    }


def _meter(item: Any) -> Meter:
    firsts = from_base64url(item["firsts"])
    return Meter(
        item["began"],
        None if item["whose"] is None else Hidden(*item["whose"]),
        item["index"],
        item["taken"],
        {to_base64url(firsts[at : at + MARK]) for at in range(0, len(firsts), MARK)},
        None if item["summary"] is None else Summary(*item["summary"]),
    )
