"""What custody tells one person once, on its way (spec/port.md section 4): the `info` of its HPKE message.

    "hermetic/v1/factor-secret" LF || canonical {domain, factor, kind}

The secret of a code app, and the code of an invitation, go sealed to a key that the asker made for this one answer.
"""

from __future__ import annotations

from typing import Final

from hermetic.formats import canonical

LABEL: Final = b"hermetic/v1/factor-secret\n"


def binding(domain: str, factor: str, kind: str) -> bytes:
    """Return the `info` under which the secret of a factor travels."""
    return LABEL + canonical.encode({"domain": domain, "factor": factor, "kind": kind})
