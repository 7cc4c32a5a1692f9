"""Projects as workspaces: who holds roles in one project only (`ROLE@PROJECT`) sees, opens and runs there, and sees nothing else.

Whoever may read the catalogue of the domain sees all of it, as one look at the policy says. Everybody else is asked about asset by
asset: what is left out of a list looks like what is not there, and a name outside of the workspace gets the answer of a name that
nobody has. Two things can be told all the same: that a name is taken, since names are one space for all projects, by whoever tries to
seal under it; and what a version of one's own was made of, by whoever read that in the first place.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hermetic.catalog import assets, versions
from hermetic.custody import callers
from hermetic.custody.decide import Question, allowed_caller, decide, domain_resource
from hermetic.custody.resolve import as_resource
from hermetic.db import tables
from hermetic.errors import PolicyDenied
from hermetic.policy.request import Action, DomainResource

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hermetic.catalog.values import Asset
    from hermetic.custody.call import Call
    from hermetic.custody.callers import Caller
    from hermetic.custody.decide import Verdict
    from hermetic.custody.inforce import InForce
    from hermetic.db.rows import ReadSession
    from hermetic.ids import AssetId, Environment, VersionId

NOT_SEEN = "refused: no policy permits this, or there is no such thing"  # as `between` says of what is not there


def projects_of(caller: Caller) -> tuple[str, ...]:
    """Return the projects that roles of a caller are limited to."""
    scoped = (role.partition("@")[2] for role in caller.principal.roles)
    return tuple(dict.fromkeys(project for project in scoped if project))


@dataclass(slots=True)
class Sight:
    """What a caller sees of the catalogue, under the policy at the time."""

    call: Call
    caller: Caller
    policy: InForce
    whole: bool
    _known: dict[AssetId, bool] = field(default_factory=dict)

    def sees(self, session: ReadSession, asset: Asset) -> bool:
        """Whether the asset is there for the caller. A grant that is good for so many times shows nothing: looking takes none."""
        if self.whole:
            return True
        if asset.id not in self._known:
            question = Question(self.caller, Action.READ_CATALOG, as_resource(asset, None, self.policy), self.policy)
            verdict = decide(self.call, session, question)
            self._known[asset.id] = verdict.allowed and not (verdict.grant is not None and verdict.grant.counted)
        return self._known[asset.id]

    def sees_version(self, session: ReadSession, version: VersionId) -> bool:
        """Whether the version's asset is."""
        return self.whole or self.sees(session, assets.get(session, versions.get(session, version).asset_id))

    def require(self, session: ReadSession, asset: Asset) -> None:
        """Raise PolicyDenied for an asset that the caller does not see."""
        if not self.sees(session, asset):
            raise PolicyDenied(NOT_SEEN, hint="`hermetic ls` lists what there is for you", reasons=("workspace",))


def of(call: Call, session: ReadSession, caller: Caller) -> Sight:
    """Return what a caller sees; nothing is refused or logged."""
    policy = call.custodian.policy.current(session)
    whole = decide(call, session, Question(caller, Action.READ_CATALOG, domain_resource(call), policy)).allowed
    return Sight(call, caller, policy, whole)


def catalogue(call: Call) -> Sight:
    """Return what the caller sees, if there can be anything. Raises PolicyDenied, on record, for who may read no catalogue at all."""
    with call.custodian.database.read(call.custodian.row_keys) as session:
        caller = callers.require(call, session)
        sight = of(call, session, caller)
        some = not sight.whole and _some(sight, session)
    if not some:
        allowed_caller(call, Action.READ_CATALOG)
    return sight


def _some(sight: Sight, session: ReadSession) -> bool:
    domain = sight.call.custodian.domain
    for project in projects_of(sight.caller):
        question = Question(sight.caller, Action.READ_CATALOG, DomainResource(domain, project=project), sight.policy)
        if decide(sight.call, session, question).allowed:
            return True
    granted = session.find(tables.grant_, principal_id=sight.caller.id, action=Action.READ_CATALOG.value)
    return any(row["state"] == "active" and row["expires_ms"] > sight.call.now_ms for row in granted)


def require_parents(call: Call, session: ReadSession, caller: Caller, parents: Iterable[VersionId]) -> None:
    """Raise PolicyDenied if something is named that the caller neither sees nor was ever given the key of."""
    sight = of(call, session, caller)
    for version in parents:
        if not sight.sees_version(session, version) and not session.find(tables.lease, version_id=version, principal_id=caller.id):
            raise PolicyDenied(NOT_SEEN, hint="name what you have read", reasons=("workspace",))


def run_places(call: Call, caller: Caller, environment: Environment | None) -> Iterator[DomainResource]:
    """Yield what starting a run is about: the domain, then each project that a role of the caller is limited to."""
    domain = call.custodian.domain
    yield DomainResource(domain, environment)
    for project in projects_of(caller):
        yield DomainResource(domain, environment, project=project)


def decide_anywhere(call: Call, session: ReadSession, questions: Iterable[Question]) -> Verdict:
    """Return the first answer that is yes; else the first."""
    first = None
    for question in questions:
        verdict = decide(call, session, question)
        if verdict.allowed:
            return verdict
        first = first or verdict
    if first is None:
        raise PolicyDenied(NOT_SEEN, reasons=("workspace",))
    return first
