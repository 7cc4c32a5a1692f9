"""Roots as people handle them: list, add, extend, suspend, resume, deactivate, drop. `keys/migration.py` numbers the steps of a move.

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

from hermetic.audit.leaf import Entry, Hidden
from hermetic.catalog.values import fresh_id
from hermetic.crypto.secret import Secret
from hermetic.custody import callers
from hermetic.custody.call import TRIES, receipt
from hermetic.custody.decide import allowed_caller, still_the_same
from hermetic.custody.work import unit
from hermetic.errors import Conflict, KeyServiceUnavailable, NotFound, Unsupported, UsageError
from hermetic.formats.binary_text import to_base64url
from hermetic.formats.messages.base import Pair
from hermetic.formats.messages.roots import (
    AddRoot,
    CheckRoots,
    DropRoot,
    ExtendRoot,
    ListRoots,
    ProviderReports,
    RootChanged,
    RootDropped,
    RootExtended,
    RootList,
    RootRow,
    SetRootState,
)
from hermetic.ids import KeyState
from hermetic.keys import migration, roots, secret_keys, slots
from hermetic.keys.domain_file import DomainRoot, check_uri
from hermetic.keys.provider import RootId
from hermetic.policy.request import Action

if TYPE_CHECKING:
    from hermetic.custody.call import Call
    from hermetic.custody.callers import Caller
    from hermetic.custody.custodian import RootHome
    from hermetic.custody.work import Work
    from hermetic.db.rows import ReadSession
    from hermetic.formats.canonical import JsonValue
    from hermetic.formats.messages.base import Receipt
    from hermetic.keys.provider import Provider
    from hermetic.keys.roots import Root

PREFIX = 4  # shortest prefix of an id that names a root
BATCH = 400  # slots in one transaction: what one log entry can commit to, with room
FEW = 4  # slots that are made while writers wait
VERBS = {
    "activate": KeyState.ACTIVE,
    "suspend": KeyState.SUSPENDED,
    "resume": KeyState.ACTIVE,
    "deactivate": KeyState.DEACTIVATED,
}
_EXTENDABLE = {KeyState.PRE_ACTIVE, KeyState.SUSPENDED, KeyState.ACTIVE}


def list_roots(call: Call, _request: ListRoots) -> RootList:
    """List every root, destroyed ones too."""
    allowed_caller(call, Action.READ_CATALOG)
    with call.custodian.database.read(call.custodian.row_keys) as session:
        found = sorted(roots.ls(session), key=lambda root: (root.created_ms, root.root_id))
        return RootList(tuple(_row(call, session, root) for root in found))


def add_root(call: Call, request: AddRoot) -> RootChanged:
    """Announce a root, or return the one announced before under the same URI. Raises UsageError, Conflict, PolicyDenied."""
    uri = check_uri(request.provider)
    caller = allowed_caller(call, Action.ADMINISTER_KEYS)
    with unit(call.custodian, "custody.root.announced", call.now_ms) as work:
        still_the_same(call, work.session, caller)
        begun = [root for root in roots.ls(work.session) if (root.provider_uri, root.state) == (uri, KeyState.PRE_ACTIVE)]
        if begun:
            return RootChanged(_row(call, work.session, begun[0]), None)
        if len(_living(work.session)) >= slots.SLOT_LIMIT:
            raise UsageError(f"a domain has at most {slots.SLOT_LIMIT} roots", hint="`hermetic key root drop` makes room")
        root = roots.announce(work.session, uri, RootId(fresh_id()), now_ms=call.now_ms)
        _log(work, caller, ("root.added", request.reason), {"root": root.root_id, "provider": uri, "state": root.state.value})
        row = _row(call, work.session, root)
    return RootChanged(row, _receipt(call, work))


def extend_root(call: Call, request: ExtendRoot) -> RootExtended:
    """Give a root the domain secret and missing slots. Raises Conflict, KeyServiceUnavailable, IntegrityError, PolicyDenied.

    Providers are asked before the transaction, which only writes: a slow service keeps nobody waiting.
    """
    if not 0 < request.limit <= BATCH:
        raise UsageError(f"a batch has 1 to {BATCH} slots")
    caller, root = _administrator(call, request.root)
    if root.state not in _EXTENDABLE:
        raise Conflict(f"a {root.state.value} root gets no new slots", hint="`hermetic key root add` makes another one")
    provider = _home(call).provider(root.provider_uri, root.root_id)
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
        prepared = migration.prepare(session, custodian.anchors, root.root_id, limit=limit)
    if prepared:
        with unit(custodian, "custody.root.extended", call.now_ms) as work:
            still_the_same(call, work.session, caller)
            _require_state(work.session, root)
            added = migration.store(work.session, root, prepared)
            if added:
                _log(work, caller, ("root.extended", ""), {"root": root.root_id, "count": added})
    with custodian.database.read(custodian.row_keys) as session:
        have, all_ = migration.coverage(session, root.root_id)
    return RootExtended(root.root_id, added, all_ - have)


def _open_domain(call: Call, caller: Caller, root: Root, provider: Provider) -> None:
    """Put the domain secret under a root into domain.json, unless it is there."""
    custodian, home = call.custodian, _home(call)
    if _entry(home, root) is not None:
        return
    with custodian.database.read(custodian.row_keys) as session:
        usable = roots.for_opening(session, custodian.anchors, recovering=True)
    secret = home.file().open(usable)
    type(custodian.keys).from_secret(secret).require_check(custodian.keys.check)
    wrapped = migration.wrapped_checked(provider, secret, slots.domain_secret_context(custodian.domain, root.root_id))
    with unit(custodian, "custody.root.opens-domain", call.now_ms) as work:
        still_the_same(call, work.session, caller)
        _require_state(work.session, root)
        home.put(home.file().with_entry(DomainRoot(root.root_id, root.provider_uri, wrapped)))
        _log(work, caller, ("root.extended", ""), {"root": root.root_id, "count": 0, "domain": True})


def set_root_state(call: Call, request: SetRootState) -> RootChanged:
    """Activate, suspend, resume or deactivate a root. Raises UsageError, Conflict, KeyUnusable, NotFound, PolicyDenied."""
    if request.verb not in VERBS:
        raise UsageError("say activate, suspend, resume or deactivate")
    caller, root = _administrator(call, request.root)
    wanted = VERBS[request.verb]
    if wanted is KeyState.SUSPENDED:
        _opens_without(call, root)
    if wanted is KeyState.ACTIVE:
        _require_working(call, root)
    with unit(call.custodian, f"custody.root.{request.verb}", call.now_ms) as work:
        still_the_same(call, work.session, caller)
        if wanted is KeyState.ACTIVE:
            if _entry(_home(call), root) is None:
                raise Conflict("this root does not open the domain secret yet", hint="extend it first")
            _catch_up(call, caller, work, root)
            changed = migration.activate(work.session, root.root_id)
        else:
            _require_another(work.session, root)
            changed = roots.set_state(work.session, root.root_id, wanted)
        facts: dict[str, JsonValue] = {"root": root.root_id, "state": wanted.value, "verb": request.verb}
        _log(work, caller, ("root.state", request.reason), facts)
        row = _row(call, work.session, changed)
    return RootChanged(row, _receipt(call, work))


def drop_root(call: Call, request: DropRoot) -> RootDropped:
    """Delete a root's slots, take it out of domain.json, wipe it. Raises Conflict while it is active or anything hangs on it alone."""
    if not request.reason.strip():
        raise UsageError("a root is dropped for a reason", hint="--reason TEXT goes on record")
    caller, root = _administrator(call, request.root)
    begun = root.state is KeyState.DESTROYED
    if begun and "wiped_ms" in root.parameters:
        raise Conflict(f"root {root.root_id} is dropped already")
    count = 0 if begun else _drop_slots(call, caller, root, request.reason)
    custodian, home = call.custodian, _home(call)
    with unit(custodian, "custody.root.wiped", call.now_ms) as work:
        if begun:
            still_the_same(call, work.session, caller)
        if _entry(home, root, of_any=True) is not None:
            home.put(home.file().without_root(root.root_id))
        material = home.remove(root.provider_uri, root.root_id)
        gone = roots.note(work.session, root.root_id, wiped_ms=call.now_ms)
        _log(work, caller, ("root.wiped", ""), {"root": root.root_id, "material": material})
        row = _row(call, work.session, gone)
    return RootDropped(row, count, material, _receipt(call, work))


