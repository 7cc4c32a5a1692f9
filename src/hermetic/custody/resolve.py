"""Step 2 of a release: from a reference to everything a decision needs. Every row read here is authenticated."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermetic.catalog import assets, decisions, versions
from hermetic.catalog.values import AssetState, VersionState
from hermetic.custody.views import purposes_of, suites_of
from hermetic.db import tables
from hermetic.errors import Denied, KeyUnusable, RowTampered
from hermetic.ids import DataKeyId, KekId, KeyState, Purpose, Ref
from hermetic.keys import kek as keks
from hermetic.policy.request import AssetResource

if TYPE_CHECKING:
    from hermetic.catalog.values import Asset, Version
    from hermetic.custody.inforce import InForce
    from hermetic.db.rows import ReadSession
    from hermetic.ids import Environment
    from hermetic.keys.kek import Kek

NO_OWNER = ""
SHREDDED = "shredded"  # kind of the decision about a version whose key was overwritten
RECOVERING = "`hermetic key compromise {kek} --reason WHY --go-on` seals it anew; until then --purpose recover opens it"


@dataclass(frozen=True, slots=True)
class Resolved:
    """A published version with its data key and KEK, as they stood in one transaction."""

    asset: Asset
    version: Version
    data_key: DataKeyId
    wrapped: bytes
    kek: Kek
    kek_number: int

    @property
    def ref(self) -> str:
        """`kind/name@number`."""
        return f"{self.asset.name}@{self.version.number}"

    def check_open(self, purpose: Purpose) -> None:
        """Raise KeyUnusable if the key may not be unwrapped for this purpose: after a revocation only to recover what it protects."""
        try:
            self.kek.check(self.kek_number, "unwrap", recovering=purpose is Purpose.RECOVER)
        except KeyUnusable as error:
            if self.state is KeyState.COMPROMISED:
                raise KeyUnusable(f"the key of {self.ref} was revoked", hint=RECOVERING.format(kek=self.kek.kek_id)) from error
            raise

    def opens(self, purpose: Purpose) -> bool:
        """Whether `check_open` would pass: for reports; a release calls that."""
        try:
            self.check_open(purpose)
        except KeyUnusable:
            return False
        return True

    @property
    def state(self) -> KeyState:
        """The state that counts for its key."""
        return self.kek.counting(self.kek_number)

    def fixed_points(self) -> tuple[object, ...]:
        """Return what must not have moved between the decision and the intent, nor between the intent and the unwrap.

        Which version of the KEK wraps the data key is not among it: a rewrap campaign changes nothing that a decision relies on, so
        readers need not start again. Whatever does matter to a KEK raises its epoch.
        """
        return (
            self.asset.epoch,
            self.asset.state,
            self.version.state,
            self.data_key,
            self.kek.kek_id,
            self.kek.epoch,
            self.kek.state,
        )


Memo = dict[KekId, "Kek"]
"""KEKs read in this transaction: a batch of a thousand versions hangs on a few of them."""


def resolve(session: ReadSession, text: str, environment: Environment, memo: Memo | None = None) -> Resolved:
    """Find what `text` names. Raises InvalidName, NotFound, RowTampered, Denied (quarantined), KeyUnusable (deleted)."""
    ref = Ref.parse(text)
    asset, version = versions.resolve(session, ref, environment, deleted=True)
    return resolve_version(session, asset, version, memo)


def again(session: ReadSession, known: Resolved, memo: Memo | None = None) -> Resolved:
    """Read the same rows once more."""
    version = versions.get(session, known.version.id)
    return resolve_version(session, assets.get(session, version.asset_id), version, memo)


def resolve_version(session: ReadSession, asset: Asset, version: Version, memo: Memo | None = None) -> Resolved:
    """Find the keys of a version that was found already. Raises as `resolve`."""
    if asset.state is AssetState.QUARANTINED:
        raise Denied(f"{asset.name} is quarantined", hint="`hermetic show` says why; a person has to release it")
    if version.state is VersionState.DELETED:
        raise KeyUnusable(gone(session, asset, version), hint="its key is gone for good; `hermetic ls` shows what is left")
    rows = session.find(tables.data_key, version_id=version.id)
    live = [row for row in rows if row["state"] == "active" and row["wrapped"] is not None]
    if not rows:  # every version was begun with one, and shredding overwrites it
        raise RowTampered(f"version {version.id} has no data key", hint="it was taken out by hand: run `hermetic log verify`")
    if not live:
        raise KeyUnusable(f"the data key of {asset.name}@{version.number} is gone")
    row = live[-1]
    kek = _kek(session, KekId(row["kek_id"]), {} if memo is None else memo)
    if kek.environment is not asset.environment:
        raise RowTampered(f"data key {row['id']} hangs on a KEK of another environment", hint="run `hermetic log verify`")
    return Resolved(asset, version, DataKeyId(row["id"]), row["wrapped"], kek, row["kek_number"])


def gone(session: ReadSession, asset: Asset, version: Version) -> str:
    """Return the sentence that says since when a deleted version is shredded, and by whom."""
    said = [item for item in decisions.about_version(session, version.id) if item.kind == SHREDDED]
    if not said:
        return f"{asset.name}@{version.number} was deleted"
    day = dt.datetime.fromtimestamp(said[-1].at_ms / 1000, dt.UTC).strftime("%Y-%m-%d")
    return f"{asset.name}@{version.number} was shredded on {day} by {said[-1].who}"


def _kek(session: ReadSession, kek_id: KekId, memo: Memo) -> Kek:
    if kek_id not in memo:
        memo[kek_id] = keks.get(session, kek_id)
    return memo[kek_id]


def as_resource(asset: Asset, version: Version | None, policy: InForce) -> AssetResource:
    """Return what the policy is asked about: the class under which the version was sealed, purposes as the rules in force say."""
    data_class = asset.data_class if version is None else version.data_class
    ends = None
    if version is not None and version.published_ms is not None:
        ends = policy.document.retention_ends(data_class, version.published_ms, asset.retention_days)
    return AssetResource(
        id=asset.id,
        name=str(asset.name),
        kind=asset.name.kind,
        data_class=data_class,
        environment=asset.environment,
        project=asset.project or policy.document.project,
        owner=asset.owner or NO_OWNER,
        version=None if version is None else version.number,
        purposes=None if version is None else purposes_of(version),
        retention_ends_ms=ends,
        suites=() if version is None or not policy.document.retired_suites else suites_of(version),
    )
