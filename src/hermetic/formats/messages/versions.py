"""Seal and open: the messages of a version's life."""

from __future__ import annotations

from dataclasses import dataclass

from hermetic.formats.codec import message
from hermetic.formats.messages.base import Approval, Done, KeyBlob, Receipt, Request
from hermetic.formats.parts import binding
from hermetic.ids import DataClass, Environment, Purpose


@dataclass(frozen=True, slots=True)
class Opening:
    """What opens one commitment of a manifest: field name, 32-byte salt, value."""

    field: str
    salt: bytes
    value: str


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a version: its path inside, which object holds it, its true length in bytes."""

    path: str
    index: int
    length: int


@dataclass(frozen=True, slots=True)
class ObjectRecord:
    """One finished sealed object as the writer reports it; lengths in bytes."""

    index: int
    object: str
    root: bytes
    algorithm: str
    length: int
    member: str
    plaintext_length: int
    digest: bytes  # of the plaintext (hermetic.sealed.content, under `algorithm`); custody keeps only a keyed fingerprint of it
    suite: str = ""  # name of its suite; empty from writers that do not say
    former: bytes = b""  # of what is sealed anew with another `algorithm`: the digest of the plaintext under the one before


@binding
@dataclass(frozen=True, slots=True)
class Lease:
    """A data key for a bounded time. `check_ms`: confirm that often; `offline_ms`: the longest life without an answer."""

    id: str
    version: str
    data_key: str
    key: KeyBlob
    kek_epoch: int
    asset_epoch: int
    check_ms: int
    offline_ms: int


@dataclass(frozen=True, slots=True)
class ExposureTerms:
    """Plaintext put on disk on purpose: where, and until when."""

    path: str
    until_ms: int


@message("open-versions")
@dataclass(frozen=True, slots=True)
class OpenVersions(Request["Opened"]):
    """Ask for the keys of versions. One leaf commits to the whole list. `purpose` None: the class's default, if it has one."""

    request: str
    refs: tuple[str, ...]
    purpose: Purpose | None = None
    run: str | None = None
    exposure: ExposureTerms | None = None
    recipient: bytes | None = None
    approvals: tuple[Approval, ...] = ()
    environment: Environment | None = None  # the one that is worked in; None: the run's, else what the rules or hermetic.yaml say
    promotion: str | None = None  # the promotion that it is released for, of the one version named


@binding
@dataclass(frozen=True, slots=True)
class Released:
    """One version opened: everything a reader needs. `manifest` is the signed envelope's bytes."""

    ref: str
    name: str
    asset: str
    version: str
    number: int
    data_class: DataClass
    environment: Environment
    owner: str
    store: str
    manifest: bytes
    openings: tuple[Opening, ...]
    members: tuple[Member, ...]
    lease: Lease
    place: str | None = None  # it was sealed to locations there; None: it lies in `store`


@message("opened")
@binding
@dataclass(frozen=True, slots=True)
class Opened:
    """The leases, in the order asked, and the receipt of the entry that was durable before any key left."""

    released: tuple[Released, ...]
    purpose: Purpose
    enforcement: str
    exposure: str | None
    receipt: Receipt


@message("begin-version")
@dataclass(frozen=True, slots=True)
class BeginVersion(Request["Draft"]):
    """Ask for a data key under which to write a new version. Making a key is a release too.

    With a place, `data_class` is what the rule for the location says: the version is of that class or, by its inputs, a stricter one.
    """

    request: str
    name: str
    data_class: DataClass | None = None
    environment: Environment | None = None
    owner: str | None = None
    project: str | None = None
    purpose: Purpose | None = None
    run: str | None = None
    parents: tuple[str, ...] = ()
    retention_days: int | None = None
    purposes: tuple[Purpose, ...] | None = None  # what it may be used for, as the rule for its path says; None: not limited
    decision: str | None = None  # the recorded reason for a class below that of the parents
    place: str | None = None  # its objects go to locations there (messages.locations), members are their keys; None: into a store
    recipient: bytes | None = None
    approvals: tuple[Approval, ...] = ()
    read: tuple[str, ...] = ()  # ids of versions that it is made of too: what the writer read, whatever they are called by now
    promotion: str | None = None  # the promotion that this version is the copy of


@message("draft")
@binding
@dataclass(frozen=True, slots=True)
class Draft:
    """Where and how to write: ids for the header, suite, padding, store, and the lease."""

    domain: str
    asset: str
    version: str
    data_class: DataClass
    environment: Environment
    owner: str
    suite: str
    padding: str
    store: str
    lease: Lease
    enforcement: str
    receipt: Receipt


@message("publish-version")
@dataclass(frozen=True, slots=True)
class PublishVersion(Request["Published"]):
    """Commit a draft whose objects are durable under their final names. `labels` are kept encrypted."""

    version: str
    objects: tuple[ObjectRecord, ...]
    parents: tuple[str, ...] = ()
    labels: tuple[tuple[str, ...], ...] = ()


@message("published")
@dataclass(frozen=True, slots=True)
class Published:
    """The version now has a number, a signed manifest and an entry in the log."""

    ref: str
    asset: str
    version: str
    number: int
    manifest: bytes
    openings: tuple[Opening, ...]
    receipt: Receipt
    notes: tuple[str, ...] = ()  # what the writer should be told, in sentences


@message("abandon-version")
@dataclass(frozen=True, slots=True)
class AbandonVersion(Request[Done]):
    """Give a draft up; its key is forgotten and its number was never taken."""

    version: str


@message("check-leases")
@dataclass(frozen=True, slots=True)
class CheckLeases(Request["LeaseStates"]):
    """Confirm leases; no log entry."""

    leases: tuple[str, ...]


@binding
@dataclass(frozen=True, slots=True)
class LeaseState:
    """`ended` is None while the lease holds, else the reason."""

    id: str
    ended: str | None


@message("lease-states")
@binding
@dataclass(frozen=True, slots=True)
class LeaseStates:
    """One state for each lease asked about, in order."""

    states: tuple[LeaseState, ...]


@message("end-leases")
@dataclass(frozen=True, slots=True)
class EndLeases(Request[Done]):
    """Give leases back early."""

    leases: tuple[str, ...]


@message("recognise-digests")
@dataclass(frozen=True, slots=True)
class RecogniseDigests(Request["Recognised"]):
    """Which of these content digests (hermetic.sealed.content) belong to known versions? Custody compares keyed fingerprints."""

    digests: tuple[bytes, ...]


@message("recognised")
@dataclass(frozen=True, slots=True)
class Recognised:
    """For each digest, in order, the reference it is a copy of, or an empty text."""

    refs: tuple[str, ...]
