"""Who and what can still read data after its key was shredded: packages, leases, derived versions, plaintext.

A package gave the data key itself to people outside: nothing takes that back. So a shred is not complete while one is out, until
people vouch on record that it was destroyed (`record-package-destroyed`). The rest is named in the certificate as it was then: a lease
ends at its holder's next look, derived versions hold what was derived, plaintext lies where it was put.

Packages are known from the log. Entries that a restore from an older copy lost are not seen here.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from hermetic.audit.leaf import Entry, Hidden, Leaf
from hermetic.custody.decide import allowed_everywhere, still_the_same
from hermetic.custody.work import unit
from hermetic.db import tables
from hermetic.errors import NotFound, UsageError
from hermetic.formats.messages.base import Done
from hermetic.policy.request import Action

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hermetic.custody.call import Call
    from hermetic.db.rows import ReadSession
    from hermetic.formats.messages.destruction import BlastRadius, RecordPackageDestroyed

DESTROYED = "package-destroyed/"  # rows of `setting`: {who, at_ms}
LISTED = 1000  # sentences in a certificate


@dataclass(frozen=True, slots=True)
class Package:
    """A package that was handed out: to how many, when, and whether people vouch that it was destroyed."""

    id: str
    version: str
    recipients: int
    made_ms: int
    destroyed: bool

    def told(self) -> str:
        """Say so in words."""
        people = "1 recipient" if self.recipients == 1 else f"{self.recipients} recipients"
        return f"package {self.id}: {people} got the key on {_day(self.made_ms)}"


def packages(session: ReadSession, versions: Iterable[str]) -> list[Package]:
    """Return the packages that were made of versions, oldest first."""
    wanted, leaf = set(versions), tables.log_leaf
    query = sa.select(leaf.c.leaf, leaf.c.at_ms).where(leaf.c.kind == "package.created")
    found = []
    for raw, at_ms in session.connection.execute(query.order_by(leaf.c.generation, leaf.c.idx)):
        facts = Leaf.parse(bytes(raw)).facts
        if facts.get("version") in wanted:
            package, count = str(facts["package"]), facts.get("recipients")
            gone = session.get(tables.setting, f"{DESTROYED}{package}") is not None
            found.append(Package(package, str(facts["version"]), count if isinstance(count, int) else 0, int(at_ms), gone))
    return found


def out(session: ReadSession, versions: Iterable[str]) -> list[str]:
    """Return what is missing because of packages that are still out."""
    hint = "ask for its destruction, then `hermetic key package-destroyed ID --reason TEXT`"
    return [f"{item.told()}: {hint}" for item in packages(session, versions) if not item.destroyed]


def told(radius: BlastRadius, now_ms: int) -> tuple[str, ...]:
    """Say for a certificate who and what can still read what is shredded now."""
    leases = [f"leases open on {_day(now_ms)}: {radius.leases}; their holders have the key until they ask again, as they must soon"]
    lists = (
        leases if radius.leases else [],
        radius.packages,
        [f"{name} was derived from it, and holds what was derived" for name in radius.derived],
        [f"plaintext at {path}" for path in radius.exposures],
    )
    whole = [item for each in lists for item in each]
    more = [f"and {len(whole) - LISTED} more"] if len(whole) > LISTED else []
    return (*whole[:LISTED], *more)


def record_package_destroyed(call: Call, request: RecordPackageDestroyed) -> Done:
    """Take people's word that a package is gone wherever it was. Raises UsageError, NotFound, PolicyDenied."""
    if not request.reason.strip():
        raise UsageError("say how you know", hint="--reason TEXT goes on record")
    caller = allowed_everywhere(call, Action.DESTROY_KEYS)  # certificates rely on it, as on the word that copies are gone
    with unit(call.custodian, "custody.package.destroyed", call.now_ms) as work:
        still_the_same(call, work.session, caller)
        if not _was_made(work.session, request.package):
            raise NotFound(f"no package {request.package!r} was made here", hint="`hermetic key shred REF --dry-run` lists packages")
        key = f"{DESTROYED}{request.package}"
        if work.session.get(tables.setting, key) is not None:
            raise UsageError("that is on record already")
        work.session.insert(tables.setting, key=key, value={"who": caller.name, "at_ms": call.now_ms})
        hidden = {"principal": caller.hidden(), "reason": Hidden(request.reason, f"principal:{caller.id}")}
        work.log(Entry("package.destroyed", {"package": request.package}, hidden))
    return Done()


def _was_made(session: ReadSession, package: str) -> bool:
    leaf = tables.log_leaf
    rows = session.connection.execute(sa.select(leaf.c.leaf).where(leaf.c.kind == "package.created"))
    return any(Leaf.parse(bytes(raw)).facts.get("package") == package for (raw,) in rows)


def _day(at_ms: int) -> str:
    return dt.datetime.fromtimestamp(at_ms / 1000, dt.UTC).strftime("%Y-%m-%d")