def _drop_slots(call: Call, caller: Caller, root: Root, reason: str) -> int:
    """Delete every slot of a root and mark it destroyed; return how many went. What they held is searched for in the files.

    Batches keep transactions short. The first asks once more whether the caller may, which may use up a grant or approvals.
    """
    custodian, gone = call.custodian, list[bytes]()
    if root.state is KeyState.ACTIVE:
        raise Conflict("an active root cannot be dropped", hint=f"`hermetic key root deactivate {root.root_id}` first")
    with custodian.database.read(custodian.row_keys) as session:
        _require_another(session, root)
        migration.check_without(session, custodian.anchors, root.root_id)
        signing = [wraps[root.root_id] for _, wraps in secret_keys.wraps_of(session) if root.root_id in wraps]
    _opens_without(call, root)
    while True:
        with unit(custodian, "custody.root.reduced", call.now_ms) as work:
            if not gone:
                still_the_same(call, work.session, caller)
            _require_another(work.session, root)
            batch = migration.drop_keks(work.session, root.root_id, limit=BATCH)
            if batch:
                _log(work, caller, ("root.reduced", ""), {"root": root.root_id, "count": len(batch)})
        gone += batch
        if len(batch) < BATCH:
            break
    with unit(custodian, "custody.root.dropped", call.now_ms) as work:
        _require_another(work.session, root)
        count = len(gone) + migration.drop_root(work.session, root.root_id)
        _log(work, caller, ("root.removed", reason), {"root": root.root_id, "provider": root.provider_uri, "slots": count})
    custodian.scrub([*gone, *(to_base64url(wrapped).encode("ascii") for wrapped in signing)])
    return count


