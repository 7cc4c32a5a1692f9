"""What a decision saw, as the log keeps it: the circumstances that came with the question, beside the ids of the policies.

Facts, for everybody: the time by custody's clock, the enforcement level, how old the second factor was if one was shown. The address
of the caller is hidden with the caller: who erases the principal erases it too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hermetic.audit.leaf import Hidden

if TYPE_CHECKING:
    from hermetic.formats.canonical import JsonValue
    from hermetic.policy.request import Context


class Seen(NamedTuple):
    """Facts and hidden values for an entry; what the entry says itself comes first."""

    facts: dict[str, JsonValue]
    hidden: dict[str, Hidden]


def facts_of(saw: Context) -> dict[str, JsonValue]:
    """Return what everybody may know of the circumstances."""
    facts: dict[str, JsonValue] = {"at": saw.now_ms, "enforcement": saw.enforcement.value}
    return facts if saw.mfa_age_ms is None else {**facts, "mfa_age_ms": saw.mfa_age_ms}


def network_of(network: str | None, principal_id: str) -> dict[str, Hidden]:
    """Return the caller's address as the log keeps it, nothing where there is none."""
    return {} if network is None else {"network": Hidden(network, f"principal:{principal_id}"[:255])}


def of(saw: Context, principal_id: str) -> Seen:
    """Return both."""
    return Seen(facts_of(saw), network_of(saw.network, principal_id))
