"""The values of the catalog, as they stand in the database when read. `revision` is what a change has to name."""

from __future__ import annotations

import enum
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hermetic.ids import AssetId, AssetName, DataClass, DataKeyId, Environment, ObjectId, Purpose, RunId, VersionId, id_from_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping


def fresh_id() -> str:
    """Return a random id from the operating system."""
    return id_from_bytes(os.urandom(16))


class AssetState(enum.StrEnum):
    """Whether an asset may be used at all."""

    ACTIVE = "active"
    QUARANTINED = "quarantined"
    RETIRED = "retired"


class VersionState(enum.StrEnum):
    """The life of a version: draft, then published or abandoned; a published one may be deleted."""

    DRAFT = "draft"
    PUBLISHED = "published"
    ABANDONED = "abandoned"
    DELETED = "deleted"


class RunState(enum.StrEnum):
    """The life of a run."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ABORTED = "aborted"


@dataclass(frozen=True, slots=True)
class Asset:
    """A named thing in one environment. `next_number` is the number the next published version gets."""

    id: AssetId
    name: AssetName
    environment: Environment
    data_class: DataClass
    owner: str | None
    project: str | None
    epoch: int
    state: AssetState
    retention_days: int | None
    created_ms: int
    next_number: int
    revision: int


@dataclass(frozen=True, slots=True)
class Version:
    """A state of an asset. `number`, `manifest`, `openings`, `manifest_hash` and `length` are None until it is published."""

    id: VersionId
    asset_id: AssetId
    number: int | None
    state: VersionState
    purpose: Purpose
    run_id: RunId | None
    writer: str
    created_ms: int
    published_ms: int | None
    manifest: bytes | None
    openings: bytes | None
    manifest_hash: bytes | None
    store: str
    data_class: DataClass
    length: int | None
    details: dict[str, Any] | None
    revision: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAsset:
    """What creating an asset takes."""

    name: AssetName
    environment: Environment
    data_class: DataClass
    owner: str | None = None
    project: str | None = None
    retention_days: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDraft:
    """What creating a draft takes. `data_class` comes from `lineage.derived_class`; `store` names a store of hermetic.yaml."""

    data_class: DataClass
    purpose: Purpose
    writer: str
    store: str
    run_id: RunId | None = None
    details: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class SealedObject:
    """One sealed file of a version: `index` counts from 0, `root` is its digest root, `length` the bytes stored."""

    id: ObjectId
    index: int
    root: bytes
    algorithm: str
    length: int
    key_id: DataKeyId


@dataclass(frozen=True, slots=True)
class Publication:
    """What publishing adds to a draft. `number` must be the one that `versions.next_place` gave in the same transaction."""

    number: int
    manifest: bytes
    openings: bytes
    manifest_hash: bytes
    objects: tuple[SealedObject, ...]
    length: int
    published_ms: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where the next published version of an asset goes: its number and the manifest hash before it (None for the first)."""

    number: int
    previous_hash: bytes | None


@dataclass(frozen=True, slots=True)
class Edge:
    """`child` was made from `parent`; `how` is a word such as "run", "copy" or "promotion"."""

    child: VersionId
    parent: VersionId
    how: str


@dataclass(frozen=True, slots=True)
class Run:
    """One execution of code with a declared purpose."""

    id: RunId
    name: str
    purpose: Purpose
    principal: str
    state: RunState
    started_ms: int
    ended_ms: int | None
    details: dict[str, Any] | None
    revision: int


@dataclass(frozen=True, slots=True)
class Exposure:
    """Plaintext of a version at `path`, until it is ended; `until_ms` None means without limit."""

    id: str
    version_id: VersionId
    path: str
    owner: str
    purpose: Purpose
    started_ms: int
    until_ms: int | None
    ended_ms: int | None
    revision: int


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Keyed digests of one member of a version: of its name (`member_h`) and of its content (`digest_h`), 32 bytes each."""

    version_id: VersionId
    member_h: bytes
    digest_h: bytes


@dataclass(frozen=True, slots=True)
class Because:
    """Why something is changed, by whom, when: what a decision records."""

    reason: str
    who: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision on record, about an asset, a version of it, or neither."""

    id: str
    asset_id: AssetId | None
    version_id: VersionId | None
    kind: str
    reason: str
    who: str
    at_ms: int
    details: dict[str, Any] | None
