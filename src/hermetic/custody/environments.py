"""Which environment a request works in, and that nothing crosses from one into another.

A request works in one environment: the one it names, else its run's, else what `rules:` say of the name, else the `environment:` of
hermetic.yaml. References mean what goes by their name there. Three things hold for every key that leaves custody:

1. A run works in one environment from its start to its end: it gets keys of that one, and makes keys of that one.
2. One request gets keys of one environment.
3. What is sealed is made of versions of its own environment. Only a promotion (`promoting`) has a parent elsewhere.

A refusal is on record as any other. Who asks in which environment is up to the caller; what they may do there is up to the policy.
What a process outside any run has read is known from what it says itself: whoever lies there, or copies what is on a screen,
carries plaintext across like anybody who was shown it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermetic.catalog import assets, versions
from hermetic.custody.resolve import resolve
from hermetic.errors import NotFound, PolicyDenied
from hermetic.ids import Environment, Ref
from hermetic.policy import rules

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hermetic.catalog.values import Asset, Run, Version
    from hermetic.custody.call import Call
    from hermetic.custody.inforce import InForce
    from hermetic.custody.resolve import Memo, Resolved
    from hermetic.db.rows import ReadSession
    from hermetic.ids import AssetName, VersionId

KEPT = "environment"  # in the details of a run


def of_run(policy: InForce, run: Run | None) -> Environment | None:
    """Return the environment that a run works in, None without a run; runs from before runs had one work in the usual one."""
    if run is None:
        return None
    return Environment((run.details or {}).get(KEPT, policy.document.environment))


def declared(policy: InForce, run: Run | None, asked: Environment | None) -> Environment | None:
    """Return what the request or its run says, None where neither does. Raises PolicyDenied where they differ."""
    works = of_run(policy, run)
    if works is not None and asked is not None and asked is not works:
        raise crossing(f"the run works in {works.value}, and this asks for keys of {asked.value}")
    return works or asked


def crossing(what: str) -> PolicyDenied:
    """Return the refusal of what would cross."""
    return PolicyDenied(
        f"nothing crosses from one environment into another: {what}",
        hint="`hermetic promote REF --to ENVIRONMENT` carries a version across, on record; else work there: --environment NAME",
        reasons=("environment",),
    )


def of_name(policy: InForce, name: AssetName, works: Environment | None) -> Environment:
    """Return where a name is looked up or made."""
    if works is not None:
        return works
    said = rules.match_asset(policy.document, name)
    return policy.document.environment if said is None or said.placed is None else said.placed


def of_ref(policy: InForce, text: str, works: Environment | None) -> Environment:
    """Return where a reference is looked up. Raises InvalidName."""
    return of_name(policy, Ref.parse(text).name, works)


def target_of(policy: InForce, name: AssetName, run: Run | None, asked: Environment | None) -> Environment:
    """Return where a new version goes. Raises PolicyDenied for a run whose rules place the name elsewhere."""
    works = declared(policy, run, asked)
    said = rules.match_asset(policy.document, name)
    if run is not None and works is not None and said is not None and said.placed not in {None, works}:
        raise crossing(f"the rules place {name} in {said.placed}, and the run works in {works.value}")
    return of_name(policy, name, works)


def find(
    session: ReadSession, policy: InForce, text: str, works: Environment | None, *, deleted: bool = False
) -> tuple[Asset, Version]:
    """Return what a reference names, without its keys. Raises NotFound, which says where else the name exists, RowTampered."""
    ref = Ref.parse(text)
    try:
        return versions.resolve(session, ref, of_name(policy, ref.name, works), deleted=deleted)
    except NotFound as error:
        raise _elsewhere(session, ref, error) from None


def open_in(session: ReadSession, policy: InForce, text: str, works: Environment | None, *, memo: Memo | None = None) -> Resolved:
    """Do the same with its keys. Raises as `resolve`."""
    try:
        return resolve(session, text, of_ref(policy, text, works), memo)
    except NotFound as error:
        raise _elsewhere(session, Ref.parse(text), error) from None


def _elsewhere(session: ReadSession, ref: Ref, error: NotFound) -> NotFound:
    """Return the error with a hint where the name exists; `between` hides both from who may not read the catalogue."""
    others = [item.value for item in Environment if (found := assets.find(session, ref.name, item)) and found.next_number > 1]
    if not others or "no asset" not in error.message:
        return error
    return NotFound(error.message, hint=f"it is in {' and '.join(others)}: say --environment {others[0]}, or HERMETIC_ENVIRONMENT")


def require_one(found: Iterable[Resolved]) -> None:
    """Raise PolicyDenied if a request asks for keys of several environments."""
    several = sorted({item.asset.environment for item in found})
    if len(several) > 1:
        raise crossing(f"this asks for keys of {' and '.join(several)} at once")


def require_own(session: ReadSession, parents: Iterable[VersionId], environment: Environment) -> None:
    """Raise PolicyDenied if something of another environment is among what a version of this one is made of."""
    for parent in parents:
        version = versions.get(session, parent)
        asset = assets.get(session, version.asset_id)
        if asset.environment is not environment:
            parent_ref = f"{asset.name}@{version.number} of {asset.environment.value}"
            raise crossing(f"{parent_ref} is among what this {environment.value} version is made of")


def require_distance(call: Call, policy: InForce, environment: Environment) -> None:
    """Raise PolicyDenied where custody is nearer to its callers than an environment allows."""
    least = policy.document.environments[environment].require_enforcement
    if call.enforcement.rank < least.rank:
        raise PolicyDenied(
            f"{environment.value} needs {least.value} enforcement, this is {call.enforcement.value}",
            hint="start `hermetic serve` under another user id",
            reasons=("enforcement",),
        )
