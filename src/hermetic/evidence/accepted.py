"""Findings that the policy in force accepts for a while: `exceptions:` of hermetic.yaml, with reason, approver and expiry.

`Surroundings.document` is what was last applied, so editing a file silences nothing. An exception that has expired is a finding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermetic.formats.findings import Finding
from hermetic.policy import globs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hermetic.evidence.surroundings import Surroundings
    from hermetic.policy.model import PolicyException


@dataclass(frozen=True, slots=True)
class Accepted:
    """A finding that is accepted, and by which exception."""

    finding: Finding
    exception: str
    reason: str
    approver: str
    expires_ms: int


def divide(findings: Iterable[Finding], around: Surroundings, *, now_ms: int) -> tuple[tuple[Finding, ...], tuple[Accepted, ...]]:
    """Return what remains and what is accepted."""
    active = [entry for entry in around.document.exceptions if entry.active(now_ms)]
    remaining: list[Finding] = [_expired(entry) for entry in around.document.expired_exceptions(now_ms)]
    accepted: list[Accepted] = []
    for finding in findings:
        entry = next((entry for entry in active if _covers(entry, finding)), None)
        if entry is None:
            remaining.append(finding)
        else:
            accepted.append(Accepted(finding, entry.id, entry.reason, entry.approver, entry.expires))
    return tuple(remaining), tuple(accepted)


def _covers(entry: PolicyException, finding: Finding) -> bool:
    return entry.finding == finding.code and globs.matches(entry.subject, finding.subject)


def _expired(entry: PolicyException) -> Finding:
    return Finding(
        "exception-expired",
        "medium",
        entry.id,
        f"the exception for {entry.finding} on {entry.subject} has expired",
        f"remove it from hermetic.yaml, or have {entry.approver} approve it anew",
    )
