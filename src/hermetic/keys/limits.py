"""How often one KEK version may wrap.

Wraps are AES-256-GCM with random 96-bit nonces. NIST SP 800-38D section 8.3 allows 2^32 of them under one key, where two nonces
collide with probability 2^-33; Hermetic stops at 2^31 (2^-35) and warns at 2^30, which leaves time for a rotation. Every wrap
counts, also one whose result was thrown away, so the counter is raised in the transaction that stores the wrap, or before it.

The row that holds the counter has a limit of its own: it may change 2^28 times (`db.columns`), once for each transaction that
wraps. Sealing one version at a time comes to that first. The last 2^10 changes are kept for changes of state, so that the version can
still be rotated out.
"""

from __future__ import annotations

from typing import Final

from hermetic.db.columns import REVISION_LIMIT
from hermetic.errors import KeyUnusable, UsageError

KEK_WRAP_LIMIT: Final = 2**31
KEK_WRAP_WARNING: Final = 2**30
KEK_CHANGES_LIMIT: Final = REVISION_LIMIT - 2**10


def check_wraps(used: int, more: int = 1) -> int:
    """Return the count after `more` wraps. Raises KeyUnusable when that passes the limit, UsageError for a count below 1."""
    if used < 0 or more < 1:
        raise UsageError("wraps are counted from 1")
    if used + more > KEK_WRAP_LIMIT:
        raise KeyUnusable("this KEK version has done all the wraps it may", hint="`hermetic key rotate` makes the next version")
    return used + more


def check_changes(revision: int) -> int:
    """Return the revision of a KEK version's row if it may change once more for a wrap. Raises KeyUnusable."""
    if revision >= KEK_CHANGES_LIMIT:
        raise KeyUnusable("this KEK version was used as often as it may", hint="`hermetic key rotate` makes the next version")
    return revision


def used_percent(wraps: int, revision: int) -> int:
    """Return how much of what a KEK version may do is used up; from 50 on it should be rotated soon."""
    return max(100 * wraps // KEK_WRAP_LIMIT, 100 * revision // KEK_CHANGES_LIMIT)


def near_limit(wraps: int, revision: int = 0) -> bool:
    """Tell whether the KEK version should be rotated soon: half of what it may do is used up."""
    return used_percent(wraps, revision) >= 50
