"""What exists: list, show, rename, lineage, exposures, garbage."""

from __future__ import annotations

from dataclasses import dataclass

from hermetic.formats.codec import message
from hermetic.formats.messages.base import Done, Receipt, Request
from hermetic.formats.messages.versions import Member, Opening
from hermetic.ids import DataClass, Environment, Purpose


@message("list-assets")
@dataclass(frozen=True, slots=True)
class ListAssets(Request["AssetList"]):
    """Every asset whose name matches the glob `pattern` (None: all), as many as fit; `after` is the `next` of the page before."""

    pattern: str | None = None
    environment: Environment | None = None
    after: str | None = None


@dataclass(frozen=True, slots=True)
class AssetRow:
    """One asset in a list; `latest` is 0 while nothing is published; `length` is the latest version's plaintext bytes.

    `kek`, `kek_number` and `kek_state` are of the key that the latest version hangs on, `version` and `store` its id and where it
    lies; all empty, or 0, without one. `place` is set when that version was sealed to plain locations.
    """

    name: str
    asset: str
    data_class: DataClass
    environment: Environment
    owner: str
    project: str
    latest: int
    versions: int
    length: int
    retention_days: int | None
    updated_ms: int
    kek: str = ""
    kek_number: int = 0
    kek_state: str = ""
    version: str = ""
    store: str = ""
    place: str | None = None


@message("asset-list")
@dataclass(frozen=True, slots=True)
class AssetList:
    """Rows in name order; `next` says where the next page begins, None at the end."""

    assets: tuple[AssetRow, ...]
    next: str | None = None


@message("show-version")
@dataclass(frozen=True, slots=True)
class ShowVersion(Request["VersionDetails"]):
    """Everything about a version but its key."""

    ref: str
    environment: Environment | None = None  # the one that is worked in; None: the run's, else what the rules or hermetic.yaml say


@message("version-details")
@dataclass(frozen=True, slots=True)
class VersionDetails:
    """One version. `kek` and `kek_number` name the KEK version that wraps its data key; `state` is published or deleted.

    `place` is set for one that was sealed to plain locations there, which its members name; else it lies in `store`.
    """

    ref: str
    name: str
    asset: str
    version: str
    number: int
    state: str
    data_class: DataClass
    environment: Environment
    owner: str
    project: str
    purpose: Purpose
    run: str | None
    writer: str
    created_ms: int
    published_ms: int
    retention_days: int | None
    length: int
    store: str
    kek: str
    kek_number: int
    kek_state: str
    manifest: bytes
    openings: tuple[Opening, ...]
    members: tuple[Member, ...]
    parents: tuple[str, ...]
    labels: tuple[tuple[str, ...], ...]
    releases: int
    last_release_ms: int | None
    place: str | None = None
    gone: str = ""  # since when it is shredded, and by whom
    suites: tuple[str, ...] = ()  # those of its objects, or where nobody noted them those that they may have
    anew: tuple[int, ...] = ()  # the earlier versions of its asset that it holds, sealed anew: by label, and by equal fingerprints


@message("rename-asset")
@dataclass(frozen=True, slots=True)
class RenameAsset(Request[Done]):
    """Give an asset another name of the same kind; nothing is re-encrypted. `notes` say which grants begin or cease to cover it."""

    old: str
    new: str
    environment: Environment | None = None  # the one that is worked in; None: the run's, else what the rules or hermetic.yaml say
    reason: str = ""


@message("trace-lineage")
@dataclass(frozen=True, slots=True)
class TraceLineage(Request["Lineage"]):
    """Walk from a version to everything it came from, or with `descendants` to everything made of it."""

    ref: str
    descendants: bool = False
    environment: Environment | None = None  # the one that is worked in; None: the run's, else what the rules or hermetic.yaml say


@dataclass(frozen=True, slots=True)
class LineageNode:
    """A version in the graph, with the run that wrote it."""

    version: str
    ref: str
    data_class: DataClass
    owner: str
    run: str | None
    run_name: str | None
    purpose: Purpose
    published_ms: int
    code_version: str | None
    decision: str | None


@dataclass(frozen=True, slots=True)
class LineageEdge:
    """`child` was made from `parent`; both are version ids."""

    child: str
    parent: str


@message("lineage")
@dataclass(frozen=True, slots=True)
class Lineage:
    """The graph, starting node first."""

    nodes: tuple[LineageNode, ...]
    edges: tuple[LineageEdge, ...]


@message("end-exposure")
@dataclass(frozen=True, slots=True)
class EndExposure(Request["ExposureRow"]):
    """Record that the plaintext at `path` is gone; the caller has removed the file before."""

    path: str


@message("list-exposures")
@dataclass(frozen=True, slots=True)
class ListExposures(Request["ExposureList"]):
    """Exposures; `ended` False leaves out those that are over. As many as fit; `after` is the `next` of the page before."""

    ended: bool = False
    after: str | None = None


@message("exposure-row")
@dataclass(frozen=True, slots=True)
class ExposureRow:
    """Plaintext on disk on purpose."""

    id: str
    ref: str
    path: str
    owner: str
    purpose: Purpose
    started_ms: int
    until_ms: int
    ended_ms: int | None


@message("exposure-list")
@dataclass(frozen=True, slots=True)
class ExposureList:
    """In order of start; `next` says where the next page begins, None at the end."""

    exposures: tuple[ExposureRow, ...]
    next: str | None = None


@message("collect-garbage")
@dataclass(frozen=True, slots=True)
class CollectGarbage(Request["Garbage"]):
    """Abandon drafts with no live lease that are older than `older_than_ms`, and name the folders that may be removed."""

    older_than_ms: int
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class GarbageItem:
    """A version folder in a store that no committed version needs."""

    store: str
    version: str
    reason: str


@message("garbage")
@dataclass(frozen=True, slots=True)
class Garbage:
    """What to remove from stores, and every version id that must be kept."""

    items: tuple[GarbageItem, ...]
    keep: tuple[str, ...]


@message("record-decision")
@dataclass(frozen=True, slots=True)
class RecordDecision(Request["Decided"]):
    """Change an asset's owner, class or retention with a reason on record.

    Or say that version number `fallback` was taken instead of newer ones, which are not what was published.
    """

    name: str
    reason: str
    owner: str | None = None
    data_class: DataClass | None = None
    retention_days: int | None = None
    fallback: int | None = None
    environment: Environment | None = None  # the one that is worked in; None: the run's, else what the rules or hermetic.yaml say


@message("decided")
@dataclass(frozen=True, slots=True)
class Decided:
    """The decision is on the log."""

    receipt: Receipt
