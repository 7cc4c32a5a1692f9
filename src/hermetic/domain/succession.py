"""The next generation of a restored domain: what begins, what is over, and who may act (spec/backup.md section 5, step 6).

A restore never continues a log. Entry 0 of the new generation names the checkpoint that was restored and the highest one known; the
next says which copy it was, who brought it back, why if something was lost, and under which provider the root is kept. Then come the
ends of what ran: leases, runs, drafts.
"""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hermetic.access import approvals, grants, identity
from hermetic.audit.leaf import ROW_LIMIT, Entry, Hidden
from hermetic.audit.log import Log
from hermetic.audit.note import Checkpoint, Origin
from hermetic.audit.openings import LogKeys
from hermetic.audit.tables_store import TablesStore
from hermetic.catalog.values import RunState, VersionState
from hermetic.custody import campaigns, copied, uses
from hermetic.custody.work import TrackedSession, spread
from hermetic.db import tables
from hermetic.domain import backing
from hermetic.domain.recovering import TYPED
from hermetic.errors import KeyUnusable
from hermetic.ids import KekId, KeyState
from hermetic.keys import destruction, migration, roots, secret_keys
from hermetic.keys.roots import Anchors
from hermetic.steps import reached

if TYPE_CHECKING:
    from pathlib import Path

    from hermetic.db.engine import Database
    from hermetic.domain.recovering import Recovered
    from hermetic.formats.canonical import JsonValue
    from hermetic.keys.provider import Provider


@dataclass(frozen=True, slots=True)
class Known:
    """What is known when a copy comes back: its own newest checkpoint, the highest seen anywhere, and the reason given, if any.

    `given_up` is what was seen of an earlier generation, and lost by a restore that did not know of it.
    """

    restored: Checkpoint
    highest: Checkpoint
    reason: str | None
    given_up: Checkpoint | None = None

    @property
    def generation(self) -> int:
        """The generation that a restore begins: none that was seen before, also where the copy is of an earlier one."""
        return max(self.restored.origin.generation, self.highest.origin.generation) + 1

    @property
    def lost(self) -> bool:
        """Whether something was seen that the copy does not hold."""
        return self.given_up is not None or later(self.highest, self.restored)

    @property
    def seen(self) -> Checkpoint:
        """The last state that was seen of what is lost, or else the one that was restored."""
        return self.given_up or self.highest


def later(one: Checkpoint, other: Checkpoint) -> bool:
    """Whether one checkpoint is of a later state than another."""
    return (one.origin.generation, one.size) > (other.origin.generation, other.size)


def begin_generation(
    database: Database, recovered: Recovered, kept: Provider, known: Known, *, now_ms: int, place: Path | None = None
) -> int:
    """Begin the next generation, all in one transaction; return how many published versions the domain has.

    `place` is where the copy lies, and later ones go. `kept` holds the root of this home, open: the one that the copy was opened with,
    or a new one, which gets a slot for every key.
    """
    with database.write(recovered.keys.row_keys(), step="restore.generation.committed") as plain:
        session: Any = TrackedSession(plain)
        store = TablesStore(plain.connection)
        _must_be_usable(session, recovered)
        taken_up = _taken_up(session, recovered)
        log_key = secret_keys.active(session, secret_keys.LOG_SIGNING).key_id
        opener = Anchors(recovered.domain, {recovered.root.root_id: recovered.root})
        signer = secret_keys.load(session, opener, log_key, recovering=True)
        origin = Origin(recovered.domain, known.generation)
        log = Log(origin, signer, LogKeys(recovered.keys.log_openings))
        log.begin(store, now_ms=now_ms, restored=(known.restored, known.highest))
        _keep_root(session, recovered, kept, now_ms)
        copied.exist(session)  # at least the one that this comes from
        owner, appointed = _owner(session, recovered.domain, now_ms)
        entries = [
            _recovered(recovered, known, owner),
            Entry("root.added", {"root": kept.root_id, "provider": kept.uri}),
            *taken_up,
            *appointed,
            *_end_what_ran(session, now_ms),
            *uses.of_providers(recovered.root, kept),
        ]
        log.append(store, spread(_with_room(entries, session, kept), session.states()), now_ms=now_ms)
        if place is not None:
            same = recovered.how == TYPED and kept.root_id == recovered.root.root_id  # else its wrap goes with the next copy
            backing.came_from(plain, recovered.index, place, has_recovery=same)
        count = len(session.find(tables.version, state=VersionState.PUBLISHED.value))
    reached("restore.generation.begun")
    return count


