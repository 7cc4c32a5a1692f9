"""Answers for callers in another process: keys leave sealed to the caller's fresh key, never as handles (spec/port.md section 4).

A request for a key names its recipient, and the intent's entry carries the hash of that public key, so that the log says to which
key custody handed it. What is no public key is refused before anything is decided: after the intent it would be a release on record
that nobody got.

Names are secrets here, other than in one's own process: whoever may not read the catalogue is not told whether a name exists.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from hermetic.crypto import hpke
from hermetic.custody import callers
from hermetic.custody.decide import may
from hermetic.custody.dispatch import answer
from hermetic.errors import Conflict, KeyUnusable, NotFound, PolicyDenied, UsageError
from hermetic.formats import lease_key
from hermetic.formats.messages.access import BreakGlass
from hermetic.formats.messages.base import KeyBlob
from hermetic.formats.messages.catalogue import RecordDecision, RenameAsset, ShowVersion, TraceLineage
from hermetic.formats.messages.destruction import ShredVersions
from hermetic.formats.messages.packages import ShareVersion
from hermetic.formats.messages.policy import Explain, Explanation
from hermetic.formats.messages.promotion import PromoteVersion, RollBack
from hermetic.formats.messages.runs import Scratch
from hermetic.formats.messages.versions import BeginVersion, Draft, Opened, OpenVersions, PublishVersion
from hermetic.policy.request import ASSET_ACTIONS, Action

if TYPE_CHECKING:
    from hermetic.custody.call import Call
    from hermetic.formats.messages.versions import Lease

NAMING: Final = (  # by an asset's name
    OpenVersions,
    BeginVersion,
    RenameAsset,
    RecordDecision,
    ShareVersion,
    PromoteVersion,
    RollBack,
    ShredVersions,
    Explain,
    BreakGlass,
    ShowVersion,
    TraceLineage,
)
WITH_IDS: Final = (ShredVersions, ShareVersion, PromoteVersion, RollBack)  # of what the names are to mean
HIDDEN: Final = "refused: no policy permits this, or there is no such thing"
BATCH: Final = 200  # versions in one request: their manifests and sealed keys have to fit into one message


def answer_between(call: Call) -> Any:
    """Answer a request that came from another process. Raises as `dispatch.answer`, UsageError and FormatError for its recipient."""
    recipient = _recipient(call)
    found = _answered(call)
    if recipient is None:
        return found
    if isinstance(found, Opened):
        released = tuple(replace(item, lease=_sealed(call, item.lease, found, recipient)) for item in found.released)
        return replace(found, released=released)
    if isinstance(found, Draft | Scratch):
        return replace(found, lease=_sealed(call, found.lease, found, recipient))
    return found


def _answered(call: Call) -> Any:
    """Answer; who may not read the catalogue gets one and the same refusal for what is there and what is not."""
    if not isinstance(call.request, NAMING) and not (isinstance(call.request, PublishVersion) and call.request.parents):
        return answer(call)
    try:
        found = answer(call)
    except (NotFound, KeyUnusable, PolicyDenied):
        _hide(call)
        raise
    except Conflict:
        if isinstance(call.request, WITH_IDS):  # they do not belong to the names
            _hide(call)
        raise
    if isinstance(found, Explanation) and not found.allowed and getattr(call.request, "action", "") in ASSET_ACTIONS:
        _hide(call)
    return found


def _hide(call: Call) -> None:
    with call.custodian.database.read(call.custodian.row_keys) as session:
        knows = may(call, session, callers.require(call, session), Action.READ_CATALOG)
    if not knows:
        raise PolicyDenied(HIDDEN, hint="say for which purpose, or ask whoever gives grants", reasons=("no-policy-permits",)) from None


def _recipient(call: Call) -> bytes | None:
    """Return the public key that keys are to be sealed to, None for a request that asks for none."""
    request: Any = call.request
    if not hasattr(request, "recipient"):
        return None
    if request.recipient is None:
        raise UsageError("between processes a request for a key names the public key that it is sealed to")
    if isinstance(request, OpenVersions) and len(request.refs) > BATCH:
        raise UsageError(f"between processes a request names at most {BATCH} versions", hint="send several requests")
    return hpke.check_public(request.recipient)


def _sealed(call: Call, lease: Lease, found: Opened | Draft | Scratch, recipient: bytes) -> Lease:
    """Take the key from behind its handle, seal it, wipe it."""
    handle = lease.key.handle
    if handle is None:
        raise UsageError("this lease holds no key")
    request: Any = call.request
    info = lease_key.binding(call.custodian.domain, request.request, found.receipt.index, lease, recipient)
    key = call.custodian.handles.take(handle)
    try:
        return replace(lease, key=KeyBlob(handle=None, sealed=hpke.seal(recipient, key.view(), info)))
    finally:
        key.wipe()
