"""How often one KEK version may wrap.

Wraps are AES-256-GCM with random 96-bit nonces. NIST SP 800-38D section 8.3 allows 2^32 of them under one key, where two nonces
collide with probability 2^-33; Hermetic stops at 2^31 (2^-35) and warns at 2^30, which leaves time for a rotation. Every wrap
counts, also one whose result was thrown away, so the counter is raised in the transaction that stores the wrap, or before it.
"""

from __future__ import annotations

from typing import Final

from hermetic.errors import KeyUnusable, UsageError

KEK_WRAP_LIMIT: Final = 2**31
KEK_WRAP_WARNING: Final = 2**30


def check_wraps(used: int, more: int = 1) -> int:
    """Return the count after `more` wraps. Raises KeyUnusable when that passes the limit, UsageError for a count below 1."""
    if used < 0 or more < 1:
        raise UsageError("wraps are counted from 1")
    if used + more > KEK_WRAP_LIMIT:
        raise KeyUnusable("this KEK version has done all the wraps it may", hint="`hermetic key rotate` makes the next version")
    return used + more


def near_limit(used: int) -> bool:
    """Tell whether the KEK version should be rotated soon: half of its wraps are used up."""
    return used >= KEK_WRAP_WARNING
