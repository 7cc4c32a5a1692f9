"""Uses of a root that nobody has taken yet, as a backend collects them from the answers of its service (`keys.provider.ReportsUses`).

Bounded: where nobody takes them, as in the conformance report, the oldest make room. Threads may note and take at once.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Final

from hermetic.keys.provider import ProviderUse

LIMIT: Final = 100_000


class UseTray:
    """Notes uses until they are taken."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._uses: deque[ProviderUse] = deque(maxlen=limit)
        self._lock = threading.Lock()

    def note(self, operation: str, request: object) -> None:
        """Note an answer; `request` is what the service called it, if that is text."""
        use = ProviderUse(operation, request if isinstance(request, str) else "", time.time_ns() // 1_000_000)
        with self._lock:
            self._uses.append(use)

    def take(self) -> tuple[ProviderUse, ...]:
        """Return what was noted, and forget it."""
        with self._lock:
            taken = tuple(self._uses)
            self._uses.clear()
        return taken
