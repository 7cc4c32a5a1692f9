"""Findings that the policy in force accepts for a while: `exceptions:` of hermetic.yaml, with reason, approver and expiry.

Exceptions count only while the files are the policy in force: editing a file silences nothing. One that has expired is a finding.
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


def divide(
    findings: Iterable[Finding], around: Surroundings, *, in_force: bytes, now_ms: int
) -> tuple[tuple[Finding, ...], tuple[Accepted, ...]]:
    """Return what remains and what is accepted. `in_force` is the digest of the policy that custody decides by."""
    if around.edited_policy != in_force:
        return tuple(findings), ()
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
