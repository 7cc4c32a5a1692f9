"""Rewrapping what a root has wrapped, batch by batch: slots, signing keys, domain.json (`keys/root_rewrap.py` has the order).

The service is asked before the transaction, which only writes; each batch is on the log, and so is how far the run has come. Whatever
a crash leaves opens: old wraps and new ones are both of this root. The first batch of a run asks for approvals where the policy wants
them; those behind it go on with what it was allowed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermetic.custody import residency, rootwork
from hermetic.custody.call import TRIES
from hermetic.custody.decide import still_the_same
from hermetic.custody.work import unit
from hermetic.errors import Conflict, UsageError
from hermetic.formats.binary_text import to_base64url
from hermetic.formats.messages.roots import RewrapRoot, RootRewrapped
from hermetic.ids import KeyState
from hermetic.keys import root_rewrap, roots, slots
from hermetic.keys.domain_file import DomainRoot
from hermetic.keys.recovery_root import holder_of
from hermetic.keys.root_rewrap import DOMAIN, START, OldWrap

if TYPE_CHECKING:
    from hermetic.custody.call import Call
    from hermetic.custody.callers import Caller
    from hermetic.formats.messages.base import Receipt
    from hermetic.keys.provider import Provider
    from hermetic.keys.roots import Root

SHORTEST = 16  # bytes that the files can be searched for
BATCH = 400  # slots in one transaction: what one log entry can commit to, with room


def rewrap_root(call: Call, request: RewrapRoot) -> RootRewrapped:
    """Rewrap a batch. Raises UsageError, Conflict, KeyServiceUnavailable, IntegrityError, PolicyDenied."""
    if not 0 < request.limit <= BATCH:
        raise UsageError(f"a batch has 1 to {BATCH} wraps")
    with call.custodian.database.read(call.custodian.row_keys) as session:
        begun = root_rewrap.cursor_of(rootwork.find_root(session, request.root)) != START and not request.restart
    caller, root = (rootwork.continuing if begun else rootwork.administrator)(call, request.root)
    _require_rewrappable(root)
    provider = roots.checked(root, rootwork.home_of(call).provider(root.provider_uri, root.root_id))
    behind = root_rewrap.cursor_of(root) if begun else START
    for _ in range(TRIES):
        try:
            return _rewrap(call, (caller, request), (root, provider), behind)
        except Conflict:
            continue
    raise Conflict("keys kept changing while they were wrapped anew", hint="try again")


def _require_rewrappable(root: Root) -> None:
    if holder_of(root.provider_uri) is not None:
        raise UsageError("a recovery root has one key, which does not change", hint="`hermetic key shares create --replace ROOT`")
    if root.state is not KeyState.ACTIVE:
        raise Conflict(f"a {root.state.value} root gets no new wraps", hint="`hermetic key root ls` shows the states")


def _rewrap(call: Call, asked: tuple[Caller, RewrapRoot], at: tuple[Root, Provider], behind: str) -> RootRewrapped:
    (caller, request), (root, provider), custodian = asked, at, call.custodian
    with custodian.database.read(custodian.row_keys) as session:
        residency.require_root(call, session, root)
        left = root_rewrap.pending(session, custodian.anchors, root.root_id, behind=behind)
    olds, rest = left[: request.limit], len(left[request.limit :])
    if not olds:
        receipt = _rewrap_domain(call, asked, at)
        return RootRewrapped(rootwork.show(call, root.root_id), 1, 0, receipt)
    changes = list(zip(olds, root_rewrap.renewed(provider, olds), strict=True))
    with unit(custodian, "custody.root.rewrapped", call.now_ms) as work:
        still_the_same(call, work.session, caller)
        _require_rewrappable(roots.get(work.session, root.root_id))
        root_rewrap.store(work.session, custodian.anchors, root.root_id, changes)
        root_rewrap.note(work.session, root.root_id, olds[-1].place, now_ms=call.now_ms)
        rootwork.log_change(work, caller, ("root.rewrapped", request.reason), {"root": root.root_id, "count": len(olds)})
    custodian.scrub(gone for old, new in changes if (gone := _gone(old, new)))
    return RootRewrapped(rootwork.show(call, root.root_id), len(olds), rest + 1, rootwork.receipt_of(call, work))


def _rewrap_domain(call: Call, asked: tuple[Caller, RewrapRoot], at: tuple[Root, Provider]) -> Receipt:
    """Rewrap the domain secret in domain.json, and end the run."""
    (caller, request), (root, provider), custodian = asked, at, call.custodian
    home = rootwork.home_of(call)
    entry = rootwork.entry(home, root)
    if entry is None:
        raise Conflict("this root does not open the domain secret", hint="`hermetic key root ls`")
    context = slots.domain_secret_context(custodian.domain, root.root_id)
    rootwork.require_domain_secret(call, provider.unwrap(entry.wrapped, context))
    (new,) = root_rewrap.renewed(provider, [OldWrap(DOMAIN, context, entry.wrapped)])
    with unit(custodian, "custody.root.domain-rewrapped", call.now_ms) as work:
        still_the_same(call, work.session, caller)
        _require_rewrappable(roots.get(work.session, root.root_id))
        if rootwork.entry(home, root) != entry:
            raise Conflict("domain.json changed meanwhile")
        home.put(home.file().with_entry(DomainRoot(root.root_id, root.provider_uri, new)))
        root_rewrap.note(work.session, root.root_id, DOMAIN, now_ms=call.now_ms)
        rootwork.log_change(work, caller, ("root.rewrapped", request.reason), {"root": root.root_id, "count": 0, "domain": True})
    return rootwork.receipt_of(call, work)


def _gone(old: OldWrap, new: bytes) -> bytes:
    """Return what of an old wrap must be nowhere in the database's files any more; empty if that is too little to look for.

    A service that rewraps leaves the end of a wrap as it was, which is sealed under a key that never changes.
    """
    before, after = (old.wrapped, new) if old.place.startswith("kek/") else (_text(old.wrapped), _text(new))
    pairs = zip(reversed(before), reversed(after), strict=False)
    same = next((number for number, (one, other) in enumerate(pairs) if one != other), min(len(before), len(after)))
    gone = before[: len(before) - same]
    return gone if len(gone) >= SHORTEST else b""


def _text(wrapped: bytes) -> bytes:
    """Return a wrap as it lies in the document of a signing key."""
    return to_base64url(wrapped).encode("ascii")