def root_goes_on(database: Database, recovered: Recovered) -> bool:
    """Tell whether the root that opened the copy can be one of the new home: it is active, or was only suspended."""
    with database.read(recovered.keys.row_keys()) as session:
        return roots.get(session, recovered.root.root_id).state in {KeyState.ACTIVE, KeyState.SUSPENDED}


def _must_be_usable(session: Any, recovered: Recovered) -> None:
    """Refuse a root that does not open every key: never finished, or without what was made meanwhile. Raises KeyUnusable."""
    have, all_ = migration.coverage(session, recovered.root.root_id)
    unfinished = roots.get(session, recovered.root.root_id).state is KeyState.PRE_ACTIVE
    if unfinished or have < all_:
        why = "was begun and never finished" if unfinished else f"opens {have} of {all_} keys: others were made without it"
        raise KeyUnusable(
            f"this {'recovery root' if recovered.how != 'passphrase' else 'root'} {why}; it does not open every key",
            hint="recover with another one, or with the recovery passphrase",
        )


def _taken_up(session: Any, recovered: Recovered) -> list[Entry]:
    """Make the root active that opened the copy, if it was suspended: it is at hand, and has a slot for every key."""
    if roots.get(session, recovered.root.root_id).state is not KeyState.SUSPENDED:
        return []
    roots.set_state(session, recovered.root.root_id, KeyState.ACTIVE)
    return [Entry("root.state", {"root": recovered.root.root_id, "state": KeyState.ACTIVE.value})]


