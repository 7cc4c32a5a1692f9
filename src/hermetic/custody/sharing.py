"""A version's key sealed to people outside the domain: a release that is never taken back, so it is decided and recorded as one.

The steps are those of spec/port.md section 3. The key leaves custody sealed by HPKE to each recipient's public key and in no other
form; what is sealed is bound to the statement that custody signs, and that names every recipient.

A version shared cannot be un-shared: its recipients have the key. Revocation ends releases here, not there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hermetic.audit.leaf import Entry, Hidden
from hermetic.catalog.locations import place_of
from hermetic.catalog.values import fresh_id
from hermetic.crypto import hpke
from hermetic.crypto.mac import sha256
from hermetic.custody import callers, environments, leasing, residency, unwrapping
from hermetic.custody.call import receipt
from hermetic.custody.decide import allowed_caller, still_the_same
from hermetic.custody.resolve import again, as_resource
from hermetic.custody.views import openings_of
from hermetic.custody.work import unit
from hermetic.errors import Conflict, FormatError, HermeticError, Unsupported, UsageError
from hermetic.formats.binary_text import to_base64url
from hermetic.formats.manifest import Opening
from hermetic.formats.messages.packages import Shared
from hermetic.formats.package import PAYLOAD_TYPE, RECIPIENTS, Addressed, Statement, encode_inside
from hermetic.ids import Purpose, Ref
from hermetic.policy.request import Action
from hermetic.signing.envelopes import sign_envelope

if TYPE_CHECKING:
    from hermetic.crypto.secret import Secret
    from hermetic.custody.call import Call
    from hermetic.custody.callers import Caller
    from hermetic.custody.resolve import Resolved
    from hermetic.formats.canonical import JsonValue
    from hermetic.formats.messages.base import Receipt
    from hermetic.formats.messages.packages import ShareVersion

DAY_MS: Final = 86_400_000
LONGEST: Final = 365  # days
NAME_LIMIT: Final = 200  # characters of a recipient's name


def share_version(call: Call, request: ShareVersion) -> Shared:
    """Seal a version's key to recipients. Raises UsageError, FormatError, NotFound, PolicyDenied, ApprovalNeeded, KeyUnusable."""
    publics = _check(request)
    custodian = call.custodian
    with custodian.database.read(custodian.row_keys) as session:
        callers.require(call, session)
        policy = custodian.policy.current(session)
        item = environments.open_in(session, policy, request.ref, request.environment)
        resource = as_resource(item.asset, item.version, policy)
    if item.version.id != request.version or Ref.parse(request.ref).number is None:
        raise Conflict(f"{request.ref} means another version than when this was asked", hint="run the command again")
    item.check_open(Purpose.SHARE)
    residency.require_version(policy.document, item)
    if place_of(item.version) is not None:
        raise Unsupported("a version at plain locations is not packaged", hint="seal a copy of it into a store, and share that")
    caller = allowed_caller(call, Action.SHARE, resource, purpose=Purpose.SHARE, length=item.version.length or 0)
    package = fresh_id()
    proof = _intend(call, request, (caller, item, package))  # 4
    try:
        shared = _sealed(call, item, publics, (package, request.days, proof))  # 5, 6
    except HermeticError as error:
        _outcome(call, shared_with=0, intent=(package, proof), entries=(), failure=type(error).__name__)
        raise
    # 7. Record the outcome. If that fails nothing is returned, and the intent stands.
    _outcome(call, shared_with=len(publics), intent=(package, proof), entries=(_made(request, package, item, caller),))
    return shared


def _made(request: ShareVersion, package: str, item: Resolved, caller: Caller) -> Entry:
    keys: list[JsonValue] = [to_base64url(sha256(one.public)) for one in request.recipients]
    names: list[JsonValue] = [one.name for one in request.recipients]
    facts: dict[str, JsonValue] = {"package": package, "version": item.version.id, "recipients": len(keys)}
    hidden = {"principal": caller.hidden(), "recipients": Hidden(names, f"principal:{caller.id}")}
    hidden["ref"] = Hidden(item.ref, f"asset:{item.asset.id}")
    return Entry("package.created", {**facts, "keys": keys, "days": request.days}, hidden)


def _check(request: ShareVersion) -> dict[bytes, bytes]:
    """Return the public keys by their digest, in order."""
    if not 0 < len(request.recipients) <= RECIPIENTS:
        raise UsageError(f"a package is for 1 to {RECIPIENTS} recipients")
    if not 1 <= request.days <= LONGEST or not request.reason.strip():
        raise UsageError(f"a package is good for 1 to {LONGEST} days, and is made for a reason", hint="--days 30 --reason TEXT")
    for recipient in request.recipients:
        if not 0 < len(recipient.name) <= NAME_LIMIT:
            raise UsageError(f"a recipient's name has 1 to {NAME_LIMIT} characters")
    publics = {sha256(item.public): hpke.check_public(item.public) for item in request.recipients}
    if len(publics) != len(request.recipients):
        raise UsageError("one recipient is named twice")
    return dict(sorted(publics.items()))