def check_roots(call: Call, request: CheckRoots) -> ProviderReports:
    """Try the providers of all roots that are not destroyed, or of one. Raises NotFound, PolicyDenied."""
    from hermetic.providers import conformance  # noqa: PLC0415 - for the report only

    caller = allowed_caller(call, Action.ADMINISTER_KEYS)
    custodian = call.custodian
    with custodian.database.read(custodian.row_keys) as session:
        wanted = [find_root(session, request.root)] if request.root else _living(session)
    here = dict(custodian.anchors.providers.items())
    tried = [roots.checked(root, here[root.root_id]) for root in wanted if root.root_id in here]
    reports = tuple(conformance.measure(provider) for provider in tried)
    with unit(custodian, "custody.root.checked", call.now_ms) as work:
        for report in reports:
            broken = sum(probe.contradicts for probe in report.probes)
            _log(work, caller, ("root.checked", ""), {"root": report.root, "status": report.status, "contradictions": broken})
    return ProviderReports(reports)


def find_root(session: ReadSession, text: str) -> Root:
    """Return the root whose id starts with `text`. Raises NotFound, UsageError when several do."""
    found = [root for root in roots.ls(session) if root.root_id.startswith(text)] if len(text) >= PREFIX else []
    if not found:
        raise NotFound(f"no root {text!r}", hint="`hermetic key root ls` lists them; four letters of an id are enough")
    if len(found) > 1:
        raise UsageError(f"{text!r} names {len(found)} roots", hint="write more of the id")
    return found[0]


def _administrator(call: Call, text: str) -> tuple[Caller, Root]:
    caller = allowed_caller(call, Action.ADMINISTER_KEYS)
    with call.custodian.database.read(call.custodian.row_keys) as session:
        callers.require(call, session)
        return caller, find_root(session, text)


