"""Policy in force, explanations, grants."""

from __future__ import annotations

from dataclasses import dataclass

from hermetic.formats.codec import message
from hermetic.formats.messages.base import Done, Receipt, Request
from hermetic.ids import Enforcement, Environment, Purpose


@message("show-policy")
@dataclass(frozen=True, slots=True)
class ShowPolicy(Request["PolicyInForce"]):
    """The policy custody decides by."""


@message("policy-in-force")
@dataclass(frozen=True, slots=True)
class PolicyInForce:
    """The applied bundle (spec/policy.md) and its SHA-256."""

    digest: bytes
    bundle: bytes
    applied_ms: int
    applied_by: str


@message("apply-policy")
@dataclass(frozen=True, slots=True)
class ApplyPolicy(Request["PolicyApplied"]):
    """Put a bundle in force, if it is valid and the caller may."""

    bundle: bytes


@message("policy-applied")
@dataclass(frozen=True, slots=True)
class PolicyApplied:
    """The digest now in force, and the one before."""

    digest: bytes
    previous: bytes
    receipt: Receipt


@message("explain")
@dataclass(frozen=True, slots=True)
class Explain(Request["Explanation"]):
    """Would `principal` (None: the caller) be allowed `action` on `ref` for `purpose`? Nothing is released or recorded.

    `enforcement` None is the level at which they are served: the caller's own; of others, `service` for who has a certificate,
    `separated` for users of custody's machine, `cooperative` for the user that custody runs as.
    """

    action: str
    ref: str
    purpose: Purpose | None = None
    principal: str | None = None
    environment: Environment | None = None  # the one that is worked in; None: the run's, else what the rules or hermetic.yaml say
    enforcement: Enforcement | None = None


@message("explanation")
@dataclass(frozen=True, slots=True)
class Explanation:
    """The answer, the ids of the policies that made it, what else stands in the way, and lines a person can read."""

    allowed: bool
    policies: tuple[str, ...]
    obligations: tuple[str, ...]
    lines: tuple[str, ...]


@message("give-grant")
@dataclass(frozen=True, slots=True)
class GiveGrant(Request["GrantRow"]):
    """Let `principal` do `action` on assets matching `pattern` until `expires_ms`; `uses` None: any number of times.

    `length` is how many bytes of plaintext may be released under it, None any number.
    """

    principal: str
    action: str
    pattern: str
    purposes: tuple[Purpose, ...]
    expires_ms: int
    reason: str
    uses: int | None = None
    length: int | None = None


@message("revoke-grant")
@dataclass(frozen=True, slots=True)
class RevokeGrant(Request[Done]):
    """End a grant at once; leases taken under it end at their next check."""

    grant: str
    reason: str


@message("list-grants")
@dataclass(frozen=True, slots=True)
class ListGrants(Request["GrantList"]):
    """Grants; `ended` False leaves out those expired, used up or revoked. As many as fit; `after` is the `next` of the page before."""

    ended: bool = False
    after: str | None = None


@message("grant-row")
@dataclass(frozen=True, slots=True)
class GrantRow:
    """One grant. `kind` is empty, or break-glass: then so many agreed to it, and it waits for its review."""

    id: str
    principal: str
    action: str
    pattern: str
    purposes: tuple[Purpose, ...]
    expires_ms: int
    uses_left: int | None
    state: str
    created_ms: int
    reason: str
    bytes_left: int | None = None
    kind: str = ""
    approvals: int = 0
    reviewed_ms: int | None = None


@message("grant-list")
@dataclass(frozen=True, slots=True)
class GrantList:
    """In order of creation; `next` says where the next page begins, None at the end."""

    grants: tuple[GrantRow, ...]
    next: str | None = None


@message("list-principals")
@dataclass(frozen=True, slots=True)
class ListPrincipals(Request["PrincipalList"]):
    """Everyone this domain knows, as many as fit; `after` is the `next` of the page before."""

    after: str | None = None


@message("set-roles")
@dataclass(frozen=True, slots=True)
class SetRoles(Request["PrincipalRow"]):
    """Enrol a principal, or change its roles; no roles disables it."""

    principal: str
    roles: tuple[str, ...]
    reason: str


@message("principal-row")
@dataclass(frozen=True, slots=True)
class PrincipalRow:
    """One principal."""

    id: str
    name: str
    kind: str
    roles: tuple[str, ...]
    state: str


@message("principal-list")
@dataclass(frozen=True, slots=True)
class PrincipalList:
    """In name order; `next` says where the next page begins, None at the end."""

    principals: tuple[PrincipalRow, ...]
    next: str | None = None
