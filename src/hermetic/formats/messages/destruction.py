"""Destroying KEK versions and shredding versions, with what that concerns and the certificates about it."""

from __future__ import annotations

from dataclasses import dataclass

from hermetic.formats.codec import message
from hermetic.formats.messages.base import Done, Receipt, Request
from hermetic.ids import Environment


@message("blast-radius")
@dataclass(frozen=True, slots=True)
class BlastRadius:
    """What goes, and what still holds the same data.

    `versions` go; `derived` were made from them and stay; `leases` are open now; `exposures` are plaintext on disk; `packages` gave
    the key away; `in_the_way` says what must go first; `backup_ms` is when the last copy of custody was made that may hold the key.
    """

    versions: tuple[str, ...]
    assets: tuple[str, ...]
    derived: tuple[str, ...]
    leases: int
    exposures: tuple[str, ...]
    last_use_ms: int | None
    data_keys: int
    backup_ms: int | None
    in_the_way: tuple[str, ...]
    packages: tuple[str, ...] = ()


@message("plan-destruction")
@dataclass(frozen=True, slots=True)
class PlanDestruction(Request["DestructionPlan"]):
    """What destroying a version of a KEK would concern. `number` 0 takes the only one that can be destroyed."""

    kek: str
    number: int


@message("destruction-plan")
@dataclass(frozen=True, slots=True)
class DestructionPlan:
    """The version that was meant, by full id, and its blast radius."""

    kek: str
    number: int
    state: str
    due_ms: int | None
    radius: BlastRadius


@message("announce-destruction")
@dataclass(frozen=True, slots=True)
class AnnounceDestruction(Request["DestructionAnnounced"]):
    """Destroy a KEK version in `days` (7 to 30)."""

    kek: str
    number: int
    days: int
    reason: str


@message("cancel-destruction")
@dataclass(frozen=True, slots=True)
class CancelDestruction(Request["DestructionAnnounced"]):
    """Take an announcement back."""

    kek: str
    number: int
    reason: str


@message("destruction-announced")
@dataclass(frozen=True, slots=True)
class DestructionAnnounced:
    """The version, and when it is destroyed (None: not any more)."""

    kek: str
    number: int
    due_ms: int | None
    radius: BlastRadius
    receipt: Receipt


@message("destroy-due")
@dataclass(frozen=True, slots=True)
class DestroyDue(Request["DestroyedDue"]):
    """Destroy the versions whose day has come."""


@dataclass(frozen=True, slots=True)
class DestructionRow:
    """A version that was due. `problem` is empty when it is destroyed, else what keeps it."""

    kek: str
    number: int
    due_ms: int
    certificate: str
    problem: str


@message("destroyed-due")
@dataclass(frozen=True, slots=True)
class DestroyedDue:
    """What became of each."""

    versions: tuple[DestructionRow, ...]


@message("plan-shred")
@dataclass(frozen=True, slots=True)
class PlanShred(Request["ShredPlan"]):
    """What shredding would concern: these versions, all of a project if one is named, all that hold data of subjects; with `derived`
    also what was made of any of them."""

    refs: tuple[str, ...]
    project: str | None = None
    subjects: tuple[str, ...] = ()
    derived: bool = False
    environment: Environment | None = None  # the one that is worked in; None: the run's, else what the rules or hermetic.yaml say


@message("shred-plan")
@dataclass(frozen=True, slots=True)
class ShredPlan:
    """`refs` are all versions meant, each with its number, in order; `versions` are their ids; `notes` are sentences for a person."""

    refs: tuple[str, ...]
    versions: tuple[str, ...]
    radius: BlastRadius
    notes: tuple[str, ...] = ()


@message("shred-versions")
@dataclass(frozen=True, slots=True)
class ShredVersions(Request["Shredded"]):
    """Overwrite the wrapped data keys of versions; nothing brings them back.

    Each of `refs` has a number, and `versions` are the ids of what they mean now: approvals are for those, whatever goes by the names
    later.
    """

    refs: tuple[str, ...]
    versions: tuple[str, ...]
    reason: str
    environment: Environment | None = None  # the one that is worked in; None: the run's, else what the rules or hermetic.yaml say


@message("shredded")
@dataclass(frozen=True, slots=True)
class Shredded:
    """What was shredded. `state` is deleted or complete; `relies` says on what; `remains` who and what can still read the data."""

    refs: tuple[str, ...]
    state: str
    relies: tuple[str, ...]
    missing: tuple[str, ...]
    derived: tuple[str, ...]
    exposures: tuple[str, ...]
    certificate: str
    receipt: Receipt
    remains: tuple[str, ...] = ()


@message("show-certificate")
@dataclass(frozen=True, slots=True)
class ShowCertificate(Request["CertificateRow"]):
    """A certificate by its id, by a version's reference, or by KEK/NUMBER; what it says is brought up to date first."""

    subject: str


@message("certificate-row")
@dataclass(frozen=True, slots=True)
class CertificateRow:
    """A signed certificate (spec/certificate.md): DSSE envelope and its payload."""

    id: str
    kind: str
    made_ms: int
    envelope: bytes
    payload: bytes


@message("record-copies-destroyed")
@dataclass(frozen=True, slots=True)
class RecordCopiesDestroyed(Request[Done]):
    """Put on record that every copy of custody from before a moment, or what opens one, was destroyed. People vouch for it."""

    before_ms: int
    reason: str


@message("record-package-destroyed")
@dataclass(frozen=True, slots=True)
class RecordPackageDestroyed(Request[Done]):
    """Put on record that a package, whose recipients have a version's key, was destroyed wherever it was. People vouch for it."""

    package: str
    reason: str
