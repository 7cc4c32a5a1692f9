"""Roots as people handle them: list, add, extend, suspend, resume, deactivate, mark as compromised; `uprooting` drops them.

`keys/migration.py` numbers the steps of a move.

Custody has the root's row, its slots and domain.json; the root itself is made, or connected, by whoever runs custody, and reaches it
through `Custodian.roots`. What a crash leaves between two steps opens as before, and the step can be asked for again:

    add         a pre-active row                          nothing uses it
    extend      domain.json first, then slots             more roots open the same keys
    activate    the row                                   only once every key has a slot
    drop        slots, row, domain.json, the root itself  only after every key was opened through another root

Every change is on the log with the administrator and the policies that permitted it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermetic.catalog.values import fresh_id
from hermetic.custody import campaigns, residency, rootloss, rootwork
from hermetic.custody.call import TRIES
from hermetic.custody.decide import allowed_caller, allowed_everywhere, still_the_same
from hermetic.custody.work import unit
from hermetic.errors import Conflict, UsageError
from hermetic.formats.messages.roots import (
    AddRoot,
    CheckRoots,
    ExtendRoot,
    ListRoots,
    ProviderReports,
    RootChanged,
    RootExtended,
    RootList,
    SetRootState,
)
from hermetic.ids import KeyState
from hermetic.keys import migration, recovery_vouching, root_exposure, roots, slots
from hermetic.keys.domain_file import DomainRoot, check_uri
from hermetic.keys.provider import RootId
from hermetic.keys.recovery_root import holder_of
from hermetic.policy.request import Action

if TYPE_CHECKING:
    from hermetic.custody.call import Call
    from hermetic.custody.callers import Caller
    from hermetic.custody.work import Work
    from hermetic.formats.canonical import JsonValue
    from hermetic.keys.provider import Provider
    from hermetic.keys.roots import Root

BATCH = 400  # slots in one transaction: what one log entry can commit to, with room
FEW = 4  # slots that are made while writers wait
VERBS = {
    "activate": KeyState.ACTIVE,
    "suspend": KeyState.SUSPENDED,
    "resume": KeyState.ACTIVE,
    "deactivate": KeyState.DEACTIVATED,
    "compromise": KeyState.COMPROMISED,
}


def list_roots(call: Call, _request: ListRoots) -> RootList:
    """List every root, destroyed ones too."""
    allowed_caller(call, Action.READ_CATALOG)
    with call.custodian.database.read(call.custodian.row_keys) as session:
        found = sorted(roots.ls(session), key=lambda root: (root.created_ms, root.root_id))
        return RootList(tuple(rootwork.row_of(call, session, root) for root in found))


def add_root(call: Call, request: AddRoot) -> RootChanged:
    """Announce a root, or return the one announced before under the same URI. Raises UsageError, Conflict, PolicyDenied."""
    uri = check_uri(request.provider)
    caller = allowed_everywhere(call, Action.CHANGE_ROOTS, scope=rootwork.adding(uri))
    with unit(call.custodian, "custody.root.announced", call.now_ms) as work:
        still_the_same(call, work.session, caller)
        begun = [root for root in roots.ls(work.session) if (root.provider_uri, root.state) == (uri, KeyState.PRE_ACTIVE)]
        root = begun[0] if begun else _announce(call, caller, work, request)
    receipt = None if begun else rootwork.receipt_of(call, work)
    return RootChanged(rootwork.show(call, root.root_id), receipt)


def _announce(call: Call, caller: Caller, work: Work, request: AddRoot) -> Root:
    if len(rootwork.living(work.session)) >= slots.SLOT_LIMIT:
        raise UsageError(f"a domain has at most {slots.SLOT_LIMIT} roots", hint="`hermetic key root drop` makes room")
    root = roots.announce(work.session, request.provider, RootId(fresh_id()), now_ms=call.now_ms)
    facts: dict[str, JsonValue] = {"root": root.root_id, "provider": root.provider_uri, "state": root.state.value}
    if holder_of(root.provider_uri) is not None:  # for whoever holds the key, to know copies of this domain by
        facts["domain_fingerprint"] = recovery_vouching.fingerprint(call.custodian.domain, call.custodian.keys.check)
    rootwork.log_change(work, caller, ("root.added", request.reason), facts)
    return root


def extend_root(call: Call, request: ExtendRoot) -> RootExtended:
    """Give a root the domain secret and missing slots. Raises Conflict, KeyServiceUnavailable, IntegrityError, PolicyDenied.

    Providers are asked before the transaction, which only writes: a slow service keeps nobody waiting.
    """
    if not 0 < request.limit <= BATCH:
        raise UsageError(f"a batch has 1 to {BATCH} slots")
    caller, root = rootwork.continuing(call, request.root)
    with call.custodian.database.read(call.custodian.row_keys) as session:
        rootwork.require_extendable(session, root.root_id)
        residency.require_root(call, session, root)
    provider = rootwork.home_of(call).provider(root.provider_uri, root.root_id)
    _open_domain(call, caller, root, provider)
    for _ in range(TRIES):
        try:
            return _extend(call, caller, root, request.limit)
        except Conflict:
            continue
    raise Conflict("keys kept changing while they were wrapped under the root", hint="try again")


def _extend(call: Call, caller: Caller, root: Root, limit: int) -> RootExtended:
    custodian, added = call.custodian, 0
    with custodian.database.read(custodian.row_keys) as session:
        residency.require_root(call, session, root)  # once more: a batch follows the one before with another policy
        prepared = migration.prepare(session, custodian.anchors, root.root_id, limit=limit)
    if prepared:
        with unit(custodian, "custody.root.extended", call.now_ms) as work:
            still_the_same(call, work.session, caller)
            rootwork.require_extendable(work.session, root.root_id)
            residency.require_root(call, work.session, root)
            added = migration.store(work.session, root, prepared)
            if added:
                rootwork.log_change(work, caller, ("root.extended", ""), {"root": root.root_id, "count": added})
    with custodian.database.read(custodian.row_keys) as session:
        have, all_ = migration.coverage(session, root.root_id)
    return RootExtended(root.root_id, added, all_ - have)


def _open_domain(call: Call, caller: Caller, root: Root, provider: Provider) -> None:
    """Put the domain secret under a root into domain.json, unless it is there by a step that is on record.

    A crash between the file and the record leaves an entry that nobody vouches for: it is made anew, and logged.
    """
    custodian, home = call.custodian, rootwork.home_of(call)
    if rootwork.entry(home, root) is not None and roots.OPENS_DOMAIN in root.parameters:
        return
    with custodian.database.read(custodian.row_keys) as session:
        usable = roots.for_opening(session, custodian.anchors, recovering=True)
    secret = home.file().open(usable)
    type(custodian.keys).from_secret(secret).require_check(custodian.keys.check)
    wrapped = migration.wrapped_checked(provider, secret, slots.domain_secret_context(custodian.domain, root.root_id))
    with unit(custodian, "custody.root.opens-domain", call.now_ms) as work:
        still_the_same(call, work.session, caller)
        rootwork.require_extendable(work.session, root.root_id)
        home.put(home.file().with_entry(DomainRoot(root.root_id, root.provider_uri, wrapped)))
        roots.note(work.session, root.root_id, **{roots.OPENS_DOMAIN: call.now_ms})
        rootwork.log_change(work, caller, ("root.extended", ""), {"root": root.root_id, "count": 0, "domain": True})


def set_root_state(call: Call, request: SetRootState) -> RootChanged:
    """Change the state of a root by a verb of VERBS. Raises UsageError, Conflict, KeyUnusable, NotFound, PolicyDenied."""
    if request.verb not in VERBS:
        raise UsageError("say activate, suspend, resume, deactivate or compromise")
    wanted = VERBS[request.verb]
    caller, root = _changer(call, request, wanted)
    if wanted is KeyState.SUSPENDED:
        rootwork.require_opening_without(call, root)
    if wanted is KeyState.ACTIVE:
        rootwork.require_working(call, root)
    if wanted is KeyState.COMPROMISED:
        rootloss.require_doing_without(call, root, request.reason)
    with unit(call.custodian, f"custody.root.{request.verb}", call.now_ms) as work:
        still_the_same(call, work.session, caller)
        if wanted is KeyState.ACTIVE:
            if rootwork.entry(rootwork.home_of(call), root) is None:
                raise Conflict("this root does not open the domain secret yet", hint="extend it first")
            residency.require_root(call, work.session, root)
            _catch_up(call, caller, work, root)
            migration.activate(work.session, root.root_id)
            campaigns.end(work.session, rootwork.taking_up(root))
        else:
            rootwork.require_another(work.session, root)
            if wanted is KeyState.COMPROMISED:
                root_exposure.mark(work.session, root.root_id, now_ms=call.now_ms)
            else:
                roots.set_state(work.session, root.root_id, wanted)
        facts: dict[str, JsonValue] = {"root": root.root_id, "state": wanted.value, "verb": request.verb}
        rootwork.log_change(work, caller, ("root.state", request.reason), facts)
    return RootChanged(rootwork.show(call, root.root_id), rootwork.receipt_of(call, work))


def _changer(call: Call, request: SetRootState, wanted: KeyState) -> tuple[Caller, Root]:
    """What one does in an incident, suspending or marking, needs nobody's approval. What lets a root in, or lets go of one, may."""
    if wanted in {KeyState.SUSPENDED, KeyState.COMPROMISED}:
        return rootwork.administrator(call, request.root)
    return rootwork.changer(call, request.root, rootwork.taking_up if wanted is KeyState.ACTIVE else lambda _root: "")


