"""What people should look at around approvals, destruction and duties, for `status`: code and subject of each, findings elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from hermetic.access import approvals, broken_glass, identity
from hermetic.audit.leaf import Leaf
from hermetic.audit.tables_store import TablesStore
from hermetic.catalog.values import VersionState
from hermetic.custody import blast, copied, forgetting, held_up, identity_findings, outbox, residency, signing_findings, suites
from hermetic.custody.cataloguing import ref_of
from hermetic.db import tables
from hermetic.formats.certificate import LIMIT, parse_certificate
from hermetic.formats.dsse import parse_envelope
from hermetic.formats.messages.base import Pair
from hermetic.ids import KekId, KeyState, VersionId
from hermetic.keys import destruction
from hermetic.keys import kek as keks
from hermetic.policy import duties
from hermetic.policy.obligations import most_approvals

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermetic.custody.call import Call
    from hermetic.custody.inforce import InForce
    from hermetic.db.rows import ReadSession
    from hermetic.formats.certificate import Certificate

LISTED = 100  # subjects of one code
_REMOVED_MS = 7 * 86_400_000  # for which the removal of somebody else's second factor stands out
_SUMMED_MS = 86_400_000  # for which many refusals of one caller stand out
_CRITICAL = ("key.destruction-announced", "version.deleted")


def gather(call: Call, session: ReadSession, policy: InForce) -> tuple[Pair, ...]:
    """Return what stands out; the value is the subject, then `|` and a detail where there is one."""
    return (
        *signing_findings.gather(call, session),
        *identity_findings.gather(call, session, policy),
        *suites.gather(call, session, policy),
        *residency.gather(call, session, policy),
        *_approvers(call, session, policy),
        *_factors(call, session),
        *_many_refusals(call, session),
        *_unapproved(call, session),
        *_held_up(call, session),
        *_cancelled_by_restore(call, session),
        *_not_forgotten(session),
        *_incomplete(session),
        *_incomplete_keys(session),
        *_duties(session, policy),
        *_broken_glass(session, call.now_ms),
        *outbox.notes(session, call.now_ms),
        *_outdated(call),
    )


def _outdated(call: Call) -> Iterator[Pair]:
    """Say that this process still works with settings of before, by the names of what changed: what they say is custody's own."""
    changed = "" if call.custodian.outdated is None else call.custodian.outdated()
    if changed:
        yield Pair("settings-outdated", f"config.yaml|{changed}")


def _approvers(call: Call, session: ReadSession, policy: InForce) -> Iterator[Pair]:
    active = [item for item in approvals.approvers(session) if item.active]
    for item in active:
        if item.alone:
            yield Pair("approver-enrolled-alone", item.name)
    most = most_approvals(policy.document, call.enforcement)
    if active and len(active) <= most:
        yield Pair("few-approvers", f"{len(active)}|{most}")


def _factors(call: Call, session: ReadSession) -> Iterator[Pair]:
    """Name whose second factor somebody else removed of late: so a lost one is replaced, and so an attacker's would get in."""
    leaf = tables.log_leaf
    query = sa.select(leaf.c.leaf).where(leaf.c.kind == "factor.removed").order_by(leaf.c.generation.desc(), leaf.c.idx.desc())
    for (raw,) in session.connection.execute(query.limit(LISTED)):
        found = Leaf.parse(bytes(raw))
        whose = identity.find(session, str(found.facts["principal"])) if found.facts["own"] is False else None
        if whose is not None and call.now_ms - found.at_ms < _REMOVED_MS:
            yield Pair("factor-removed", whose.principal.name)


def _many_refusals(call: Call, session: ReadSession) -> Iterator[Pair]:
    """Name whose refusals were so many of late that they were summed (`audit.floods`), and how many those were."""
    leaf, counts = tables.log_leaf, dict[str, int]()
    query = sa.select(leaf.c.leaf).where(leaf.c.kind == "denials.summed", leaf.c.at_ms > call.now_ms - _SUMMED_MS)
    store, log = TablesStore(session.connection), call.custodian.log
    for (raw,) in session.connection.execute(query.order_by(leaf.c.at_ms.desc()).limit(10 * LISTED)):
        found = Leaf.parse(bytes(raw))
        opened = log.open(store, found).get("principal")
        who = "several callers" if opened is None else str(opened.value)
        known = identity.find(session, who)
        who = who if known is None else known.principal.name
        counts[who] = counts.get(who, 0) + int(str(found.facts["count"]))
    for who, count in sorted(counts.items())[:LISTED]:
        yield Pair("many-refusals", f"{who}|{count}")


