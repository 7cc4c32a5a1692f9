"""Objects at plain locations: what an object there is, whether it belongs there, and that it was moved. Releases nothing.

Two assets can have a claim on one location when the rules changed between two writes; the later claim counts.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from hermetic.audit.leaf import Entry
from hermetic.catalog import assets, versions
from hermetic.catalog.locations import Change, Locations, note
from hermetic.catalog.values import Because, VersionState
from hermetic.custody import residency
from hermetic.custody.decide import allowed_caller, still_the_same
from hermetic.custody.resolve import as_resource
from hermetic.custody.views import members_of
from hermetic.custody.work import unit
from hermetic.custody.workspaces import catalogue
from hermetic.errors import Conflict, InvalidName, NotFound, UsageError
from hermetic.formats.messages.base import Done
from hermetic.formats.messages.locations import FindObjects, ObjectAt, ObjectFound, ObjectsFound, PlaceObjects
from hermetic.ids import AssetId, Purpose, VersionId, check_id, check_member
from hermetic.policy import rules
from hermetic.policy.request import Action

if TYPE_CHECKING:
    from hermetic.catalog.locations import Standing
    from hermetic.catalog.values import Asset, Version
    from hermetic.custody.call import Call
    from hermetic.custody.inforce import InForce
    from hermetic.custody.workspaces import Sight
    from hermetic.db.rows import ReadSession
    from hermetic.formats.canonical import JsonValue

BATCH = 10_000  # objects in one request
_REASON = "moved, copied or removed through sealed::"


def find_objects(call: Call, request: FindObjects) -> ObjectsFound:
    """Say what objects are and whether they belong where they lie. Raises PolicyDenied, RowTampered."""
    _check(request.objects)
    sight = catalogue(call)
    with call.custodian.database.read(call.custodian.row_keys) as session:
        looking = _Looking(session, call.custodian.policy.current(session), sight)
        return ObjectsFound(tuple(looking.found(item) for item in request.objects))


def place_objects(call: Call, request: PlaceObjects) -> Done:
    """Put moves on record. Raises NotFound, UsageError for another asset's location, Conflict for a removal too late, PolicyDenied."""
    _check((*request.placed, *request.removed))
    changes: defaultdict[str, list[tuple[ObjectAt, bool]]] = defaultdict(list)
    for item in request.placed:
        changes[item.asset].append((item, True))
    for item in request.removed:
        changes[item.asset].append((item, False))
    for asset_id, items in changes.items():
        _record(call, AssetId(check_id(asset_id)), items, request.purpose or Purpose.INGEST)
    return Done()


def require_location(call: Call, session: ReadSession, asset: Asset, where: tuple[str, str]) -> None:
    """Raise UsageError unless the rules in force give the location (place, key) to `asset`."""
    name = _ruled(call.custodian.policy.current(session), where)
    if name != str(asset.name):
        said = "no rule covers it" if name is None else f"it is of {name} by the rules"
        raise UsageError(
            f"{where[1]!r} is no location of {asset.name}: {said}",
            hint="what is copied keeps being the same version: to make it another asset's, read it and write it there",
        )


def _check(objects: tuple[ObjectAt, ...]) -> None:
    if len(objects) > BATCH:
        raise UsageError(f"a request names at most {BATCH} objects", hint="send several requests")
    for item in objects:
        if item.place is not None:
            check_member(item.key)


def _ruled(policy: InForce, where: tuple[str, str]) -> str | None:
    place, key = where
    try:
        found = rules.match_path(policy.document, key, store=place or None)
    except InvalidName:
        return None
    return None if found is None else str(found.name)


def _record(call: Call, asset_id: AssetId, items: list[tuple[ObjectAt, bool]], purpose: Purpose) -> None:
    with call.custodian.database.read(call.custodian.row_keys) as session:
        resource = as_resource(assets.get(session, asset_id), None, call.custodian.policy.current(session))
    caller = allowed_caller(call, Action.SEAL, resource, purpose=purpose)
    with unit(call.custodian, "custody.decision.committed", call.now_ms) as work:
        asset = assets.get(work.session, asset_id)
        still_the_same(call, work.session, caller, as_resource(asset, None, call.custodian.policy.current(work.session)))
        because = Because(_REASON, caller.name, call.now_ms)
        note(work.session, asset, because, [_change(call, work.session, asset, item) for item in items])
        placed = sum(is_placed for _, is_placed in items)
        facts: dict[str, JsonValue] = {"asset": asset.id, "placed": placed, "removed": len(items) - placed}
        work.log(Entry("location.changed", facts, {"principal": caller.hidden()}))


