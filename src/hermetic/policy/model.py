"""What hermetic.yaml says, as values. Made by `document.parse`; durations are milliseconds or whole days, as the name says."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hermetic.ids import DataClass, Enforcement, Environment, Kind, Purpose, Stage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hermetic.formats.padding import Padding
    from hermetic.policy._yaml import Place
    from hermetic.policy.request import Action

FORMAT = "hermetic-policy/1"
FILE = "hermetic.yaml"


class Algorithms(enum.StrEnum):
    """Which algorithms may be used at all."""

    STANDARD = "standard"
    APPROVED_ONLY = "approved-only"


class KekPlace(enum.StrEnum):
    """Where key-encryption keys live."""

    WRAPPED = "wrapped"
    IN_PROVIDER = "in-provider"


KEK_PROVIDERS = ("pkcs11", "openbao", "awskms", "gcpkms", "azurekv")
"""Kinds of roots that can keep a key-encryption key to themselves; a test compares them with the providers."""


class Original(enum.StrEnum):
    """What the plaintext file that was sealed means while it still lies there."""

    KEEP = "keep"
    REPORT = "report"


class Duty(enum.StrEnum):
    """The side of a role; nobody holds `data` and `keys` together (duties.py)."""

    DATA = "data"
    KEYS = "keys"
    OVERSIGHT = "oversight"
    OWNER = "owner"


class Separation(enum.StrEnum):
    """Whether whoever reads data of a class may administer its keys where custody runs in the caller's process (duties.py)."""

    REQUIRED = "required"
    ADVISED = "advised"


class StoreKind(enum.StrEnum):
    """`local` is a folder of the project; `named` is looked up by name in the user's own configuration."""

    LOCAL = "local"
    NAMED = "named"


@dataclass(frozen=True, slots=True)
class StoreRules:
    """A place for sealed objects."""

    kind: StoreKind
    path: str | None = None  # relative to the project, for local stores only
    region: str | None = None  # where it lies, in words of your own; None: nobody said


@dataclass(frozen=True, slots=True)
class EnvironmentRules:
    """What holds for everything in one environment."""

    store: str
    require_enforcement: Enforcement = Enforcement.COOPERATIVE
    allow_insecure_root: bool = False
    sources: tuple[Environment, ...] | None = None  # `from`: where promotions into it may come from; None: anywhere
    regions: tuple[str, ...] | None = None  # where its keys and objects may lie (regions.py); None: anywhere


@dataclass(frozen=True, slots=True)
class ClassRules:
    """What one data class asks for."""

    suite: str  # a name in formats.suites
    padding: Padding
    default_purpose: Purpose | None
    lease_check_ms: int
    lease_offline_ms: int
    retention_days: int | None  # None: keep
    rotate_after_days: int
    kek: KekPlace
    kek_provider: str | None  # the kind of provider that a KEK lives in, where `kek` is in-provider; None: any that can
    original: Original
    require_enforcement: Enforcement
    require_attestation: bool
    separation: Separation
    approvals: Mapping[Action, int]  # how many people other than the requester
    mfa_ms: Mapping[Action, int]  # how old a second factor may be
    regions: tuple[str, ...] | None = None  # where keys and objects of the class may lie (regions.py); None: anywhere


@dataclass(frozen=True, slots=True)
class Operation:
    """What an action on the domain asks for, from an enforcement level upwards."""

    approvals: int = 0
    mfa: int | None = None  # milliseconds
    enforced_from: Enforcement = Enforcement.COOPERATIVE
    approvals_in: Mapping[Environment, int] = field(default_factory=dict)  # instead of `approvals`, where the environment is known

    def approvals_for(self, environment: Environment | None) -> int:
        """Return how many people must agree where it concerns this environment, or (None) the domain as a whole."""
        return self.approvals if environment is None else self.approvals_in.get(environment, self.approvals)


