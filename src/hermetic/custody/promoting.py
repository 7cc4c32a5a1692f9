"""A version carried from one environment into another, and an earlier version made the latest again: what may, and what came of it.

    promote-version / roll-back    the policy is asked about `promote`; approvals are used; the decision is on record
    open-versions, promotion=ID    the key of that one version, to its requester
    begin-version, promotion=ID    a new data key under the KEK of the target: same name, class and limits of use at least as strict
    publish-version                the same files with the same content, or nothing; the decision is done

Each step asks the policy again. The approvals are for one version and one target, and cover the later steps as a campaign does
(`campaigns`): until the copy is published, or their time is over. Whoever is interrupted asks the same again and goes on.

A rollback is a promotion from an environment into itself. The copy is a new version, so that no reader is ever shown a lower number
than it has seen, and the chain of manifests goes on (docs/adr/0012-a-rollback-is-a-new-version.md).

Custody sees no content: it compares names, lengths and keyed fingerprints with those of the source, as the writer reports them.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from hermetic.audit.leaf import Entry, Hidden
from hermetic.catalog import assets, decisions, lineage, versions
from hermetic.catalog.locations import place_of
from hermetic.catalog.values import Because, VersionState
from hermetic.custody import anew, approved, callers, campaigns, environments, residency
from hermetic.custody.call import receipt
from hermetic.custody.decide import Question, allowed_caller, may, still_the_same
from hermetic.custody.resolve import again, as_resource, resolve_version
from hermetic.custody.views import labels_of, members_of, purposes_of
from hermetic.custody.work import unit
from hermetic.db import tables
from hermetic.errors import Conflict, Denied, IntegrityError, NotFound, PolicyDenied, Unsupported, UsageError
from hermetic.formats.binary_text import to_base64url
from hermetic.formats.messages.promotion import PromoteVersion, Promotion, RollBack
from hermetic.ids import Environment, Purpose, Ref, VersionId, check_id
from hermetic.policy.request import Action

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from hermetic.catalog.values import Asset, Version
    from hermetic.custody.anew import Contents
    from hermetic.custody.call import Call
    from hermetic.custody.callers import Caller
    from hermetic.custody.inforce import InForce
    from hermetic.custody.resolve import Resolved
    from hermetic.custody.work import Work
    from hermetic.db.rows import ReadSession
    from hermetic.formats.canonical import JsonValue
    from hermetic.formats.messages.versions import BeginVersion, OpenVersions, PublishVersion
    from hermetic.policy.model import PolicyDocument

PROMOTION: Final = "promotion"
ROLLBACK: Final = "rollback"
KEPT: Final = "promotion"  # in the details of the version that is the copy
REASON_LIMIT: Final = 2000


@dataclass(frozen=True, slots=True)
class Carried:
    """A decision that a version may be carried, as it was put on record."""

    id: str
    kind: str
    version: VersionId
    target: Environment
    purpose: Purpose
    principal: str
    replaces: str | None  # of a rollback: the version that was the latest
    asked: str  # keyed digest of the request

    @property
    def scope(self) -> str:
        """What its approvals cover."""
        return scope_of(self.kind, self.version, self.target, self.asked)

    def question(self, caller: Caller, policy: InForce, source: Resolved) -> Question:
        """Return what the policy is asked at every step."""
        resource = replace(as_resource(source.asset, source.version, policy), target=self.target)
        return Question(caller, Action.PROMOTE, resource, policy, self.purpose, scope=self.scope, length=source.version.length or 0)


def scope_of(kind: str, version: str, target: Environment, asked: str) -> str:
    """Return the scope of a campaign: one version, one target, and the very request that was approved: its purpose, its reason, and
    the version that a rollback replaces."""
    return f"{kind}/{version}/{target.value}/{asked}"


# the decision


def promote_version(call: Call, request: PromoteVersion) -> Promotion:
    """Decide about a promotion. Raises UsageError, NotFound, Conflict, PolicyDenied, ApprovalNeeded, KeyUnusable, Unsupported."""
    return _decide(call, request, (PROMOTION, request.to, request.purpose), lambda session, item: _done(session, item, request.to))


def roll_back(call: Call, request: RollBack) -> Promotion:
    """Decide about a rollback. Raises as `promote_version`."""
    return _decide(call, request, (ROLLBACK, request.environment, None), lambda session, item: _earlier(session, item, request.latest))


def _decide(
    call: Call,
    request: PromoteVersion | RollBack,
    what: tuple[str, Environment, Purpose | None],
    look: Callable[[ReadSession, Resolved], str],
) -> Promotion:
    kind, target, asked = what
    if not 0 < len(request.reason.strip()) <= REASON_LIMIT:
        raise UsageError(f"a {kind} has a reason of 1 to {REASON_LIMIT} characters", hint="--reason 'evaluated, see report 12'")
    with call.custodian.database.read(call.custodian.row_keys) as session:
        asking = callers.require(call, session)
        policy = call.custodian.policy.current(session)
        item = environments.open_in(session, policy, request.ref, request.environment)
        known = kind == PROMOTION and may(call, session, asking, Action.READ_CATALOG)
        done = ""
        with suppress(Conflict, UsageError):  # told after the policy was asked
            done = look(session, item) if known else ""  # whoever goes on after a crash; nobody has to agree once more
    if item.version.id != request.version or Ref.parse(request.ref).number is None:
        raise Conflict(f"{request.ref} means another version than when this was asked", hint="run the command again")
    if place_of(item.version) is not None:
        raise Unsupported("a version at plain locations is not carried", hint="seal a copy of it into a store, and promote that")
    purpose = asked or item.version.purpose
    answer = Promotion("", item.ref, item.version.id, item.asset.environment, target, purpose, done, None)
    if done:
        return answer

    def ask_nobody(session: ReadSession) -> None:
        require_project(policy, item.asset, assets.find(session, item.asset.name, target))
        look(session, item)

    item.check_open(purpose if purpose is not Purpose.RECOVER else Purpose.INGEST)  # what was revoked goes nowhere
    _require_regions(policy.document, item, target)
    resource = replace(as_resource(item.asset, item.version, policy), target=target)
    digest = to_base64url(call.request_hash)
    scope = scope_of(kind, item.version.id, target, digest)
    caller = allowed_caller(call, Action.PROMOTE, resource, purpose=purpose, scope=scope, before_asking=ask_nobody)
    with call.custodian.database.read(call.custodian.row_keys) as session:
        require_project(policy, item.asset, assets.find(session, item.asset.name, target))
        if done := look(session, item):
            return replace(answer, done=done)
    with unit(call.custodian, "custody.promotion.decided", call.now_ms) as work:
        now = again(work.session, item)
        if now.fixed_points() != item.fixed_points():
            raise Conflict("the version or its key changed while this was decided", hint="try again")
        again_resource = replace(as_resource(now.asset, now.version, call.custodian.policy.current(work.session)), target=target)
        voices = len(approved.in_favour(call, work.session, caller, scope))
        still_the_same(call, work.session, caller, again_resource)
        _require_regions(call.custodian.policy.current(work.session).document, now, target)
        details = {"to": target.value, "principal": caller.id, "purpose": purpose.value, "replaces": getattr(request, "latest", None)}
        details |= {"approvals": voices, "policies": sorted(caller.policies), "request": digest}
        made = decisions.record(
            work.session, kind, Because(request.reason, caller.name, call.now_ms), version_id=item.version.id, details=details
        )
        facts: dict[str, JsonValue] = {"version": item.version.id, "to": target.value, "kind": kind, "decision": made.id}
        hidden = {"principal": caller.hidden(), "reason": Hidden(request.reason, f"principal:{caller.id}")}
        work.log(Entry("version.promotion", {**facts, "approvals": voices}, hidden))
    return replace(answer, id=made.id, receipt=receipt(call.custodian.generation, work.logged()))


def _require_regions(document: PolicyDocument, item: Resolved, target: Environment) -> None:
    """Raise PolicyDenied for a version that lies elsewhere, or whose copy would. The copy's own class, if stricter, is asked later."""
    residency.require_version(document, item)
    residency.require_place(document, (item.version.data_class, target), document.store_for(target))


