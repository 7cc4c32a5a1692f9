"""Everything that `status` and `map` need, in one consistent read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from hermetic.access import identity
from hermetic.audit import handover
from hermetic.audit.leaf import Entry, Hidden
from hermetic.audit.tables_store import TablesStore
from hermetic.catalog import assets, exposures, runs, versions
from hermetic.catalog.values import VersionState
from hermetic.custody import attention, rootloss
from hermetic.custody.callers import Caller
from hermetic.custody.cataloguing import asset_row
from hermetic.custody.decide import Question, allowed_caller, allowed_everywhere, decide, still_the_same
from hermetic.custody.exposing import exposure_row
from hermetic.custody.keyring import key_rows
from hermetic.custody.looking import look
from hermetic.custody.resolve import as_resource, resolve_version
from hermetic.custody.running import run_row
from hermetic.custody.work import unit
from hermetic.db import tables
from hermetic.errors import Denied, UsageError
from hermetic.formats.binary_text import to_base64url
from hermetic.formats.messages.base import Done, Pair
from hermetic.formats.messages.domain import Facts, GatherFacts, OpenerFact, RecordRecovery, RecordRestoreCheck, RootFact, UseFact
from hermetic.ids import AssetId, KeyState, Kind, Purpose, VersionId, check_id
from hermetic.keys import roots
from hermetic.keys.provider import RootId
from hermetic.policy.request import Action

if TYPE_CHECKING:
    from hermetic.catalog.values import Asset
    from hermetic.custody.call import Call
    from hermetic.custody.custodian import Custodian
    from hermetic.custody.inforce import InForce
    from hermetic.custody.resolve import Resolved
    from hermetic.db.rows import ReadSession
    from hermetic.formats.canonical import JsonValue
    from hermetic.formats.findings import Finding

RUNS = 200


def gather_facts(call: Call, _request: GatherFacts) -> Facts:
    """Gather the facts. Raises PolicyDenied, RowTampered."""
    allowed_caller(call, Action.READ_CATALOG)
    return look(call.custodian, lambda session: _gather(call, session))


def _gather(call: Call, session: ReadSession) -> Facts:
    custodian = call.custodian
    policy = custodian.policy.current(session)
    found = [item for item in assets.list_assets(session) if item.name.kind is not Kind.SCRATCH]
    checkpoint, _ = custodian.log.head(TablesStore(session.connection))
    keys = key_rows(session)
    owners = {item.owner for item in found if item.owner} | {item.owner for item in keys if item.owner}
    known = {item.principal.name for item in identity.listing(session)}
    return Facts(
        at_ms=call.now_ms,
        domain=custodian.domain,
        generation=custodian.generation,
        enforcement=call.enforcement.value,
        roots=_roots(call, session),
        keys=keys,
        assets=tuple(asset_row(session, item, policy) for item in found),
        openers=_openers(call, session, policy, found),
        uses=_uses(session),
        denials=_count_leaves(session, "%.denied"),
        exposures=tuple(exposure_row(session, item) for item in exposures.list_open(session)),
        runs=tuple(run_row(session, item) for item in runs.list_runs(session)[:RUNS]),
        unknown_owners=tuple(sorted(owners - known)),
        open_intents=_count_leaves(session, "release.intent") - _count_leaves(session, "release.outcome"),
        log_size=checkpoint.size,
        log_root=checkpoint.root,
        policy_digest=policy.digest,
        backup=tuple(Pair(row["key"], row["value"]) for row in session.find(tables.backup_state) if isinstance(row["value"], str)),
        edges=_edges(session),
        critical=attention.gather(call, session, policy),
    )


def _roots(call: Call, session: ReadSession) -> tuple[RootFact, ...]:
    """Return the roots that there are; of those that are gone, whose drop was interrupted, or whose loss is not mended."""
    found = []
    for root in roots.ls(session):
        loss = rootloss.finding(session, root)
        lost = () if loss is None else (_remark(loss),)
        if root.state is KeyState.DESTROYED:
            if "wiped_ms" not in root.parameters:
                found.append(RootFact(root.root_id, root.provider_uri, root.state.value, ()))
            if lost:
                found.append(RootFact(root.root_id, root.provider_uri, root.state.value, lost))
            continue
        provider = call.custodian.anchors.providers.get(root.root_id)
        remarks = ("its provider is not at hand",) if provider is None else tuple(map(_remark, provider.status().findings))
        found.append(RootFact(root.root_id, root.provider_uri, root.state.value, (*lost, *remarks)))
    return tuple(found)


def _remark(item: Finding) -> str:
    return f"{item.code}|{item.severity}|{item.message}|{item.remedy}"


def _openers(call: Call, session: ReadSession, policy: InForce, found: list[Asset]) -> tuple[OpenerFact, ...]:
    """Ask the policy, for every principal, asset and purpose: the answer to "who can decrypt"."""
    people = [Caller(item.principal) for item in identity.listing(session) if item.active]
    items = [item for asset in found if (item := _latest(session, asset)) is not None]
    return tuple(fact for item in items for person in people if (fact := _opener(call, session, policy, (item, person))))


def _latest(session: ReadSession, asset: Asset) -> Resolved | None:
    """Return the latest version with its keys; None without one, in quarantine, or when its key is gone: nobody opens that."""
    version = versions.latest(session, asset)
    try:
        return None if version is None else resolve_version(session, asset, version)
    except Denied:
        return None


def _opener(call: Call, session: ReadSession, policy: InForce, what: tuple[Resolved, Caller]) -> OpenerFact | None:
    item, person = what
    purposes: list[Purpose] = []
    policies: set[str] = set()
    for purpose in filter(item.opens, Purpose):
        resource = as_resource(item.asset, item.version, policy)
        verdict = decide(call, session, Question(person, Action.OPEN, resource, policy, purpose, length=item.version.length or 0))
        if verdict.allowed:
            purposes.append(purpose)
            policies.update(verdict.policies)
    if not purposes:
        return None
    return OpenerFact(str(item.asset.name), person.name, tuple(purposes), tuple(sorted(policies)), item.asset.environment)


def _uses(session: ReadSession) -> tuple[UseFact, ...]:
    lease, version = tables.lease, tables.version
    query = (
        sa.select(lease.c.principal_id, version.c.asset_id, lease.c.purpose, sa.func.count(), sa.func.max(lease.c.issued_ms))
        .select_from(lease.join(version, lease.c.version_id == version.c.id))
        .where(version.c.state == VersionState.PUBLISHED.value)
        .group_by(lease.c.principal_id, version.c.asset_id, lease.c.purpose)
    )
    found = []
    for principal, asset_id, purpose, count, last in session.connection.execute(query):
        name, asset = identity.require(session, str(principal)).principal.name, assets.get(session, AssetId(str(asset_id)))
        found.append(UseFact(name, str(asset.name), Purpose(purpose), int(count), int(last), asset.environment))
    return tuple(sorted(found, key=lambda item: (item.name, str(item.environment), item.principal, item.purpose)))


def _count_leaves(session: ReadSession, kind: str) -> int:
    table = tables.log_leaf
    query = sa.select(sa.func.count()).where(table.c.kind.like(kind))
    return int(session.connection.execute(query).scalar_one())


def _edges(session: ReadSession) -> tuple[Pair, ...]:
    """Return parent and child asset names of every edge, each pair once."""
    names: dict[str, str] = {}

    def name(version_id: str) -> str:
        if version_id not in names:
            version = versions.get(session, VersionId(version_id))
            names[version_id] = str(assets.get(session, version.asset_id).name)
        return names[version_id]

    pairs = {(name(row["parent_version"]), name(row["child_version"])) for row in session.find(tables.edge)}
    return tuple(Pair(parent, child) for parent, child in sorted(pairs))


def record_recovery(call: Call, request: RecordRecovery) -> Done:
    """Put on record that the root is about to be wrapped under a recovery passphrase. Raises PolicyDenied, NotFound."""
    caller = allowed_everywhere(call, Action.CHANGE_ROOTS)  # with such a wrap one opens everything, elsewhere
    with unit(call.custodian, "custody.backup.recovery", call.now_ms) as work:
        still_the_same(call, work.session, caller)
        root = roots.get(work.session, RootId(check_id(request.root)))
        work.log(Entry("backup.made", {"backup": "recovery-wrap", "root": root.root_id}, {"principal": caller.hidden()}))
    return Done()


def _generation_of(custodian: Custodian, store: TablesStore, request: RecordRestoreCheck) -> int:
    """Return the generation of the log that such a copy is of: an earlier one, until the first copy after a restore.

    What earlier ones held is what the restores say of them, down from the newest. Raises UsageError, LogTampered.
    """
    size, root = request.log_size, request.log_root
    if 0 < size <= custodian.log.head(store)[0].size and custodian.log.root_at(store, size) == root:
        return custodian.generation
    for generation, end in handover.ends(store, custodian.domain, custodian.log.head(store)[0]):
        if 0 < size <= end.size and handover.root_at(store, end, size) == root:
            return generation
    raise UsageError("the copy that was tried is of another log than this one", hint="look whose copy lies in the backup place")


def record_restore_check(call: Call, request: RecordRestoreCheck) -> Done:
    """Remember, and log, that an asset was opened from a copy.

    Raises UsageError for a copy of another log: that is what the caller says, and of this log it proves nothing. LogTampered is for
    what custody finds in its own.
    """
    caller = allowed_caller(call, Action.BACKUP)
    custodian = call.custodian
    with unit(custodian, "custody.backup.checked", call.now_ms) as work:
        still_the_same(call, work.session, caller)
        store = TablesStore(work.session.connection)
        generation = _generation_of(custodian, store, request)
        for key, value in (("checked_ms", str(call.now_ms)), ("checked_size", str(request.log_size))):  # names are for the log
            if work.session.get(tables.backup_state, key) is None:
                work.session.insert(tables.backup_state, key=key, value=value)
            else:
                work.session.update(tables.backup_state, key, None, value=value)
        facts: dict[str, JsonValue] = {"drill": "restore-check", "size": request.log_size, "root": to_base64url(request.log_root)}
        if generation != custodian.generation:
            facts["generation"] = generation
        work.log(Entry("drill.ended", facts, {"principal": caller.hidden(), "ref": Hidden(request.ref, f"principal:{caller.id}")}))
    return Done()