def _change(call: Call, session: ReadSession, asset: Asset, item: tuple[ObjectAt, bool]) -> Change:
    where, is_placed = item
    if where.place is None:
        raise UsageError("a location that is in no known place cannot be put on record")
    if not is_placed:
        _require_latest(call, session, where)
        return Change(where.place, where.key)
    require_location(call, session, asset, (where.place, where.key))
    version = _published(session, where)
    if version is None:
        raise NotFound("no such object in a published version", hint="look at the object again")
    pinned = (version.data_class, assets.get(session, version.asset_id).environment)
    residency.require_place(call.custodian.policy.current(session).document, pinned, version.store, where.place)
    return Change(where.place, where.key, where.version, where.index)


def _require_latest(call: Call, session: ReadSession, where: ObjectAt) -> None:
    """Raise Conflict if a removal names an object, and something else was put at its location since whoever removes it looked."""
    if where.version and _Looking(session, call.custodian.policy.current(session)).found(where).state != "here":
        raise Conflict(f"{where.key!r} was written just now", hint="look at it, then try again")


def _published(session: ReadSession, item: ObjectAt) -> Version | None:
    """Return the published version that the ids name, None if there is none, or the object is no part of it.

    The asset may be left out by who knows the version alone.
    """
    try:
        version = versions.get(session, VersionId(item.version))
    except NotFound:
        return None
    if version.state is not VersionState.PUBLISHED or item.asset not in {"", version.asset_id}:
        return None
    listed = {found.index: found.id for found in versions.objects(session, version.id)}
    return version if listed.get(item.index) == item.object else None


class _Looking:
    """One request to find objects: what was read of assets is kept for its other objects."""

    def __init__(self, session: ReadSession, policy: InForce, sight: Sight | None = None) -> None:
        self._session, self._policy, self._sight = session, policy, sight
        self._locations: dict[AssetId, Locations] = {}

    def found(self, item: ObjectAt) -> ObjectFound:
        """Answer for one object."""
        if not item.version:
            return self._belongs(item)
        version = _published(self._session, item)
        if version is None:
            return ObjectFound("unknown")
        if item.place is None:
            return self._described("anywhere", version, item.index)
        standing = self._standing((item.place, item.key), version.asset_id)
        if standing is None:
            return self._described("elsewhere", version, item.index)
        if (standing.version, standing.index) == (version.id, item.index):
            return self._described("here", version, item.index)
        state = "replaced" if standing.version else "removed"
        return self._described(state, version, item.index, instead=standing)

    def _belongs(self, item: ObjectAt) -> ObjectFound:
        standing = None if item.place is None else self._standing((item.place, item.key), None)
        if standing is None or not standing.version:
            return ObjectFound("nothing")
        version = versions.get(self._session, VersionId(standing.version))
        return self._described("here", version, standing.index) if version.state is VersionState.PUBLISHED else ObjectFound("nothing")

    def _standing(self, where: tuple[str, str], asset_id: AssetId | None) -> Standing | None:
        """Return what stands at a location by its own asset, or by the asset of the rules if that was later."""
        ids = [] if asset_id is None else [asset_id]
        ruled = self._ruled_asset(where)
        ids += [] if ruled is None or ruled in ids else [ruled]
        standings = [found for found in (self._of(asset).standing(*where) for asset in ids) if found is not None]
        return max(standings, key=lambda found: found.at_ms, default=None)

    def _ruled_asset(self, where: tuple[str, str]) -> AssetId | None:
        try:
            said = rules.match_path(self._policy.document, where[1], store=where[0] or None)
        except InvalidName:
            return None
        asset = None if said is None else assets.find(self._session, said.name, said.environment)
        return None if asset is None else asset.id

    def _of(self, asset_id: AssetId) -> Locations:
        if asset_id not in self._locations:
            self._locations[asset_id] = Locations(self._session, asset_id)
        return self._locations[asset_id]

    def _described(self, state: str, version: Version, index: int, *, instead: Standing | None = None) -> ObjectFound:
        asset = assets.get(self._session, version.asset_id)
        if self._sight is not None and not self._sight.sees(self._session, asset):
            return ObjectFound("unknown")
        member = next((item for item in members_of(version) if item.index == index), None)
        return ObjectFound(
            state,
            name=str(asset.name),
            number=version.number or 0,
            version=version.id,
            index=index,
            member="" if member is None else member.path,
            length=0 if member is None else member.length,
            published_ms=version.published_ms or 0,
            instead=self._ref(instead) if instead is not None and instead.version else "",
        )

    def _ref(self, standing: Standing) -> str:
        version = versions.get(self._session, VersionId(standing.version))
        return f"{assets.get(self._session, version.asset_id).name}@{version.number}"
