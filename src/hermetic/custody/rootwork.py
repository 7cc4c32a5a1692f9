"""What the handlers of roots share: finding one, what has to hold before it changes, how it is shown and logged."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hermetic.audit.leaf import Entry, Hidden
from hermetic.crypto.mac import sha256
from hermetic.crypto.secret import Secret
from hermetic.custody import callers, keyhomes
from hermetic.custody.call import receipt
from hermetic.custody.decide import Question, allowed_caller, allowed_everywhere, decide, domain_resource
from hermetic.errors import Conflict, KeyServiceUnavailable, NotFound, Unsupported, UsageError
from hermetic.formats.messages.base import Pair
from hermetic.formats.messages.roots import RootRow
from hermetic.ids import KeyState
from hermetic.keys import migration, roots, slots
from hermetic.keys.recovery_root import holder_of
from hermetic.policy.request import Action

if TYPE_CHECKING:
    from collections.abc import Callable

    from hermetic.custody.call import Call
    from hermetic.custody.callers import Caller
    from hermetic.custody.custodian import RootHome
    from hermetic.custody.work import Work
    from hermetic.db.rows import ReadSession
    from hermetic.formats.canonical import JsonValue
    from hermetic.formats.messages.base import Receipt
    from hermetic.keys.domain_file import DomainRoot
    from hermetic.keys.provider import RootId
    from hermetic.keys.roots import Root

PREFIX = 4  # shortest prefix of an id that names a root
ADD_FIRST = "add another one first: `hermetic key root add URI`"
EXTENDABLE = {KeyState.PRE_ACTIVE, KeyState.SUSPENDED, KeyState.ACTIVE}


def find_root(session: ReadSession, text: str) -> Root:
    """Return the root whose id starts with `text`. Raises NotFound, UsageError when several do."""
    found = [root for root in roots.ls(session) if root.root_id.startswith(text)] if len(text) >= PREFIX else []
    if not found:
        raise NotFound(f"no root {text!r}", hint="`hermetic key root ls` lists them; four letters of an id are enough")
    if len(found) > 1:
        raise UsageError(f"{text!r} names {len(found)} roots", hint="write more of the id")
    return found[0]


def administrator(call: Call, text: str) -> tuple[Caller, Root]:
    """Return the caller, who may administer keys, and the root that `text` names. Raises PolicyDenied, NotFound, UsageError."""
    caller = allowed_caller(call, Action.ADMINISTER_KEYS)
    with call.custodian.database.read(call.custodian.row_keys) as session:
        callers.require(call, session)
        return caller, find_root(session, text)


def adding(uri: str) -> str:
    """Return the scope of adding a root, from its announcement until it is active: one approval is for all of that."""
    return f"add-root/{sha256(uri.encode('utf-8')).hex()}"


def taking_up(root: Root) -> str:
    """Return the scope of what makes a root active: adding it, or resuming it."""
    return adding(root.provider_uri) if root.state is KeyState.PRE_ACTIVE else f"resume-root/{root.root_id}"


def changer(call: Call, text: str, scope: Callable[[Root], str]) -> tuple[Caller, Root]:
    """Return the caller, who may change what opens every key, and the root that `text` names. Raises as `administrator`.

    `scope` gives the campaign that one approval is for, empty for a change in one step.
    """
    root = _named(call, text)
    return allowed_everywhere(call, Action.CHANGE_ROOTS, scope=scope(root)), root


def _named(call: Call, text: str) -> Root:
    """Return the root meant. Only who may administer keys is told that there is none."""
    try:
        with call.custodian.database.read(call.custodian.row_keys) as session:
            callers.require(call, session)
            return find_root(session, text)
    except (NotFound, UsageError):
        allowed_caller(call, Action.ADMINISTER_KEYS)
        raise


def continuing(call: Call, text: str) -> tuple[Caller, Root]:
    """Return as `changer` does, for a batch of slots. A root that is being added or resumed gets them under the approvals of that.

    An active root needs none: every new key gets a slot under it anyway. Whoever may not administer keys is refused all the same, and
    so is one without a fresh second factor.
    """
    if _gains(call, _named(call, text)):
        return changer(call, text, taking_up)
    with call.custodian.database.read(call.custodian.row_keys) as session:
        caller = callers.require(call, session)
        policy = call.custodian.policy.current(session)
        verdict = decide(call, session, Question(caller, Action.ADMINISTER_KEYS, domain_resource(call), policy))
    if not verdict.judged.by_people or {item.code for item in verdict.judged.unmet} != {"approvals"}:
        return administrator(call, text)
    with call.custodian.database.read(call.custodian.row_keys) as session:
        return replace(caller, policies=verdict.policies), find_root(session, text)


def _gains(call: Call, root: Root) -> bool:
    """Whether slots let a root open what it does not open yet, though it is not in use: then it is being added, or resumed."""
    with call.custodian.database.read(call.custodian.row_keys) as session:
        have, all_ = migration.coverage(session, root.root_id)
    return root.state is KeyState.PRE_ACTIVE or (root.state is not KeyState.ACTIVE and have < all_)


def home_of(call: Call) -> RootHome:
    """Return where roots are kept track of. Raises Unsupported for a custody that was opened without it."""
    if call.custodian.roots is None:
        raise Unsupported("this custody cannot change roots", hint="run the command where custody runs")
    return call.custodian.roots


def living(session: ReadSession) -> list[Root]:
    """Return the roots that are not destroyed."""
    return [root for root in roots.ls(session) if root.state is not KeyState.DESTROYED]


def entry(home: RootHome, root: Root, *, of_any: bool = False) -> DomainRoot | None:
    """Return what domain.json says of a root; with `of_any` whatever provider it names there."""
    return next(
        (item for item in home.file().roots if item.root_id == root.root_id and (of_any or item.provider == root.provider_uri)), None
    )


def require_extendable(session: ReadSession, root_id: RootId) -> Root:
    """Return a root that may get slots. Raises Conflict for one that is on its way out: another process may have been faster."""
    root = roots.get(session, root_id)
    if root.state not in EXTENDABLE:
        raise Conflict(f"a {root.state.value} root gets no new slots", hint="`hermetic key root add` makes another one")
    return root


def require_another(session: ReadSession, root: Root) -> None:
    """Raises Conflict unless another root is active: it has a slot for every key, and new keys need one.

    A recovery root does not count: it wraps new keys, and opens none in daily work.
    """
    others = [one for one in roots.ls(session) if one.state is KeyState.ACTIVE and one.root_id != root.root_id]
    if not others:
        raise Conflict("no other root of this domain is active", hint=ADD_FIRST)
    if all(holder_of(one.provider_uri) is not None for one in others):
        raise Conflict("only recovery roots would be left active, which open nothing in daily work", hint=ADD_FIRST)


def require_working(call: Call, root: Root) -> None:
    """Wrap something, and unwrap it, before new keys depend on a root. Raises KeyServiceUnavailable, Locked, IntegrityError."""
    provider = home_of(call).provider(root.provider_uri, root.root_id)
    context = slots.domain_secret_context(call.custodian.domain, root.root_id)
    migration.wrapped_checked(provider, Secret.random(32), context)


def require_opening_without(call: Call, root: Root) -> None:
    """Open the domain secret through the other roots that may be used, to see that this one can be done without.

    Raises Conflict, and IntegrityError when what opens there is another secret.
    """
    custodian = call.custodian
    with custodian.database.read(custodian.row_keys) as session:
        usable = roots.for_opening(session, custodian.anchors, recovering=True)
    usable.pop(root.root_id, None)
    try:
        secret = home_of(call).file().open(usable)
    except KeyServiceUnavailable as error:
        raise Conflict(f"without this root nothing opens the domain: {error.message}", hint=error.hint) from error
    require_domain_secret(call, secret)


def require_domain_secret(call: Call, secret: Secret) -> None:
    """Raises IntegrityError unless this is the domain's secret: nothing authenticates domain.json. The secret is wiped."""
    try:
        type(call.custodian.keys).from_secret(secret).require_check(call.custodian.keys.check)
    finally:
        secret.wipe()


