"""Roots: list, add, extend, change state, rewrap, drop, check.

A root is added in steps, so that each can be repeated: `add-root` announces it, whoever runs custody makes it or connects it under the
id of the answer, `extend-root` gives it a slot for every key until none is left, `set-root-state` makes it active.
"""

from __future__ import annotations

from dataclasses import dataclass

from hermetic.formats.codec import message
from hermetic.formats.messages.base import Pair, Receipt, Request


@message("list-roots")
@dataclass(frozen=True, slots=True)
class ListRoots(Request["RootList"]):
    """Every root of the domain, destroyed ones too."""


@message("root-row")
@dataclass(frozen=True, slots=True)
class RootRow:
    """A root as the catalogue and its provider say. `state` is that of NIST SP 800-57; `status` is of the provider now: ready, locked,
    unreachable, or `absent` when custody has no provider for it.

    `slots` of `keys` wraps exist under it; `opens_domain` says that domain.json has the domain secret under it. `expires_ms` is when
    it locks itself; `wiped_ms` when what this machine kept of a dropped root was wiped.
    """

    root: str
    provider: str
    state: str
    created_ms: int
    status: str
    detail: str
    expires_ms: int | None
    root_in_process: bool
    slots: int
    keys: int
    opens_domain: bool
    wiped_ms: int | None
    findings: tuple[Pair, ...]


@message("root-list")
@dataclass(frozen=True, slots=True)
class RootList:
    """Roots in order of creation."""

    roots: tuple[RootRow, ...]


@message("add-root")
@dataclass(frozen=True, slots=True)
class AddRoot(Request["RootChanged"]):
    """Announce a root that the provider `provider` is to hold: it is pre-active. One that was announced before and not finished is
    answered again."""

    provider: str
    reason: str = ""


@message("extend-root")
@dataclass(frozen=True, slots=True)
class ExtendRoot(Request["RootExtended"]):
    """Give a root the domain secret and at most `limit` missing slots; call again until `left` is 0."""

    root: str
    limit: int = 100


@message("root-extended")
@dataclass(frozen=True, slots=True)
class RootExtended:
    """Progress of an extension."""

    root: str
    added: int
    left: int


@message("set-root-state")
@dataclass(frozen=True, slots=True)
class SetRootState(Request["RootChanged"]):
    """`verb` is activate, suspend, resume, deactivate or compromise."""

    root: str
    verb: str
    reason: str = ""


@message("drop-root")
@dataclass(frozen=True, slots=True)
class DropRoot(Request["RootDropped"]):
    """Delete every slot of a root, take it out of domain.json, wipe what this machine keeps of it. A drop that stopped half-way is
    finished by the next one."""

    root: str
    reason: str


@message("rewrap-root")
@dataclass(frozen=True, slots=True)
class RewrapRoot(Request["RootRewrapped"]):
    """Bring at most `limit` wraps of a root to the newest version of its key inside the service; call again until `left` is 0.

    An unfinished run goes on where it stopped; with `restart` from the beginning.
    """

    root: str
    reason: str = ""
    limit: int = 100
    restart: bool = False


@message("root-rewrapped")
@dataclass(frozen=True, slots=True)
class RootRewrapped:
    """Progress of a rewrap: the root as it is now, how many wraps are new, the domain secret's among them, and how many are left."""

    root: RootRow
    done: int
    left: int
    receipt: Receipt


@message("root-changed")
@dataclass(frozen=True, slots=True)
class RootChanged:
    """The root as it is now."""

    root: RootRow
    receipt: Receipt | None


@message("root-dropped")
@dataclass(frozen=True, slots=True)
class RootDropped:
    """The root as it is now, how many slots went, and what became of the root itself."""

    root: RootRow
    slots: int
    material: str
    receipt: Receipt


@dataclass(frozen=True, slots=True)
class ProbeFact:
    """One thing that was tried on a provider: enforced, not enforced, not checkable here; and how it was found out."""

    name: str
    outcome: str
    how: str
    contradicts: bool


@dataclass(frozen=True, slots=True)
class ProtectionFact:
    """What keeps a recorder of today out of a wrap, or of the path from the key to custody; `lasts` None means unknown."""

    part: str
    algorithm: str
    lasts: bool | None
    how: str


@message("provider-report")
@dataclass(frozen=True, slots=True)
class ProviderReport:
    """What was measured of one provider; rates are 0 when it could not be tried."""

    provider: str
    root: str
    status: str
    detail: str
    root_in_process: bool
    wraps_per_s: int
    unwraps_per_s: int
    wrap_p50_us: int
    unwrap_p50_us: int
    probes: tuple[ProbeFact, ...]
    protections: tuple[ProtectionFact, ...]
    findings: tuple[Pair, ...]


@message("check-roots")
@dataclass(frozen=True, slots=True)
class CheckRoots(Request["ProviderReports"]):
    """Try the providers of all roots, or of one, for about a second each."""

    root: str = ""


@message("provider-reports")
@dataclass(frozen=True, slots=True)
class ProviderReports:
    """One report for each provider that custody has."""

    reports: tuple[ProviderReport, ...]
