"""One applied bundle, parsed and checked: what custody decides by.

`judge` follows a fixed order (spec/policy.md section 6): the Cedar policies, then the obligations. Both are always evaluated, so
that a refusal tells everything that stands in the way.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from hermetic.errors import ApprovalNeeded, PolicyDenied
from hermetic.policy import document as documents
from hermetic.policy import duties, obligations
from hermetic.policy.cedar import Engine
from hermetic.policy.model import FILE, PolicyDocument
from hermetic.policy.request import Context, Decision, DecisionRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermetic.policy.bundle import PolicyBundle
    from hermetic.policy.obligations import Unmet, Usage

_ENGINES = 8  # kept by the texts that they were loaded from
_WILLING = 9  # more approvals than any policy can ask for


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to one request: what the policies say, which obligations are unmet, and whether people could change it."""

    allowed: bool
    decision: Decision
    unmet: tuple[Unmet, ...]
    by_people: bool  # refused now, and approvals or a second factor would be enough

    @property
    def policies(self) -> tuple[str, ...]:
        """The @id values that made the decision."""
        return self.decision.policies

    @property
    def reasons(self) -> tuple[str, ...]:
        """One line for each thing that stands in the way; for the log and for PolicyDenied."""
        said = () if self.decision.allowed else self.decision.reasons
        return (*said, *(f"{entry.code}: {entry.message}" for entry in self.unmet))

    def require(self, *, also: str | None = None) -> None:
        """Return if allowed. Raises ApprovalNeeded if other people or a second factor are all that is missing, else PolicyDenied.

        `also` is something else that the refused should know, for the hint.
        """
        if self.allowed:
            return
        helps = "\n".join(dict.fromkeys(self._remedies())) or "`hermetic policy explain` says what would help"
        hint = f"{also}\n{helps}" if also else helps
        message = "refused: " + "; ".join(self.reasons)
        if self.by_people:
            raise ApprovalNeeded(message, hint=hint)
        raise PolicyDenied(message, hint=hint, reasons=self.reasons)

    def _remedies(self) -> Iterator[str]:
        """What would help. Nobody is sent for approvals or a second factor where no policy would permit it then either."""
        in_vain = not self.decision.allowed and not self.by_people
        return (entry.remedy for entry in self.unmet if not (in_vain and entry.by_people))


@dataclass(frozen=True, slots=True)
class Rulebook:
    """A policy that can decide. Immutable, and safe to share between threads."""

    digest: bytes
    document: PolicyDocument
    engine: Engine

    @classmethod
    def load(cls, bundle: PolicyBundle, *, now_ms: int | None = None) -> Rulebook:
        """Parse and check every file of a bundle. Raises ConfigError.

        Pass `now_ms` when a bundle is about to be applied: then expired exceptions, and policies under which one role both reads
        data and administers keys, are refused too. Leave it out for a bundle that is in force already.
        """
        document = documents.parse(bundle.document_text(), file=FILE, now_ms=now_ms)
        engine = _engine(tuple(sorted(bundle.cedar_texts().items())), tuple(document.roles))
        if now_ms is not None:
            duties.check(engine, document)
        return cls(bundle.digest(), document, engine)

    def judge(self, request: DecisionRequest, usage: Usage | None = None) -> Verdict:
        """Decide. Never raises for what the request holds. `usage` is needed where `obligations.needs_usage` says so."""
        decision = self.engine.decide(request)
        if decision.errors:
            return Verdict(allowed=False, decision=decision, unmet=(), by_people=False)
        missing = obligations.unmet(self.document, request, usage)
        allowed = decision.allowed and not missing
        by_people = not allowed and self._people_would_do(request, decision, missing)
        return Verdict(allowed=allowed, decision=decision, unmet=missing, by_people=by_people)

    def _people_would_do(self, request: DecisionRequest, decision: Decision, missing: tuple[Unmet, ...]) -> bool:
        """Only when refused: would the policies permit it with approvals and a fresh second factor, and nothing else be missing?"""
        if not all(entry.by_people for entry in missing):
            return False
        return decision.allowed or self.engine.decide(_with_people(request)).allowed


@lru_cache(maxsize=_ENGINES)
def _engine(texts: tuple[tuple[str, str], ...], roles: tuple[str, ...]) -> Engine:
    """Return the engine of exactly these texts. It is immutable, and loading takes long: connections of one process share it."""
    return Engine(dict(texts), roles=roles)


def _with_people(request: DecisionRequest) -> DecisionRequest:
    given = request.context
    willing = Context(
        now_ms=given.now_ms,
        enforcement=given.enforcement,
        purpose=given.purpose,
        run=given.run,
        granted=given.granted,
        approvals=_WILLING,
        mfa_age_ms=0,
        network=given.network,
        attestation=given.attestation,
    )
    return DecisionRequest(request.principal, request.action, request.resource, willing)