def show(call: Call, root_id: RootId) -> RootRow:
    """Return a root as it is now. Never within a transaction that writes: its provider is asked how it is, which may take a while."""
    with call.custodian.database.read(call.custodian.row_keys) as session:
        return row_of(call, session, roots.get(session, root_id))


def row_of(call: Call, session: ReadSession, root: Root) -> RootRow:
    """Return what catalogue, domain.json and provider say of a root."""
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
        opens_domain=entry(home_of(call), root) is not None,
        wiped_ms=root.parameters.get("wiped_ms"),
        findings=(
            *(() if status is None else tuple(Pair(item.code, item.message) for item in status.findings)),
            *keyhomes.alone(session, root.root_id),
        ),
    )


def log_change(work: Work, caller: Caller, what: tuple[str, str], facts: dict[str, JsonValue]) -> None:
    """Log an event (kind, reason) with the caller and the policies that permitted it."""
    kind, reason = what
    hidden = {"principal": caller.hidden()}
    if reason:
        hidden["reason"] = Hidden(reason, f"principal:{caller.id}")
    work.log(Entry(kind, {**facts, "policies": list(caller.policies)}, hidden))


def receipt_of(call: Call, work: Work) -> Receipt:
    """Return the receipt of what a unit logged first."""
    return receipt(call.custodian.generation, work.logged())
