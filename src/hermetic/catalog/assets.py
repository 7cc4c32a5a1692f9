"""Assets: a name in an environment, and what policy needs to know about it.

Changes of owner, class, project, retention and state go on record as decisions with what was before. All but retention raise the
epoch, so that leases given under the old facts end at their next check. A change of class or project concerns versions written
from now on: what is sealed already keeps the class it was sealed under.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hermetic.catalog import decisions
from hermetic.catalog.values import Asset, AssetState, fresh_id
from hermetic.db import tables
from hermetic.errors import Conflict, NotFound, UsageError
from hermetic.ids import AssetId, AssetName, DataClass, Environment

if TYPE_CHECKING:
    from hermetic.catalog.values import Because, NewAsset
    from hermetic.db.rows import ReadSession, Session
    from hermetic.ids import Kind


def create(session: Session, new: NewAsset, *, now_ms: int, asset_id: AssetId | None = None) -> Asset:
    """Create an asset without versions, at epoch 1. Raises Conflict when the environment has one of that name."""
    if find(session, new.name, new.environment) is not None:
        raise _taken(new.name, new.environment)
    made = AssetId(fresh_id()) if asset_id is None else asset_id
    session.insert(
        tables.asset,
        id=made,
        kind=new.name.kind,
        name=str(new.name),
        data_class=new.data_class,
        owner=new.owner,
        project=new.project,
        environment=new.environment,
        epoch=1,
        state=AssetState.ACTIVE,
        retention_days=new.retention_days,
        created_ms=now_ms,
        next_number=1,
    )
    return get(session, made)


def find(session: ReadSession, name: AssetName, environment: Environment) -> Asset | None:
    """Return the asset of that name, or None."""
    row = session.first(tables.asset, environment=environment, name=str(name))
    return None if row is None else _asset(row)


def require(session: ReadSession, name: AssetName, environment: Environment) -> Asset:
    """Return the asset of that name. Raises NotFound."""
    found = find(session, name, environment)
    if found is None:
        raise NotFound(f"no asset {name} in {environment.value}", hint="`hermetic ls` lists what there is")
    return found


def get(session: ReadSession, asset_id: AssetId) -> Asset:
    """Return the asset with this id. Raises NotFound."""
    return _asset(session.require(tables.asset, asset_id))


def list_assets(
    session: ReadSession,
    *,
    environment: Environment | None = None,
    kind: Kind | None = None,
    data_class: DataClass | None = None,
    state: AssetState | None = None,
    owner: str | None = None,
    project: str | None = None,
) -> list[Asset]:
    """Return the assets that match every filter given, by environment and name."""
    stored = {"environment": environment, "kind": kind, "data_class": data_class, "state": state}
    rows = session.find(tables.asset, **{name: value for name, value in stored.items() if value is not None})
    found = [
        _asset(row) for row in rows if (owner is None or row["owner"] == owner) and (project is None or row["project"] == project)
    ]
    return sorted(found, key=lambda asset: (asset.environment, str(asset.name)))


def rename(session: Session, asset: Asset, name: AssetName) -> Asset:
    """Give the asset another name of the same kind; nothing is sealed again. Raises Conflict when taken or changed, UsageError."""
    if name.kind is not asset.name.kind:
        raise UsageError(f"{asset.name} cannot become a {name.kind.value}", hint="a name changes within its kind")
    if find(session, name, asset.environment) is not None:
        raise _taken(name, asset.environment)
    return _update(session, asset, name=str(name))


def bump_epoch(session: Session, asset: Asset) -> Asset:
    """Raise the epoch: every lease on the asset ends at its next check."""
    return _update(session, asset, epoch=asset.epoch + 1)


def set_owner(session: Session, asset: Asset, owner: str | None, because: Because) -> Asset:
    """Change the owner, on record."""
    return _decide(session, asset, because, owner=owner)


def set_class(session: Session, asset: Asset, data_class: DataClass, because: Because) -> Asset:
    """Change the data class, on record; lowering it is a decision like raising it, policy says who may."""
    return _decide(session, asset, because, data_class=data_class.value)


def set_project(session: Session, asset: Asset, project: str | None, because: Because) -> Asset:
    """Change the project, on record."""
    return _decide(session, asset, because, project=project)


def set_state(session: Session, asset: Asset, state: AssetState, because: Because) -> Asset:
    """Quarantine, retire or reactivate, on record."""
    return _decide(session, asset, because, state=state.value)


def set_retention(session: Session, asset: Asset, days: int | None, because: Because) -> Asset:
    """Change how many days versions are kept (None: as the class says), on record. Raises UsageError for fewer than 1."""
    if days is not None and days < 1:
        raise UsageError("retention is at least one day", hint="to remove versions now, delete them")
    return _decide(session, asset, because, raise_epoch=False, retention_days=days)


def _decide(session: Session, asset: Asset, because: Because, *, raise_epoch: bool = True, **change: Any) -> Asset:
    ((column, after),) = change.items()
    details = {"before": getattr(asset, column), "after": after}
    decisions.record(session, column, because, asset_id=asset.id, details=details)
    return _update(session, asset, **change, epoch=asset.epoch + raise_epoch)


def _update(session: Session, asset: Asset, **changes: Any) -> Asset:
    return _asset(session.update(tables.asset, asset.id, asset.revision, **changes))


def _asset(row: dict[str, Any]) -> Asset:
    return Asset(
        id=AssetId(row["id"]),
        name=AssetName.parse(row["name"]),
        environment=Environment(row["environment"]),
        data_class=DataClass(row["data_class"]),
        owner=row["owner"],
        project=row["project"],
        epoch=row["epoch"],
        state=AssetState(row["state"]),
        retention_days=row["retention_days"],
        created_ms=row["created_ms"],
        next_number=row["next_number"],
        revision=row["revision"],
    )


def _taken(name: AssetName, environment: Environment) -> Conflict:
    return Conflict(f"{environment.value} already has an asset {name}", hint="choose another name, or add a version to it")
