"""Keys that sign log and manifests: list, rotate, schedule.

A rotation is one transaction. In it the new key is made, wrapped under every active root; the old one's wraps are overwritten; and the
log says who and why, and then how the old key signed for the new one (`audit.chain`), by which pins elsewhere follow. What was signed
before goes on to verify with the old public key, which stays. Afterwards the files are searched for copies of the old wraps, and the
log says that the key is destroyed; what a crash leaves of that is done by who looks next (`finish`).

Other processes have the old key in memory until they meet the new one: when they append to the log, or sign a manifest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from hermetic.audit.chain import MANIFEST_KEY_CHANGED, ManifestKey, manifest_change_facts
from hermetic.audit.leaf import Entry, Hidden
from hermetic.audit.tables_store import TablesStore
from hermetic.custody import forgetting
from hermetic.custody.call import receipt
from hermetic.custody.decide import allowed_caller, still_the_same
from hermetic.custody.finishing import told_as_done
from hermetic.custody.work import unit
from hermetic.db import tables
from hermetic.errors import Conflict, UsageError
from hermetic.formats.binary_text import to_base64url
from hermetic.formats.messages.signing import ListSigningKeys, SigningKeyChanged, SigningKeyList, SigningKeyRow
from hermetic.ids import KeyState
from hermetic.keys import roots, secret_keys, signing_care, slots
from hermetic.keys.secret_keys import LOG_SIGNING, MANIFEST_SIGNING, SecretKeyId
from hermetic.keys.signing_care import Care, Doubt
from hermetic.policy.request import Action

if TYPE_CHECKING:
    from hermetic.custody.call import Call
    from hermetic.custody.callers import Caller
    from hermetic.custody.custodian import Custodian
    from hermetic.custody.work import Work
    from hermetic.db.rows import ReadSession
    from hermetic.formats.canonical import JsonValue
    from hermetic.formats.messages.signing import ChangeSigningCare, RotateSigningKey
    from hermetic.keys.secret_keys import SecretKey

USES: Final = {"log": LOG_SIGNING, "manifest": MANIFEST_SIGNING}
NEVER = 0  # days that mean: not by time


def list_signing_keys(call: Call, _request: ListSigningKeys) -> SigningKeyList:
    """List every signing key."""
    allowed_caller(call, Action.READ_CATALOG)
    with call.custodian.database.read(call.custodian.row_keys) as session:
        return SigningKeyList(tuple(_row(session, key) for use in USES.values() for key in secret_keys.ls(session, use)))


def rotate_signing_key(call: Call, request: RotateSigningKey) -> SigningKeyChanged:
    """Change the key of the log, or of manifests. Raises UsageError, PolicyDenied, Locked, KeyServiceUnavailable, KeyUnusable."""
    purpose = _purpose(request.use)
    if request.compromised_after is not None and not request.reason.strip():
        raise UsageError("say what happened to the key", hint="--reason TEXT goes on record")
    custodian = call.custodian
    caller = allowed_caller(call, Action.ADMINISTER_KEYS)
    with unit(custodian, "custody.signing.rotated", call.now_ms) as work:
        still_the_same(call, work.session, caller)
        old = secret_keys.active(work.session, purpose)
        doubt = _doubt(custodian, work.session, request.compromised_after)
        gone = [wrap for key, wraps in secret_keys.wraps_of(work.session) if key.key_id == old.key_id for wrap in wraps.values()]
        made, handover = _change(custodian, work, old, (caller, request.reason, doubt))
        _destroy(work, old, doubt)
    with told_as_done("rotated, and that is on record; the end of the old key waits"):
        custodian.scrub(to_base64url(wrapped).encode("ascii") for wrapped in gone)
        settle(call, old.key_id, searched=custodian.is_scrubbed())
    with custodian.database.read(custodian.row_keys) as session:
        new, before = (_row(session, secret_keys.get(session, one.key_id)) for one in (made, old))
    return SigningKeyChanged(new, before, receipt(custodian.generation, work.logged(), handover))


def _change(custodian: Custodian, work: Work, old: SecretKey, said: tuple[Caller, str, Doubt | None]) -> tuple[SecretKey, int]:
    """Make the next key and log how it comes into force: who asked, why, and what is in doubt.

    Return it, and the position of the entry by which the old one hands over. The log's key does that in an append of its own.
    """
    caller, reason, doubt = said
    signer = custodian.signer_in(work.session) if old.purpose == MANIFEST_SIGNING else None
    made = secret_keys.rotate(work.session, custodian.anchors, old.purpose, now_ms=work.now_ms)
    facts: dict[str, JsonValue] = {"key": made.key_id, "purpose": old.purpose, "previous": old.key_id}
    if doubt is not None:
        facts["compromised_after"] = doubt.index
    hidden = {"principal": caller.hidden(), "reason": Hidden(reason, f"principal:{caller.id}")}
    work.log(Entry("key.rotated", {**facts, "policies": list(caller.policies)}, hidden))
    if signer is None:
        work.log_key = secret_keys.load(work.session, custodian.anchors, made.key_id)
        return made, 0
    new = ManifestKey(made.key_id, made.public)
    return made, work.log(Entry(MANIFEST_KEY_CHANGED, manifest_change_facts(custodian.domain, (signer.key_id, signer.key), new)))


def _destroy(work: Work, old: SecretKey, doubt: Doubt | None) -> None:
    """Overwrite what opens the old key. Its row stays, with the public half; so does the doubt about what it signed."""
    secret_keys.set_state(work.session, old.key_id, KeyState.DESTROYED)
    signing_care.note_gone(work.session, old.key_id)
    forgetting.note(work.session)  # the next copy of custody is written without what opened it
    if doubt is not None:
        signing_care.set_doubt(work.session, old.key_id, doubt)


def _doubt(custodian: Custodian, session: Any, after: int | None) -> Doubt | None:
    if after is None:
        return None
    size = custodian.log.head(TablesStore(session.connection))[0].size
    if not 0 <= after < size:
        raise UsageError(f"the log has the entries 0 to {size - 1}", hint="`hermetic log ls` shows them; 0 doubts everything")
    return Doubt(custodian.generation, after)


def settle(call: Call, key_id: SecretKeyId, *, searched: bool) -> None:
    """Put on record that nothing is left of a private key, once the files were searched; else that waits for `finish`."""
    if not searched:
        return
    with unit(call.custodian, "custody.signing.destroyed", call.now_ms) as work:
        if signing_care.is_gone(work.session, key_id):  # else another process has done it
            signing_care.settle_gone(work.session, key_id)
            work.log(Entry("key.destroyed", {"key": key_id, "purpose": secret_keys.get(work.session, key_id).purpose}))


def finish(call: Call) -> None:
    """Clean the files of keys whose rotation did not get to it: what to search for is gone, so they are built anew."""
    custodian = call.custodian
    with custodian.database.read(custodian.row_keys) as session:
        found = signing_care.gone(session)
    try:
        custodian.database.rebuild()
    except Conflict:
        return  # a reader is in the way: whoever looks next
    for key_id in found:
        settle(call, key_id, searched=True)


def change_signing_care(call: Call, request: ChangeSigningCare) -> SigningKeyChanged:
    """Set owner, contact, schedule, those that are given. Raises UsageError, PolicyDenied, Conflict."""
    purpose = _purpose(request.use)
    if request.owner is None and request.contact is None and request.rotate_after_days is None:
        raise UsageError("nothing to change", hint="give an owner, a contact or a schedule")
    if (request.rotate_after_days or 0) < 0:
        raise UsageError("days are counted from 1", hint="0 means never by time")
    caller = allowed_caller(call, Action.ADMINISTER_KEYS)
    with unit(call.custodian, "custody.signing.scheduled", call.now_ms) as work:
        still_the_same(call, work.session, caller)
        now = signing_care.care_of(work.session, purpose)
        care = Care(
            owner=now.owner if request.owner is None else request.owner.strip(),
            contact=now.contact if request.contact is None else request.contact.strip(),
            rotate_after_days=now.rotate_after_days if request.rotate_after_days is None else request.rotate_after_days or None,
        )
        signing_care.set_care(work.session, purpose, care)
        active = secret_keys.active(work.session, purpose)
        subject = f"principal:{caller.id}"
        hidden = {"principal": caller.hidden(), "reason": Hidden(request.reason, subject)}
        hidden |= {"owner": Hidden(care.owner, subject), "contact": Hidden(care.contact, subject)}
        facts: dict[str, JsonValue] = {"key": active.key_id, "purpose": purpose, "rotate_after_days": care.rotate_after_days or NEVER}
        work.log(Entry("key.changed", facts, hidden))
    with call.custodian.database.read(call.custodian.row_keys) as session:
        row = _row(session, secret_keys.get(session, active.key_id))
    return SigningKeyChanged(row, None, receipt(call.custodian.generation, work.logged()))


def _purpose(use: str) -> str:
    if use not in USES:
        raise UsageError(f"{use!r} is no use of a signing key", hint="say log or manifest")
    return USES[use]


def _row(session: ReadSession, key: SecretKey) -> SigningKeyRow:
    care, doubt = signing_care.care_of(session, key.purpose), signing_care.doubt_about(session, key.key_id)
    wrapped = session.require(tables.secret_key, key.key_id)["wrapped"]
    return SigningKeyRow(
        key=key.key_id,
        use=next(use for use, purpose in USES.items() if purpose == key.purpose),
        algorithm=key.algorithm,
        public=key.public,
        state=key.state.value,
        created_ms=key.created_ms,
        roots=tuple(roots.get(session, root).provider_uri for root in sorted(slots.decode(wrapped))) if wrapped else (),
        owner=care.owner,
        contact=care.contact,
        rotate_after_days=care.rotate_after_days,
        doubtful_after="" if doubt is None else f"{doubt.generation}/{doubt.index}",
    )
