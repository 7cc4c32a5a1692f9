"""Our log against the record of a service: which uses of a root only one of the two knows. Pure.

    comparison = Comparison(own, span)
    for item in reader: comparison.see(item)          # whatever a reader of `providers` yields
    comparison.learn(later)                           # our log may have grown meanwhile
    report = comparison.report(coverage, own_size)

Uses are compared by the id that the service gave the request: it stands in the answer, so that our log has it, and in the service's
record. No clock is needed for that. Nothing is explained by time, address or identity; these only say what kind of finding it is:

    use-unexplained     our log does not have the id, and nobody whom our log knows by this record asked
    use-unrecorded      the same, by a token or identity that asked for recorded uses too: a process of ours that died before it could
                        record it, a request that was repeated because the answer was lost, or somebody who has its credentials
    root-exported       the key itself was given out
    use-missing         our log has the id, and the record does not, though it covers the time: the audit device was off, a line was
                        taken out, the file was exchanged
    use-differs         one id, two operations, or one id twice at different times: a line was changed
    record-damaged      what cannot be read
    record-begins-late, record-ends-early     our log has uses before, or after, all that the record covers
    login-unexplained   the identity of a login on our log has logged in otherwise too
    root-key-changed    the key, or what records its use, was changed
    use-refused         the service refused it, to a login that our log does not know
    record-older-than-log   uses from before our log names any: before the root was ours, or before this release
    use-unnamed         the service answered without an id

Memory is bounded by our own uses, by those who log in, and by `reconcile_findings.LISTED` findings of a code; more are counted.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hermetic.audit.reconcile_findings import (
    LISTED,
    REMEDIES,
    Familiar,
    Listed,
    Noted,
    moment,
    of_change,
    of_refused,
    of_use,
)
from hermetic.audit.recorded import Recorded, Unreadable
from hermetic.formats.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermetic.audit.recorded import Coverage
    from hermetic.audit.uses import OwnUse, OwnUses

EDGE_MS: Final = 200  # how far our clock and the record's may differ from one use to the next
_KEYS: Final = frozenset({"export", "backup"})
_TWICE: Final = "the record has this id twice, at different times or for different operations"
_ASKED: Final = "a check of ours asked for it, and should have been refused"


@dataclass(frozen=True, slots=True)
class Span:
    """What is to be compared, Unix milliseconds; None is no limit."""

    since_ms: int | None = None
    until_ms: int | None = None

    def holds(self, at_ms: int) -> bool:
        """Whether a time is inside."""
        return (self.since_ms is None or at_ms >= self.since_ms) and (self.until_ms is None or at_ms <= self.until_ms)


@dataclass(frozen=True, slots=True)
class Report:
    """What was compared. `matched` uses stand in both; `before` are uses in the record from before our log named any of this root.
    `operations` counts what the record holds, logins of ours included."""

    matched: int
    own: int
    recorded: int
    before: int
    not_covered_before: int
    not_covered_after: int
    this_command: int
    refused: int
    operations: tuple[tuple[str, int], ...]
    findings: tuple[Finding, ...]


class Comparison:
    """Takes a record in, entry by entry."""

    def __init__(self, own: OwnUses, span: Span) -> None:
        self._own, self._span = own, span
        self._seen: dict[str, tuple[int, str]] = {}
        self._skew: int | None = None  # what our clock says later than the record, at least
        self._familiar = Familiar()
        self._strange: list[Recorded] = []  # uses that our log does not have: sorted at the end
        self._more = 0  # of those that did not find room there
        self._logins: defaultdict[str, list[Recorded]] = defaultdict(list)  # that our log does not have, by identity
        self._lists = {code: Listed(code) for code in REMEDIES}
        self._refused: Counter[tuple[str, str, str, str]] = Counter()
        self._operations: Counter[str] = Counter()
        self._recorded = self._before = 0

    def see(self, item: Recorded | Unreadable) -> None:
        """Take in one entry of the record."""
        if isinstance(item, Unreadable):
            self._lists["record-damaged"].add(Noted(item.place, item.why))
        elif not self._span.holds(item.at_ms):
            return
        elif item.what == "change":
            if item.granted:
                self._lists["root-key-changed"].add(of_change(item))
        elif item.granted:
            self._granted(item)
        elif item.what == "use":
            self._refused[item.login, item.who, item.address, item.operation] += 1

    def learn(self, later: OwnUses) -> None:
        """Take in what our log says by now: others may have used the root while the record was read."""
        self._own = later
        for strange in (self._strange, *self._logins.values()):
            for item in strange:
                if item.request in later.by_id:
                    self._matched(item, later.by_id[item.request])
            strange[:] = [item for item in strange if item.request not in later.by_id]

    def report(self, coverage: Coverage, own_size: tuple[int, int]) -> Report:
        """Return the findings. `own_size` is (generation, size) of the log before this command added to it."""
        before, after, mine = self._missing(coverage, own_size)
        self._sort()
        findings = [
            *(
                found
                for code, listed in self._lists.items()
                for found in listed.findings(more=self._more * (code == "use-unexplained"))
            ),
            *self._ends(coverage, before, after),
            *of_refused(self._refused, self._familiar),
            *self._not_comparable(),
        ]
        return Report(
            matched=sum(operation != "login" for _, operation in self._seen.values()),
            own=sum(use.operation != "login" and self._span.holds(use.last_ms) for use in self._own.by_id.values()),
            recorded=self._recorded,
            before=self._before,
            not_covered_before=before,
            not_covered_after=after,
            this_command=mine,
            refused=sum(self._refused.values()),
            operations=tuple(sorted(self._operations.items())),
            findings=tuple(findings),
        )

    def _granted(self, item: Recorded) -> None:
        use = self._own.by_id.get(item.request)
        if item.what == "use":
            self._recorded += 1
        if item.what == "use" or use is not None:
            self._operations[item.operation] += 1
        if use is not None:
            self._matched(item, use)
        elif item.what == "login":
            if item.identity and len(self._logins[item.identity]) < LISTED:
                self._logins[item.identity].append(item)
        elif item.operation in _KEYS:
            self._lists["root-exported"].add(of_use(item))
        elif self._own.began_ms is None or item.at_ms + (self._skew or 0) < self._own.began_ms:
            self._before += 1
        elif len(self._strange) < LISTED:
            self._strange.append(item)
        else:
            self._more += 1

    def _matched(self, item: Recorded, use: OwnUse) -> None:
        said = item.at_ms, item.operation
        if self._seen.setdefault(item.request, said) != said:
            self._lists["use-differs"].add(of_use(item, _TWICE))
        elif use.operation != item.operation:
            self._lists["use-differs"].add(of_use(item, f"our log has this id for {use.operation}, in entry {use.leaf}"))
        if item.operation in _KEYS:
            self._lists["root-exported"].add(of_use(item, _ASKED))
        late = use.last_ms - item.at_ms
        self._skew = late if self._skew is None else min(late, self._skew)
        self._familiar.meet(item)

    def _sort(self) -> None:
        for item in self._strange:
            code, why = self._familiar.sort(item)
            self._lists[code].add(of_use(item, why))
        for identity in self._familiar.identities & self._logins.keys():
            for item in self._logins[identity]:
                self._lists["login-unexplained"].add(of_use(item, "not on our log"))

    def _missing(self, coverage: Coverage, own_size: tuple[int, int]) -> tuple[int, int, int]:
        """Find what only our log has; return how many uses the record does not cover, before and after, and how many are this
        command's own, which a file that was copied before cannot have.

        A use is before or after the record if its time is, and nothing on that side of it on our log stands in the record.
        """
        skew = self._skew or 0
        ends = [(use.generation, use.leaf) for request in self._seen if (use := self._own.by_id.get(request)) is not None]
        first, last = (min(ends), max(ends)) if ends else (None, None)
        before = after = mine = 0
        for request, use in self._own.by_id.items():
            if request in self._seen or not self._span.holds(use.last_ms):
                continue
            place = use.generation, use.leaf
            if coverage.last_ms is None or ((last is None or place >= last) and use.last_ms - skew + EDGE_MS > coverage.last_ms):
                own = place >= own_size
                mine, after = mine + own, after + (not own)
            elif (first is None or place <= first) and use.first_ms - skew - EDGE_MS < (coverage.first_ms or 0):
                before += 1
            else:
                told = f"{use.operation} {request}, answered by {moment(use.last_ms)}"
                self._lists["use-missing"].add(Noted(f"log entry {use.leaf}", told))
        return before, after, mine

    def _ends(self, coverage: Coverage, before: int, after: int) -> Iterator[Finding]:
        if before:
            message = f"{before} uses on our log come before the record, which begins {moment(coverage.first_ms)}"
            yield Finding("record-begins-late", "medium", self._own.root, message, REMEDIES["record-begins-late"])
        if after:
            end = "has no entries" if coverage.last_ms is None else f"ends {moment(coverage.last_ms)}"
            message = f"{after} uses on our log come after the record, which {end}"
            yield Finding("record-ends-early", "medium", self._own.root, message, REMEDIES["record-ends-early"])

    def _not_comparable(self) -> Iterator[Finding]:
        if self._before:
            first = self._own.began_ms
            since = "no use of this root at all" if first is None else f"none before {moment(first)}"
            message = f"{self._before} uses in the record cannot be compared: our log names {since}"
            code = "record-older-than-log"
            yield Finding(code, "medium" if first is None else "low", self._own.root, message, REMEDIES[code])
        if self._own.unnamed:
            message = f"{self._own.unnamed} answers came without an id, and could not be compared"
            yield Finding("use-unnamed", "low", self._own.root, message, REMEDIES["use-unnamed"])