def _unapproved(call: Call, session: ReadSession) -> Iterator[Pair]:
    """Count what was destroyed without anybody else's yes, as policies of development allow."""
    leaf = tables.log_leaf
    query = sa.select(leaf.c.leaf).where(leaf.c.generation == call.custodian.generation, leaf.c.kind.in_(_CRITICAL))
    found = [
        Leaf.parse(bytes(row[0])).facts for row in session.connection.execute(query.order_by(leaf.c.idx.desc()).limit(10 * LISTED))
    ]
    count = sum(facts.get("approvals") == 0 for facts in found)
    if count:
        yield Pair("destroyed-without-approval", f"{call.custodian.domain}|{count}")


def _held_up(call: Call, session: ReadSession) -> Iterator[Pair]:
    for kek_id, number in destruction.due(session, now_ms=call.now_ms)[:LISTED]:
        version = keks.get(session, kek_id).version(number)
        problem = blast.copies_of_key(session, version)
        needed = destruction.count_data_keys(session, kek_id, number)
        why = f"{needed} data keys hang on it" if needed else problem or held_up.why(session, (kek_id, number))
        yield Pair("destruction-held-up", f"{kek_id}/{number}|{why or 'it was not done, and left no record of why'}")


def _cancelled_by_restore(call: Call, session: ReadSession) -> Iterator[Pair]:
    """Name what was announced when the copy was made that this generation began with, until it is announced again or destroyed."""
    leaf = tables.log_leaf
    query = sa.select(leaf.c.leaf).where(leaf.c.generation == call.custodian.generation, leaf.c.kind == "key.destruction-cancelled")
    newest: dict[tuple[str, int], bool] = {}  # one that people took back since is settled
    for (raw,) in session.connection.execute(query.order_by(leaf.c.idx).limit(10 * LISTED)):
        facts = Leaf.parse(bytes(raw)).facts
        newest[str(facts["key"]), int(str(facts["number"]))] = facts.get("restored") is True
    for kek_id, number in [which for which, restored in newest.items() if restored]:
        version = keks.get(session, KekId(kek_id)).version(number)
        if version.destroy_after_ms is None and version.state is not KeyState.DESTROYED:
            yield Pair("destruction-not-announced", f"{kek_id}/{number}")


def _not_forgotten(session: ReadSession) -> Iterator[Pair]:
    """Say that the backup place still has the chunks of before something was destroyed: the copy after it is late."""
    place = session.get(tables.backup_state, "place")
    named = "" if place is None else str(place["value"] or "")
    if (named or copied.known(session)) and forgetting.since_copy(session):
        yield Pair("copies-hold-destroyed", named or "the backup place")


def _incomplete(session: ReadSession) -> Iterator[Pair]:
    gone = session.find(tables.version, state=VersionState.DELETED.value)
    for row in sorted(gone, key=lambda row: (row["published_ms"] or 0, row["id"]))[-LISTED:]:
        said = _newest(session, row["id"])
        if said is None or said.missing:
            yield Pair("shred-incomplete", ref_of(session, VersionId(row["id"])))


def _incomplete_keys(session: ReadSession) -> Iterator[Pair]:
    gone = session.find(tables.kek_version, state=KeyState.DESTROYED.value)
    for row in sorted(gone, key=lambda row: (row["updated_ms"], row["kek_id"], row["number"]))[-LISTED:]:
        name = f"{row['kek_id']}/{row['number']}"
        said = _newest(session, name)
        if said is None or said.missing:
            yield Pair("destruction-incomplete", name)


def _newest(session: ReadSession, subject: str) -> Certificate | None:
    stored = session.find(tables.certificate, subject=subject)
    newest = max(stored, key=lambda item: (item["made_ms"], item["id"]), default=None)
    return None if newest is None else parse_certificate(parse_envelope(newest["envelope"], limit=LIMIT).payload)


def _broken_glass(session: ReadSession, now_ms: int) -> Iterator[Pair]:
    for grant in broken_glass.broken(session)[:LISTED]:
        found = identity.find(session, grant.principal_id)
        who = grant.principal_id if found is None else found.principal.name
        yield Pair(
            "break-glass-open" if grant.ended(now_ms) is None else "break-glass-unreviewed", f"{grant.pattern}|{grant.id} {who}"
        )


def _duties(session: ReadSession, policy: InForce) -> Iterator[Pair]:
    """Name who both reads data and administers its keys; where there is only one person, there is nobody to share the work with."""
    people = [item.principal for item in identity.listing(session) if item.active]
    if len(people) < 2:
        return
    for person in people:
        classes = duties.together(policy.rulebook.engine, person.roles)
        if classes:
            yield Pair("duties-together", f"{person.name}|{', '.join(classes)}")
