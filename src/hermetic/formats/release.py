"""Which release this is, as peers tell each other in the greeting. A contract test compares it with the package's version.

Said to people and for logs, never decided by: what a peer can do is told by what it refuses.
"""

from __future__ import annotations

import re
from typing import Final

RELEASE: Final = "0.1.0"
_WRITTEN: Final = re.compile(r"[0-9][0-9A-Za-z.+-]{0,31}")


def shown(said: str) -> str:
    """Return what a peer said its release is, as far as it can be one; else `unknown`."""
    return said if _WRITTEN.fullmatch(said) else "unknown"
