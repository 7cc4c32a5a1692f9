"""Promote a version into another environment, and roll back to an earlier one: the same content under the target's keys.

    custody decides        the policy, and people where it wants them; ApprovalNeeded until they have agreed: repeat it then
    open, begin            the source is released, its signature verified; a draft under the target's KEK, in the target's store
    copy                   each file is decrypted, verified and sealed in memory, a piece at a time, with its metadata
    compare                each sealed copy is read back: its digest is the one of what was read from the source
    publish                custody compares names, lengths and fingerprints, and publishes all or nothing

Nothing lies in plaintext anywhere on the way. Whoever is interrupted repeats the command: what was decided stands, the unfinished
draft is garbage, and a copy that was published before is returned as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermetic.assets.drafts import DraftVersion
from hermetic.assets.naming import check_store
from hermetic.assets.originals import digest_of_copy
from hermetic.assets.releases import release
from hermetic.assets.resealing import copy_member
from hermetic.assets.session import fresh_id
from hermetic.errors import IntegrityError, UsageError
from hermetic.formats.messages.catalogue import ShowVersion, TraceLineage
from hermetic.formats.messages.promotion import PromoteVersion, RollBack
from hermetic.formats.messages.versions import BeginVersion
from hermetic.ids import Environment, Ref
from hermetic.steps import reached

if TYPE_CHECKING:
    from hermetic.assets.releases import OpenVersion
    from hermetic.assets.session import Session
    from hermetic.formats.messages.base import Receipt
    from hermetic.formats.messages.catalogue import VersionDetails
    from hermetic.formats.messages.promotion import Promotion
    from hermetic.ids import Purpose


@dataclass(frozen=True, slots=True)
class Promoted:
    """A version that was carried. `source` and `ref` are references in `source_environment` and `environment`; `before` says that the
    copy was there already, and no entry was written."""

    source: str
    source_environment: Environment
    ref: str
    environment: Environment
    bytes: int
    objects: int
    before: bool
    receipt: Receipt | None


def promote(session: Session, ref: str, to: Environment, *, reason: str, purpose: Purpose | None = None) -> Promoted:
    """Carry a version into another environment. See Workspace.promote."""
    details = session.ask(ShowVersion(ref))
    asked = PromoteVersion(details.ref, details.version, details.environment, to, reason, purpose)
    return _carry(session, session.ask(asked))


def roll_back(session: Session, name: str, environment: Environment, *, to: int | None = None, reason: str) -> Promoted:
    """Make an earlier version the latest. See Workspace.rollback."""
    if Ref.parse(name).number is not None:
        raise UsageError(f"{name} names a version", hint="name the asset, and the version to go back to with --to")
    latest = session.ask(ShowVersion(name, environment))
    number = _origin(session, latest) - 1 if to is None else to
    if number < 1:
        raise UsageError(f"{name} has no earlier version in {environment}", hint="promote another one")
    wanted = session.ask(ShowVersion(f"{name}@{number}", environment))
    return _carry(session, session.ask(RollBack(wanted.ref, wanted.version, environment, latest.version, reason)))


def _origin(session: Session, latest: VersionDetails) -> int:
    """Return the number of the version that the latest one is a rollback to, its own number if it is none."""
    graph = session.ask(TraceLineage(latest.ref, environment=latest.environment))
    parents = {edge.parent for edge in graph.edges if edge.child == latest.version}
    for node in graph.nodes:
        ref = Ref.parse(node.ref) if node.version in parents and "@" in node.ref else None
        if ref is None or str(ref.name) != latest.name or (ref.number or 0) >= latest.number:
            continue
        if session.ask(ShowVersion(node.ref, latest.environment)).version == node.version:
            return ref.number or 0
    return latest.number


def _carry(session: Session, decided: Promotion) -> Promoted:
    if decided.done:
        return Promoted(decided.ref, decided.environment, decided.done, decided.to, 0, 0, before=True, receipt=None)
    reached("promote.decided")
    check_store(session, Ref.parse(decided.ref).name, decided.to)
    (source,) = release(session, (decided.ref,), purpose=decided.purpose, environment=decided.environment, promotion=decided.id)
    with source, DraftVersion(session, _begin(source, decided)) as draft:
        reached("promote.begun")
        for member in source.members:
            with source.reader(member) as reader:
                copy_member(reader, draft)
        _compare(draft)
        reached("promote.copied")
        finished = draft.publish()
    records = finished.records
    length = sum(record.plaintext_length for record in records)
    where = (decided.ref, decided.environment, finished.published.ref, decided.to)
    return Promoted(*where, length, len(records), before=False, receipt=finished.published.receipt)


def _begin(source: OpenVersion, decided: Promotion) -> BeginVersion:
    return BeginVersion(fresh_id(), source.released.name, environment=decided.to, purpose=decided.purpose, promotion=decided.id)


def _compare(draft: DraftVersion) -> None:
    """Read every sealed copy back. Raises IntegrityError."""
    for record in draft.records:
        if digest_of_copy(draft, record) != record.digest:
            raise IntegrityError(
                f"what was sealed of {record.member!r} is not what was read", hint="look at the store; nothing was promoted"
            )