@dataclass(frozen=True, slots=True)
class RoleRules:
    """A role: its side in the separation of duties, and the purposes its holders may declare."""

    description: str
    duty: Duty
    purposes: tuple[Purpose, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """Maps paths or asset names to what they are. Exactly one of `paths` and `assets` is not empty."""

    place: Place
    data_class: DataClass
    paths: tuple[str, ...] = ()
    assets: tuple[str, ...] = ()
    kind: Kind | None = None
    store: str | None = None  # paths count from this store's root instead of the project folder
    name: str | None = None  # template
    owner: str | None = None
    project: str | None = None
    purposes: tuple[Purpose, ...] | None = None
    environment: Environment | None = None


@dataclass(frozen=True, slots=True)
class PolicyException:
    """A finding that is accepted for a while. Holds until 00:00 UTC of the day `expires` names."""

    place: Place
    id: str
    finding: str
    subject: str  # glob
    reason: str
    approver: str
    expires: int  # Unix milliseconds

    def active(self, now_ms: int) -> bool:
        """Whether it still counts."""
        return now_ms < self.expires


@dataclass(frozen=True, slots=True)
class RetiredSuite:
    """A suite that seals nothing new. What it sealed opens until 00:00 UTC of the day `opens_until` names; None is without end."""

    place: Place
    suite: str  # a name in formats.suites
    reason: str
    opens_until: int | None = None  # Unix milliseconds

    def closed(self, now_ms: int) -> bool:
        """Whether what it sealed is no longer opened, save to recover it."""
        return self.opens_until is not None and now_ms >= self.opens_until


@dataclass(frozen=True, slots=True)
class Budget:
    """How much may be taken from assets that match `assets`; None is without limit."""

    place: Place
    assets: tuple[str, ...]
    releases_per_day: int | None = None
    epsilon: float | None = None
    delta: float | None = None


@dataclass(frozen=True, slots=True)
class TlsRules:
    """The least that connections must offer."""

    minimum: str = "tls1.3"
    suites: tuple[str, ...] = ("TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256")
    groups: tuple[str, ...] = ("X25519MLKEM768", "X25519", "secp256r1", "secp384r1")
    mutual: bool = True
    certificate_lifetime: int = 90  # days
    warn_before: int = 14  # days


@dataclass(frozen=True, slots=True)
class Flow:
    """Data that moves between two named places."""

    source: str
    target: str
    over: str


@dataclass(frozen=True, slots=True)
class StageRules:
    """What a stage of the pipeline is declared to use: stores, flows, compute, by name."""

    stores: tuple[str, ...] = ()
    flows: tuple[Flow, ...] = ()
    compute: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PolicyDocument:
    """The whole of hermetic.yaml. All four classes, all three environments and all shipped roles are present."""

    domain: str
    project: str
    algorithms: Algorithms
    environment: Environment  # where new assets go when no rule says otherwise
    stores: Mapping[str, StoreRules]
    environments: Mapping[Environment, EnvironmentRules]
    classes: Mapping[DataClass, ClassRules]
    operations: Mapping[Action, Operation]
    roles: Mapping[str, RoleRules]
    rules: tuple[Rule, ...] = ()
    exceptions: tuple[PolicyException, ...] = ()
    budgets: tuple[Budget, ...] = ()
    tls: TlsRules = field(default_factory=TlsRules)
    pipeline: Mapping[Stage, StageRules] = field(default_factory=dict)
    pickles: frozenset[str] = frozenset()  # module.name of what reading a pickle may import
    retired_suites: tuple[RetiredSuite, ...] = ()

    def retired(self, suites: Iterable[str]) -> tuple[RetiredSuite, ...]:
        """Return those of some suites that are retired."""
        named = frozenset(suites)
        return tuple(item for item in self.retired_suites if item.suite in named)

    def store_for(self, environment: Environment) -> str:
        """Return the name of the store where new objects of an environment go."""
        return self.environments[environment].store

    def enforcement_for(self, data_class: DataClass, environment: Environment) -> Enforcement:
        """Return the least enforcement level for a class in an environment: the stricter of the two demands."""
        levels = self.classes[data_class].require_enforcement, self.environments[environment].require_enforcement
        return max(levels, key=lambda level: level.rank)

    def retention_ends(self, data_class: DataClass, published_ms: int, retention_days: int | None = None) -> int | None:
        """Return when a version's retention ends, or None for never; `retention_days` of the asset itself can only shorten it."""
        limits = [days for days in (self.classes[data_class].retention_days, retention_days) if days is not None]
        return published_ms + min(limits) * 86_400_000 if limits else None

    def expired_exceptions(self, now_ms: int) -> tuple[PolicyException, ...]:
        """Return the exceptions that no longer count, which are findings."""
        return tuple(entry for entry in self.exceptions if not entry.active(now_ms))