def require_project(policy: InForce, source: Asset, there: Asset | None) -> None:
    """Raise PolicyDenied where the name is another project's in the target: whoever answers for that was not asked."""
    usual = policy.document.project
    if there is not None and (there.project or usual) != (source.project or usual):
        raise PolicyDenied(
            f"{there.name} of {there.environment.value} is of another project than the version to be promoted",
            hint="rename one of the two assets first",
            reasons=("workspace",),
        )


def _done(session: ReadSession, item: Resolved, to: Environment) -> str:
    """Return the copy that is the latest version there already. Raises Conflict where a newer one has followed it."""
    if to is item.asset.environment:
        raise UsageError(f"{item.ref} is in {to.value} already", hint="`hermetic rollback` makes an earlier one the latest")
    asset = assets.find(session, item.asset.name, to)
    latest = None if asset is None else versions.latest(session, asset)
    for edge in lineage.children_of(session, item.version.id):
        child = versions.get(session, edge.child)
        if edge.how != PROMOTION or child.state is not VersionState.PUBLISHED or asset is None or child.asset_id != asset.id:
            continue
        if latest is not None and latest.id == child.id:
            return f"{asset.name}@{child.number}"
        raise Conflict(
            f"{item.ref} is {asset.name}@{child.number} in {to.value} already, and newer versions have followed",
            hint=f"hermetic rollback {asset.name} --environment {to.value} --to {child.number} --reason WHY",
        )
    return ""


def _earlier(session: ReadSession, item: Resolved, replaced: str) -> str:
    """Check that a rollback goes back, from what is the latest now. Raises Conflict, UsageError."""
    latest = versions.latest(session, item.asset)
    if latest is None or latest.id != replaced:
        raise Conflict("another version is the latest by now", hint="look at `hermetic ls`, then run the command again")
    if (item.version.number or 0) >= (latest.number or 0):
        raise UsageError(f"{item.ref} is the latest version already", hint="--to NUMBER names an earlier one")
    return ""


