"""Ending a principal's access at once; breaking glass, and the review of it."""

from __future__ import annotations

from dataclasses import dataclass

from hermetic.formats.codec import message
from hermetic.formats.messages.base import Request
from hermetic.formats.messages.policy import GrantRow, PrincipalRow
from hermetic.ids import Environment, Purpose


@message("disable-principal")
@dataclass(frozen=True, slots=True)
class DisablePrincipal(Request["PrincipalDisabled"]):
    """End everything that `principal` (name or id) may do and holds, at once."""

    principal: str
    reason: str


@message("principal-disabled")
@dataclass(frozen=True, slots=True)
class PrincipalDisabled:
    """What ended with it, by number; of exposures, how many are open: plaintext on a disk is not taken back from here."""

    principal: PrincipalRow
    grants: int
    credentials: int
    leases: int
    requests: int
    exposures: int


@message("break-glass")
@dataclass(frozen=True, slots=True)
class BreakGlass(Request[GrantRow]):
    """Let the caller open `ref` for `seconds` in an emergency, once other people have agreed; `purpose` is recover or debug."""

    ref: str
    purpose: Purpose
    seconds: int
    reason: str
    environment: Environment | None = None  # None: what the rules or hermetic.yaml say


@message("review-grant")
@dataclass(frozen=True, slots=True)
class ReviewGrant(Request["GrantReviewed"]):
    """Say that somebody else than who broke the glass has looked at what was done; `finding` is what they found."""

    grant: str
    finding: str


@message("grant-reviewed")
@dataclass(frozen=True, slots=True)
class GrantReviewed:
    """The grant, and how many releases rested on it."""

    grant: GrantRow
    releases: int
