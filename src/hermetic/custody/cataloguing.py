"""What exists, as the port tells it: list, show, lineage, decisions, garbage, copies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hermetic.audit.leaf import Entry, Hidden
from hermetic.catalog import assets, decisions, leftovers, lineage, runs, usage, versions
from hermetic.catalog.locations import place_of
from hermetic.catalog.values import Because, VersionState
from hermetic.custody import callers, environments
from hermetic.custody.call import receipt
from hermetic.custody.copies import digest_handle, strictest_copies
from hermetic.custody.decide import allowed_caller, still_the_same
from hermetic.custody.due import do_due
from hermetic.custody.paging import PAGE_BYTES
from hermetic.custody.publishing import abandon
from hermetic.custody.resolve import as_resource, gone
from hermetic.custody.views import anew_of, labels_of, members_of, openings_of, suites_of
from hermetic.custody.work import unit
from hermetic.custody.workspaces import catalogue
from hermetic.db import tables
from hermetic.errors import UsageError
from hermetic.formats.messages.catalogue import (
    AssetList,
    AssetRow,
    CollectGarbage,
    Decided,
    Garbage,
    GarbageItem,
    Lineage,
    LineageEdge,
    LineageNode,
    ListAssets,
    RecordDecision,
    ShowVersion,
    TraceLineage,
    VersionDetails,
)
from hermetic.formats.messages.versions import Recognised, RecogniseDigests
from hermetic.ids import AssetName, KekId, KeyState, VersionId
from hermetic.keys import kek as keks
from hermetic.policy import globs
from hermetic.policy.request import Action

if TYPE_CHECKING:
    from hermetic.catalog.values import Asset, Version
    from hermetic.custody.call import Call
    from hermetic.custody.inforce import InForce
    from hermetic.custody.work import Work
    from hermetic.custody.workspaces import Sight
    from hermetic.db.rows import ReadSession
    from hermetic.formats.canonical import JsonValue
    from hermetic.keys.kek import Kek

DIGESTS = 10_000  # in one request
ROW_BYTES = 800  # of a row of it, without what people name; a row has at most this
ESCAPED = 6  # bytes that a byte of text has at most in JSON


def list_assets(call: Call, request: ListAssets) -> AssetList:
    """List assets that match, as far as the caller sees them, as many as fit into a message. Raises UsageError for no cursor."""
    sight, rows, size = catalogue(call), list[AssetRow](), 0
    with call.custodian.database.read(call.custodian.row_keys) as session:
        policy = call.custodian.policy.current(session)
        for asset in _asked_for(session, request):
            if not sight.sees(session, asset):
                continue
            row = asset_row(session, asset, policy)
            size += ROW_BYTES + len(f"{row.name}{row.owner}{row.project}{row.place or ''}".encode()) * ESCAPED
            if rows and size > PAGE_BYTES:
                return AssetList(tuple(rows), f"{rows[-1].name} {rows[-1].asset}")
            rows.append(row)
    return AssetList(tuple(rows))


def _asked_for(session: ReadSession, request: ListAssets) -> list[Asset]:
    """Return the assets that match, in order, those after the cursor."""
    pattern = request.pattern
    start = ("", "") if request.after is None else tuple(request.after.split(" "))
    if len(start) != 2:
        raise UsageError("this is no place in a list of assets", hint="`after` is the `next` of the page before")
    found = {(str(asset.name), asset.id): asset for asset in assets.list_assets(session, environment=request.environment)}
    later = (place for place in sorted(found) if place > start and not place[0].startswith("scratch/"))
    return [found[place] for place in later if pattern is None or globs.matches(pattern, place[0])]


def asset_row(session: ReadSession, asset: Asset, policy: InForce) -> AssetRow:
    """Return one asset as a row; its class is never below that of its latest version. Raises RowTampered."""
    listed = versions.list_versions(session, asset)
    live = [version for version in listed if version.state is VersionState.PUBLISHED]
    last = live[-1] if live else None
    key, kek = (None, None) if last is None else _key_of(session, last)
    data_class = asset.data_class if last is None else max(asset.data_class, last.data_class, key=lambda item: item.rank)
    retention = asset.retention_days
    if retention is None:
        retention = policy.document.classes[data_class if last is None else last.data_class].retention_days
    return AssetRow(
        name=str(asset.name),
        asset=asset.id,
        data_class=data_class,
        environment=asset.environment,
        owner=asset.owner or "",
        project=asset.project or "",
        latest=0 if last is None or last.number is None else last.number,
        versions=len(live),
        length=0 if last is None or last.length is None else last.length,
        retention_days=retention,
        updated_ms=asset.created_ms if last is None or last.published_ms is None else last.published_ms,
        kek="" if kek is None else kek.kek_id,
        kek_number=0 if key is None else key["kek_number"],
        kek_state="" if kek is None or key is None else kek.counting(key["kek_number"]).value,
        version="" if last is None else last.id,
        store="" if last is None else last.store,
        place=None if last is None else place_of(last),
    )


def _key_of(session: ReadSession, version: Version) -> tuple[dict[str, Any], Kek] | tuple[None, None]:
    """Return the row of the data key of a version and the KEK it hangs on; nothing for one whose row was taken out."""
    keys = session.find(tables.data_key, version_id=version.id)
    return (keys[-1], keks.get(session, KekId(keys[-1]["kek_id"]))) if keys else (None, None)


def show_version(call: Call, request: ShowVersion) -> VersionDetails:
    """Show a version. Raises NotFound, PolicyDenied."""
    sight = catalogue(call)
    with call.custodian.database.read(call.custodian.row_keys) as session:
        policy = call.custodian.policy.current(session)
        asset, version = environments.find(session, policy, request.ref, request.environment, deleted=True)
        sight.require(session, asset)
        return _details(session, asset, version, sight)


def _details(session: ReadSession, asset: Asset, version: Version, sight: Sight) -> VersionDetails:
    key = session.find(tables.data_key, version_id=version.id)[-1]
    kek = keks.get(session, KekId(key["kek_id"]))
    count, last = usage.of_version(session, version.id)
    retention = asset.retention_days
    if retention is None:
        retention = sight.policy.document.classes[version.data_class].retention_days
    parents = (edge.parent for edge in lineage.parents_of(session, version.id))
    return VersionDetails(
        ref=f"{asset.name}@{version.number}",
        name=str(asset.name),
        asset=asset.id,
        version=version.id,
        number=version.number or 0,
        state=version.state.value,
        data_class=version.data_class,
        environment=asset.environment,
        owner=asset.owner or "",
        project=asset.project or "",
        purpose=version.purpose,
        run=version.run_id,
        writer=version.writer,
        created_ms=version.created_ms,
        published_ms=version.published_ms or 0,
        retention_days=retention,
        length=version.length or 0,
        store=version.store,
        kek=kek.kek_id,
        kek_number=key["kek_number"],
        kek_state=(kek.counting(key["kek_number"]) if version.state is not VersionState.DELETED else KeyState.DESTROYED).value,
        manifest=version.manifest or b"",
        openings=openings_of(version),
        members=members_of(version),
        parents=tuple(ref_of(session, parent) for parent in parents if sight.sees_version(session, parent)),
        labels=labels_of(version),
        releases=count,
        last_release_ms=last,
        place=place_of(version),
        gone=gone(session, asset, version) if version.state is VersionState.DELETED else "",
        suites=suites_of(version),
        anew=anew_of(version),
    )


def ref_of(session: ReadSession, version_id: VersionId) -> str:
    """Return `kind/name@number` of a version."""
    version = versions.get(session, version_id)
    return f"{assets.get(session, version.asset_id).name}@{version.number}"


def record_decision(call: Call, request: RecordDecision) -> Decided:
    """Change owner, class or retention with a reason, or record a fallback. Raises UsageError when there is nothing to decide."""
    if all(item is None for item in (request.owner, request.data_class, request.retention_days, request.fallback)):
        raise UsageError("nothing to decide", hint="give an owner, a class or a retention")
    name = AssetName.parse(request.name)
    with call.custodian.database.read(call.custodian.row_keys) as session:
        callers.require(call, session)
        policy = call.custodian.policy.current(session)
        where = environments.of_name(policy, name, request.environment)
        resource = as_resource(assets.require(session, name, where), None, policy)
    caller = allowed_caller(call, Action.CLASSIFY, resource)
    with unit(call.custodian, "custody.decision.committed", call.now_ms) as work:
        asset = assets.require(work.session, name, where)
        still_the_same(call, work.session, caller, as_resource(asset, None, call.custodian.policy.current(work.session)))
        because = Because(request.reason, caller.name, call.now_ms)
        changed: list[JsonValue] = []
        if request.owner is not None:
            asset, changed = assets.set_owner(work.session, asset, request.owner, because), [*changed, "owner"]
        if request.data_class is not None:
            asset, changed = assets.set_class(work.session, asset, request.data_class, because), [*changed, "class"]
        if request.retention_days is not None:
            asset, changed = assets.set_retention(work.session, asset, request.retention_days, because), [*changed, "retention"]
        hidden = {"principal": caller.hidden(), "reason": Hidden(request.reason, f"principal:{caller.id}")}
        if request.fallback is not None:
            taken = versions.by_number(work.session, asset, request.fallback)
            decisions.record(work.session, "fallback", because, asset_id=asset.id, version_id=taken.id)
            work.log(Entry("asset.fallback", {"asset": asset.id, "version": taken.id}, hidden))
        if changed:
            work.log(Entry("asset.changed", {"asset": asset.id, "changed": changed}, hidden))
    return Decided(receipt(call.custodian.generation, work.logged()))


def trace_lineage(call: Call, request: TraceLineage) -> Lineage:
    """Walk the lineage of a version; what the caller does not see is left out."""
    sight = catalogue(call)
    with call.custodian.database.read(call.custodian.row_keys) as session:
        policy = call.custodian.policy.current(session)
        _, start = environments.find(session, policy, request.ref, request.environment)
        walk = lineage.descendants if request.descendants else lineage.ancestors
        sight.require(session, assets.get(session, start.asset_id))
        ends = [(edge, (edge.child, edge.parent)) for edge in walk(session, start.id)]
        edges = [edge for edge, both in ends if all(sight.sees_version(session, end) for end in both)]
        ids = dict.fromkeys([start.id, *(end for edge in edges for end in (edge.child, edge.parent))])
        nodes = tuple(_node(session, version_id) for version_id in ids)
    return Lineage(nodes, tuple(LineageEdge(edge.child, edge.parent) for edge in edges))


def _node(session: ReadSession, version_id: VersionId) -> LineageNode:
    version = versions.get(session, version_id)
    asset = assets.get(session, version.asset_id)
    run = None if version.run_id is None else runs.get(session, version.run_id)
    why = decisions.about_version(session, version_id)
    facts = {} if run is None else (run.details or {}).get("facts", {})
    return LineageNode(
        version=version.id,
        ref=f"{asset.name}@{version.number}" if version.number else f"{asset.name} ({version.state.value})",
        data_class=version.data_class,
        owner=asset.owner or "",
        run=version.run_id,
        run_name=None if run is None else run.name,
        purpose=version.purpose,
        published_ms=version.published_ms or version.created_ms,
        code_version=facts.get("code_version"),
        decision=why[-1].reason if why else None,
    )


def collect_garbage(call: Call, request: CollectGarbage) -> Garbage:
    """Abandon drafts that nobody finishes, and say which version folders may be removed."""
    caller = allowed_caller(call, Action.DELETE)
    if not request.dry_run:
        do_due(call)
    with call.custodian.database.read(call.custodian.row_keys) as session:
        stale = leftovers.stale_drafts(session, now_ms=call.custodian.steady(), older_than_ms=request.older_than_ms)
    if stale and not request.dry_run:
        with unit(call.custodian, "custody.gc.committed", call.now_ms) as work:
            still_the_same(call, work.session, caller)
            for version in _still_drafts(work, stale):
                abandon(work, version)
                work.log(Entry("version.abandoned", {"version": version.id}, {"principal": caller.hidden()}))
    with call.custodian.database.read(call.custodian.row_keys) as session:
        gone = [GarbageItem(item.store, item.id, item.state.value) for item in leftovers.gone_versions(session)]
        named = {item.version for item in gone}
        pending = [GarbageItem(item.store, item.id, "stale draft") for item in stale if item.id not in named]
        keep = tuple(row["id"] for row in session.find(tables.version) if row["state"] in {"draft", "published"})
    return Garbage((*gone, *pending), keep)


def _still_drafts(work: Work, stale: list[Version]) -> list[Version]:
    again = [versions.get(work.session, item.id) for item in stale]
    return [item for item in again if item.state is VersionState.DRAFT]


def recognise_digests(call: Call, request: RecogniseDigests) -> Recognised:
    """Tell which plaintext digests belong to known versions; of several with the same bytes the one of the strictest class."""
    if len(request.digests) > DIGESTS:
        raise UsageError(f"a request names at most {DIGESTS} digests", hint="send several requests")
    sight = catalogue(call)
    handles = [digest_handle(call.custodian, digest) for digest in request.digests]
    with call.custodian.database.read(call.custodian.row_keys) as session:
        found = strictest_copies(session, handles, lambda version: sight.sees_version(session, version))
        refs = {handle: ref_of(session, item.id) for handle, item in found.items()}
    return Recognised(tuple(refs.get(handle, "") for handle in handles))
