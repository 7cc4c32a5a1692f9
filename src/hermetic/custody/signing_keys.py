"""Keys that sign log and manifests: list, rotate, schedule.

A rotation is one transaction. In it the new key is made, wrapped under every active root; the old one's wraps are overwritten; and the
log says who and why, and then how the old key signed for the new one (`audit.chain`), by which pins elsewhere follow. What was signed
before goes on to verify with the old public key, which stays. Afterwards the files are searched for copies of the old wraps, and the
log says that the key is destroyed; what a crash leaves of that is done by who looks next (`finish`).

Other processes have the old key in memory until they meet the new one: when they append to the log, or sign a manifest.

A key of manifests may live in a PKCS#11 token (`keys.token_keys`). It is made in the transaction that puts it in force, and taken back
if that does not get to its end; a crash at that moment leaves a pair in the token that nothing names. The old one is deleted in its
token after the commit, or by who looks next once the token is back. A key whose token is lost signs for nobody: then the log says that
another one took its place, and pins elsewhere wait for a person.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from hermetic.audit.chain import (
    MANIFEST_KEY_CHANGED,
    MANIFEST_KEY_REPLACED,
    ManifestKey,
    manifest_change_facts,
    manifest_replacement_facts,
)
from hermetic.audit.leaf import Entry, Hidden
from hermetic.audit.tables_store import TablesStore
from hermetic.custody import forgetting
from hermetic.custody.call import receipt
from hermetic.custody.decide import allowed_caller, still_the_same
from hermetic.custody.finishing import told_as_done
from hermetic.custody.work import unit
from hermetic.db import tables
from hermetic.errors import Conflict, HermeticError, IntegrityError, KeyServiceUnavailable, UsageError
from hermetic.formats.binary_text import to_base64url
from hermetic.formats.messages.signing import ListSigningKeys, SigningKeyChanged, SigningKeyList, SigningKeyRow
from hermetic.ids import KeyState
from hermetic.keys import roots, secret_keys, signing_care, slots
from hermetic.keys.secret_keys import LOG_SIGNING, MANIFEST_SIGNING, SecretKeyId
from hermetic.keys.signing_care import Care, Doubt
from hermetic.policy.request import Action

if TYPE_CHECKING:
    from hermetic.crypto.sign import Signer
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
UNDER_ROOTS: Final = "roots"  # a home that says: in no token


@dataclass(frozen=True, slots=True)
class _Asked:
    """Who asked for a rotation, and what it is to be like."""

    caller: Caller
    request: RotateSigningKey
    doubt: Doubt | None
    home: str  # the URI of a token; "" for under the roots
    signer: Signer | None  # what signs manifests before it


def list_signing_keys(call: Call, _request: ListSigningKeys) -> SigningKeyList:
    """List every signing key."""
    allowed_caller(call, Action.READ_CATALOG)
    with call.custodian.database.read(call.custodian.row_keys) as session:
        return SigningKeyList(tuple(_row(session, key) for use in USES.values() for key in secret_keys.ls(session, use)))


def rotate_signing_key(call: Call, request: RotateSigningKey) -> SigningKeyChanged:
    """Change the key of the log, or of manifests. Raises UsageError, PolicyDenied, Locked, KeyServiceUnavailable, KeyUnusable."""
    purpose = _purpose(request.use)
    if (request.compromised_after is not None or request.lost) and not request.reason.strip():
        raise UsageError("say what happened to the key", hint="--reason TEXT goes on record")
    custodian = call.custodian
    caller = allowed_caller(call, Action.ADMINISTER_KEYS)
    with unit(custodian, "custody.signing.rotated", call.now_ms) as work:
        still_the_same(call, work.session, caller)
        old = secret_keys.active(work.session, purpose)
        doubt = _doubt(custodian, work.session, request.compromised_after)
        gone = [wrap for key, wraps in secret_keys.wraps_of(work.session) if key.key_id == old.key_id for wrap in wraps.values()]
        signer = custodian.signer_in(work.session).key if purpose == MANIFEST_SIGNING else None
        asked = _Asked(caller, request, doubt, _home(old, request), signer)
        made, handover, unsigned = _change(custodian, work, old, asked)
        _end(work, old, doubt, unsigned=unsigned)
    with told_as_done("rotated, and that is on record; the end of the old key waits"):
        custodian.scrub(to_base64url(wrapped).encode("ascii") for wrapped in gone)
        settle(call, old.key_id, searched=custodian.is_scrubbed() and not unsigned)
    with custodian.database.read(custodian.row_keys) as session:
        new, before = (_row(session, secret_keys.get(session, one.key_id)) for one in (made, old))
    return SigningKeyChanged(new, before, receipt(custodian.generation, work.logged(), handover), unsigned=unsigned)


def _home(old: SecretKey, request: RotateSigningKey) -> str:
    """Return the URI of the token that the next key is to live in; "" for under the roots. Nothing leaves a token in passing."""
    if request.lost and not old.home:
        raise UsageError("the key before is here, and signs for the next one", hint="leave out --lost")
    return {"": old.home, UNDER_ROOTS: ""}.get(request.home, request.home)


def _change(custodian: Custodian, work: Work, old: SecretKey, asked: _Asked) -> tuple[SecretKey, int, bool]:
    """Make the next key and log how it comes into force: who asked, why, and what is in doubt.

    Return it, the position of the entry by which the old one hands over, and whether it could not sign that. The log's key does it in
    an append of its own.
    """
    if not asked.home:
        made = secret_keys.rotate(work.session, custodian.anchors, old.purpose, now_ms=work.now_ms)
        return made, *_logged(custodian, work, (old, made), asked)
    made = secret_keys.in_token(custodian.anchors, asked.home, old.purpose, now_ms=work.now_ms)
    try:
        made = secret_keys.rotate_into(work.session, old.purpose, made)
        return made, *_logged(custodian, work, (old, made), asked)
    except BaseException:  # nothing is committed yet
        with contextlib.suppress(HermeticError):
            _remove(custodian, asked.home, made.key_id)
        raise


def _logged(custodian: Custodian, work: Work, keys: tuple[SecretKey, SecretKey], asked: _Asked) -> tuple[int, bool]:
    old, made = keys
    caller = asked.caller
    facts: dict[str, JsonValue] = {"key": made.key_id, "purpose": old.purpose, "previous": old.key_id}
    if asked.doubt is not None:
        facts["compromised_after"] = asked.doubt.index
    if asked.home:
        facts["token"] = asked.home
    hidden = {"principal": caller.hidden(), "reason": Hidden(asked.request.reason, f"principal:{caller.id}")}
    work.log(Entry("key.rotated", {**facts, "policies": list(caller.policies)}, hidden))
    if asked.signer is None:
        work.log_key = secret_keys.load(work.session, custodian.anchors, made.key_id)
        return 0, False
    new = ManifestKey(made.key_id, made.public)
    try:
        signed = manifest_change_facts(custodian.domain, (old.key_id, asked.signer), new)
    except (KeyServiceUnavailable, IntegrityError):  # out of reach, or another key in its place
        if not asked.request.lost:
            raise
        replaced = manifest_replacement_facts(ManifestKey(old.key_id, old.public), new)
        return work.log(Entry(MANIFEST_KEY_REPLACED, replaced)), True
    return work.log(Entry(MANIFEST_KEY_CHANGED, signed)), False


def _end(work: Work, old: SecretKey, doubt: Doubt | None, *, unsigned: bool) -> None:
    """Overwrite what opens the old key. Its row stays, with the public half; so does the doubt about what it signed.

    Of one that is lost nobody knows that it is destroyed: it stays deactivated, and its row says in which token it was.
    """
    if doubt is not None:
        signing_care.set_doubt(work.session, old.key_id, doubt)
    if unsigned:
        return
    secret_keys.set_state(work.session, old.key_id, KeyState.DESTROYED)
    signing_care.note_gone(work.session, old.key_id, old.home)
    forgetting.note(work.session)  # the next copy of custody is written without what opened it


def _doubt(custodian: Custodian, session: Any, after: int | None) -> Doubt | None:
    if after is None:
        return None
    size = custodian.log.head(TablesStore(session.connection))[0].size
    if not 0 <= after < size:
        raise UsageError(f"the log has the entries 0 to {size - 1}", hint="`hermetic log ls` shows them; 0 doubts everything")
    return Doubt(custodian.generation, after)


def settle(call: Call, key_id: SecretKeyId, *, searched: bool) -> None:
    """Put on record that nothing is left of a private key, once the files were searched; else that waits for `finish`.

    One in a token is deleted there first.
    """
    if not searched or not _left_token(call, key_id):
        return
    with unit(call.custodian, "custody.signing.destroyed", call.now_ms) as work:
        if signing_care.is_gone(work.session, key_id):  # else another process has done it
            signing_care.settle_gone(work.session, key_id)
            work.log(Entry("key.destroyed", {"key": key_id, "purpose": secret_keys.get(work.session, key_id).purpose}))


def _left_token(call: Call, key_id: SecretKeyId) -> bool:
    """Delete a key in the token that it was in; tell whether there is nothing left to do of that."""
    custodian = call.custodian
    with custodian.database.read(custodian.row_keys) as session:
        home = signing_care.still_in(session, key_id)
    try:
        if home:
            _remove(custodian, home, key_id)
    except HermeticError:  # whatever keeps the token from it: whoever looks next
        return False
    return True


def _remove(custodian: Custodian, home: str, key_id: SecretKeyId) -> None:
    if custodian.anchors.tokens is None:
        raise KeyServiceUnavailable(f"{home} is not reached here")
    custodian.anchors.tokens.remove(home, key_id)


def finish(call: Call) -> None:
    """Clean the files of keys whose rotation did not get to it: what to search for is gone, so they are built anew."""
    custodian = call.custodian
    with custodian.database.read(custodian.row_keys) as session:
        found = signing_care.gone(session)
        in_tokens = [key_id for key_id in found if signing_care.still_in(session, key_id)]
    for key_id in in_tokens:
        settle(call, key_id, searched=True)  # no file ever had it
    found = [key_id for key_id in found if key_id not in in_tokens]
    if not found:
        return
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
    wrapped = b"" if key.home else session.require(tables.secret_key, key.key_id)["wrapped"]
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
        home=key.home or signing_care.still_in(session, key.key_id),
    )