# what follows it


def carried(session: ReadSession, caller: Caller, decision_id: str) -> Carried:
    """Return a decision of the caller that nothing has come of yet. Raises NotFound, Denied, Conflict."""
    row = session.get(tables.decision, check_id(decision_id))
    if row is None or row["kind"] not in {PROMOTION, ROLLBACK} or row["version_id"] is None:
        raise NotFound("there is no such promotion", hint="`hermetic promote` begins one")
    details: dict[str, Any] = row["details"] or {}
    if details["principal"] != caller.id:
        raise Denied("this promotion was allowed to somebody else")
    version, target = VersionId(row["version_id"]), Environment(details["to"])
    if session.get(tables.setting, _finished(decision_id)) is not None:
        raise Conflict("this promotion is done", hint="`hermetic ls --environment` shows what came of it")
    purpose, replaces = Purpose(details["purpose"]), details.get("replaces")
    return Carried(decision_id, row["kind"], version, target, purpose, details["principal"], replaces, str(details.get("request", "")))


def open_about(session: ReadSession, caller: Caller, item: Resolved) -> Iterator[Carried]:
    """Yield the caller's promotions of a version that are under way: what was opened for one stays open until it is done."""
    for decision in decisions.about_version(session, item.version.id):
        if decision.kind in {PROMOTION, ROLLBACK}:
            with suppress(Denied, Conflict):
                yield carried(session, caller, decision.id)


def source_of(session: ReadSession, found: Carried) -> Resolved:
    """Return the version that is carried, with its keys. Raises as `resolve`."""
    version = versions.get(session, found.version)
    item = resolve_version(session, assets.get(session, version.asset_id), version)
    item.check_open(Purpose.INGEST)
    return item


def check_opening(request: OpenVersions, items: tuple[Resolved, ...], found: Carried) -> None:
    """Raise UsageError unless a request opens what the promotion is about, and nothing else of it."""
    if request.run is not None or request.exposure is not None or [item.version.id for item in items] != [found.version]:
        raise UsageError("a promotion opens the one version that it is about, outside of any run")


def check_beginning(request: BeginVersion, source: Resolved, found: Carried) -> None:
    """Raise UsageError for a copy that is anything but that, elsewhere."""
    extra = (request.run, request.place, request.decision, request.data_class, request.purposes, request.owner, request.project)
    if any(item is not None for item in extra) or request.parents or request.read or request.environment not in {None, found.target}:
        raise UsageError("what a promotion writes is decided already: the same version, in the environment that it goes to")
    if request.name != str(source.asset.name):
        raise UsageError(f"the promotion is of {source.asset.name}", hint="rename the asset afterwards")


def details_of(session: ReadSession, found: Carried) -> dict[str, Any]:
    """Return what the copy says of itself from the start: what it may be used for, and which decision it comes from."""
    purposes = purposes_of(versions.get(session, found.version))
    limits = {} if purposes is None else {"purposes": [purpose.value for purpose in purposes]}
    return {KEPT: found.id, **limits}


def of_draft(version: Version) -> str | None:
    """Return the decision that a version is the copy for, None for any other version."""
    found = (version.details or {}).get(KEPT)
    return None if found is None else str(found)


def check_copy(session: ReadSession, found: Carried, request: PublishVersion, contents: Collection[Contents]) -> PublishVersion:
    """Compare the copy with its source; return the request with the labels of that. Raises IntegrityError, Conflict.

    `contents` are the files of the copy by the digests of its own suite, and by those of its source's (`anew.Contents`).
    """
    source = versions.get(session, found.version)
    if found.replaces is not None:
        latest = versions.latest(session, assets.get(session, source.asset_id))
        if latest is None or latest.id != found.replaces:
            raise Conflict("another version became the latest meanwhile", hint="look at `hermetic ls`, then run the command again")
    written = sorted((item.member, item.plaintext_length) for item in request.objects)
    if written != sorted((item.path, item.length) for item in members_of(source)) or request.parents:
        raise IntegrityError("the copy has other files than the version that was promoted", hint="promote it again")
    known = anew.contents_of(session, source)
    if known is None:
        raise IntegrityError("custody has no fingerprint of the files to be promoted", hint="seal them again, and promote that")
    if known not in contents:
        raise IntegrityError("the copy has other content than the version that was promoted", hint="promote it again")
    return replace(request, labels=labels_of(source))


def finish(work: Work, found: Carried, published: Version) -> None:
    """Say that the promotion is done, in the transaction that publishes the copy; its approvals cover nothing more."""
    work.session.insert(tables.setting, key=_finished(found.id), value={"version": published.id})
    campaigns.end(work.session, found.scope)
    facts: dict[str, JsonValue] = {"version": found.version, "copy": published.id, "to": found.target.value}
    work.log(Entry("version.promoted", {**facts, "kind": found.kind, "decision": found.id}))


def _finished(decision_id: str) -> str:
    return f"promotion/{decision_id}"
