"""Versions: drafts become published and never change again.

Invariants:
1. The published and deleted versions of an asset are numbered 1 to `next_number - 1` without a gap. A gap means that a row was taken
   out by hand: RowTampered.
2. A number is given inside the transaction that publishes, so two writers can race and neither has to seal again.
3. A deleted version keeps its number, manifest and manifest hash, so that the chain of manifests stays whole; its details and
   openings are overwritten. Its keys are custody's to shred.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hermetic.catalog import assets
from hermetic.catalog.values import Place, SealedObject, Version, VersionState, fresh_id
from hermetic.db import tables
from hermetic.errors import Conflict, NotFound, RowTampered
from hermetic.ids import AssetId, DataClass, DataKeyId, ObjectId, Purpose, RunId, VersionId

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hermetic.catalog.values import Asset, NewDraft, Publication
    from hermetic.db.rows import ReadSession, Session
    from hermetic.ids import Environment, Ref

_NUMBERED = (VersionState.PUBLISHED, VersionState.DELETED)


def create_draft(session: Session, asset: Asset, new: NewDraft, *, now_ms: int, version_id: VersionId | None = None) -> Version:
    """Create a draft of an asset; it has no number yet."""
    made = VersionId(fresh_id()) if version_id is None else version_id
    session.insert(
        tables.version,
        id=made,
        asset_id=asset.id,
        state=VersionState.DRAFT,
        purpose=new.purpose,
        run_id=new.run_id,
        writer=new.writer,
        created_ms=now_ms,
        store=new.store,
        data_class=new.data_class,
        details=None if new.details is None else dict(new.details),
    )
    return get(session, made)


def next_place(session: ReadSession, asset_id: AssetId) -> Place:
    """Return the number that a version published in this transaction gets, and the hash of the manifest before it."""
    asset = assets.get(session, asset_id)
    if asset.next_number == 1:
        return Place(1, None)
    return Place(asset.next_number, _numbered(session, asset, asset.next_number - 1).manifest_hash)


def publish(session: Session, version: Version, publication: Publication) -> Version:
    """Turn a draft into the next version of its asset, with its manifest and objects.

    Raises Conflict when it is no draft any more, or its number is not the next one (call `next_place` in the same transaction).
    """
    _expect(version, VersionState.DRAFT, "published")
    asset = assets.get(session, version.asset_id)
    if publication.number != asset.next_number:
        raise Conflict(f"version {publication.number} is not the next of its asset", hint="another writer was first: try again")
    session.update(tables.asset, asset.id, asset.revision, next_number=asset.next_number + 1)
    session.insert_many(
        tables.object_,
        (
            {
                "id": item.id,
                "version_id": version.id,
                "idx": item.index,
                "root": item.root,
                "algorithm": item.algorithm,
                "length": item.length,
                "key_id": item.key_id,
            }
            for item in publication.objects
        ),
    )
    return _change(
        session,
        version,
        state=VersionState.PUBLISHED,
        number=publication.number,
        published_ms=publication.published_ms,
        manifest=publication.manifest,
        openings=publication.openings,
        manifest_hash=publication.manifest_hash,
        length=publication.length,
    )


def set_details(session: Session, version: Version, details: Mapping[str, Any]) -> Version:
    """Replace the details of a draft. Raises Conflict for anything but a draft."""
    _expect(version, VersionState.DRAFT, "changed")
    return _change(session, version, details=dict(details))


def abandon(session: Session, version: Version) -> Version:
    """Give up a draft. Raises Conflict when it is none."""
    _expect(version, VersionState.DRAFT, "abandoned")
    return _change(session, version, state=VersionState.ABANDONED, details=None)


def mark_deleted(session: Session, version: Version) -> Version:
    """Say that a published version is gone. Raises Conflict when it is not published."""
    _expect(version, VersionState.PUBLISHED, "deleted")
    return _change(session, version, state=VersionState.DELETED, details=None, openings=None)


def get(session: ReadSession, version_id: VersionId) -> Version:
    """Return the version with this id, whatever its state. Raises NotFound."""
    return _version(session.require(tables.version, version_id))


def latest(session: ReadSession, asset: Asset) -> Version | None:
    """Return the published version with the highest number, or None. Raises RowTampered on a gap."""
    for number in range(asset.next_number - 1, 0, -1):
        found = _numbered(session, asset, number)
        if found.state is VersionState.PUBLISHED:
            return found
    return None


def by_number(session: ReadSession, asset: Asset, number: int) -> Version:
    """Return a published or deleted version. Raises NotFound for a number not given out, RowTampered on a gap."""
    if not 1 <= number < asset.next_number:
        raise NotFound(f"{asset.name} has no version {number}", hint=f"`hermetic ls {asset.name}` lists its versions")
    return _numbered(session, asset, number)


def resolve(session: ReadSession, ref: Ref, environment: Environment, *, deleted: bool = False) -> tuple[Asset, Version]:
    """Return the asset and the published version that a reference names, or a deleted one by its number if asked to.

    Raises NotFound, RowTampered.
    """
    asset = assets.require(session, ref.name, environment)
    found = latest(session, asset) if ref.number is None else by_number(session, asset, ref.number)
    if found is None:
        raise NotFound(f"{asset.name} has no published version", hint="seal one first")
    if found.state is not VersionState.PUBLISHED and not deleted:
        raise NotFound(f"{asset.name}@{found.number} was deleted", hint=f"`hermetic ls {asset.name}` lists what is left")
    return asset, found


def list_versions(session: ReadSession, asset: Asset, *, numbered: bool = True) -> list[Version]:
    """Return the versions that have a number, by number; if not `numbered`, then drafts and abandoned ones after them."""
    found = [_version(row) for row in session.find(tables.version, asset_id=asset.id)]
    listed = sorted((version for version in found if version.number is not None), key=lambda version: version.number or 0)
    if [version.number for version in listed] != list(range(1, asset.next_number)):
        raise _gap(asset)
    rest = sorted((version for version in found if version.number is None), key=lambda version: (version.created_ms, version.id))
    return listed if numbered else listed + rest


def of_run(session: ReadSession, run_id: RunId) -> list[Version]:
    """Return the versions that a run wrote, whatever their state, oldest first."""
    found = [_version(row) for row in session.find(tables.version, run_id=run_id)]
    return sorted(found, key=lambda version: (version.created_ms, version.id))


def objects(session: ReadSession, version_id: VersionId) -> tuple[SealedObject, ...]:
    """Return the sealed objects of a version, by index. Raises RowTampered when one is missing between others."""
    rows = sorted(session.find(tables.object_, version_id=version_id), key=lambda row: row["idx"])
    if [row["idx"] for row in rows] != list(range(len(rows))):
        raise RowTampered(f"objects of version {version_id} are missing", hint="run `hermetic log verify`")
    return tuple(
        SealedObject(ObjectId(row["id"]), row["idx"], row["root"], row["algorithm"], row["length"], DataKeyId(row["key_id"]))
        for row in rows
    )


def _numbered(session: ReadSession, asset: Asset, number: int) -> Version:
    row = session.first(tables.version, asset_id=asset.id, number=number)
    if row is None or row["state"] not in _NUMBERED:
        raise _gap(asset)
    return _version(row)


def _gap(asset: Asset) -> RowTampered:
    return RowTampered(f"a version row of asset {asset.id} is missing", hint="it was deleted by hand: run `hermetic log verify`")


def _expect(version: Version, state: VersionState, verb: str) -> None:
    if version.state is not state:
        raise Conflict(f"a version that is {version.state.value} cannot be {verb}", hint="look at its state and start again")


def _change(session: Session, version: Version, **changes: Any) -> Version:
    return _version(session.update(tables.version, version.id, version.revision, **changes))


def _version(row: dict[str, Any]) -> Version:
    return Version(
        id=VersionId(row["id"]),
        asset_id=AssetId(row["asset_id"]),
        number=row["number"],
        state=VersionState(row["state"]),
        purpose=Purpose(row["purpose"]),
        run_id=None if row["run_id"] is None else RunId(row["run_id"]),
        writer=row["writer"],
        created_ms=row["created_ms"],
        published_ms=row["published_ms"],
        manifest=row["manifest"],
        openings=row["openings"],
        manifest_hash=row["manifest_hash"],
        store=row["store"],
        data_class=DataClass(row["data_class"]),
        length=row["length"],
        details=row["details"],
        revision=row["revision"],
    )