def check_roots(call: Call, request: CheckRoots) -> ProviderReports:
    """Try the providers of all roots that are not destroyed, or of one. Raises NotFound, PolicyDenied."""
    from hermetic.providers import conformance  # noqa: PLC0415 - for the report only

    caller = allowed_caller(call, Action.ADMINISTER_KEYS)
    custodian = call.custodian
    with custodian.database.read(custodian.row_keys) as session:
        wanted = [rootwork.find_root(session, request.root)] if request.root else rootwork.living(session)
    here = dict(custodian.anchors.providers.items())
    tried = [roots.checked(root, here[root.root_id]) for root in wanted if root.root_id in here]
    reports = tuple(conformance.measure(provider) for provider in tried)
    with unit(custodian, "custody.root.checked", call.now_ms) as work:
        for report in reports:
            broken = sum(probe.contradicts for probe in report.probes)
            rootwork.log_change(
                work, caller, ("root.checked", ""), {"root": report.root, "status": report.status, "contradictions": broken}
            )
    return ProviderReports(reports)


def _catch_up(call: Call, caller: Caller, work: Work, root: Root) -> None:
    """Wrap the few keys made since the extension, in the transaction that activates: else a busy domain never gets there."""
    have, all_ = migration.coverage(work.session, root.root_id)
    if 0 < all_ - have <= FEW:
        added = migration.store(work.session, root, migration.prepare(work.session, call.custodian.anchors, root.root_id, limit=FEW))
        rootwork.log_change(work, caller, ("root.extended", ""), {"root": root.root_id, "count": added})
