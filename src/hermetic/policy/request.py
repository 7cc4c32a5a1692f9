"""What a decision is asked about: who wants to do what to which thing, and under which circumstances.

All values come from custody: the principal is authenticated, the resource is an authenticated row, the context is measured. Ages
and times are integers in milliseconds. A value of a wrong type does not raise here; the engine refuses the request.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hermetic.ids import DataClass, Enforcement, Environment, Kind, Purpose


class Action(enum.StrEnum):
    """Everything that can be allowed or refused."""

    SEAL = "seal"  # write a new version
    OPEN = "open"  # get the key of a version
    EXPOSE = "expose"  # get the key to put plaintext on disk
    SHARE = "share"  # give a version to a recipient outside the domain
    PROMOTE = "promote"  # carry a version into another environment
    SIGN = "sign"  # put the domain's signature on a version
    RENAME = "rename"
    BREAK_GLASS = "break-glass"  # get a grant in an emergency, because others agree
    CLASSIFY = "classify"  # change class, owner or retention, with a reason on record
    DELETE = "delete"  # shred versions, collect garbage
    READ_CATALOG = "read-catalog"  # names, versions, lineage; no contents
    GRANT = "grant"  # give and revoke grants
    APPROVE = "approve"  # say yes to somebody else's request
    START_RUN = "start-run"
    ENROL = "enrol"  # make principals known, give roles
    ADMINISTER_KEYS = "administer-keys"  # rotate, rewrap, suspend, mark as compromised
    CHANGE_ROOTS = "change-roots"  # add, resume, deactivate, drop what opens every key: roots, shares, passphrases
    DESTROY_KEYS = "destroy-keys"
    APPLY_POLICY = "apply-policy"
    READ_LOG = "read-log"
    RESPOND = "respond"  # quarantine, suspend, revoke in an incident
    BACKUP = "backup"
    RESTORE = "restore"  # nothing asks it: see docs/limitations.md


RELEASES = frozenset({Action.OPEN, Action.EXPOSE, Action.SHARE, Action.PROMOTE})
"""Actions after which somebody has a key to existing data; the Cedar action group `release`."""

DATA_ACTIONS = RELEASES | {Action.SEAL, Action.SIGN}
"""Actions that hand out or use a data key. They need an asset and a purpose, and the obligations of the class apply."""

ASSET_ACTIONS = DATA_ACTIONS | {Action.RENAME, Action.CLASSIFY, Action.BREAK_GLASS}
"""Actions on an asset only."""

PART_OF = {Action.CHANGE_ROOTS: Action.ADMINISTER_KEYS}
"""Actions that are a part of another: what a policy says about the whole, in `action in` or as an operation, holds for it too."""

EITHER_ACTIONS = frozenset({Action.READ_CATALOG, Action.GRANT, Action.APPROVE, Action.DELETE})
"""Actions on an asset, or on the domain."""

_NEVER_GRANTED = {Action.CLASSIFY, Action.BREAK_GLASS}
GRANTABLE = frozenset(
    {*ASSET_ACTIONS - _NEVER_GRANTED, Action.DELETE, Action.READ_CATALOG, Action.READ_LOG, Action.START_RUN, Action.BACKUP}
)
"""Actions that a grant can allow; the shipped policy `granted-access` names the same."""


class PrincipalKind(enum.StrEnum):
    """Who acts."""

    PERSON = "person"
    WORKLOAD = "workload"


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated person or workload. A role is NAME, or NAME@PROJECT when it counts in one project only."""

    id: str
    name: str
    kind: PrincipalKind = PrincipalKind.PERSON
    roles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AssetResource:
    """An asset, and the version asked for if there is one. `name` is KIND/PATH; `owner` a principal's name."""

    id: str
    name: str
    kind: Kind
    data_class: DataClass
    environment: Environment
    project: str
    owner: str
    version: int | None = None
    purposes: tuple[Purpose, ...] | None = None  # what the version may be used for, as recorded when it was sealed; None: not limited
    retention_ends_ms: int | None = None  # see PolicyDocument.retention_ends
    suites: tuple[str, ...] = ()  # those that the version is sealed with, or may be where nobody noted it
    target: Environment | None = None  # of a promotion: where it goes; its own environment for a rollback there


@dataclass(frozen=True, slots=True)
class DomainResource:
    """The domain, or the part of it that an action concerns, such as the KEK of an environment, class and project.

    `holds` are the environments that the domain has keys of: what concerns all of it asks what the strictest of them asks.
    """

    id: str
    environment: Environment | None = None
    project: str | None = None
    data_class: DataClass | None = None
    holds: tuple[Environment, ...] = ()


@dataclass(frozen=True, slots=True)
class Context:
    """The circumstances. `approvals` counts people other than the requester; `granted` says that a grant matched this request."""

    now_ms: int
    enforcement: Enforcement
    purpose: Purpose | None = None
    run: bool = False
    granted: bool = False
    approvals: int = 0
    mfa_age_ms: int | None = None
    network: str | None = None  # the caller's IP address, if there is one
    attestation: str | None = None  # measurement of attested hardware; nothing sets it yet, so whatever requires it is refused


@dataclass(frozen=True, slots=True)
class DecisionRequest:
    """One question to the policy."""

    principal: Principal
    action: Action
    resource: AssetResource | DomainResource
    context: Context


@dataclass(frozen=True, slots=True)
class Decision:
    """What the Cedar policies say. `policies` are the @id values that made it: permits if allowed, else forbids.

    No policies and not allowed means that nothing permits the request. `errors` are evaluation errors, each of them a refusal;
    `reasons` are lines for people and for the log, free of entity data.
    """

    allowed: bool
    policies: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    reasons: tuple[str, ...] = field(default=())


def effective_roles(principal: Principal, project: str | None) -> tuple[str, ...]:
    """Return the roles that count for a resource of `project`: unscoped ones, and those scoped to this very project."""
    named = (role.partition("@") for role in principal.roles)
    return tuple(dict.fromkeys(name for name, at, scope in named if not at or (project and scope == project)))
