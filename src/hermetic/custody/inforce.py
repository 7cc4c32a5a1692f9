"""The policy in force: the bundle that a logged `policy apply` accepted last, parsed once and kept by digest.

What the project's files say now does not matter here. The row is authenticated under the root and its digest is compared with its
content, so that an edited file and an edited row both change nothing but a finding.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermetic.db import tables
from hermetic.errors import NotFound, RowTampered
from hermetic.policy.bundle import PolicyBundle
from hermetic.policy.rulebook import Rulebook

if TYPE_CHECKING:
    from hermetic.db.rows import ReadSession
    from hermetic.policy.model import PolicyDocument


@dataclass(frozen=True, slots=True)
class InForce:
    """A parsed bundle, when it was applied and by whom."""

    rulebook: Rulebook
    bundle: PolicyBundle
    applied_ms: int
    applied_by: str

    @property
    def digest(self) -> bytes:
        """SHA-256 of the bundle."""
        return self.rulebook.digest

    @property
    def document(self) -> PolicyDocument:
        """What hermetic.yaml says."""
        return self.rulebook.document


class PolicyCache:
    """Keeps the last parsed bundle. Thread safe."""

    def __init__(self) -> None:
        self._known: InForce | None = None
        self._lock = threading.Lock()

    def current(self, session: ReadSession) -> InForce:
        """Return the policy in force in this transaction. Raises NotFound when none was ever applied, RowTampered."""
        rows = session.find(tables.policy, current=1)
        if not rows:
            raise NotFound("no policy is in force", hint="run `hermetic policy apply`")
        if len(rows) > 1:  # an older row put back is authentic; beside the one in force it is seen without the log
            raise RowTampered("two policies are in force at once: an older one was put back", hint="run `hermetic log verify`")
        row = rows[0]
        with self._lock:
            known = self._known
        if known is not None and known.digest.hex() == row["digest"]:
            return known
        bundle = PolicyBundle.from_bytes(row["content"])
        fresh = InForce(Rulebook.load(bundle), bundle, row["applied_ms"], row["applied_by"])
        if fresh.digest.hex() != row["digest"]:
            raise RowTampered("the policy in force is not the one its digest names", hint="run `hermetic log verify`")
        with self._lock:
            self._known = fresh
        return fresh
