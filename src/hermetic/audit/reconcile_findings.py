"""What a comparison found, as findings for people: codes, texts, remedies. `reconcile` says what each code means. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from hermetic.formats.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermetic.audit.recorded import Recorded
    from hermetic.formats.findings import Severity

LISTED: Final = 200  # findings of one code that are listed one by one
REMEDIES: Final = {
    "use-unexplained": "somebody else has used the root: withdraw that login at the service, and see `hermetic key compromise`",
    "use-unrecorded": "find out whether a process of ours died then; if none did, its credentials are known: change them",
    "root-exported": "the key is out: move the domain to another root, then `hermetic key compromise`",
    "use-missing": "find out why the service has no record: its audit was off, or somebody changed the file",
    "use-differs": "take the file from the service again; if it says the same, somebody changed it there",
    "record-damaged": "take the file from the service again; if it says the same, look who may write it",
    "record-begins-late": "give the older files too, in order, or say --since",
    "record-ends-early": "take a newer copy of the file, or say --until",
    "login-unexplained": "find out who holds the credentials besides this domain; each domain needs a login of its own",
    "root-key-changed": "find out who did it, and why: `hermetic key providers --check`",
    "use-refused": "find out who tried",
    "record-older-than-log": "say --since, once you know where they come from: an earlier attempt, another domain, an older release",
    "use-unnamed": "the service should name its requests: look at what stands between it and this machine",
}
_LAST_MS: Final = 253_402_300_800_000  # the end of the year 9999


@dataclass(frozen=True, slots=True)
class Noted:
    """A finding in the making: subject, message, severity."""

    subject: str
    message: str
    severity: Severity = "high"


@dataclass(slots=True)
class Listed:
    """Findings of one code: the first ones, and how many there are."""

    code: str
    noted: list[Noted] = field(default_factory=list)
    count: int = 0

    def add(self, noted: Noted) -> None:
        """Take one more, which is listed if there is room."""
        self.count += 1
        if len(self.noted) < LISTED:
            self.noted.append(noted)

    def findings(self, *, more: int = 0) -> Iterator[Finding]:
        """Yield them; those that are not listed, and `more` besides, as one."""
        for one in self.noted:
            yield Finding(self.code, one.severity, one.subject, one.message, REMEDIES[self.code])
        left = self.count - len(self.noted) + more
        if left:
            yield Finding(self.code, "high", "more", f"{left} more, which are not listed", "compare a shorter time: --since, --until")


@dataclass(slots=True)
class Familiar:
    """Who made uses that our log has, as the record names them: tokens or access keys, identities, addresses."""

    logins: set[str] = field(default_factory=set)
    identities: set[str] = field(default_factory=set)
    addresses: set[str] = field(default_factory=set)

    def meet(self, item: Recorded) -> None:
        """Remember who made a use of ours."""
        self.logins.add(item.login)
        self.identities.add(item.identity)
        self.addresses.add(item.address)

    def sort(self, item: Recorded) -> tuple[str, str]:
        """Return the code of a use that our log does not explain, and why that one."""
        where = (
            f"from an address of {'' if item.address in self.addresses else 'no '}recorded use{'s' * (item.address in self.addresses)}"
        )
        if item.login and item.login in self.logins:
            return "use-unrecorded", f"with the token or key of recorded uses, {where}"
        if item.identity and item.identity in self.identities:
            return "use-unrecorded", f"as the identity of recorded uses, after another login, {where}"
        return "use-unexplained", f"by nobody who made recorded uses, {where}"


def of_use(item: Recorded, why: str = "") -> Noted:
    """Return what a use is told as: one that gives something out weighs more."""
    return Noted(item.operation, told(item, why), "high" if item.operation not in {"wrap", "login"} else "medium")


def of_change(item: Recorded) -> Noted:
    """Return what a change is told as."""
    return Noted(item.operation, told(item), "high" if item.grave else "medium")


def of_refused(refused: Counter[tuple[str, str, str, str]], familiar: Familiar) -> Iterator[Finding]:
    """Yield refusals, counted by who asked: (login, who, address, operation). Our own are none: checks provoke them."""
    others: Counter[tuple[str, str, str]] = Counter()
    for (login, *asked), count in refused.items():
        if login not in familiar.logins:
            others[asked[0], asked[1], asked[2]] += count
    for (who, address, operation), count in others.most_common(LISTED):
        message = f"refused {count} times to {who or 'somebody without a name'} from {address or 'an unknown address'}"
        yield Finding("use-refused", "low", operation, message, REMEDIES["use-refused"])


def told(item: Recorded, why: str = "") -> str:
    """Say in one line what the record says."""
    count = f" of {item.items} items" if item.items > 1 else ""
    who, address = item.who or "somebody without a name", item.address or "an unknown address"
    line = (
        f"{moment(item.at_ms)} {item.operation}{count} by {who} from {address}, request {item.request or 'without id'} ({item.place})"
    )
    return f"{line}: {why}" if why else line


def moment(at_ms: int | None) -> str:
    """Write a time to the millisecond, UTC."""
    if at_ms is None or not 0 <= at_ms < _LAST_MS:
        return f"{at_ms} ms"
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(sep=" ", timespec="milliseconds").replace("+00:00", "Z")
