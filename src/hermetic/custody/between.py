"""Answers for callers in another process: keys leave sealed to the caller's fresh key, never as handles (spec/port.md section 4).

A request for a key names its recipient, and the intent's entry carries the hash of that public key, so that the log says to which
key custody handed it. What is no public key is refused before anything is decided: after the intent it would be a release on record
that nobody got.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from hermetic.crypto import hpke
from hermetic.custody.dispatch import answer
from hermetic.errors import UsageError
from hermetic.formats import lease_key
from hermetic.formats.messages.base import KeyBlob
from hermetic.formats.messages.runs import Scratch
from hermetic.formats.messages.versions import Draft, Opened, OpenVersions

if TYPE_CHECKING:
    from hermetic.custody.call import Call
    from hermetic.formats.messages.versions import Lease

BATCH: Final = 200  # versions in one request: their manifests and sealed keys have to fit into one message


def answer_between(call: Call) -> Any:
    """Answer a request that came from another process. Raises as `dispatch.answer`, UsageError and FormatError for its recipient."""
    recipient = _recipient(call)
    found = answer(call)
    if recipient is None:
        return found
    if isinstance(found, Opened):
        released = tuple(replace(item, lease=_sealed(call, item.lease, found, recipient)) for item in found.released)
        return replace(found, released=released)
    if isinstance(found, Draft | Scratch):
        return replace(found, lease=_sealed(call, found.lease, found, recipient))
    return found


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
