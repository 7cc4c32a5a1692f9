"""What the entries say, held together: intents and outcomes, revisions of database rows, the clock. Pure.

An intent whose outcome never came counts as released: the process may have died after handing the key over. An outcome without an
intent means that somebody released first and logged later, or that an entry was never written.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from hermetic.formats.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hermetic.audit.leaf import RowState
    from hermetic.formats.canonical import Json
    from hermetic.formats.findings import Severity

Place: TypeAlias = "tuple[int, int]"  # generation and index of an entry

LISTED = 100  # findings of one sort that are listed one by one


@dataclass(slots=True)
class Ledger:
    """Takes events in order; `findings` then says what does not fit."""

    open_intents: dict[str, list[Place]] = field(default_factory=dict)  # a caller may give one id to two requests at once
    newest_rows: dict[tuple[str, str], tuple[RowState, Place]] = field(default_factory=dict)
    last_ms: int = 0
    _found: list[Finding] = field(default_factory=list)
    _counts: dict[str, int] = field(default_factory=dict)

    def intent(self, place: Place, named: Json) -> None:
        """Take a `release.intent` and the request it names."""
        request = str(named)
        waiting = self.open_intents.setdefault(request, [])
        if waiting:
            self._add("intent-repeated", "medium", _at(place), "a request was logged a second time before it ended")
        waiting.append(place)

    def outcome(self, place: Place, named: Json) -> None:
        """Take a `release.outcome` and the request it names."""
        waiting = self.open_intents.get(str(named))
        if waiting is None:
            self._add("outcome-without-intent", "high", _at(place), "a key was released without an entry that came before it")
            return
        waiting.pop()
        if not waiting:
            del self.open_intents[str(named)]

    def rows(self, place: Place, states: Iterable[RowState]) -> None:
        """Take the revisions that an entry names."""
        for state in states:
            self.newest_rows[state.table, state.key] = state, place

    def clock_went_back(self, place: Place) -> None:
        """Take note of an entry that is dated before the one ahead of it."""
        self._add("log-clock-went-back", "low", _at(place), "an entry is dated before the one that stands ahead of it")

    def compare_rows(self, current: Iterable[RowState]) -> None:
        """Compare the newest logged revision of each row with the rows that are there."""
        tables = {table for table, _ in self.newest_rows}
        seen = set()
        for row in current:
            seen.add((row.table, row.key))
            known = self.newest_rows.get((row.table, row.key))
            if known is not None:
                self._compare_row(row, *known)
            elif row.table in tables:
                self._add("row-unlogged", "medium", f"{row.table} {row.key}", "this row stands in no log entry")
        for name, (state, place) in self.newest_rows.items():
            if name not in seen and state.revision is not None:
                self._add("row-missing", "high", f"{state.table} {state.key}", f"{_at(place)} set this row, and it is gone")

    def _compare_row(self, row: RowState, logged: RowState, place: Place) -> None:
        subject = f"{row.table} {row.key}"
        if logged.revision is None:
            self._add("row-returned", "high", subject, f"{_at(place)} deleted this row, and it is back")
        elif row.revision is None or row.revision < logged.revision:
            self._add("row-put-back", "high", subject, f"{_at(place)} set revision {logged.revision}, the row has {row.revision}")
        elif row.revision > logged.revision:
            self._add("row-unlogged", "medium", subject, f"revision {row.revision} is logged nowhere; the last is {logged.revision}")
        elif logged.digest is not None and row.digest is not None and row.digest != logged.digest:
            self._add("row-changed", "high", subject, f"the content is not what {_at(place)} set")

    def findings(self) -> list[Finding]:
        """Return everything found, with sums in place of what exceeds 100 of a sort."""
        for request, places in self.open_intents.items():
            for place in places:
                self._add("intent-without-outcome", "low", _at(place), f"request {request} has no outcome: count it as released")
        rest = [
            Finding(code, "medium", "log", f"{count - LISTED} more findings of this sort", "see the first ones")
            for code, count in self._counts.items()
            if count > LISTED
        ]
        return [*self._found, *rest]

    def _add(self, code: str, severity: Severity, subject: str, message: str) -> None:
        self._counts[code] = self._counts.get(code, 0) + 1
        if self._counts[code] <= LISTED:
            self._found.append(Finding(code, severity, subject, message, _REMEDY[code]))


def _at(place: Place) -> str:
    return f"log entry {place[0]}/{place[1]}"


_REMEDY = {
    "intent-repeated": "look at both entries; a request id is used once",
    "outcome-without-intent": "treat the version's key as released without control: find out by whom, then rotate",
    "intent-without-outcome": "nothing to do if a process died then; otherwise look at the request",
    "log-clock-went-back": "check the clock of the machine that runs custody",
    "row-put-back": "somebody wrote the database: restore a backup, and look who had access",
    "row-missing": "somebody wrote the database: restore a backup, and look who had access",
    "row-returned": "somebody wrote the database: restore a backup, and look who had access",
    "row-changed": "somebody wrote the database: restore a backup, and look who had access",
    "row-unlogged": "a change was made without an entry: look who had access to database and root",
}