def _home(call: Call) -> RootHome:
    """Return where roots are kept track of. Raises Unsupported for a custody that was opened without it."""
    if call.custodian.roots is None:
        raise Unsupported("this custody cannot change roots", hint="run the command where custody runs")
    return call.custodian.roots


def _living(session: ReadSession) -> list[Root]:
    return [root for root in roots.ls(session) if root.state is not KeyState.DESTROYED]


def _entry(home: RootHome, root: Root, *, of_any: bool = False) -> DomainRoot | None:
    """Return what domain.json says of a root; with `of_any` whatever provider it names there."""
    return next(
        (item for item in home.file().roots if item.root_id == root.root_id and (of_any or item.provider == root.provider_uri)), None
    )


def _require_state(session: ReadSession, root: Root) -> None:
    if roots.get(session, root.root_id).state is not root.state:
        raise Conflict("the root's state changed meanwhile", hint="`hermetic key root ls`, then try again")


def _require_another(session: ReadSession, root: Root) -> None:
    """Raises Conflict unless another root is active: it has a slot for every key, and new keys need one."""
    if not any(one.state is KeyState.ACTIVE and one.root_id != root.root_id for one in roots.ls(session)):
        raise Conflict("no other root of this domain is active", hint="add another one first: `hermetic key root add URI`")


def _catch_up(call: Call, caller: Caller, work: Work, root: Root) -> None:
    """Wrap the few keys made since the extension, in the transaction that activates: else a busy domain never gets there."""
    have, all_ = migration.coverage(work.session, root.root_id)
    if 0 < all_ - have <= FEW:
        added = migration.store(work.session, root, migration.prepare(work.session, call.custodian.anchors, root.root_id, limit=FEW))
        _log(work, caller, ("root.extended", ""), {"root": root.root_id, "count": added})


def _require_working(call: Call, root: Root) -> None:
    """Wrap something, and unwrap it, before new keys depend on a root. Raises KeyServiceUnavailable, Locked, IntegrityError."""
    provider = _home(call).provider(root.provider_uri, root.root_id)
    context = slots.domain_secret_context(call.custodian.domain, root.root_id)
    migration.wrapped_checked(provider, Secret.random(32), context)


def _opens_without(call: Call, root: Root) -> None:
    """Open the domain secret through the other roots that may be used, to see that this one can be done without. Raises Conflict."""
    custodian = call.custodian
    with custodian.database.read(custodian.row_keys) as session:
        usable = roots.for_opening(session, custodian.anchors, recovering=True)
    usable.pop(root.root_id, None)
    try:
        _home(call).file().open(usable).wipe()
    except KeyServiceUnavailable as error:
        raise Conflict(f"without this root nothing opens the domain: {error.message}", hint=error.hint) from error


def _row(call: Call, session: ReadSession, root: Root) -> RootRow:
    have, all_ = migration.coverage(session, root.root_id)
    provider = None if root.state is KeyState.DESTROYED else call.custodian.anchors.providers.get(root.root_id)
    status = None if provider is None else provider.status()
    return RootRow(
        root=root.root_id,
        provider=root.provider_uri,
        state=root.state.value,
        created_ms=root.created_ms,
        status="absent" if status is None else status.state.value,
        detail="" if status is None else status.detail,
        expires_ms=None if status is None else status.expires_ms,
        root_in_process=status is not None and status.root_in_process,
        slots=have,
        keys=all_,
        opens_domain=_entry(_home(call), root) is not None,
        wiped_ms=root.parameters.get("wiped_ms"),
        findings=() if status is None else tuple(Pair(item.code, item.message) for item in status.findings),
    )


def _log(work: Work, caller: Caller, what: tuple[str, str], facts: dict[str, JsonValue]) -> None:
    """Log an event (kind, reason) with the caller and the policies that permitted it."""
    kind, reason = what
    hidden = {"principal": caller.hidden()}
    if reason:
        hidden["reason"] = Hidden(reason, f"principal:{caller.id}")
    work.log(Entry(kind, {**facts, "policies": list(caller.policies)}, hidden))


def _receipt(call: Call, work: Work) -> Receipt:
    return receipt(call.custodian.generation, work.logged())
