"""Another name for an asset, and what grants make of it.

Grants cover names. Whoever gives an asset a name that grants cover lets their holders in, and whoever takes it out of such a name
shuts them out. So a rename that makes a grant in force begin or cease to cover the asset takes the right to grant beside the right to
rename; and as nobody grants to themselves, nobody brings an asset under a grant of their own. Who holds both rights, as data stewards
do, sees no difference; who may only rename, by a grant for instance, renames among names that the same grants cover.

* A grant counts here by its names and environment alone: for whichever action, purposes and numbers of versions, also ones that are
  not there yet, since the asset goes on to get versions under its new name. What is over by the clock, or was revoked, is no grant.
* Giving up a grant of one's own by a rename takes nothing but the right to rename.
* Broken glass is for one asset: it ends with the name (`breaking`), whoever renames.
* The entry `asset.renamed` names the grants that begin and cease to cover the asset, as far as LISTED goes, and counts all of them.

An asset that is made under a name which grants cover is another matter: who seals chooses the name for what is theirs to seal, and
knows the pattern or can ask for it. Leases that were released under a grant end at their next check once it covers the asset no more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hermetic.access import grants, identity
from hermetic.audit.leaf import Entry, Hidden
from hermetic.catalog import assets
from hermetic.custody import breaking, callers, environments
from hermetic.custody.decide import allowed_caller, recheck, still_the_same
from hermetic.custody.resolve import as_resource
from hermetic.custody.work import unit
from hermetic.errors import Conflict, PolicyDenied
from hermetic.formats.messages.base import Done
from hermetic.ids import AssetName
from hermetic.policy.request import Action

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermetic.access.grants import Grant
    from hermetic.catalog.values import Asset
    from hermetic.custody.call import Call
    from hermetic.custody.callers import Caller
    from hermetic.db.rows import ReadSession
    from hermetic.formats.canonical import JsonValue
    from hermetic.formats.messages.catalogue import RenameAsset

LISTED = 100  # ids of grants in one entry, of each sort


class Change(NamedTuple):
    """The grants that begin to cover an asset with its new name, and those that cease to."""

    begin: tuple[Grant, ...]
    end: tuple[Grant, ...]

    def concerns_others(self, caller: Caller) -> bool:
        """Whether it changes what anybody but the caller may do, or gives the caller something."""
        return bool(self.begin) or any(grant.principal_id != caller.id for grant in self.end)

    def facts(self) -> dict[str, JsonValue]:
        """Return what the log says of it."""
        said: dict[str, JsonValue] = {}
        for name, found in (("grants_begin", self.begin), ("grants_end", self.end)):
            said[name] = [grant.id for grant in found[:LISTED]]
            if len(found) > LISTED:
                said[f"{name}_count"] = len(found)
        return said


def rename_asset(call: Call, request: RenameAsset) -> Done:
    """Rename. Raises NotFound, Conflict, UsageError, PolicyDenied."""
    old, new = AssetName.parse(request.old), AssetName.parse(request.new)
    with call.custodian.database.read(call.custodian.row_keys) as session:
        callers.require(call, session)
        policy = call.custodian.policy.current(session)
        where = environments.of_name(policy, old, request.environment)
        asset = assets.require(session, old, where)
        resource = as_resource(asset, None, policy)
        change = _change(call, session, asset, new)
    caller = allowed_caller(call, Action.RENAME, resource)
    grantor = _who_may_grant(call, caller, change)
    with unit(call.custodian, "custody.rename.committed", call.now_ms) as work:
        asset = assets.require(work.session, old, where)
        if grantor is not None:
            recheck(call, work.session, grantor)
        still_the_same(call, work.session, caller, as_resource(asset, None, call.custodian.policy.current(work.session)))
        if _ids(_change(call, work.session, asset, new)) != _ids(change):
            raise Conflict("grants over these names changed while this was decided", hint="try again")
        assets.rename(work.session, asset, new)
        subject = f"asset:{asset.id}"
        hidden = {"principal": caller.hidden(), "old": Hidden(str(old), subject), "new": Hidden(str(new), subject)}
        if request.reason:
            hidden["reason"] = Hidden(request.reason, f"principal:{caller.id}")
        work.log(Entry("asset.renamed", {"asset": asset.id, **change.facts()}, hidden))
        breaking.end_with_name(work, asset, {"principal": caller.hidden()})
        notes = tuple(_told(work.session, change))
    return Done(notes)


def _change(call: Call, session: ReadSession, asset: Asset, new: AssetName) -> Change:
    """Compare what the grants in force cover. One of broken glass cannot begin: what it is for ends with the name of its asset."""
    given = [grant for grant in grants.listing(session, now_ms=call.now_ms) if grant.kind != grants.BREAK_GLASS]
    before, after = (
        {grant.id: grant for grant in given if grants.covers_name(grant.pattern, str(name), asset.environment)}
        for name in (asset.name, new)
    )
    return Change(
        tuple(grant for grant in given if grant.id in after.keys() - before.keys()),
        tuple(grant for grant in given if grant.id in before.keys() - after.keys()),
    )


def _told(session: ReadSession, change: Change) -> Iterator[str]:
    """Yield what a person is told of the grants that change, as far as LISTED goes. Who renames them may grant, or they are theirs."""
    for found, what in ((change.begin, "covers it from now on"), (change.end, "covers it no more")):
        for grant in found[:LISTED]:
            who = identity.require(session, grant.principal_id).principal.name
            yield f"grant {grant.id}, {who} may {grant.action.value} {grant.pattern}, {what}"
        if len(found) > LISTED:
            yield f"{len(found) - LISTED} more grants: each {what}"


def _ids(change: Change) -> tuple[frozenset[str], ...]:
    return tuple(frozenset(grant.id for grant in found) for found in change)


def _who_may_grant(call: Call, caller: Caller, change: Change) -> Caller | None:
    """Return the caller as one who may grant, where that is asked for. Raises PolicyDenied, which is on record."""
    if not change.concerns_others(caller):
        return None
    what = f"this name changes what is covered by {_counted(len(change.begin) + len(change.end))}"
    if any(grant.principal_id == caller.id for grant in change.begin):
        raise PolicyDenied(
            f"{what}, of your own among them: nobody grants to themselves",
            hint="choose a name that your grants do not cover, or have somebody else rename it",
            reasons=("own-grant",),
        )
    try:
        return allowed_caller(call, Action.GRANT)
    except PolicyDenied as error:
        raise PolicyDenied(
            f"{what}, and you may not grant: {error.message}",
            hint="choose a name that the same grants cover (`hermetic access ls`), or ask somebody who may grant to rename it",
            reasons=(*error.reasons, "grants-follow-names"),
        ) from error


def _counted(number: int) -> str:
    return "1 grant" if number == 1 else f"{number} grants"