def _intend(call: Call, request: ShareVersion, what: tuple[Caller, Resolved, str]) -> Receipt:
    """Step 4: look again, use up what the release consumes, and make the intent durable."""
    caller, item, package = what
    custodian = call.custodian
    with unit(custodian, "custody.share.intent", call.now_ms) as work:
        policy = custodian.policy.current(work.session)
        now = again(work.session, item)
        if now.fixed_points() != item.fixed_points():
            raise Conflict("the version or its key changed while this was decided", hint="try again")
        still_the_same(call, work.session, caller, as_resource(now.asset, now.version, policy))
        residency.require_version(policy.document, now)
        holding = leasing.Holding(
            version=item.version.id,
            principal=caller.id,
            purpose=Purpose.SHARE,
            environment=item.asset.environment.value,
            kek_epoch=item.kek.epoch,
            asset_epoch=item.asset.epoch,
            data_key=item.data_key,
            data_class=item.version.data_class,
            lifetime_ms=0,
        )
        leasing.write(call, work, policy, holding)  # a row for each key handed over: budgets and last use count them
        facts: dict[str, JsonValue] = {
            "request": package,
            "request_hash": to_base64url(call.request_hash),
            "action": Action.SHARE.value,
            "versions": [item.version.id],
            "purpose": Purpose.SHARE.value,
            "policy": to_base64url(policy.digest),
            "policies": sorted(caller.policies),
            "recipients": [to_base64url(sha256(one.public)) for one in request.recipients],
            **caller.seen.facts,
        }
        subject = f"principal:{caller.id}"
        names: list[JsonValue] = [one.name for one in request.recipients]
        hidden = {"principal": caller.hidden(), "reason": Hidden(request.reason, subject), "recipients": Hidden(names, subject)}
        hidden |= caller.seen.hidden
        work.log(Entry("release.intent", facts, hidden))
    return receipt(custodian.generation, work.logged())


def _sealed(call: Call, item: Resolved, publics: dict[bytes, bytes], made: tuple[str, int, Receipt]) -> Shared:
    package, days, proof = made
    custodian, version = call.custodian, item.version
    if version.manifest is None or version.number is None:
        raise FormatError("a published version without a manifest")
    # 5. Check the epoch once more; unwrap.
    with custodian.database.read(custodian.row_keys) as session:
        signer = custodian.signer_in(session)
        now = again(session, item)
        if now.fixed_points() != item.fixed_points():
            raise Conflict("the version or its key changed while this was decided", hint="try again")
        key = unwrapping.unwrap(call, session, now)
    expires_ms, digest = call.now_ms + days * DAY_MS, sha256(version.manifest)
    bare = Statement(package, custodian.domain, version.id, version.number, digest, (), call.now_ms, expires_ms)
    # 6. Hand over, sealed to each recipient.
    messages = _messages(bare, key, item, publics)
    addressed = tuple(Addressed(to, sha256(raw)) for to, raw in zip(publics, messages, strict=True))
    signed = Statement(package, custodian.domain, version.id, version.number, digest, addressed, call.now_ms, expires_ms)
    envelope = sign_envelope(signed.encode(), PAYLOAD_TYPE, signer.key, signer.key_id)
    return Shared(
        package=package,
        ref=item.ref,
        version=version.id,
        data_class=version.data_class,
        store=version.store,
        manifest=version.manifest,
        statement=envelope,
        messages=messages,
        expires_ms=expires_ms,
        receipt=proof,
    )


def _messages(statement: Statement, key: Secret, item: Resolved, publics: dict[bytes, bytes]) -> tuple[bytes, ...]:
    openings = {one.field: Opening(one.salt, one.value) for one in openings_of(item.version)}
    inside = encode_inside(key.view(), openings)
    try:
        return tuple(hpke.seal(public, memoryview(inside), statement.info(to)) for to, public in publics.items())
    finally:
        inside[:] = bytes(len(inside))
        key.wipe()


def _outcome(
    call: Call, *, shared_with: int, intent: tuple[str, Receipt], entries: tuple[Entry, ...], failure: str | None = None
) -> None:
    package, proof = intent
    facts: dict[str, JsonValue] = {"request": package, "intent": proof.index, "handed": shared_with, "failure": failure}
    with unit(call.custodian, "custody.share.outcome", call.now_ms) as work:
        for entry in (Entry("release.outcome", facts), *entries):
            work.log(entry)