def _with_room(entries: list[Entry], session: Any, kept: Provider) -> list[Entry]:
    """Return the entries with as many more as it takes to commit to all rows that were written."""
    lacking = -(-len(session.states()) // ROW_LIMIT) - len(entries)
    return [*entries, *(Entry("root.extended", {"root": kept.root_id, "count": 0}) for _ in range(lacking))]


def _recovered(recovered: Recovered, known: Known, owner: Any) -> Entry:
    subject = f"principal:{owner.id}"
    hidden = {"principal": Hidden(owner.name, subject)}
    if known.reason is not None:
        hidden["reason"] = Hidden(known.reason, subject)
    index = recovered.index
    facts: dict[str, JsonValue] = {
        "copy": index.number,
        "copied_ms": index.at_ms,
        "how": recovered.how,
        "lost": known.lost,
        "root": recovered.root.root_id,
        "skipped": recovered.skipped,
        "vouched": recovered.vouched,
    }
    return Entry("domain.recovered", facts, hidden)


def _keep_root(session: Any, recovered: Recovered, kept: Provider, now_ms: int) -> None:
    """Say where the root is kept from now on, and give a new one its slots.

    Recovery roots whose public half came with the copy go on; other roots are not at hand here and must not stop new keys.
    """
    public = {entry.root_id for entry in recovered.public}
    if kept.root_id == recovered.root.root_id:
        row = session.require(tables.root, kept.root_id)
        session.update(tables.root, kept.root_id, row["revision"], provider_uri=kept.uri, kind=kept.uri)
    else:
        roots.add(session, kept, now_ms=now_ms)
        anchors = Anchors(recovered.domain, {recovered.root.root_id: recovered.root, kept.root_id: kept})
        migration.extend_to_root(session, anchors, kept.root_id)
    for row in session.find(tables.root):
        if row["id"] not in {kept.root_id, *public} and row["state"] == KeyState.ACTIVE.value:
            session.update(tables.root, row["id"], row["revision"], state=KeyState.SUSPENDED.value)


def _owner(session: Any, domain: str, now_ms: int) -> tuple[Any, list[Entry]]:
    """Make sure that whoever restores is known and a domain owner: it holds the root. Returns the principal and what to log.

    On another machine the same person may have another number. The former holder of the name keeps its record under a longer name,
    disabled, so that what the domain says of the name's owner goes on to mean this person.
    """
    user = pwd.getpwuid(os.geteuid()).pw_name
    mine = identity.local_principal(domain, user=user, uid=os.geteuid())
    known = identity.find(session, mine.id)
    if known is not None and known.active and identity.OWNER in known.principal.roles:
        return known.principal, []
    if known is not None:
        session.update(tables.principal, mine.id, known.revision, roles=[identity.OWNER], state=identity.ACTIVE)
        return known.principal, [Entry("principal.state", {"principal": mine.id, "state": identity.ACTIVE})]
    entries = []
    namesake = identity.by_name(session, user)
    if namesake is not None:
        former = f"{user} ({namesake.principal.id.rpartition(':')[2]})"
        session.update(tables.principal, namesake.principal.id, namesake.revision, name=former, state=identity.DISABLED)
        entries.append(Entry("principal.state", {"principal": namesake.principal.id, "state": identity.DISABLED}))
    session.insert(
        tables.principal,
        id=mine.id,
        name=mine.name,
        kind=str(mine.kind),
        roles=[identity.OWNER],
        state=identity.ACTIVE,
        created_ms=now_ms,
    )
    entries.append(Entry("principal.enrolled", {"principal": mine.id, "state": identity.ACTIVE}))
    return replace(mine, roles=(identity.OWNER,)), entries


def _end_what_ran(session: Any, now_ms: int) -> list[Entry]:
    """End leases, runs, drafts with scratch, requests for approval, grants that are counted, announced destructions; return an entry
    for each but leases."""
    entries = _end_what_is_used_up(session)
    for row in session.find(tables.lease, state="active"):
        session.update(tables.lease, row["id"], row["revision"], state="ended")
    for row in session.find(tables.run, state=RunState.RUNNING.value):
        session.update(tables.run, row["id"], row["revision"], state=RunState.ABORTED.value, ended_ms=now_ms)
        entries.append(Entry("run.ended", {"run": row["id"], "state": RunState.ABORTED.value}))
    for row in session.find(tables.version, state=VersionState.DRAFT.value):
        session.update(tables.version, row["id"], row["revision"], state=VersionState.ABANDONED.value, details=None)
        for key in session.find(tables.data_key, version_id=row["id"]):
            session.update(tables.data_key, key["id"], key["revision"], wrapped=None, state="destroyed")
        entries.append(Entry("version.abandoned", {"version": row["id"]}))
    for row in session.find(tables.approval_request, state=approvals.OPEN):  # what the copy shows as open may have been used since
        session.update(tables.approval_request, row["id"], row["revision"], state=approvals.EXPIRED, closed_ms=now_ms)
        entries.append(Entry("approval.expired", {"request": row["id"]}))
    campaigns.end_all(session)  # what approvals used before cover in the copy may have been done since
    return entries + _cancel_destructions(session, now_ms)


def _end_what_is_used_up(session: Any) -> list[Entry]:
    """End grants that are good for so much, and those of broken glass: what the copy shows as left may have been used since.
    Second factors that were shown count no more: whose they are may have changed."""
    for row in session.find(tables.factor_session):
        session.delete(tables.factor_session, (row["principal_id"], row["credential_id"]))
    entries = []
    for row in session.find(tables.grant_, state=grants.ACTIVE):
        found = grants.of_row(row)
        if found.counted or found.kind is not None:
            session.update(tables.grant_, found.id, found.revision, state=grants.REVOKED)
            entries.append(Entry("grant.revoked", {"grant": found.id, "restored": True}))
    return entries


def _cancel_destructions(session: Any, now_ms: int) -> list[Entry]:
    """Take back what was announced: whoever restores may need what the domain of then was about to destroy, and what the copy shows as
    announced may have been cancelled since. Announced again, it is approved again and waits again."""
    entries = []
    for row in session.find(tables.kek_version):
        if row["destroy_after_ms"] is not None and row["state"] != KeyState.DESTROYED.value:
            destruction.cancel(session, KekId(row["kek_id"]), row["number"], now_ms=now_ms)
            facts: dict[str, JsonValue] = {"key": row["kek_id"], "number": row["number"], "restored": True}
            entries.append(Entry("key.destruction-cancelled", facts))
    return entries
